"""A batch that is refused: who is blamed, for what, and that nothing was written."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.ids import new_id
from sagacity.model.unit import BatchRefused, HeadMoved, Loss, Unit
from sagacity.store.base import Store
from tests.contract.builders import (
    Bench,
    asleep,
    bench,
    change,
    dump,
    first,
    following,
    lock,
    record,
    signal,
    start_message,
)

Spoiler = Callable[[Bench], Awaitable[Unit]]


async def stale(desk: Bench) -> Unit:
    saga = await desk.begin()
    await desk.send(following(saga))
    return following(saga)


async def rung(desk: Bench) -> Unit:
    saga = await desk.begin()
    await desk.store.put([signal(saga.id)])
    return asleep(saga, arrivals=0)


async def known(desk: Bench) -> Unit:
    there = start_message()
    await desk.store.put([there])
    again = start_message(there.key)
    return first(record(again.id, key=there.key), start=again)


async def taken(desk: Bench) -> Unit:
    saga = await desk.begin()
    mail = signal(saga.id)
    await desk.store.put([mail])
    moved = following(saga, consumes=(mail.id,))
    await desk.send(moved)
    return following(moved.record, consumes=(mail.id,))


async def busy(desk: Bench) -> Unit:
    await desk.begin(admit=(lock("busy:1"),))
    return first(admit=(lock("busy:0"), lock("busy:1")), optimistic=True)


async def overtaken(desk: Bench) -> Unit:
    await desk.begin(changes=(change("changed:1", 1),))
    return first(changes=(change("changed:1", 1),))


SPOILERS: dict[Loss, Spoiler] = {
    Loss.STALE: stale,
    Loss.ARRIVALS: rung,
    Loss.KNOWN: known,
    Loss.TAKEN: taken,
    Loss.BUSY: busy,
    Loss.VERSION: overtaken,
}


async def refusal(desk: Bench, *units: Unit) -> dict[UUID, Loss]:
    with pytest.raises(BatchRefused) as refused:
        await desk.store.write(desk.batch(units))
    return dict(refused.value.losers)


@pytest.mark.parametrize("loss", SPOILERS)
async def test_a_loser_alone_is_named_with_its_reason(desk: Bench, engine: AsyncEngine, loss: Loss) -> None:
    unit = await SPOILERS[loss](desk)
    before = await dump(engine)
    assert await refusal(desk, unit) == {unit.saga: loss}
    assert await dump(engine) == before


@pytest.mark.parametrize("loss", SPOILERS)
async def test_an_innocent_in_company_is_not_named_and_can_be_sent_again(
    desk: Bench, engine: AsyncEngine, loss: Loss
) -> None:
    unit = await SPOILERS[loss](desk)
    saga = await desk.begin()
    fresh = first(admit=(lock("free:1"),), optimistic=True)
    innocents = (following(saga), fresh)
    before = await dump(engine)
    assert await refusal(desk, innocents[0], unit, innocents[1]) == {unit.saga: loss}
    assert await dump(engine) == before
    written = await desk.send(*innocents)
    assert set(written.arrivals) == {saga.id, fresh.saga}


async def test_all_losers_of_all_kinds_are_named_at_once(desk: Bench, engine: AsyncEngine) -> None:
    units = {loss: await spoil(desk) for loss, spoil in SPOILERS.items()}
    innocent = first()
    before = await dump(engine)
    expected = {unit.saga: loss for loss, unit in units.items()}
    assert await refusal(desk, innocent, *units.values()) == expected
    assert await dump(engine) == before
    await desk.send(innocent)


async def test_two_losers_of_one_kind_are_both_named(desk: Bench) -> None:
    for loss, spoil in SPOILERS.items():
        if loss in {Loss.BUSY, Loss.VERSION}:
            continue  # their second victim is told in tests of its own, below
        one, two = await spoil(desk), await spoil(desk)
        assert await refusal(desk, one, two) == {one.saga: loss, two.saga: loss}


# --- each condition's edges ---------------------------------------------------------------------------


async def test_a_saga_that_is_not_there_is_stale(desk: Bench) -> None:
    unit = following(record())
    assert await refusal(desk, unit) == {unit.saga: Loss.STALE}


async def test_another_epoch_is_stale(desk: Bench) -> None:
    saga = await desk.begin()
    assert await refusal(desk, following(saga, epoch=2)) == {saga.id: Loss.STALE}


async def test_another_owners_saga_is_stale(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    stranger = await bench(store)
    assert await refusal(stranger, following(saga)) == {saga.id: Loss.STALE}


async def test_a_released_saga_is_stale_for_its_former_owner(desk: Bench) -> None:
    saga = await desk.begin()
    gone = asleep(saga)
    await desk.send(gone)
    assert await refusal(desk, following(gone.record)) == {saga.id: Loss.STALE}


async def test_stale_is_told_before_arrivals(desk: Bench) -> None:
    saga = await desk.begin()
    await desk.store.put([signal(saga.id)])
    assert await refusal(desk, replace(asleep(saga, arrivals=0), epoch=7)) == {saga.id: Loss.STALE}


async def test_arrivals_that_were_seen_are_no_loss(desk: Bench) -> None:
    saga = await desk.begin()
    await desk.store.put([signal(saga.id)])
    written = await desk.send(asleep(saga, arrivals=1))
    assert written.arrivals == {saga.id: 1}


async def test_arrivals_do_not_matter_where_they_are_not_given(desk: Bench) -> None:
    saga = await desk.begin()
    await desk.store.put([signal(saga.id)])
    written = await desk.send(following(saga))
    assert written.arrivals == {saga.id: 1}


async def test_a_saga_inserted_twice_is_known(desk: Bench) -> None:
    saga = await desk.begin()
    assert await refusal(desk, first(saga)) == {saga.id: Loss.KNOWN}


async def test_a_start_with_a_known_id_is_known(desk: Bench) -> None:
    there = start_message()
    await desk.store.put([there])
    again = replace(start_message(), id=there.id, saga=there.id)
    unit = first(record(there.id, key=str(again.key)), start=again)
    assert await refusal(desk, unit) == {there.id: Loss.KNOWN}


async def test_of_two_starts_with_one_key_in_a_batch_one_is_known(desk: Bench) -> None:
    one = start_message()
    two = start_message(one.key)
    units = [first(record(start.id, key=str(start.key)), start=start) for start in (one, two)]
    (loser,) = (await refusal(desk, *units)).items()
    assert loser[1] is Loss.KNOWN
    assert loser[0] in {one.id, two.id}


async def test_one_key_may_start_sagas_of_two_definitions(desk: Bench) -> None:
    one = start_message("same")
    two = start_message("same", definition="Transfer")
    await desk.send(
        first(record(one.id, key="same"), start=one),
        first(record(two.id, key="same", definition="Transfer"), start=two),
    )
    assert await desk.store.find("Order", "same") == one.id
    assert await desk.store.find("Transfer", "same") == two.id


async def test_a_message_that_never_was_is_taken(desk: Bench) -> None:
    saga = await desk.begin()
    assert await refusal(desk, following(saga, consumes=(new_id(),))) == {saga.id: Loss.TAKEN}


async def test_of_two_optimistic_units_on_one_object_the_second_is_busy(desk: Bench) -> None:
    one = first(admit=(lock("a:1"),), optimistic=True)
    two = first(admit=(lock("a:1"), lock("b:1")), optimistic=True)
    assert await refusal(desk, one, two) == {two.saga: Loss.BUSY}


async def test_an_optimistic_unit_behind_a_queued_one_is_busy(desk: Bench) -> None:
    queued = first(admit=(lock("a:1"),))
    hasty = first(admit=(lock("a:1"),), optimistic=True)
    assert await refusal(desk, queued, hasty) == {hasty.saga: Loss.BUSY}


async def test_optimistic_shared_locks_are_held_together(desk: Bench) -> None:
    units = [first(admit=(lock("a:1", shared=True),), optimistic=True) for _ in range(3)]
    written = await desk.send(*units)
    assert [entry.saga for entry in written.objects["a:1"].queue] == [unit.saga for unit in units]


async def test_an_optimistic_shared_lock_behind_an_exclusive_one_is_busy(desk: Bench) -> None:
    await desk.begin(admit=(lock("a:1", shared=True),))
    await desk.begin(admit=(lock("a:1"),))
    unit = first(admit=(lock("a:1", shared=True),), optimistic=True)
    assert await refusal(desk, unit) == {unit.saga: Loss.BUSY}


async def test_an_object_freed_in_the_same_batch_is_free(desk: Bench) -> None:
    holder = await desk.begin(admit=(lock("a:1"),))
    heir = first(admit=(lock("a:1"),), optimistic=True)
    written = await desk.send(heir, following(holder, free=(lock("a:1"),)))
    assert [entry.saga for entry in written.objects["a:1"].queue] == [heir.saga]


async def test_a_version_from_the_future_is_refused(desk: Bench) -> None:
    unit = first(changes=(change("a:1", 2),))
    assert await refusal(desk, unit) == {unit.saga: Loss.VERSION}


async def test_a_head_that_moved_is_told_before_any_loser(desk: Bench, engine: AsyncEngine) -> None:
    old = desk.head
    units = [await spoil(desk) for spoil in SPOILERS.values()]
    before = await dump(engine)
    with pytest.raises(HeadMoved):
        await desk.store.write(desk.batch(units, head=old))
    assert await dump(engine) == before


async def test_a_fenced_epoch_moves_the_head(store: Store, desk: Bench) -> None:
    fenced = await store.fence(desk.head.id)
    with pytest.raises(HeadMoved):
        await store.write(desk.batch([first()]))
    desk.head = fenced
    await desk.begin()
