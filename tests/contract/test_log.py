"""The log: append-only, readable as a whole, erasable line by line, loadable into an empty store."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.chain import link
from sagacity.errors import Conflict
from sagacity.ids import new_id
from sagacity.model.canonical import JsonText
from sagacity.model.lines import Applied, Erased, Locked, read_line
from sagacity.model.record import Effect, Held, Record, Staged, Status, WaitsFor
from sagacity.model.unit import BatchRefused, ChainHead, HeadMoved, LogRow, Unit, holders
from sagacity.store.base import SagaRow, Store
from sagacity.store.open import open_store
from tests.contract.builders import (
    FLOW,
    NOON,
    Bench,
    HandClock,
    bench,
    change,
    dump,
    first,
    following,
    lock,
    record,
    start_message,
    started,
)


async def chain_of(store: Store, head: ChainHead) -> list[LogRow]:
    return [row async for row in store.chain_rows(head.id, upto=head.position)]


def assert_chained(store: Store, rows: Sequence[LogRow]) -> None:
    """Positions are dense, every digest is its data's, every hash follows from the one before."""
    previous = b""
    for position, row in enumerate(rows, 1):
        assert row.position == position
        assert row.data is None or sha256(row.data.encode()).digest() == row.digest
        assert link(previous, row, tenant=store.tenant, lane=store.lane) == row.hash
        previous = row.hash


def applied(object: str, version: int, before: str, after: str) -> Applied:
    operation = Staged(object=object, operation="debit", args=JsonText('{"amount":"0.10"}'), step="pay")
    return Applied(
        at=NOON,
        object=object,
        version=version,
        before=JsonText(before),
        after=JsonText(after),
        operations=(operation,),
    )


# --- append-only --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM log",
        "DELETE FROM log WHERE seq = 1",
        "UPDATE log SET data = '{}'",
        "UPDATE log SET data = NULL",
        "UPDATE log SET kind = 'x', data = NULL",
        "UPDATE log SET hash = digest",
        "UPDATE log SET position = position + 10",
        "UPDATE log SET seq = 99 WHERE seq = 1",
    ],
)
async def test_the_database_itself_refuses_to_change_a_line(
    store: Store, desk: Bench, engine: AsyncEngine, tampering: str
) -> None:
    await desk.send(following(await desk.begin()))
    before = await dump(engine)
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as conn:
            await conn.execute(text(tampering))
    assert await dump(engine) == before


# --- the chain ----------------------------------------------------------------------------------------


