"""The guard as the settings want it. Off this machine it is closed, or the server does not start."""

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

from sagacity.config import Settings
from sagacity.errors import ConfigError
from sagacity.ids import new_secret
from sagacity.model.operating import Role
from sagacity.store.base import Store
from sagacity.store.office import TokenFilter
from sagacity.web.guard.settings import LOCAL, Oidc, Rate, WebSettings
from sagacity.web.guard.tokens import is_good

_ANYWHERE = frozenset({"0.0.0.0", "::"})
_BURST = 4


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`.

    Raises:
        ConfigError: it is no address.
    """
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    raise ConfigError(f"--host {host} is not an address: give one such as 127.0.0.1, or 0.0.0.0 for all")


async def web_settings(settings: Settings, store: Store, *, host: str = "127.0.0.1") -> WebSettings:
    """How `serve` guards its calls on `host`.

    Without tokens and without a provider it is open to this machine alone, as in development; with either,
    every call must say who it is.

    Raises:
        ConfigError: `host` is no address; it is not loopback, and nobody could sign in; a setting cannot be.
    """
    local = is_loopback(host)
    oidc = _oidc(settings)
    now = await store.now()
    issued = await store.tokens(TokenFilter())
    tokens = any(is_good(one, now) for one in issued)
    if not local and not tokens and oidc is None:
        raise ConfigError(
            f"{host} can be reached from other machines, and nobody could sign in: issue a token "
            "(`sagacity token issue NAME --role viewer`), or set SAGACITY_OIDC_ISSUER and _CLIENT_ID"
        )
    if oidc is not None and not local and settings.web_url is None:
        raise ConfigError("browsers must come back from the provider: set SAGACITY_WEB_URL, e.g. https://…")
    # Whoever once meant it for others does not fall back to letting everybody in when the last token ends.
    meant_for_others = bool(issued) or oidc is not None or settings.web_url is not None
    development = local and not meant_for_others and not settings.web_hosts.strip()
    secret = settings.web_secret
    return WebSettings(
        development=development,
        hosts=_hosts(settings, host),
        url=settings.web_url.rstrip("/") if settings.web_url else None,
        oidc=oidc,
        rate=None
        if development
        else Rate(per_second=settings.web_rate, burst=max(1, round(_BURST * settings.web_rate))),
        secret=secret.get_secret_value().encode() if secret is not None else new_secret(32),
    )


def _hosts(settings: Settings, host: str) -> frozenset[str]:
    named = {name.strip().lower() for name in settings.web_hosts.split(",") if name.strip()}
    if settings.web_url is not None:
        name = urlsplit(settings.web_url).hostname
        if name is None or urlsplit(settings.web_url).scheme not in ("http", "https"):
            raise ConfigError(f"SAGACITY_WEB_URL={settings.web_url}: it must begin with https://NAME")
        named.add(name)
    if host not in _ANYWHERE:
        named.add(f"[{host}]" if ":" in host else host)
    return LOCAL | named


def _oidc(settings: Settings) -> Oidc | None:
    if settings.oidc_issuer is None:
        return None
    if not settings.oidc_client_id:
        raise ConfigError("SAGACITY_OIDC_ISSUER is set: set SAGACITY_OIDC_CLIENT_ID too")
    issuer = urlsplit(settings.oidc_issuer)
    here = issuer.scheme == "http" and issuer.hostname in ("127.0.0.1", "localhost", "::1")
    if issuer.scheme != "https" and not here:
        raise ConfigError(f"SAGACITY_OIDC_ISSUER={settings.oidc_issuer}: it must be an https address")
    return Oidc(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        claim=settings.oidc_claim,
        roles=_roles(settings.oidc_roles),
        definitions_claim=settings.oidc_definitions_claim,
        tenant_claim=settings.oidc_tenant_claim,
    )


def _roles(text: str) -> dict[str, Role]:
    """`sre=operator,lead=senior`; empty: every role by its own name."""
    if not text.strip():
        return {role.value: role for role in Role}
    found: dict[str, Role] = {}
    for part in text.split(","):
        value, _, name = (piece.strip() for piece in part.partition("="))
        try:
            found[value] = Role(name)
        except ValueError:
            known = ", ".join(Role)
            raise ConfigError(
                f"SAGACITY_OIDC_ROLES: {part.strip()!r} is not VALUE=ROLE; roles: {known}"
            ) from None
    return found
