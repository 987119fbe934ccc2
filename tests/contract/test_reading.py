"""What readers are shown: lists, counts, places, links."""

from dataclasses import replace
from datetime import timedelta

from sagacity.ids import new_id
from sagacity.model.record import Lane, Status, WaitsFor
from sagacity.model.views import SagaSummary
from sagacity.store.base import Filter, Store
from sagacity.store.open import open_store
from tests.contract.builders import (
    FLOW,
    NOON,
    Bench,
    HandClock,
    asleep,
    bench,
    change,
    following,
    lock,
    record,
    start_message,
)


async def test_what_was_never_stored_is_nothing(store: Store) -> None:
    unknown = new_id()
    assert await store.saga(unknown) is None
    assert await store.messages(unknown) == []
    assert await store.history(unknown) == []
    assert await store.statuses([unknown]) == {}
    assert await store.statuses([]) == {}
    assert await store.effects_of(unknown) == []
    assert await store.rolled_back_by(unknown) is None
    assert await store.sagas(Filter()) == []
    assert await store.counts() == {}
    assert await store.objects([]) == {}
    assert await store.object_history("a:1") == []


async def test_a_start_in_the_inbox_is_a_pending_saga(store: Store) -> None:
    start = start_message("k")
    await store.put([start])
    expected = SagaSummary(
        id=start.id,
        definition=FLOW,
        version=1,
        key="k",
        status=Status.PENDING,
        waits_for=None,
        state=(),
        reason=None,
        created_at=NOON,
        updated_at=NOON,
        due_at=None,
        lane=Lane.LIVE,
    )
    assert await store.sagas(Filter()) == [expected]
    assert await store.statuses([start.id]) == {start.id: expected}
    assert await store.counts() == {Status.PENDING: 1}
    assert await store.saga(start.id) is None


async def test_a_begun_start_is_counted_once(store: Store, desk: Bench) -> None:
    start = start_message("k")
    await store.put([start])
    await desk.begin(record(start.id, key="k"), consumes=(start.id,))
    assert await store.counts() == {Status.RUNNING: 1}
    assert [summary.status for summary in await store.sagas(Filter())] == [Status.RUNNING]
    assert (await store.statuses([start.id]))[start.id].status is Status.RUNNING


async def test_sagas_are_listed_newest_first_in_pages(store: Store, desk: Bench) -> None:
    ids = []
    for n in range(7):
        if n % 2:
            start = start_message()
            await store.put([start])
            ids.append(start.id)
        else:
            ids.append((await desk.begin()).id)
    found = []
    before = None
    while page := await store.sagas(Filter(limit=3, before=before)):
        assert len(page) <= 3
        found += [summary.id for summary in page]
        before = page[-1].id
    assert found == ids[::-1]


