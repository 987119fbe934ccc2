"""What is counted for those who watch: exact, from indexes, and with the age of the oldest."""

from datetime import timedelta

import pytest

from sagacity.ids import new_id
from sagacity.model.canonical import JsonText
from sagacity.model.record import Status, WaitsFor
from sagacity.model.unit import Notice
from sagacity.model.views import Count
from sagacity.store.base import Filter, Store
from sagacity.store.office import Term
from tests.contract.builders import (
    FLOW,
    NOON,
    Bench,
    HandClock,
    asleep,
    bench,
    first,
    following,
    lock,
    record,
    signal,
    start_message,
    worker_info,
)

HOUR = timedelta(hours=1)


async def test_an_empty_store_counts_nothing_and_knows_of_no_oldest(store: Store) -> None:
    seen = await store.gauges()
    assert (seen.at, dict(seen.sagas), seen.lock_waits, seen.workers, seen.unsent) == (NOON, {}, 0, 0, 0)
    assert seen.runnable_since is None
    assert seen.unsent_since is None


async def test_gauges_by_status_are_the_exact_counts_wherever_a_saga_stands(
    store: Store, desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Owned, handed back, asleep, rung, paused, queued, stuck, ended: each once, and in its status."""
    for status in (Status.COMMITTED, Status.COMMITTED, Status.ROLLED_BACK, Status.STUCK):
        saga = await desk.begin(record(definition="Ended"))
        await desk.send(following(saga, change={"status": status}, release=True))
    await desk.begin()
    back = await desk.begin()
    await store.hand_back(desk.worker, [back.id])
    paused = await desk.begin()
    await desk.send(following(paused, change={"paused": True}, release=True))
    rung = await desk.begin()
    await desk.send(following(rung, release=True))
    await store.ring_sagas([rung.id])
    for due in (None, NOON + HOUR, NOON - HOUR):
        await desk.send(asleep(await desk.begin(), until=due))
    queued = first(record(status=Status.WAITING, waits_for=WaitsFor.LOCK), admit=(lock("a:1"),), release=True)
    await desk.send(queued)
    await store.put([start_message("k")])

    seen = await store.gauges()

    assert dict(seen.sagas) == {
        ("Ended", Status.COMMITTED): 2,
        ("Ended", Status.ROLLED_BACK): 1,
        ("Ended", Status.STUCK): 1,
        (FLOW, Status.RUNNING): 4,
        (FLOW, Status.WAITING): 4,
        (FLOW, Status.PENDING): 1,
    }
    for status, number in (await store.counts()).items():
        assert seen.of(status) == number
    assert seen.lock_waits == 1
    assert seen.workers == 1
    await tallies_agree(store)
    running = {saga.id for saga in await store.sagas(Filter()) if saga.status is Status.RUNNING}
    assert len(running) == 4
    assert {saga.id for saga in await store.sagas(Filter(status=(Status.RUNNING,)))} == running
    term = Term(field="status", values=(Status.RUNNING.value,))
    assert {saga.id for saga in await store.search([term], limit=50)} == running
    monkeypatch.setattr("sagacity.store.gauges._FEW", 1)
    assert {saga.id for saga in await store.search([term], limit=50)} == running, "where there are many"


async def tallies_agree(store: Store) -> None:
    """To whatever limit: never more than there are, and exact only where it says so."""
    for definition in (None, FLOW, "Ended", "Nobody"):
        true = await store.counts(definition=definition)
        whole = await store.tally(definition=definition)
        assert {status: count.number for status, count in whole.items()} == true
        assert all(count.exact for count in whole.values())
        for upto in (1, 2, 3, 10, 20, 30, 40):
            some = await store.tally(definition=definition, upto=upto)
            for status in Status:
                count = some.get(status, Count(number=0, exact=True))
                assert count.number <= true.get(status, 0), (definition, upto, status)
                assert not count.exact or count.number == true.get(status, 0), (definition, upto, status)
            if definition is None:
                assert max(count.number for count in some.values()) <= upto * 4


async def test_the_oldest_runnable_is_whoever_has_waited_longest_for_a_worker(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    await desk.send(asleep(await desk.begin(), until=NOON + 2 * HOUR))
    assert (await store.gauges()).runnable_since is None, "nobody is due yet"
    clock.pass_by(HOUR)
    sleeper = await desk.begin()
    await desk.send(asleep(sleeper))
    await store.put([signal(sleeper.id, at=NOON + HOUR)])
    assert (await store.gauges()).runnable_since == NOON + HOUR, "it was rung"
    await store.put([start_message("k")])
    assert (await store.gauges()).runnable_since == NOON, "a start lay there before"
    await store.claim_starts(desk.worker, [FLOW], limit=1)
    clock.pass_by(2 * HOUR)
    assert (await store.gauges()).runnable_since == NOON + HOUR
    await store.claim(desk.worker, [FLOW], limit=9)
    assert (await store.gauges()).runnable_since is None


async def test_workers_count_while_their_lease_holds(store: Store, clock: HandClock) -> None:
    await bench(store)
    await store.register(worker_info(lease=2 * HOUR))
    assert (await store.gauges()).workers == 2
    clock.pass_by(HOUR)
    assert (await store.gauges()).workers == 1


async def test_the_outbox_is_as_old_as_the_line_that_its_oldest_notice_tells_of(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    def told(saga: object, seq: int) -> Notice:
        return Notice(key=str(saga), saga=saga, seq=seq, kind="stuck", data=JsonText("{}"))  # type: ignore[arg-type]

    one, other = record(new_id()), record(new_id(), updated_at=NOON - HOUR, created_at=NOON - HOUR)
    await desk.send(first(one, notices=(told(one.id, 0),)), first(other, notices=(told(other.id, 0),)))
    seen = await store.gauges()
    assert (seen.unsent, seen.unsent_since) == (2, NOON - HOUR)
    ids = [id for id, notice in await store.notices(limit=9) if notice.saga == other.id]
    await store.notices_sent(ids)
    seen = await store.gauges()
    assert (seen.unsent, seen.unsent_since) == (1, NOON)
