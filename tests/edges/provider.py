"""A small OpenID provider, run as a process of its own: it signs in whom it was told to, as it was told to.

`POST /tell` says what the next ID token shall be like (claims over the right ones, algorithm, key);
everything else is what a provider answers: its description, its keys, the way in, and the token for a code.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

CLIENT = "sagacity"


def _key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": name, "use": "sig"})


def _plain(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


class Provider:
    """What it knows."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.keys = [_key("first")]
        self.told: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[dict[str, str]] = []

    def tell(self, told: dict[str, Any]) -> None:
        """What the next sign-in shall be like; `rotate` gives it another key, known by its description."""
        if told.pop("rotate", False):
            self.keys = [_key(secrets.token_hex(4))]
        self.told = told

    def described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes back to."""
        self.asked.append(query)
        code = secrets.token_hex(16)
        self.codes[code] = query
        answer = {"code": code, "state": query["state"]} | self.told.get("answer", {})
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The ID token for a code: once, and only with the verifier that belongs to its challenge."""
        query = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if query is None or query.get("code_challenge") != challenge:
            return 400, {"error": "invalid_grant"}
        answer: dict[str, Any] = {
            "access_token": secrets.token_hex(8),
            "token_type": "Bearer",
            "expires_in": 60,
        }
        return 200, answer | ({} if self.told.get("no_id_token") else {"id_token": self._signed(query)})

    def _signed(self, query: dict[str, str]) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": "ada",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": query["nonce"],
            "roles": ["operator"],
        }
        claims = {
            name: value for name, value in (claims | self.told.get("claims", {})).items() if value != "-"
        }
        key: Any = self.keys[0]
        header = {"alg": "RS256", "kid": key.kid} | self.told.get("header", {})
        if self.told.get("key") == "stranger":
            key = RSAKey.generate_key(2048, parameters={"kid": header["kid"]})
        if header["alg"] in ("none", "HS256"):
            # The classics: no signature, and the public key taken for a shared secret.
            signing = b".".join(_plain(json.dumps(part).encode()) for part in (header, claims))
            public = self.keys[0].as_pem(private=False)
            sealed = hmac.digest(public, signing, "sha256") if header["alg"] == "HS256" else b""
            return b".".join((signing, _plain(sealed))).decode()
        algorithms = ["RS256", "RS512"]
        token = jwt.encode(header, claims, key, registry=JWSRegistry(algorithms=algorithms))
        return token[:-6] + "AAAAAA" if self.told.get("tampered") else token


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return None

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            self._json(200, PROVIDER.described())
        elif parts.path == "/keys":
            self._json(200, {"keys": [key.as_dict(private=False) for key in PROVIDER.keys]})
        elif parts.path == "/authorize":
            self.send_response(303)
            self.send_header("location", PROVIDER.authorize(query))
            self.send_header("content-length", "0")
            self.end_headers()
        elif parts.path == "/asked":
            self._json(200, {"asked": PROVIDER.asked})
        else:
            self._json(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/tell":
            PROVIDER.tell(json.loads(body))
            self._json(200, {})
        else:
            self._json(*PROVIDER.token({name: values[0] for name, values in parse_qs(body).items()}))

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    SERVER = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    PROVIDER = Provider(f"http://127.0.0.1:{SERVER.server_address[1]}")
    print(PROVIDER.issuer, flush=True)
    SERVER.serve_forever()