async def test_a_summary_tells_what_the_record_tells(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    until = NOON + timedelta(minutes=1)
    unit = asleep(saga, until=until, change={"state": ("a", "b"), "reason": "because"})
    await desk.send(unit)
    (summary,) = await store.sagas(Filter())
    assert (summary.id, summary.key, summary.status, summary.waits_for) == (
        saga.id,
        saga.key,
        Status.WAITING,
        WaitsFor.SIGNAL,
    )
    assert (summary.state, summary.reason, summary.due_at) == (("a", "b"), "because", until)


async def test_filters_narrow_together(store: Store, desk: Bench) -> None:
    wanted = record(status=Status.STUCK, key="k", definition="Transfer")
    start = replace(start_message("k", definition="Transfer"), id=wanted.id, saga=wanted.id)
    await store.put([start])
    await desk.begin(wanted, consumes=(start.id,))
    await desk.begin(record(status=Status.STUCK))
    await desk.begin(record(status=Status.COMMITTED, definition="Transfer"))
    pending = start_message("k")
    await store.put([pending])

    async def ids(**narrowed: object) -> set[object]:
        return {summary.id for summary in await store.sagas(Filter(**narrowed))}  # type: ignore[arg-type]

    assert len(await ids()) == 4
    assert await ids(key="k") == {wanted.id, pending.id}
    assert await ids(key="k", definition="Transfer") == {wanted.id}
    assert await ids(status=(Status.STUCK,), definition="Transfer") == {wanted.id}
    assert await ids(status=(Status.PENDING,)) == {pending.id}
    assert len(await ids(status=(Status.STUCK, Status.COMMITTED))) == 3
    assert await ids(status=(Status.ABANDONED,)) == set()
    assert await ids(key="never") == set()


async def test_counts_are_exact_and_can_be_of_one_definition(store: Store, desk: Bench) -> None:
    for status in (Status.RUNNING, Status.RUNNING, Status.STUCK):
        await desk.begin(record(status=status))
    await desk.begin(record(definition="Transfer"))
    await store.put([start_message(), start_message(definition="Transfer")])
    assert await store.counts() == {Status.RUNNING: 3, Status.STUCK: 1, Status.PENDING: 2}
    assert await store.counts(definition="Transfer") == {Status.RUNNING: 1, Status.PENDING: 1}
    assert await store.counts(definition="Never") == {}


async def test_many_are_looked_up_at_once(store: Store, desk: Bench) -> None:
    starts = [start_message() for _ in range(700)]
    await store.put(starts)
    saga = await desk.begin()
    ids = [*(start.id for start in starts), saga.id, new_id()]
    found = await store.statuses(ids)
    assert set(found) == set(ids[:-1])


async def test_history_goes_on_from_where_a_reader_stopped(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    for _ in range(4):
        unit = following(saga)
        await desk.send(unit)
        saga = unit.record
    assert [line.seq for line in await store.history(saga.id)] == [0, 1, 2, 3, 4]
    assert [line.seq for line in await store.history(saga.id, after=2)] == [3, 4]
    assert [line.seq for line in await store.history(saga.id, after=0, limit=2)] == [1, 2]
    assert await store.history(saga.id, after=4) == []


async def test_a_rollback_is_found_from_what_it_rolls_back(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    back = await desk.begin(record(rolls_back=saga.id))
    assert await store.rolled_back_by(saga.id) == back.id
    assert await store.rolled_back_by(back.id) is None


async def test_the_hash_of_each_version_is_that_of_its_latest_saga(store: Store, desk: Bench) -> None:
    later = NOON + timedelta(minutes=1)
    await desk.begin(record(definition_hash="new", created_at=later))
    await desk.begin(record(definition_hash="old"))
    await desk.begin(record(version=2, definition_hash="two"))
    await desk.begin(record(definition="Transfer", definition_hash="t"))
    assert await store.definition_hashes([FLOW]) == {(FLOW, 1): "new", (FLOW, 2): "two"}
    assert await store.definition_hashes(["Never"]) == {}
    assert await store.definition_hashes([]) == {}


async def test_objects_that_never_changed_stand_at_version_0(store: Store, desk: Bench) -> None:
    await desk.begin(changes=(change("a:1", 1),))
    found = await store.objects(["b:1", "a:1", "b:1"])
    assert set(found) == {"a:1", "b:1"}
    assert (found["b:1"].version, found["b:1"].state, found["b:1"].queue) == (0, "null", ())


async def test_tenants_and_lanes_do_not_meet(store: Store, url: str, desk: Bench, clock: HandClock) -> None:
    saga = await desk.begin(admit=(lock("a:1"),))
    start = start_message("k")
    await store.put([start])
    for tenant, lane in (("other", "live"), ("main", "dry")):
        stranger = open_store(url, tenant=tenant, lane=lane, clock=clock, accept_loss=True)
        await stranger.open()
        try:
            assert await stranger.saga(saga.id) is None
            assert await stranger.sagas(Filter()) == []
            assert await stranger.find(FLOW, "k") is None
            assert await stranger.locks() == []
            assert await stranger.heads() == []
            assert await stranger.workers() == []
            there = await bench(stranger)
            assert there.head.id == desk.head.id
            await there.begin(replace(saga), admit=(lock("a:1"),))
            assert await stranger.claim_starts(there.worker, [FLOW], limit=10) == []
        finally:
            await stranger.close()
    assert [view.saga for view in await store.locks()] == [saga.id]
