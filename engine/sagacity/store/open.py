"""From a URL to a store: the one place that knows which database has which class."""

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sagacity.clock import Clock
from sagacity.errors import ConfigError
from sagacity.store.base import Store

_SQLITE = {"sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"}
_POSTGRESQL = {"postgresql", "postgres", "postgresql+asyncpg"}


def open_store(
    url: str,
    *,
    tenant: str = "main",
    lane: str = "live",
    clock: Clock | None = None,
    accept_loss: bool = False,
) -> Store:
    """The store that lies at `url`, not yet connected: `await store.open()` does that.

    Args:
        url: `sqlite:///FILE` or `postgresql://…`; SQLAlchemy's driver names are accepted too.
        tenant: whose sagas.
        lane: `live` or `dry`.
        clock: stands in for the database's instant everywhere; for tests and simulation.
        accept_loss: open also where acknowledged commits could be lost; on SQLite, do not wait for the disk.

    Raises:
        ConfigError: no such kind of store; the message lists those there are.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(f"{url!r} is no store's URL: use sqlite:///FILE or postgresql://…") from None
    if parsed.drivername in _SQLITE:
        return _sqlite(parsed, tenant, lane, clock, accept_loss)
    if parsed.drivername in _POSTGRESQL:
        return _postgresql(parsed, tenant, lane, clock, accept_loss)
    raise ConfigError(f"no store on {parsed.drivername!r}: use sqlite:///FILE or postgresql://…")


def _sqlite(url: URL, tenant: str, lane: str, clock: Clock | None, accept_loss: bool) -> Store:
    from sagacity.store.sqlite import SqliteStore

    plain = url.set(drivername="sqlite")
    return SqliteStore(plain, tenant=tenant, lane=lane, clock=clock, accept_loss=accept_loss)


def _postgresql(url: URL, tenant: str, lane: str, clock: Clock | None, accept_loss: bool) -> Store:
    from sagacity.store.postgres import PostgresStore

    driver = url.set(drivername="postgresql+asyncpg")
    return PostgresStore(driver, tenant=tenant, lane=lane, clock=clock, accept_loss=accept_loss)
