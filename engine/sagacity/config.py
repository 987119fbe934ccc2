"""Settings of a process, read once from `SAGACITY_…` variables by its entry point.

Nothing below the edges reads the environment by itself (externals get their addresses handed
over), so what a process runs with can be seen and said in one place.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sagacity.errors import ConfigError

DEFAULT_STORE = "sqlite:///sagacity.db"
_PREFIX = "SAGACITY_"


def _seconds(value: Any) -> Any:
    """`2.5` and `"2.5"` as seconds; everything else as pydantic reads durations (`PT2.5S`, `0:00:02.5`)."""
    if isinstance(value, str):
        try:
            return timedelta(seconds=float(value))
        except (ValueError, OverflowError):
            return value
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0), le=timedelta(days=1))]


class Settings(BaseSettings):
    """What a process runs with. Each field is the variable `SAGACITY_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    store: str = Field(
        default=DEFAULT_STORE,
        min_length=1,
        description="where sagas live: `sqlite:///FILE`, `postgresql://…`; `postgres` is a private server",
    )
    tenant: str = Field(default="main", min_length=1, max_length=64, description="whose sagas")
    lease: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(seconds=1),
        description="after this silence a worker counts as dead; seconds",
    )
    poll: Duration = Field(
        default=timedelta(milliseconds=100),
        description="longest wait between two looks at the store; seconds",
    )
    grace: Duration = Field(
        default=timedelta(seconds=20), description="time to end cleanly after SIGTERM; seconds"
    )
    patience: Duration = Field(
        default=timedelta(seconds=10),
        description="how long a call of the API waits for a database that is away; seconds",
    )
    concurrency: int = Field(default=200, ge=1, le=10_000, description="sagas that one worker runs at once")
    anchor_to: str | None = Field(
        default=None, description="file or address to which a worker sends signed anchors; none: off"
    )
    anchor_key: str | None = Field(default=None, description="file with the key that anchors are signed with")
    anchor_every: Duration = Field(
        default=timedelta(seconds=60), description="time between two anchors; seconds"
    )
    anchor_lines: bool = Field(default=False, description="send every line of the log too")
    anchor_strict: bool = Field(
        default=True, description="a worker whose store is behind its newest anchor does not go on"
    )
    metrics: str | None = Field(
        default=None,
        description="port of a worker's own `/metrics`, `/health` and `/ready`, e.g. `9100`; for this "
        "machine only, unless it says `0.0.0.0:9100`",
    )
    traces: bool = Field(
        default=False,
        description="a worker draws OpenTelemetry spans, through the provider that its process has set up",
    )
    notify_url: str | None = Field(
        default=None,
        description="web hook that workers tell of what needs a human; default `[tool.sagacity] notify`",
    )
    notify_secret: SecretStr | None = Field(
        default=None, description="what its messages are signed with; at least 16 characters"
    )
    notify_every: Duration = Field(
        default=timedelta(seconds=60),
        description="after a message, more of its kind are gathered; seconds",
    )
    dry_notify_url: str | None = Field(
        default=None,
        description="web hook that is told what dry runs would tell; default `[tool.sagacity] dry_notify`",
    )
    dry_notify_secret: SecretStr | None = Field(
        default=None, description="what its messages are signed with; at least 16 characters"
    )
    attention_every: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(seconds=5),
        le=timedelta(hours=1),
        description="time between two looks of the workers for what needs a human; 5 to 3600 seconds",
    )
    notify_console: str | None = Field(
        default=None, description="address of the console, for the link in a message"
    )
    actor: str | None = Field(
        default=None,
        max_length=200,
        description="the name that the command line acts under; default: the account's; not checked",
    )
    web_url: str | None = Field(
        default=None,
        description="the address under which browsers reach `serve`, e.g. `https://sagas.example`",
    )
    web_hosts: str = Field(default="", description="more names that `serve` answers to, separated by commas")
    web_rate: float = Field(
        default=50, gt=0, le=100_000, description="calls a second that one caller may make for long"
    )
    web_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="signs cookies; default: made anew, so a restart signs all out",
    )
    oidc_issuer: str | None = Field(
        default=None, description="address of the OpenID provider; none: no sign-in"
    )
    oidc_client_id: str | None = Field(default=None, description="what the provider knows `serve` as")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), description="goes with it; may be empty")
    oidc_claim: str = Field(default="roles", description="the claim that tells somebody's roles")
    oidc_roles: str = Field(
        default="",
        description="what its values mean, e.g. `sre=operator,lead=senior`; default: the roles' names",
    )
    oidc_definitions_claim: str | None = Field(
        default=None, description="the claim that narrows somebody's roles to flows; none: all flows"
    )
    oidc_tenant_claim: str | None = Field(
        default=None, description="the claim that must be `SAGACITY_TENANT`; none: not asked"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="what is told on stderr"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto` is text on a terminal and JSON elsewhere"
    )


def load(**given: Any) -> Settings:
    """The settings of this process; `given` values that are not None stand over the environment.

    Raises:
        ConfigError: a value that cannot be; the message names its variable.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise ConfigError("; ".join(_said(fault) for fault in error.errors())) from None


def _said(fault: Any) -> str:
    name = str(fault["loc"][0]) if fault["loc"] else "settings"
    return f"{_PREFIX}{name.upper()}={fault['input']}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
