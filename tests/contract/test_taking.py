"""How PostgreSQL finds what a worker claims: by the small indexes alone, however long the history is."""

import re
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import visitors

from sagacity.store import claims, taking
from sagacity.store.postgres import PostgresStore
from tests.contract.builders import FLOW, Bench, HandClock, first, record, start_message

pytestmark = [
    pytest.mark.parametrize("url", ["fresh postgresql"], indirect=True),
    pytest.mark.postgres,
]

_SERVED = ((FLOW, 1),)


async def plan(store: PostgresStore, query: Any, **values: Any) -> str:
    """How the server would run `query` on a connection of the engine's."""
    async with store._unflushed.connect() as conn:
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        given = visitors.cloned_traverse(query, {}, {"bindparam": partial(_give, values)})
        plain = given.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        await conn.execute(text("ANALYZE"))
        return "\n".join(await conn.scalars(text("EXPLAIN " + str(plain).replace(":", "\\:"))))


def _give(values: dict[str, Any], parameter: Any) -> None:
    if parameter.key in values:
        parameter.value, parameter.required = values[parameter.key], False


async def test_sagas_and_starts_are_claimed_by_index(
    store: PostgresStore, desk: Bench, clock: HandClock
) -> None:
    starts = [start_message() for _ in range(300)]
    await desk.send(*(first(record(start.saga, key=str(start.key)), start=start) for start in starts))
    scope, given = store._scope, {"by_worker": desk.worker, "room": 100, "at_instant": clock.now()}
    sagas = await plan(store, taking._claims(scope, _SERVED, claims.AT), **given)
    assert "Seq Scan" not in sagas
    assert {"saga_due", "saga_rung"} <= _indexes(sagas)
    assert re.search(r"Update on saga.*id = ANY \(\(InitPlan", sagas, re.DOTALL), (
        "by the keys that were found"
    )
    fresh = await plan(store, taking._starts(scope, _SERVED), by_worker=desk.worker, room=100)
    assert "Seq Scan" not in fresh
    assert "inbox_start_open" in _indexes(fresh)
    assert re.search(r"Update on inbox.*id = ANY \(\(InitPlan", fresh, re.DOTALL)


def _indexes(plan: str) -> set[str]:
    return set(re.findall(r"using (\w+)", plan))
