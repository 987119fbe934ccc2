"""The connections to PostgreSQL: what each kind waits for, and what happens when a link swallows all."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import event, text

from sagacity.errors import StoreUnavailable
from sagacity.model.unit import OutcomeUnknown
from sagacity.store import postgres
from sagacity.store.postgres import PostgresStore
from tests.contract.builders import Bench, bench, lock, start_message
from tests.contract.server import held_back, over, waiting

pytestmark = [
    pytest.mark.parametrize("url", ["fresh postgresql"], indirect=True),
    pytest.mark.postgres,
]


async def test_what_is_acknowledged_is_flushed_and_a_lease_is_not_waited_for(store: PostgresStore) -> None:
    levels: list[str] = []
    for engine in (store._connected, store._beating, store._unflushed):
        async with engine.connect() as conn:
            flush = str(await conn.scalar(text("SHOW synchronous_commit")))
        event.listen(engine.sync_engine, "before_cursor_execute", partial(_say, levels, flush))

    async def level(call: Awaitable[object]) -> set[str]:
        levels.clear()
        await call
        return set(levels)

    desk = await bench(store)
    assert await level(store.put([start_message()])) == {"on"}
    assert await level(store.claim(desk.worker, ["Order"], limit=10)) == {"off"}
    assert await level(store.claim_starts(desk.worker, ["Order"], limit=10)) == {"off"}
    assert await level(store.ring()) == {"off"}
    assert await level(store.heartbeat(desk.worker, timedelta(seconds=10))) == {"on"}
    assert await level(store.fence(desk.head.id)) == {"on"}


def _say(levels: list[str], level: str, *_: object) -> None:
    levels.append(level)


async def test_a_worker_beats_also_while_its_sagas_hold_every_connection(
    store: PostgresStore, desk: Bench
) -> None:
    busy = [await store._connected.connect() for _ in range(postgres._POOL + postgres._OVERFLOW)]
    try:
        async with asyncio.timeout(15):  # without a connection of its own it would wait for half a minute
            assert await store.heartbeat(desk.worker, timedelta(seconds=10))
    finally:
        for connection in busy:
            await connection.close()


async def test_a_link_that_swallows_everything_is_given_up_with_all_that_waits_on_it(
    store: PostgresStore, desk: Bench, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_BEAT_SECONDS", 0.5)
    # The server answers neither: as from far away, a lock that is held looks like a link that is dead.
    async with held_back(url, "worker, object"), asyncio.timeout(15):
        stuck = asyncio.create_task(desk.begin(admit=(lock("a:1"),)))
        await waiting(url)
        with pytest.raises(StoreUnavailable):
            await store.heartbeat(desk.worker, timedelta(seconds=10))
        with pytest.raises(OutcomeUnknown):
            await stuck
    await over(url)
    assert await store.heartbeat(desk.worker, timedelta(seconds=10)), "and it goes on with new ones"
