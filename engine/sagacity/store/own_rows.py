"""A unit together with the user's own rows, in one transaction of PostgreSQL.

The user's statements go through SQLAlchemy, the engine's statement on the very driver connection
underneath, so both are in the same transaction: everything happened, or nothing did.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sagacity.model.unit import Batch, Written
from sagacity.store import guard, hot, images
from sagacity.store.base import OwnRow, RowImages
from sagacity.store.rows import Scope

LOCK_SECONDS: Final = 5
"""How long a statement on a user's table waits for a row that another transaction holds."""

_ENGINE_PART: Final = hot.SETTINGS | {"lock_timeout": "30s"}


async def run(conn: AsyncConnection, saga: UUID, rows: Sequence[OwnRow]) -> Mapping[str, RowImages]:
    """Run the statements of `rows` for `saga`; what the rows were, and what they became.

    Raises:
        OwnTableError: a statement failed; the caller rolls the transaction back.
    """
    await _set(conn, {"sagacity.saga": str(saga), "lock_timeout": f"{LOCK_SECONDS}s"})
    found = await conn.run_sync(images.run_statements, rows)
    await conn.run_sync(guard.touch, [row for row in rows if not row.statements])
    return found


async def write(conn: AsyncConnection, scope: Scope, batch: Batch) -> Written:
    """Write a batch in the transaction that `conn` is in.

    Raises:
        BatchRefused, HeadMoved, StoreError: as `hot.write`.
    """
    await _set(conn, _ENGINE_PART)
    raw = await conn.get_raw_connection()
    return await hot.write(cast(hot.Driver, raw.driver_connection), scope, batch)


async def _set(conn: AsyncConnection, settings: Mapping[str, str]) -> None:
    """Settings for the rest of the transaction. It goes through SQLAlchemy, which so begins it."""
    parameters: dict[str, Any] = {}
    for number, (name, value) in enumerate(settings.items()):
        parameters |= {f"n{number}": name, f"v{number}": value}
    calls = ", ".join(f"set_config(:n{number}, :v{number}, true)" for number in range(len(settings)))
    await conn.execute(text(f"SELECT {calls}"), parameters)
