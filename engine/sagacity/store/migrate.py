"""From an older schema to the one this release needs: Alembic, driven from inside.

A migration runs on the caller's connection and in the caller's transaction, so it happens whole
or not at all. Looking which version a store has asks one small table and needs no Alembic.
"""

import asyncio
import io
import threading
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, NullPool, column, create_engine, event, inspect, select, table
from sqlalchemy.engine import URL, make_url

from sagacity.bundle import folder
from sagacity.errors import SchemaAhead, SchemaBehind
from sagacity.store.failures import naming

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE: Final = "sagacity_version"

_RUNNING = threading.Lock()
"""Alembic's context belongs to the process: two upgrades at once would mix."""


def known() -> tuple[str, ...]:
    """The versions that this release has migrations for, oldest first."""
    return tuple(sorted(script.stem[:4] for script in (folder("migrations") / "versions").glob("[0-9]*.py")))


def required() -> str:
    """The version that this release needs."""
    return known()[-1]


def current(conn: Connection) -> str | None:
    """The version that the store has; None: it was never migrated."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    found: str | None = conn.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    return found


def check(conn: Connection) -> None:
    """Whether this release can work with the store.

    Raises:
        SchemaBehind, SchemaAhead: it cannot; the message names the fix.
    """
    stands, needed = current(conn), required()
    if stands == needed:
        return
    if stands is None:
        raise SchemaBehind("the store has no tables of Sagacity's yet: run `sagacity migrate`")
    if stands in known():
        raise SchemaBehind(f"the schema is at {stands}, this version needs {needed}: run `sagacity migrate`")
    raise SchemaAhead(
        f"the schema is at {stands}, which this version (at {needed}) does not know: "
        "upgrade this installation of sagacity"
    )


def upgrade(conn: Connection) -> None:
    """Bring the store to the version this release needs; nothing to do the second time.

    The caller's transaction commits it. Not for a thread that runs an event loop: see `upgrade_at`.

    Raises:
        SchemaAhead: the store is newer than this release.
    """
    with _RUNNING:
        _upgrade(conn)


def _upgrade(conn: Connection) -> None:
    if current(conn) not in {None, *known()}:
        check(conn)
    from alembic import command

    command.upgrade(_config(connection=conn), "head")


async def upgrade_at(url: str) -> tuple[str | None, str]:
    """Bring the store at `url` to the version this release needs; its versions before and after.

    Raises:
        SchemaAhead: the store is newer than this release. StoreUnavailable: it cannot be reached.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return await asyncio.to_thread(_upgrade_file, parsed.set(drivername="sqlite"))
    return await _upgrade_server(parsed)


def _upgrade_file(url: URL) -> tuple[str | None, str]:
    engine = create_engine(url, poolclass=NullPool, connect_args={"isolation_level": None, "timeout": 30.0})
    # Only so are SQLite's changes of the schema part of the transaction.
    event.listen(engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN IMMEDIATE"))
    with naming(), engine.begin() as conn:
        before = current(conn)
        upgrade(conn)
    return before, required()


async def _upgrade_server(url: URL) -> tuple[str | None, str]:
    from sqlalchemy.ext.asyncio import create_async_engine

    from sagacity.store.connections import Address

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=Address(url).connect, poolclass=NullPool
    )
    await _turn()
    try:
        with naming():
            async with engine.begin() as conn:
                before = await conn.run_sync(current)
                await conn.run_sync(_upgrade)
    finally:
        _RUNNING.release()
    return before, required()


async def _turn() -> None:
    """Wait for the lock without stopping the loop; whoever is cancelled meanwhile passes it on."""
    waiting = asyncio.ensure_future(asyncio.to_thread(_RUNNING.acquire))
    try:
        await asyncio.shield(waiting)
    except asyncio.CancelledError:
        waiting.add_done_callback(lambda _: _RUNNING.release())
        raise


def downgrade(conn: Connection, to: str = "base") -> None:
    """Take migrations back, for tests: what the dropped tables hold is lost."""
    from alembic import command

    with _RUNNING:
        command.downgrade(_config(connection=conn), to)


def sql(dialect: str) -> str:
    """The whole schema as SQL text for people with a tool of their own.

    Args:
        dialect: `postgresql` or `sqlite`.
    """
    from alembic import command

    printed = io.StringIO()
    config = _config(dialect=dialect)
    config.output_buffer = printed
    with _RUNNING:
        command.upgrade(config, "head", sql=True)
    return printed.getvalue()


def _config(**attributes: Any) -> "Config":
    """Alembic's configuration without a file; `attributes` is what env.py reads."""
    from alembic.config import Config

    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(folder("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
