"""What is counted for those who watch: exact, from indexes, and with the age of the oldest."""

from datetime import timedelta

from sagacity.ids import new_id
from sagacity.model.canonical import JsonText
from sagacity.model.record import Status, WaitsFor
from sagacity.model.unit import Notice
from sagacity.store.base import Store
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
    store: Store, desk: Bench
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
