"""Claims: exclusive, fenced, due or rung, and with the mail that belongs to the bell."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sagacity.ids import new_id
from sagacity.model.record import Status
from sagacity.model.unit import BatchRefused, Loss
from sagacity.store.base import SagaRow, Store
from tests.contract.builders import (
    FLOW,
    NOON,
    Bench,
    HandClock,
    asleep,
    bench,
    following,
    record,
    signal,
    start_message,
)

MINUTE = timedelta(minutes=1)


async def row_of(store: Store, saga: object) -> SagaRow:
    row = await store.saga(saga)  # type: ignore[arg-type]
    assert row is not None
    return row


async def test_a_saga_is_claimed_when_it_is_due_and_not_before(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    saga = await desk.begin()
    sleeping = asleep(saga, until=NOON + MINUTE)
    await desk.send(sleeping)
    clock.pass_by(MINUTE - timedelta(microseconds=1))
    assert await store.claim(desk.worker, [FLOW], limit=10) == []
    clock.pass_by(timedelta(microseconds=1))
    (claimed,) = await store.claim(desk.worker, [FLOW], limit=10)
    assert claimed.record == sleeping.record
    assert (claimed.epoch, claimed.arrivals, claimed.mail) == (2, 0, ())
    row = await row_of(store, saga.id)
    assert (row.owner, row.epoch) == (desk.worker, 2)


async def test_a_claimed_saga_is_nobody_elses(store: Store, other: Store, desk: Bench) -> None:
    stranger = await bench(other)
    sagas = [asleep(await desk.begin(), until=NOON) for _ in range(40)]
    await desk.send(*sagas)
    mine, theirs = await asyncio.gather(
        store.claim(desk.worker, [FLOW], limit=25), other.claim(stranger.worker, [FLOW], limit=25)
    )
    taken = [claimed.record.id for claimed in (*mine, *theirs)]
    assert len(taken) == len(set(taken))
    rest = await store.claim(desk.worker, [FLOW], limit=100)
    assert {claimed.record.id for claimed in rest} | set(taken) == {unit.saga for unit in sagas}
    assert await other.claim(stranger.worker, [FLOW], limit=100) == []


async def test_the_oldest_due_come_first_then_the_rung(store: Store, desk: Bench, clock: HandClock) -> None:
    sagas = [await desk.begin() for _ in range(4)]
    seconds = (30, 10, 20)
    units = [asleep(saga, until=NOON + timedelta(seconds=n)) for saga, n in zip(sagas, seconds, strict=False)]
    await desk.send(*units, asleep(sagas[3]))
    await store.put([signal(sagas[3].id)])
    clock.pass_by(MINUTE)
    claimed = await store.claim(desk.worker, [FLOW], limit=2)
    assert [c.record.id for c in claimed] == [sagas[1].id, sagas[2].id]
    claimed = await store.claim(desk.worker, [FLOW], limit=10)
    assert [c.record.id for c in claimed] == [sagas[0].id, sagas[3].id]


async def test_only_the_asked_definitions_are_claimed(store: Store, desk: Bench) -> None:
    saga = await desk.begin(record(definition="Transfer"))
    await desk.send(asleep(saga, until=NOON))
    assert await store.claim(desk.worker, [FLOW], limit=10) == []
    assert await store.claim(desk.worker, [], limit=10) == []
    assert len(await store.claim(desk.worker, ["Transfer"], limit=10)) == 1


async def test_a_paused_saga_has_nothing_that_is_due_and_is_claimed_only_for_its_mail(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    saga = await desk.begin()
    await desk.send(asleep(saga, change={"paused": True}))
    clock.pass_by(MINUTE)
    assert await store.claim(desk.worker, [FLOW], limit=10) == []
    mail = signal(saga.id)
    await store.put([mail])
    (claimed,) = await store.claim(desk.worker, [FLOW], limit=10)
    assert (claimed.record.paused, claimed.mail) == (True, (mail,))
    assert await store.rest(saga.id, desk.worker, claimed)
    assert await store.claim(desk.worker, [FLOW], limit=10) == []


async def test_a_rung_saga_is_claimed_once_per_bell_with_its_mail(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    await desk.send(asleep(saga))
    mail = signal(saga.id)
    await store.put([mail])
    (claimed,) = await store.claim(desk.worker, [FLOW], limit=10)
    assert (claimed.arrivals, claimed.mail) == (1, (mail,))
    assert await store.rest(saga.id, desk.worker, claimed)
    assert await store.claim(desk.worker, [FLOW], limit=10) == []
    await store.put([signal(saga.id)])
    (again,) = await store.claim(desk.worker, [FLOW], limit=10)
    assert (again.arrivals, len(again.mail)) == (2, 2)


async def test_each_change_of_hands_raises_the_epoch(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    await desk.send(asleep(saga, until=NOON))
    epochs = []
    for _ in range(3):
        (claimed,) = await store.claim(desk.worker, [FLOW], limit=1)
        epochs.append(claimed.epoch)
        await store.hand_back(desk.worker, [saga.id])
    assert epochs == sorted(set(epochs))


async def test_a_saga_handed_back_is_runnable_at_once_and_unchanged(
    store: Store, other: Store, desk: Bench
) -> None:
    saga = await desk.begin()
    await store.hand_back(desk.worker, [saga.id])
    stranger = await bench(other)
    (claimed,) = await other.claim(stranger.worker, [FLOW], limit=10)
    assert claimed.record == saga
    with pytest.raises(BatchRefused) as refused:
        await desk.send(following(saga))
    assert refused.value.losers == {saga.id: Loss.STALE}


async def test_only_the_owner_hands_back(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    stranger = await bench(store)
    await store.hand_back(stranger.worker, [saga.id, new_id()])
    assert (await row_of(store, saga.id)).owner == desk.worker


async def test_reclaim_takes_that_very_saga_due_or_not(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    assert await store.reclaim(saga.id, desk.worker) is None
    await desk.send(asleep(saga, until=NOON + MINUTE))
    mail = signal(saga.id)
    await store.put([mail])
    claimed = await store.reclaim(saga.id, desk.worker)
    assert claimed is not None
    assert (claimed.epoch, claimed.arrivals, claimed.mail) == (2, 1, (mail,))
    assert await store.reclaim(saga.id, desk.worker) is None
    assert await store.reclaim(new_id(), desk.worker) is None


async def test_reload_reads_an_owned_saga_again(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    mail = signal(saga.id)
    await store.put([mail])
    loaded = await store.reload(saga.id, desk.worker, 1)
    assert loaded is not None
    assert (loaded.record, loaded.epoch, loaded.arrivals, loaded.mail) == (saga, 1, 1, (mail,))


async def test_reload_of_a_lost_lease_is_nothing(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    assert await store.reload(saga.id, desk.worker, 2) is None
    assert await store.reload(saga.id, new_id(), 1) is None
    assert await store.reload(new_id(), desk.worker, 1) is None
    await store.hand_back(desk.worker, [saga.id])
    assert await store.reload(saga.id, desk.worker, 1) is None


async def test_a_saga_at_rest_sleeps_until_it_is_due(store: Store, desk: Bench, clock: HandClock) -> None:
    saga = await desk.begin()
    await desk.send(asleep(saga, until=NOON + MINUTE))
    claimed = await store.reclaim(saga.id, desk.worker)
    assert claimed is not None
    assert await store.rest(saga.id, desk.worker, claimed)
    assert (await row_of(store, saga.id)).owner is None
    assert await store.claim(desk.worker, [FLOW], limit=10) == []
    clock.pass_by(MINUTE)
    assert len(await store.claim(desk.worker, [FLOW], limit=10)) == 1


async def test_there_is_no_rest_when_the_bell_rang_or_the_lease_is_gone(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    await desk.send(asleep(saga, until=NOON))
    (claimed,) = await store.claim(desk.worker, [FLOW], limit=10)
    await store.put([signal(saga.id)])
    assert not await store.rest(saga.id, desk.worker, claimed)
    again = await store.reload(saga.id, desk.worker, claimed.epoch)
    assert again is not None
    assert not await store.rest(saga.id, new_id(), again)
    assert await store.rest(saga.id, desk.worker, again)
    assert not await store.rest(saga.id, desk.worker, again)


async def test_ringing_sagas_wakes_them(store: Store, desk: Bench) -> None:
    sagas = [await desk.begin() for _ in range(3)]
    await desk.send(*(asleep(saga) for saga in sagas))
    await store.ring_sagas([sagas[2].id, sagas[0].id, new_id()])
    claimed = await store.claim(desk.worker, [FLOW], limit=10)
    assert [c.record.id for c in claimed] == [sagas[0].id, sagas[2].id]


async def test_a_bell_while_owned_is_heard_when_the_saga_is_let_go(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    await store.put([signal(saga.id)])
    ended = following(saga, change={"status": Status.COMMITTED}, release=True)
    await desk.send(ended)
    (claimed,) = await store.claim(desk.worker, [FLOW], limit=10)
    assert claimed.record == ended.record
    assert len(claimed.mail) == 1


async def test_with_versions_only_sagas_of_these_are_given_or_such_as_are_over(
    store: Store, desk: Bench
) -> None:
    old, new = await desk.begin(record(version=3)), await desk.begin(record(version=2))
    over = await desk.begin(record(version=3))
    await desk.send(following(over, change={"status": Status.COMMITTED}, release=True))
    await store.ring_sagas([over.id])
    await store.hand_back(desk.worker, [old.id, new.id])
    assert await store.unserved({FLOW: 2}) == {(FLOW, 3)}
    heir = await bench(store)
    given = await store.claim(heir.worker, {FLOW: 2}, limit=10)
    assert [claimed.record.id for claimed in given] == [new.id, over.id]
    assert await store.claim(heir.worker, {FLOW: 2}, limit=10) == []
    assert [c.record.id for c in await store.claim(heir.worker, {FLOW: 3}, limit=10)] == [old.id]
    assert await store.unserved({FLOW: 2}) == set()


async def test_starts_of_a_newer_version_are_left_to_whoever_has_it(store: Store, desk: Bench) -> None:
    older, newer = start_message(), replace(start_message(), version=3)
    await store.put([older, newer])
    assert await store.claim_starts(desk.worker, {FLOW: 2}, limit=10) == [older]
    assert await store.claim_starts(desk.worker, {FLOW: 3}, limit=10) == [newer]
