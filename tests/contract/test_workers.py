"""Workers and their chains: registering, leases, clean ends, take-over, fencing."""

from datetime import timedelta

import pytest

from sagacity.errors import StoreError, StoreUnavailable
from sagacity.ids import new_id
from sagacity.model.unit import BatchRefused, HeadMoved, Loss
from sagacity.store.base import Store
from tests.contract.builders import (
    FLOW,
    LEASE,
    NOON,
    Bench,
    HandClock,
    bench,
    first,
    following,
    start_message,
    worker_info,
)

PAST_LEASE = LEASE + timedelta(microseconds=1)


async def test_the_stores_instant_is_the_given_clocks(store: Store, clock: HandClock) -> None:
    assert await store.now() == NOON
    clock.pass_by(timedelta(days=30, microseconds=3))
    assert await store.now() == NOON + timedelta(days=30, microseconds=3)


async def test_each_worker_gets_a_chain_of_its_own_that_begins_empty(store: Store) -> None:
    desks = [await bench(store, name=f"w{n}") for n in range(3)]
    assert len({desk.head.id for desk in desks}) == 3
    assert {(desk.head.position, desk.head.hash) for desk in desks} == {(0, b"")}
    for desk in desks:
        await desk.begin()
    assert await store.heads() == sorted((desk.head for desk in desks), key=lambda head: head.id)


async def test_one_worker_may_have_several_chains(store: Store, desk: Bench) -> None:
    second = await store.open_chain(desk.worker)
    assert second.id != desk.head.id
    await store.write(desk.batch([first()], head=second))
    await desk.begin()


async def test_a_registered_worker_is_listed_while_its_lease_holds(store: Store, clock: HandClock) -> None:
    info = worker_info(name="Zoë")
    await store.register(info)
    assert await store.workers() == [info]
    clock.pass_by(LEASE)
    assert await store.workers() == []


async def test_the_same_worker_twice_is_refused(store: Store) -> None:
    info = worker_info()
    await store.register(info)
    with pytest.raises(StoreError):
        await store.register(info)


async def test_a_heartbeat_prolongs_the_lease_from_now(store: Store, desk: Bench, clock: HandClock) -> None:
    clock.pass_by(timedelta(seconds=20))
    assert await store.heartbeat(desk.worker, LEASE)
    (info,) = await store.workers()
    assert info.lease_until == NOON + timedelta(seconds=20) + LEASE
    clock.pass_by(timedelta(seconds=29))
    assert await store.take_over() == []


