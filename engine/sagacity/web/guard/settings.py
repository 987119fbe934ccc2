"""How the guard is set: what is open, under which names, how fast, how large.

The defaults are those of development on one machine: whoever calls from it, by its own name, is `dev`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sagacity.clock import Clock, SystemClock
from sagacity.ids import new_secret
from sagacity.model.operating import Role

LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names of this machine for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A token bucket: `per_second` calls for ever, `burst` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Oidc:
    """A provider of sign-ins (OpenID Connect).

    Attributes:
        issuer: its address; `/.well-known/openid-configuration` is read below it.
        client_id, client_secret: what it knows this server as; the secret may be empty (public client).
        claim: the claim of the ID token that tells what somebody may do: a text or a list of texts.
        roles: what each value of that claim means here; others mean nothing.
        definitions_claim: the claim that narrows the roles to definitions, if there is one.
        tenant_claim: the claim that must be this server's tenant, if there is one.
        algorithms: with which an ID token may be signed.
    """

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    claim: str = "roles"
    roles: Mapping[str, Role] = field(default_factory=lambda: {role.value: role for role in Role})
    definitions_claim: str | None = None
    tenant_claim: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the guard goes by.

    Attributes:
        development: calls from this machine without any credential are `dev`, who is admin.
        hosts: names under which it answers; another one is a page in a browser that tricks its name server.
        url: the address that browsers see, such as `https://sagas.example`; None: the one it listens on.
            With `https` cookies are `Secure` and browsers are told to stay on it.
        rate: for each credential; `strangers`: for each address whose calls have none that holds.
        body: bytes that one request may have.
        header: bytes that its address and headers may have together.
        slow: seconds within which the whole body must have come.
        idle, session: a browser's sign-in ends after this without a call, and after this in any case.
        dry_outlet: dry runs put what they would tell into the outbox, for a worker to send.
        secret: signs cookies; made anew at each start unless one is given, which ends all sign-ins.
    """

    development: bool = True
    hosts: frozenset[str] = LOCAL
    url: str | None = None
    oidc: Oidc | None = None
    rate: Rate | None = None
    strangers: Rate = Rate(per_second=5, burst=50)
    body: int = 1024 * 1024
    header: int = 16 * 1024
    slow: float = 30.0
    idle: timedelta = timedelta(minutes=30)
    session: timedelta = timedelta(hours=12)
    dry_outlet: bool = False
    secret: bytes = field(default_factory=lambda: new_secret(32), repr=False)
    clock: Clock = field(default_factory=SystemClock)

    @property
    def secure(self) -> bool:
        """Browsers reach it by TLS only."""
        return self.url is not None and self.url.startswith("https://")
