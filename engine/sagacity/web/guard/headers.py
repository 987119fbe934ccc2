"""What every answer tells a browser: nothing inline, nothing foreign, nobody's frame, nothing kept."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import Message

_POLICY = (
    "default-src 'none'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
)

FIXED: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with it a browser sends forms with `Origin: null`, and they would be refused.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def policy(nonce: str | None = None) -> str:
    """The content security policy: scripts and styles are this server's files, or carry the nonce."""
    own = "'self'" if nonce is None else f"'self' 'nonce-{nonce}'"
    return "; ".join((*_POLICY, f"script-src {own}", f"style-src {own}"))


def put(message: Message, *, nonce: str | None, secure: bool) -> MutableHeaders:
    """Write the headers into the beginning of an answer; what a route has set itself stays."""
    headers = MutableHeaders(scope=message)
    for name, value in FIXED.items():
        headers.setdefault(name, value)
    headers.setdefault("content-security-policy", policy(nonce))
    headers.setdefault("cache-control", "no-store")
    if secure:
        headers.setdefault("strict-transport-security", "max-age=31536000")
    return headers