async def test_the_stored_chain_verifies_line_by_line(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    for _ in range(3):
        unit = following(saga)
        await desk.send(unit, first())
        saga = unit.record
    rows = await chain_of(store, desk.head)
    assert rows == [row for batch in desk.sent for row in batch.rows]
    assert_chained(store, rows)
    assert (rows[-1].position, rows[-1].hash) == (desk.head.position, desk.head.hash)


async def test_a_chain_is_read_up_to_a_head_and_in_order_over_many_pages(store: Store, desk: Bench) -> None:
    for _ in range(5):
        await desk.send(*(first() for _ in range(500)))
    rows = await chain_of(store, replace(desk.head, position=2_300))
    assert [row.position for row in rows] == list(range(1, 2_301))
    assert await chain_of(store, replace(desk.head, id=99)) == []


async def test_all_lines_are_read_by_saga_up_to_the_heads(store: Store, desk: Bench) -> None:
    second = await bench(store)
    sagas = [await worker.begin() for worker in (desk, second, desk)]
    for worker, saga in zip((desk, second, desk), sagas, strict=True):
        await worker.send(following(saga))
    heads = await store.heads()
    await desk.begin()
    third = await bench(store)
    await third.begin()
    rows = [row async for row in store.rows_by_saga(heads)]
    assert [(row.saga, row.seq) for row in rows] == [(s.id, n) for s in sagas for n in (0, 1)]


async def test_lines_by_saga_go_over_many_pages(store: Store, desk: Bench) -> None:
    units = [first() for _ in range(1_100)]
    await desk.send(*units)
    await desk.send(*(following(unit.record) for unit in units))
    found = [(row.saga, row.seq) async for row in store.rows_by_saga([desk.head])]
    assert found == sorted((unit.saga, n) for unit in units for n in (0, 1))


async def test_tables_are_streamed_whole_and_by_key(store: Store, desk: Bench) -> None:
    units = [first(admit=(lock(f"o:{n:05}"),)) for n in range(1_050)]
    await desk.send(*units)
    sagas: list[SagaRow] = [row async for row in store.sagas_whole()]
    assert [row.record for row in sagas] == [unit.record for unit in units]
    objects = [state async for state in store.objects_whole()]
    assert [state.object for state in objects] == [f"o:{n:05}" for n in range(1_050)]
    assert holders(objects[7].queue) == (units[7].saga,)


async def test_an_objects_story_is_told_by_version(store: Store, desk: Bench) -> None:
    saga = record(seq=2)
    await desk.send(
        first(saga, lines=(started(saga), applied("a:1", 1, "null", '{"n":1}')), changes=(change("a:1", 1),))
    )
    second = following(
        saga, lines=(applied("a:1", 2, '{"n":1}', '{"n":0.5}'),), changes=(change("a:1", 2, '{"n":0.5}'),)
    )
    await desk.send(second)
    story = await store.object_history("a:1")
    assert [(line.version, line.state, line.saga) for line in story] == [
        (1, '{"n":1}', saga.id),
        (2, '{"n":0.5}', saga.id),
    ]
    operations = '[{"args":{"amount":"0.10"},"object":"a:1","operation":"debit","step":"pay"}]'
    assert story[1].operations == operations
    assert (story[1].chain, story[1].position) == (desk.head.id, 3)
    assert await store.object_history("a:1", after=1) == story[1:]
    assert await store.object_history("a:1", limit=1) == story[:1]
    assert await store.object_history("a:1", after=2) == []


# --- erasing ------------------------------------------------------------------------------------------


def erasing(saga: Record, *seqs: int) -> Unit:
    return following(saga, lines=(Erased(at=NOON, saga=saga.id, seqs=seqs, reason="on request"),))


async def test_erased_lines_lose_their_data_and_the_chain_still_verifies(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    second = following(saga)
    await desk.send(second)
    head = await store.erase(saga.id, [0], erasing(second.record, 0), desk.head, desk.worker)
    rows = await chain_of(store, head)
    assert [row.data is None for row in rows] == [True, False, False]
    assert_chained(store, rows)
    story = await store.history(saga.id)
    assert [(line.kind, line.data is None) for line in story] == [
        ("started", True),
        ("retried", False),
        ("erased", False),
    ]
    assert (await store.heads())[0].position == 3


async def test_erasing_that_is_refused_erases_nothing(store: Store, desk: Bench, engine: AsyncEngine) -> None:
    saga = await desk.begin()
    before = await dump(engine)
    with pytest.raises(BatchRefused):
        await store.erase(saga.id, [0], replace(erasing(saga, 0), epoch=9), desk.head, desk.worker)
    wrong = replace(desk.head, epoch=9)
    with pytest.raises(HeadMoved):
        await store.erase(saga.id, [0], erasing(saga, 0), wrong, desk.worker)
    assert await dump(engine) == before


async def test_only_lines_that_an_erased_line_names_can_be_erased(
    store: Store, desk: Bench, engine: AsyncEngine
) -> None:
    saga = await desk.begin()
    second = following(saga)
    await desk.send(second)
    await store.erase(saga.id, [0], erasing(second.record, 0), desk.head, desk.worker)
    for seq in (1, 2):
        with pytest.raises(DBAPIError, match="append-only"):
            async with engine.begin() as conn:
                await conn.execute(text(f"UPDATE log SET data = NULL WHERE seq = {seq}"))


async def test_an_objects_story_stays_readable_where_a_line_was_erased(store: Store, desk: Bench) -> None:
    saga = record(seq=2)
    await desk.send(
        first(saga, lines=(started(saga), applied("a:1", 1, "null", '{"n":1}')), changes=(change("a:1", 1),))
    )
    await store.erase(saga.id, [1], erasing(saga, 1), desk.head, desk.worker)
    (version,) = await store.object_history("a:1")
    assert (version.version, version.state, version.operations) == (1, None, None)


# --- loading ------------------------------------------------------------------------------------------


async def in_pieces(rows: Sequence[LogRow], size: int = 2) -> AsyncIterator[Sequence[LogRow]]:
    for first_row in range(0, len(rows), size):
        yield rows[first_row : first_row + size]


async def told(store: Store, url: str, clock: HandClock, tenant: str) -> Store:
    opened = open_store(url, tenant=tenant, clock=clock, accept_loss=True)
    await opened.open()
    return opened


async def test_a_rebuilt_history_is_loaded_whole_and_goes_on(
    store: Store, url: str, desk: Bench, clock: HandClock
) -> None:
    start = start_message("k")
    held = (Held(object="a:1", granted=True),)
    effect = Effect(n=1, step="pay", visit=1, key="k", undo="Refund", result=JsonText("0.5"))
    running = record(start.id, key="k", seq=2, locks=held, effects=(effect,))
    lines = (started(running), Locked(at=NOON, locks=held, granted=True))
    await desk.send(
        first(
            running,
            start=start,
            lines=lines,
            admit=(lock("a:1"),),
            changes=(change("a:1", 1),),
            effects=(effect,),
        )
    )
    later = NOON + timedelta(minutes=1)
    waiting = record(status=Status.WAITING, waits_for=WaitsFor.TIMER, due_at=later)
    done = record(status=Status.COMMITTED)
    await desk.send(first(waiting), first(done))
    rows = await chain_of(store, desk.head)
    objects = [state async for state in store.objects_whole()]

    copy = await told(store, url, clock, "copy")
    try:
        await copy.load(in_pieces(rows), [running, waiting, done], objects, [desk.head], [start])
        assert await chain_of(copy, desk.head) == rows
        assert [state async for state in copy.objects_whole()] == objects
        assert {row.record.id: row.record async for row in copy.sagas_whole()} == {
            saga.id: saga for saga in (running, waiting, done)
        }
        assert await copy.effects_of(running.id) == [effect]
        assert await copy.find(FLOW, "k") == start.id
        assert await copy.counts() == {Status.RUNNING: 1, Status.WAITING: 1, Status.COMMITTED: 1}
        heir = await bench(copy)
        assert (heir.head.position, heir.head.hash) == (desk.head.position, desk.head.hash)
        (claimed,) = await copy.claim(heir.worker, [FLOW], limit=10)
        assert claimed.record == running
        written = await heir.send(following(running, epoch=claimed.epoch), first(admit=(lock("a:1"),)))
        assert [entry.ticket for entry in written.objects["a:1"].queue] == [1, 2]
        clock.pass_by(timedelta(minutes=1))
        assert [c.record for c in await copy.claim(heir.worker, [FLOW], limit=10)] == [waiting]
    finally:
        await copy.close()


async def test_fencing_numbers_given_out_before_are_not_given_out_again_after_loading(
    store: Store, url: str, desk: Bench, clock: HandClock
) -> None:
    held = (Held(object="a:1", granted=True),)
    for _ in range(3):
        saga = record(seq=2)
        lines = (started(saga), Locked(at=NOON, locks=held, granted=True))
        await desk.send(first(saga, lines=lines, admit=(lock("a:1"),)))
        await desk.send(following(saga, free=(lock("a:1"),)))
    rows = await chain_of(store, desk.head)
    objects = [state async for state in store.objects_whole()]
    copy = await told(store, url, clock, "copy")
    try:
        await copy.load(in_pieces(rows), [], objects, [desk.head], [])
        heir = await bench(copy)
        written = await heir.send(first(admit=(lock("a:1"),)))
        assert [entry.ticket for entry in written.objects["a:1"].queue] == [4]
    finally:
        await copy.close()


async def test_a_store_with_a_history_is_not_loaded_into(
    store: Store, desk: Bench, engine: AsyncEngine
) -> None:
    await desk.begin()
    before = await dump(engine)
    with pytest.raises(Conflict):
        await store.load(in_pieces([]), [record()], [], [], [])
    assert await dump(engine) == before


async def test_a_load_that_breaks_leaves_nothing(
    store: Store, url: str, desk: Bench, clock: HandClock
) -> None:
    await desk.send(*(first() for _ in range(5)))
    rows = await chain_of(store, desk.head)

    async def breaking() -> AsyncIterator[Sequence[LogRow]]:
        yield rows[:2]
        raise RuntimeError("the source broke")

    copy = await told(store, url, clock, "copy")
    try:
        with pytest.raises(RuntimeError, match="the source broke"):
            await copy.load(breaking(), [], [], [], [])
        assert [row async for row in copy.rows_by_saga([desk.head])] == []
        await copy.load(in_pieces(rows), [], [], [desk.head], [])
        assert await chain_of(copy, desk.head) == rows
    finally:
        await copy.close()


async def test_every_stored_line_can_be_read_as_the_line_it_was(store: Store, desk: Bench) -> None:
    saga = record(seq=2, id=new_id())
    lines = (started(saga), applied("a:1", 1, "null", '{"n":1}'))
    await desk.send(first(saga, lines=lines, changes=(change("a:1", 1),)))
    found = [
        read_line(row.kind, str(row.data), at=row.at, object=row.object, version=row.version)
        for row in await chain_of(store, desk.head)
    ]
    assert found == list(lines)
