"""What a batch writes when nothing is wrong with it."""

from datetime import timedelta

import pytest

from sagacity.ids import new_id
from sagacity.model.canonical import JsonText
from sagacity.model.record import (
    Effect,
    EffectStatus,
    Held,
    Phase,
    Restore,
    Run,
    Staged,
    Status,
    Wait,
    WaitsFor,
)
from sagacity.model.unit import HeadMoved, Notice
from sagacity.store.base import Store
from tests.contract.builders import NOON, Bench, asleep, change, first, following, lock, record, signal


async def test_an_inserted_saga_reads_back_as_it_was_written(store: Store, desk: Bench) -> None:
    staged = Staged(object="a:1", operation="debit", args=JsonText('{"amount":"1.0"}'), step="pay")
    full = record(
        status=Status.WAITING,
        waits_for=WaitsFor.LOCK,
        reason="because",
        paused=True,
        due_at=NOON + timedelta(microseconds=1),
        parent=new_id(),
        parent_step="spawn",
        rolls_back=new_id(),
        state=("a", "b"),
        locks=(Held(object="a:1", mode="shared", granted=True, late=True),),
        runs=(Run(step="pay", phase=Phase.RETRY, since=NOON, due_at=NOON, error="é", children=(new_id(),)),),
        visits={"pay": 2},
        results={"pay": JsonText('{"n":1.5,"t":"0.10"}'), "x": JsonText("null")},
        staged=(staged,),
        effects=(Effect(n=1, step="pay", visit=1, key="k", undo="Refund", result=JsonText('[1,"a"]')),),
        waits=(Wait(name="w", state="a", kind=WaitsFor.SIGNAL, signal="s", until=NOON),),
        restores=(
            Restore(
                object="a:1", version=3, before=JsonText("1"), after=JsonText("null"), operations=(staged,)
            ),
        ),
        cancelling="why",
        restarting=True,
        backward=True,
        pivoted=True,
        restarts=2,
    )
    await desk.send(first(full))
    row = await store.saga(full.id)
    assert row is not None
    assert row.record == full
    assert (row.owner, row.epoch, row.arrivals, row.heard) == (desk.worker, 1, 0, 0)


async def test_an_update_moves_revision_and_lines(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    moved = following(saga, change={"state": ("reserved",), "updated_at": NOON + timedelta(seconds=1)})
    await desk.send(moved)
    row = await store.saga(saga.id)
    assert row is not None
    assert row.record == moved.record
    lines = await store.history(saga.id)
    assert [(line.seq, line.kind) for line in lines] == [(0, "started"), (1, "retried")]


async def test_many_sagas_go_in_one_batch(store: Store, desk: Bench) -> None:
    units = [first() for _ in range(120)]
    written = await desk.send(*units)
    assert written.arrivals == {unit.saga: 0 for unit in units}
    moves = [following(unit.record) for unit in units]
    await desk.send(*moves)
    whole = {row.record.id: row.record async for row in store.sagas_whole()}
    assert whole == {unit.saga: unit.record for unit in moves}
    assert (await store.heads()) == [desk.head]
    assert desk.head.position == 240


async def test_a_head_that_moved_is_told_and_nothing_is_written(store: Store, desk: Bench) -> None:
    before = desk.head
    await desk.begin()
    unit = first()
    with pytest.raises(HeadMoved):
        await store.write(desk.batch([unit], head=before))
    assert await store.saga(unit.saga) is None


async def test_effects_notices_and_objects_are_written_along(store: Store, desk: Bench) -> None:
    effect = Effect(n=1, step="pay", visit=1, key="k", undo="Refund")
    saga = record()
    notice = Notice(key="order", saga=saga.id, seq=1, kind="committed", data=JsonText("{}"))
    written = await desk.send(
        first(saga, effects=(effect,), notices=(notice,), admit=(lock("a:1"),), changes=(change("a:1", 1),))
    )
    assert await store.effects_of(saga.id) == [effect]
    assert [found for _, found in await store.notices(limit=10)] == [notice]
    assert written.objects["a:1"].version == 1
    assert (await store.objects(["a:1"])) == written.objects
    landed = Effect(n=1, step="pay", visit=1, key="k", undo="Refund", status=EffectStatus.LANDED)
    await desk.send(following(saga, effects=(landed,), notices=(notice,)))
    assert await store.effects_of(saga.id) == [landed]
    assert len(await store.notices(limit=10)) == 1


async def test_a_released_saga_sleeps_until_due_and_an_owned_one_is_not_claimed(
    store: Store, desk: Bench
) -> None:
    saga = await desk.begin()
    assert await store.claim(desk.worker, ["Order"], limit=10) == []
    await desk.send(asleep(saga, until=NOON + timedelta(minutes=1), arrivals=0))
    assert await store.claim(desk.worker, ["Order"], limit=10) == []
    await store.put([signal(saga.id)])
    (claimed,) = await store.claim(desk.worker, ["Order"], limit=10)
    assert [message.name for message in claimed.mail] == ["go"]


async def test_two_units_of_one_saga_or_two_changes_of_one_object_are_a_fault_of_the_sender(
    desk: Bench,
) -> None:
    saga = await desk.begin()
    with pytest.raises(ValueError, match="two units of saga"):
        await desk.store.write(desk.batch([following(saga), following(saga)]))
    with pytest.raises(ValueError, match="two changes of object a:1"):
        await desk.store.write(
            desk.batch([first(changes=(change("a:1", 1),)), first(changes=(change("a:1", 1),))])
        )
