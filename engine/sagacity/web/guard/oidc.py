"""Signing in at an OpenID provider: code with PKCE, and an ID token that is believed only as a whole.

Signature (by an algorithm of ours, never by the token's word), issuer, audience, expiry and nonce must all be
right. What somebody may do is told by one claim, and a value that has no meaning here means nothing.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from itsdangerous import BadSignature, Signer
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from sagacity.errors import SagacityError
from sagacity.ids import new_secret
from sagacity.model.operating import Actor
from sagacity.web.guard.sessions import same
from sagacity.web.guard.settings import Oidc, WebSettings

COOKIE = "sagacity_sign_in"
"""Binds a sign-in to the browser that began it, until it comes back."""
CALLBACK = "/sign-in/callback"
WITHIN = 600.0
"""Seconds in which somebody must come back from the provider."""
_LEEWAY = 60
_FRESH = 3_600.0
_KEYS_EVERY = 10.0
_MOST = 1_000
_TIMEOUT = 10.0


class SignInRefused(SagacityError):
    """What came back from the provider is not believed, or gives no role here; the message says why."""


class ProviderAway(SagacityError):
    """The provider cannot be reached, or what it says of itself cannot be; try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A sign-in that has gone to the provider and not come back."""

    name: str
    state: str
    nonce: str
    verifier: str
    redirect: str
    next: str
    began: float


class Provider:
    """One provider, and the sign-ins that are under way there."""

    def __init__(self, oidc: Oidc, settings: WebSettings, *, tenant: str) -> None:
        self._oidc, self._clock, self._tenant = oidc, settings.clock, tenant
        self._signer = Signer(settings.secret, salt=b"sagacity.sign-in", digest_method=sha256)
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._known: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def _client(self, redirect: str | None = None) -> AsyncOAuth2Client:
        method = "client_secret_basic" if self._oidc.client_secret else "none"
        return AsyncOAuth2Client(
            self._oidc.client_id,
            self._oidc.client_secret or None,
            redirect_uri=redirect,
            scope="openid",
            code_challenge_method="S256",
            token_endpoint_auth_method=method,
            timeout=_TIMEOUT,
            trust_env=False,
        )

    # --- going there --------------------------------------------------------------------------------

    async def begin(self, *, redirect: str, next: str) -> tuple[str, str]:
        """Where to send the browser, and the cookie's value that it must bring back.

        Raises:
            ProviderAway: see there.
        """
        known = await self._metadata()
        pending = Pending(
            name=new_secret(32).hex(),
            state=new_secret(32).hex(),
            nonce=new_secret(32).hex(),
            verifier=new_secret(32).hex(),
            redirect=redirect,
            next=next,
            began=self._clock.monotonic(),
        )
        self._pending[pending.name] = pending
        while len(self._pending) > _MOST:
            self._pending.popitem(last=False)
        async with self._client(redirect) as client:
            url, _ = client.create_authorization_url(
                known["authorization_endpoint"],
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        return str(url), self._signer.sign(pending.name).decode()

    # --- coming back --------------------------------------------------------------------------------

    async def end(self, cookie: str | None, answer: Mapping[str, str]) -> tuple[Actor, str]:
        """Who came back, and the page that they wanted. Each sign-in ends once, well or not.

        Args:
            cookie: what the browser brought.
            answer: the query of the callback.

        Raises:
            SignInRefused, ProviderAway: see there.
        """
        pending = self._taken(cookie)
        if not same(answer.get("state"), pending.state):
            raise SignInRefused("the provider's answer belongs to another sign-in: begin again at /sign-in")
        if "error" in answer:
            raise SignInRefused(f"the provider refused: {answer['error'][:100]}")
        if answer.get("iss", self._oidc.issuer) != self._oidc.issuer or not answer.get("code"):
            raise SignInRefused("the answer does not come from the provider: begin again at /sign-in")
        claims = await self._claims(await self._id_token(pending, answer["code"]), pending)
        return self._actor(claims), pending.next

    def _taken(self, cookie: str | None) -> Pending:
        try:
            name = self._signer.unsign(cookie or "").decode()
        except (BadSignature, UnicodeError):
            raise SignInRefused("this browser began no sign-in: begin at /sign-in") from None
        pending = self._pending.pop(name, None)
        if pending is None or self._clock.monotonic() - pending.began > WITHIN:
            raise SignInRefused("this sign-in is over: begin again at /sign-in")
        return pending

    async def _id_token(self, pending: Pending, code: str) -> str:
        known = await self._metadata()
        try:
            async with self._client(pending.redirect) as client:
                answer = await client.fetch_token(
                    known["token_endpoint"], code=code, code_verifier=pending.verifier
                )
        except AuthlibBaseError as error:
            raise SignInRefused(f"the provider did not take the code: {error.error}") from None
        except (httpx2.HTTPError, ValueError) as error:
            raise ProviderAway(f"the provider cannot be reached: {type(error).__name__}") from None
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInRefused("the provider gave no ID token: is `openid` allowed for this client?")
        return token

    async def _claims(self, token: str, pending: Pending) -> dict[str, Any]:
        # The audience is named on purpose: the library alone is content with `azp`.
        options: Any = {
            "iss": {"essential": True, "value": self._oidc.issuer},
            "aud": {"essential": True, "value": self._oidc.client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "nonce": {"essential": True, "value": pending.nonce},
        }
        try:
            decoded = await self._decoded(token)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options,
                {"nonce": pending.nonce, "client_id": self._oidc.client_id},
            )
            claims.validate(now=int(self._clock.now().timestamp()), leeway=_LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise SignInRefused(
                f"the ID token is not believed: {getattr(error, 'error', 'unreadable')}"
            ) from None
        return dict(claims)

    async def _decoded(self, token: str) -> Any:
        registry = JWSRegistry(algorithms=list(self._oidc.algorithms), strict_check_header=False)
        keys = await self._key_set(fresh=False)
        try:
            return jwt.decode(token, key=keys, registry=registry)
        except InvalidKeyIdError:
            # The provider may have changed its keys since.
            return jwt.decode(token, key=await self._key_set(fresh=True), registry=registry)

    # --- what the provider says of itself -------------------------------------------------------------

    async def _metadata(self) -> dict[str, Any]:
        now = self._clock.monotonic()
        if self._known is not None and now - self._known[0] < _FRESH:
            return self._known[1]
        known = await self._read(f"{self._oidc.issuer.rstrip('/')}/.well-known/openid-configuration")
        if known.get("issuer") != self._oidc.issuer:
            raise ProviderAway(
                f"the provider calls itself {known.get('issuer')!r}: correct SAGACITY_OIDC_ISSUER"
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _safe(known.get(name), self._oidc.issuer):
                raise ProviderAway(f"the provider's {name} is missing, or is no https address")
        self._known = now, known
        return known

    async def _key_set(self, *, fresh: bool) -> KeySet:
        now = self._clock.monotonic()
        if self._keys is not None and now - self._keys[0] < (_KEYS_EVERY if fresh else _FRESH):
            return self._keys[1]
        known = await self._metadata()
        found: Any = await self._read(known["jwks_uri"])
        self._keys = now, KeySet.import_key_set(found)
        return self._keys[1]

    async def _read(self, url: str) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
                answer = await client.get(url)
                answer.raise_for_status()
                found = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise ProviderAway(f"the provider cannot be reached: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise ProviderAway(f"{url} gave no JSON object")
        return found

    # --- what it means here ---------------------------------------------------------------------------

    def _actor(self, claims: Mapping[str, Any]) -> Actor:
        oidc = self._oidc
        if oidc.tenant_claim is not None and self._tenant not in _texts(claims.get(oidc.tenant_claim)):
            raise SignInRefused("you are signed in there, and belong to another tenant than this server's")
        roles = frozenset(oidc.roles[one] for one in _texts(claims.get(oidc.claim)) if one in oidc.roles)
        if not roles:
            raise SignInRefused(f"you are signed in there, and claim {oidc.claim!r} gives you no role here")
        narrowed = oidc.definitions_claim
        return Actor(
            id=f"oidc:{claims['sub']}",
            roles=roles,
            definitions=None if narrowed is None else frozenset(_texts(claims.get(narrowed))),
        )


def _texts(claim: Any) -> list[str]:
    """A claim's values: it may be one text, several in one with spaces between, or a list."""
    if isinstance(claim, str):
        return claim.split()
    return [one for one in claim if isinstance(one, str)] if isinstance(claim, list) else []


def _safe(url: Any, issuer: str) -> bool:
    """An https address, or on the same machine as an issuer that is on this one."""
    if not isinstance(url, str):
        return False
    parts, home = urlsplit(url), urlsplit(issuer)
    return parts.scheme == "https" or (home.scheme == "http" and parts.hostname == home.hostname)
