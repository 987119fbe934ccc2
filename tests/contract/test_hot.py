"""The one statement on PostgreSQL: what it promises when several write, and when the line breaks."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tenacity import AsyncRetrying, stop_after_attempt

from sagacity.errors import StoreError, StoreReadOnly, StoreUnavailable, UnsafeSettings
from sagacity.model.record import Record
from sagacity.model.unit import Batch, BatchRefused, HeadMoved, Loss, OutcomeUnknown, Unit, Written
from sagacity.store import connections, failures, hot, postgres
from sagacity.store.base import Store
from sagacity.store.open import open_store
from sagacity.store.parts import arrange
from sagacity.store.postgres import PostgresStore
from sagacity.store.rows import Scope
from tests.contract.builders import (
    FLOW,
    Bench,
    HandClock,
    bench,
    change,
    first,
    following,
    lock,
    record,
    start_message,
)
from tests.contract.server import held_back, over, session, waiting

pytestmark = [
    pytest.mark.parametrize("url", ["fresh postgresql"], indirect=True),
    pytest.mark.postgres,
]

_SCOPE = Scope("main", "live")


# --- the gate ----------------------------------------------------------------------------------------


async def test_losers_anywhere_in_the_batch_are_all_named(desk: Bench) -> None:
    await desk.begin(admit=(lock("busy:1"),))
    sagas = [await desk.begin() for _ in range(12)]
    for seed in range(12):
        chance = random.Random(seed)
        expected: dict[Any, Loss] = {}
        units: list[Unit] = []
        for saga in sagas:
            loss = chance.choice([None, None, Loss.STALE, Loss.ARRIVALS, Loss.BUSY, Loss.VERSION])
            units.append(_losing(saga, loss))
            if loss is not None:
                expected[saga.id] = loss
        chance.shuffle(units)
        if not expected:
            continue
        with pytest.raises(BatchRefused) as refused:
            await desk.send(*units)
        assert refused.value.losers == expected


def _losing(saga: Record, loss: Loss | None) -> Unit:
    own = f"own:{saga.id}"
    match loss:
        case Loss.STALE:
            return following(saga, epoch=7)
        case Loss.ARRIVALS:
            return following(saga, arrivals=3)
        case Loss.BUSY:
            return following(saga, admit=(lock("busy:1"),), optimistic=True)
        case Loss.VERSION:
            return following(saga, changes=(change(own, 5),))
    return following(saga, changes=(change(own, 1),), admit=(lock(own),), optimistic=True)


async def test_a_stale_member_whose_line_is_there_already_is_named(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    await desk.send(following(saga))
    innocent = first()
    # It brings the line (saga, 1) once more: without the gate the collision would name nobody.
    with pytest.raises(BatchRefused) as refused:
        await desk.send(innocent, following(saga))
    assert refused.value.losers == {saga.id: Loss.STALE}
    await desk.send(innocent)
    assert len(await store.history(innocent.saga)) == 1


async def test_a_moved_head_is_told_even_with_losers(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    moved = await store.fence(desk.head.id)
    with pytest.raises(HeadMoved):
        await desk.send(following(saga), following(record(), epoch=3))
    desk.head = moved
    await desk.send(following(saga))


async def test_a_batch_of_a_thousand_goes_in_one_statement(store: Store, desk: Bench) -> None:
    units = [first(admit=(lock(f"o:{n}"),), optimistic=True) for n in range(1000)]
    written = await desk.send(*units)
    assert len(written.arrivals) == 1000
    assert len(written.objects) == 1000
    assert [head.position for head in await store.heads()] == [1000]


# --- two writers -------------------------------------------------------------------------------------


async def test_two_writers_over_the_same_objects_never_deadlock(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = lambda: AsyncRetrying(stop=stop_after_attempt(1), reraise=True)  # noqa: E731
    monkeypatch.setattr(postgres, "again", once)  # a deadlock would be repeated, and so be hidden

    async def write(desk: Bench, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            units = []
            for _ in range(8):
                asked = chance.sample(range(20), 5)
                units.append(first(admit=tuple(lock(f"hot:{n:02}") for n in asked)))
            await desk.send(*units)
            leaving = [following(unit.record, free=unit.admit) for unit in units]
            chance.shuffle(leaving)
            await desk.send(*leaving)

    await asyncio.gather(write(await bench(store), 1), write(await bench(other), 2))
    states = await store.objects([f"hot:{n:02}" for n in range(20)])
    assert [state.queue for state in states.values()] == [()] * 20


async def test_a_unit_that_waited_behind_another_writer_sees_what_that_one_wrote(
    store: Store, other: Store, desk: Bench
) -> None:
    rival = await bench(other)
    mine, theirs = (
        first(admit=(lock("o:1"),), optimistic=True, changes=(change("o:1", 1),)) for _ in range(2)
    )
    found = await asyncio.gather(desk.send(mine), rival.send(theirs), return_exceptions=True)
    refused = [one for one in found if isinstance(one, BatchRefused)]
    assert len(refused) == 1
    assert list(refused[0].losers.values()) == [Loss.BUSY]


# --- broken lines ------------------------------------------------------------------------------------


async def test_a_batch_cut_off_while_it_waits_has_not_landed_and_never_will(
    store: Store, desk: Bench, url: str
) -> None:
    saga = await desk.begin()
    batch = desk.batch([following(saga)])
    async with held_back(url, "saga"):
        sending = asyncio.create_task(store.write(batch))
        pid = await waiting(url)
        async with session(url) as operator:
            await operator.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(OutcomeUnknown):
            await sending
        fenced = await store.fence(desk.head.id)
    assert (fenced.position, fenced.epoch) == (batch.head.position, batch.head.epoch + 1)
    desk.head = fenced
    await desk.send(following(saga))


async def test_a_batch_that_still_waits_in_the_server_is_shut_out_by_the_fence(
    store: PostgresStore, desk: Bench, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = await desk.begin()
    batch = desk.batch([following(saga)])
    plain, drivers = hot.write, list[Any]()

    async def watched(driver: Any, scope: Scope, sent: Batch) -> Written:
        drivers.append(driver)
        return await plain(driver, scope, sent)

    monkeypatch.setattr(hot, "write", watched)
    async with held_back(url, "saga"):
        sending = asyncio.create_task(store.write(batch))
        await waiting(url)
        drivers[0]._transport.abort()  # the line dies; the server does not know it yet
        with pytest.raises(OutcomeUnknown):
            await sending
        fenced = await store.fence(desk.head.id)
        assert fenced.position == batch.head.position
    await over(url)
    assert [(head.position, head.epoch) for head in await store.heads()] == [(1, fenced.epoch)]
    assert len(await store.history(saga.id)) == 1


async def test_a_batch_whose_answer_was_lost_has_landed_and_fence_tells(
    store: Store, desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = await desk.begin()
    batch = desk.batch([following(saga)])
    plain = hot.write

    async def cut_off(driver: Any, scope: Scope, sent: Batch) -> Written:
        await plain(driver, scope, sent)
        raise ConnectionResetError("the answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(hot, "write", cut_off)
        with pytest.raises(OutcomeUnknown):
            await store.write(batch)
    fenced = await store.fence(desk.head.id)
    assert (fenced.position, fenced.hash) == (batch.new_head.position, batch.new_head.hash)


async def test_after_all_lines_were_cut_the_store_goes_on(store: Store, desk: Bench, url: str) -> None:
    await desk.begin()
    await store.counts()
    async with session(url) as operator:
        await operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'sagacity' AND datname = current_database()"
        )
    await asyncio.sleep(0.1)  # until the loop has seen it
    assert sum((await store.counts()).values()) == 1
    await desk.begin()


async def test_a_deadlock_is_repeated_and_a_broken_promise_is_not(
    store: Store, desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, tries = hot.write, []

    async def unlucky(driver: Any, scope: Scope, sent: Batch) -> Written:
        tries.append(sent)
        if len(tries) < 3:
            raise asyncpg.DeadlockDetectedError
        return await plain(driver, scope, sent)

    monkeypatch.setattr(hot, "write", unlucky)
    await desk.begin()
    assert len(tries) == 3

    async def broken(driver: Any, scope: Scope, sent: Batch) -> Written:
        tries.append(sent)
        raise asyncpg.CheckViolationError("no such status")

    monkeypatch.setattr(hot, "write", broken)
    with pytest.raises(StoreError, match="no such status"):
        await desk.begin()
    assert len(tries) == 4


async def test_a_line_whose_command_was_cancelled_is_not_used_again(
    store: PostgresStore, desk: Bench, url: str
) -> None:
    saga = await desk.begin()
    async with held_back(url, "saga"):
        sending = asyncio.create_task(store.write(desk.batch([following(saga)])))
        await waiting(url)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert store._hot._idle == []
    desk.head = await store.fence(desk.head.id)
    await desk.begin()


# --- settings ----------------------------------------------------------------------------------------


async def test_the_planner_is_pinned_on_the_lines_that_run_the_statement(store: PostgresStore) -> None:
    async with store._hot.one() as driver:
        found = {name: await driver.fetchval(f"SHOW {name}") for name in hot.SETTINGS}
    assert found == dict(hot.SETTINGS)


async def test_a_pooler_that_drops_session_settings_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = connections.Address.connect

    async def dropping(address: connections.Address, settings: Any = None) -> Any:
        return await plain(address)

    monkeypatch.setattr(connections.Address, "connect", dropping)
    with pytest.raises(StoreError, match=r"jit.*a pooler between drops session settings"):
        await open_store(url, accept_loss=True).open()


async def test_a_pooler_that_refuses_session_settings_is_named(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusing(*_: Any, **__: Any) -> Any:
        raise asyncpg.ProtocolViolationError("unsupported startup parameter: jit")

    monkeypatch.setattr(asyncpg, "connect", refusing)
    with pytest.raises(StoreError, match=r"unsupported startup parameter: jit: a pooler between"):
        await open_store(url, accept_loss=True).open()


async def test_unsafe_flush_settings_are_refused_unless_accepted(url: str) -> None:
    with pytest.raises(UnsafeSettings, match=r"fsync, full_page_writes is off.*--i-accept-loss"):
        await open_store(url).open()


async def test_a_role_that_does_not_wait_for_the_flush_is_refused(url: str) -> None:
    async with session(url) as operator:
        name = await operator.fetchval("SELECT current_database()")
        await operator.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(UnsafeSettings, match="synchronous_commit"):
        await open_store(url).open()


async def test_a_server_that_accepts_no_writes_is_named(
    store: Store, url: str, clock: HandClock, desk: Bench
) -> None:
    async with session(url) as operator:
        name = await operator.fetchval("SELECT current_database()")
        await operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    reader = open_store(url, clock=clock, accept_loss=True)
    await reader.open()
    try:
        desk.store = reader
        with pytest.raises(StoreReadOnly, match="connect to the primary"):
            await desk.begin()
        with pytest.raises(StoreReadOnly):
            await reader.fence(desk.head.id)
    finally:
        await reader.close()


async def test_nobody_there_is_told_without_the_password(url: str) -> None:
    nobody = "postgresql://somebody:secret@127.0.0.1:1/nowhere"
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/nowhere") as told:
        await open_store(nobody).open()
    assert "secret" not in str(told.value)


async def test_the_instant_is_the_servers_and_grows(url: str) -> None:
    opened = open_store(url, accept_loss=True)
    await opened.open()
    first_look, second_look = await opened.now(), await opened.now()
    await opened.close()
    async with session(url) as driver:
        last_look = await driver.fetchval("SELECT clock_timestamp()")
    assert first_look < second_look < last_look
    assert first_look.utcoffset() == timedelta(0)


async def test_a_closed_store_says_so_and_closing_twice_is_harmless(url: str) -> None:
    opened = open_store(url, accept_loss=True)
    with pytest.raises(StoreUnavailable, match="not open"):
        await opened.counts()
    await opened.open()
    await opened.open()
    await opened.close()
    await opened.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await opened.counts()


# --- plans -------------------------------------------------------------------------------------------


async def test_the_statement_finds_every_row_by_an_index_also_on_young_tables(
    store: PostgresStore, desk: Bench
) -> None:
    saga = await desk.begin(admit=(lock("o:1"),))
    batch = desk.batch([following(saga, free=(lock("o:1"),), changes=(change("o:1", 1),))])
    arguments = hot.arguments(_SCOPE, batch, arrange(batch))
    async with store._hot.one() as driver:
        for prepare in ("SELECT 1", "ANALYZE"):
            await driver.execute(prepare)
            plan = "\n".join(row[0] for row in await driver.fetch("EXPLAIN " + hot.STATEMENT, *arguments))
            assert "Seq Scan" not in plan
            assert "Index Scan using pk_chain" in plan
            assert plan.count("Conflict Arbiter Indexes: pk_") == 4


async def test_the_statement_is_planned_once(store: PostgresStore, desk: Bench) -> None:
    for _ in range(7):
        await desk.begin()
    async with store._hot.one() as driver:
        query = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1"
        rows = await driver.fetch(query, hot.STATEMENT)
    assert [tuple(row) for row in rows] == [(7, 0)]


async def test_young_tables_get_statistics_before_autovacuum_comes_by(
    store: Store, desk: Bench, url: str
) -> None:
    async def known() -> float:
        async with session(url) as driver:
            found: float = await driver.fetchval("SELECT reltuples FROM pg_class WHERE relname = 'inbox'")
            return found

    starts = [start_message() for _ in range(600)]
    await desk.send(*(first(record(start.saga, key=str(start.key)), start=start) for start in starts))
    assert await known() < 600
    await store.claim(desk.worker, [FLOW], limit=1)
    assert await known() == 600
    more = [start_message() for _ in range(100)]
    await desk.send(*(first(record(start.saga, key=str(start.key)), start=start) for start in more))
    await store.claim(desk.worker, [FLOW], limit=1)
    assert await known() == 600


# --- hints -------------------------------------------------------------------------------------------


async def test_a_hint_reaches_another_process(store: Store, other: Store) -> None:
    await asyncio.wait_for(other.hinted(), 10)  # the first call returns once the line stands
    waits = asyncio.create_task(other.hinted())
    await asyncio.sleep(0.05)
    assert not waits.done()
    await store.hint()
    await asyncio.wait_for(waits, 10)


async def test_hints_do_not_meet_across_tenants(store: Store, url: str) -> None:
    stranger = open_store(url, tenant="another", accept_loss=True)
    await stranger.open()
    try:
        await asyncio.wait_for(stranger.hinted(), 10)
        await store.hint()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stranger.hinted(), 0.2)
    finally:
        await stranger.close()


async def test_a_broken_line_counts_as_a_hint_and_is_made_anew(store: Store, other: Store, url: str) -> None:
    await asyncio.wait_for(other.hinted(), 10)
    waits = asyncio.create_task(other.hinted())
    async with session(url) as operator:
        await operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            " AND datname = current_database()"
        )
    await asyncio.wait_for(waits, 10)
    await asyncio.wait_for(other.hinted(), 10)
    waits = asyncio.create_task(other.hinted())
    await store.hint()
    await asyncio.wait_for(waits, 10)


async def test_without_a_server_hints_are_lost_in_silence(url: str) -> None:
    nobody = PostgresStore(_elsewhere(), tenant="main", lane="live")
    await nobody.hint()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(nobody.hinted(), 0.2)
    await nobody.close()


def _elsewhere() -> Any:
    from sqlalchemy.engine import make_url

    return make_url("postgresql+asyncpg://somebody@127.0.0.1:1/nowhere")


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.LockNotAvailableError("busy"), StoreUnavailable),
        (asyncpg.TooManyConnectionsError("full"), StoreUnavailable),
        (asyncpg.DiskFullError("full"), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (asyncpg.DataError("an argument"), StoreError),
    ],
)
async def test_errors_are_told_apart_by_class_and_state(url: str, error: Exception, kind: type) -> None:
    assert type(failures.named(error)) is kind


async def test_what_the_driver_cannot_send_is_refused_not_unknown(store: Store, desk: Bench) -> None:
    with pytest.raises(StoreError):
        await desk.begin(record(version=2**40))
    await desk.begin()