async def test_a_lease_that_ran_out_but_was_not_taken_over_can_be_prolonged(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    clock.pass_by(PAST_LEASE)
    assert await store.heartbeat(desk.worker, LEASE)
    assert await store.take_over() == []


async def test_a_heartbeat_of_one_who_was_taken_over_or_never_was_says_no(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    assert not await store.heartbeat(new_id(), LEASE)
    clock.pass_by(PAST_LEASE)
    assert await store.take_over() == [desk.worker]
    assert not await store.heartbeat(desk.worker, LEASE)


async def test_take_over_fences_the_dead_ones_chain_sagas_and_starts(
    store: Store, other: Store, desk: Bench, clock: HandClock
) -> None:
    saga = await desk.begin()
    start = start_message()
    await store.put([start])
    await store.claim_starts(desk.worker, [FLOW], limit=10)
    clock.pass_by(PAST_LEASE)
    heir = await bench(other)
    assert await other.take_over() == [desk.worker]
    assert await other.take_over() == []
    with pytest.raises(HeadMoved):
        await store.write(desk.batch([following(saga)]))
    (claimed,) = await other.claim(heir.worker, [FLOW], limit=10)
    assert (claimed.record, claimed.epoch) == (saga, 3)
    assert await other.claim_starts(heir.worker, [FLOW], limit=10) == [start]
    await heir.send(following(saga, epoch=claimed.epoch))


async def test_the_dead_ones_late_result_is_stale_even_on_a_living_chain(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    saga = await desk.begin()
    clock.pass_by(PAST_LEASE)
    await store.take_over()
    desk.head = await store.fence(desk.head.id)
    with pytest.raises(BatchRefused) as refused:
        await desk.send(following(saga))
    assert refused.value.losers == {saga.id: Loss.STALE}


async def test_take_over_leaves_the_living_alone(store: Store, desk: Bench, clock: HandClock) -> None:
    saga = await desk.begin()
    clock.pass_by(timedelta(seconds=20))
    living = await bench(store)
    kept = await living.begin()
    clock.pass_by(timedelta(seconds=11))
    assert await store.take_over() == [desk.worker]
    assert [claimed.record.id for claimed in await store.claim(living.worker, [FLOW], limit=10)] == [saga.id]
    await living.send(following(kept))


async def test_a_dead_ones_chain_is_taken_by_the_next_worker_where_it_stands(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    await desk.begin()
    clock.pass_by(PAST_LEASE)
    await store.take_over()
    heir = await bench(store)
    assert (heir.head.id, heir.head.position, heir.head.hash) == (
        desk.head.id,
        desk.head.position,
        desk.head.hash,
    )
    assert heir.head.epoch > desk.head.epoch
    await heir.begin()
    assert heir.head.position == 2


async def test_a_clean_end_hands_everything_back_at_once(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    start = start_message()
    await store.put([start])
    await store.claim_starts(desk.worker, [FLOW], limit=10)
    await store.unregister(desk.worker)
    assert await store.workers() == []
    assert await store.take_over() == []
    heir = await bench(store)
    assert heir.head.id == desk.head.id
    assert [claimed.record for claimed in await store.claim(heir.worker, [FLOW], limit=10)] == [saga]
    assert await store.claim_starts(heir.worker, [FLOW], limit=10) == [start]
    with pytest.raises(HeadMoved):
        await store.write(desk.batch([following(saga)]))


async def test_fence_tells_whether_a_batch_landed_and_shuts_out_what_is_late(
    store: Store, desk: Bench
) -> None:
    landed = desk.batch([first()])
    await store.write(landed)
    late = desk.batch([first()])
    fenced = await store.fence(desk.head.id)
    assert (fenced.position, fenced.hash) == (landed.new_head.position, landed.new_head.hash)
    assert fenced.epoch == desk.head.epoch + 1
    with pytest.raises(HeadMoved):
        await store.write(late)


async def test_there_is_no_fencing_of_a_chain_that_is_not_there(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.fence(99)


async def test_whoever_claims_a_dead_ones_saga_is_told_so_once(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    saga = await desk.begin()
    clock.pass_by(PAST_LEASE)
    heir = await bench(store)
    await store.take_over()
    (claimed,) = await store.claim(heir.worker, [FLOW], limit=10)
    assert claimed.orphaned
    await store.hand_back(heir.worker, [saga.id])
    (again,) = await store.claim(heir.worker, [FLOW], limit=10)
    assert (again.orphaned, again.record) == (False, saga)


async def test_what_a_worker_owns_and_has_taken_is_what_it_holds(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    start, read = start_message(), start_message()
    await store.put([start, read])
    taken = await store.claim_starts(desk.worker, [FLOW], limit=10)
    assert await store.held(desk.worker) == [saga.id, *(message.id for message in taken)]
    await store.give_back_starts(desk.worker, [start.id])
    await store.hand_back(desk.worker, [saga.id])
    assert await store.held(desk.worker) == [read.id]
    assert await store.held((await bench(store)).worker) == []


async def test_a_claim_that_comes_after_its_worker_was_taken_over_gets_nothing(
    store: Store, other: Store, desk: Bench, clock: HandClock
) -> None:
    saga = await desk.begin()
    start = start_message()
    await store.put([start])
    clock.pass_by(PAST_LEASE)
    heir = await bench(other)
    assert await other.take_over() == [desk.worker]
    assert await store.claim(desk.worker, [FLOW], limit=10) == []
    assert await store.reclaim(saga.id, desk.worker) is None
    assert await store.claim_starts(desk.worker, [FLOW], limit=10) == []
    with pytest.raises(StoreUnavailable):
        await store.open_chain(desk.worker)
    assert [claimed.record.id for claimed in await other.claim(heir.worker, [FLOW], limit=10)] == [saga.id]
    assert await other.claim_starts(heir.worker, [FLOW], limit=10) == [start]
