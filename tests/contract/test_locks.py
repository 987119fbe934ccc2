"""Lock queues: order, holders, fencing numbers, and who waits for whom."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.errors import StoreError
from sagacity.ids import new_id
from sagacity.model.record import Held, Record, Status, WaitsFor
from sagacity.model.unit import QueueEntry, holders
from sagacity.model.views import LockView
from sagacity.runtime.sweeper import break_cycles
from sagacity.store.base import Store
from tests.contract.builders import NOON, Bench, change, dump, first, following, lock, record


async def queue(store: Store, object: str) -> tuple[QueueEntry, ...]:
    return tuple((await store.objects([object]))[object].queue)


def waiting(*objects: str) -> Record:
    """A saga that stands in the queues of `objects`."""
    asked = tuple(Held(object=object) for object in objects)
    return record(status=Status.WAITING, waits_for=WaitsFor.LOCK, locks=asked)


async def test_who_comes_first_holds_and_the_others_stand_behind(store: Store, desk: Bench) -> None:
    sagas = [await desk.begin(admit=(lock("a:1"),)) for _ in range(3)]
    entries = await queue(store, "a:1")
    assert [entry.saga for entry in entries] == [saga.id for saga in sagas]
    assert holders(entries) == (sagas[0].id,)
    assert {entry.mode for entry in entries} == {"exclusive"}


async def test_freeing_hands_the_lock_to_the_next_and_tells_the_queue(store: Store, desk: Bench) -> None:
    one = await desk.begin(admit=(lock("a:1"),))
    two = await desk.begin(admit=(lock("a:1"),))
    written = await desk.send(following(one, free=(lock("a:1"),)))
    assert holders(written.objects["a:1"].queue) == (two.id,)
    assert written.objects["a:1"].queue == await queue(store, "a:1")


async def test_one_in_the_middle_can_leave(store: Store, desk: Bench) -> None:
    one, two, three = [await desk.begin(admit=(lock("a:1"),)) for _ in range(3)]
    await desk.send(following(two, free=(lock("a:1"),)))
    assert [entry.saga for entry in await queue(store, "a:1")] == [one.id, three.id]


async def test_shared_places_at_the_front_hold_together_until_an_exclusive_one(
    store: Store, desk: Bench
) -> None:
    readers = [await desk.begin(admit=(lock("a:1", shared=True),)) for _ in range(2)]
    writer = await desk.begin(admit=(lock("a:1"),))
    late = await desk.begin(admit=(lock("a:1", shared=True),))
    assert holders(await queue(store, "a:1")) == tuple(reader.id for reader in readers)
    for reader in readers:
        await desk.send(following(reader, free=(lock("a:1", shared=True),)))
    assert holders(await queue(store, "a:1")) == (writer.id,)
    await desk.send(following(writer, free=(lock("a:1"),)))
    assert holders(await queue(store, "a:1")) == (late.id,)


async def test_places_of_one_batch_stand_in_the_units_order(store: Store, desk: Bench) -> None:
    units = [first(admit=(lock("a:1"),)) for _ in range(5)]
    shuffled = [units[n] for n in (3, 0, 4, 1, 2)]
    await desk.send(*shuffled)
    assert [entry.saga for entry in await queue(store, "a:1")] == [unit.saga for unit in shuffled]


async def test_fencing_numbers_only_grow_also_when_the_queue_was_empty(store: Store, desk: Bench) -> None:
    tickets: list[int] = []
    for _ in range(3):
        saga = await desk.begin(admit=(lock("a:1"),))
        tickets += [entry.ticket for entry in await queue(store, "a:1")]
        await desk.send(following(saga, free=(lock("a:1"),)))
    units = [first(admit=(lock("a:1"),)) for _ in range(3)]
    await desk.send(*units)
    tickets += [entry.ticket for entry in await queue(store, "a:1")]
    assert tickets == sorted(set(tickets))


async def test_a_place_tells_since_when_to_the_microsecond(store: Store, desk: Bench) -> None:
    at = NOON + timedelta(microseconds=123_457)
    await desk.begin(record(updated_at=at), admit=(lock("a:1"),))
    (entry,) = await queue(store, "a:1")
    assert entry.since == at


async def test_leaving_and_asking_again_in_one_unit_goes_to_the_end(store: Store, desk: Bench) -> None:
    one = await desk.begin(admit=(lock("a:1"),))
    two = await desk.begin(admit=(lock("a:1"),))
    await desk.send(following(one, free=(lock("a:1"),), admit=(lock("a:1"),)))
    assert [entry.saga for entry in await queue(store, "a:1")] == [two.id, one.id]


async def test_freeing_what_one_does_not_hold_changes_nothing(store: Store, desk: Bench) -> None:
    one = await desk.begin(admit=(lock("a:1", shared=True),))
    two = await desk.begin()
    await desk.send(following(two, free=(lock("a:1", shared=True),)))
    await desk.send(following(one, free=(lock("a:1"),)))
    assert [entry.saga for entry in await queue(store, "a:1")] == [one.id]


async def test_freeing_on_an_object_that_nobody_ever_asked_for_is_a_fault(
    store: Store, desk: Bench, engine: AsyncEngine
) -> None:
    saga = await desk.begin()
    before = await dump(engine)
    with pytest.raises(StoreError, match="never:1"):
        await desk.send(following(saga, free=(lock("never:1"),)))
    assert await dump(engine) == before


async def test_a_change_and_a_free_of_one_object_go_together(store: Store, desk: Bench) -> None:
    saga = await desk.begin(admit=(lock("a:1"),))
    done = following(saga, changes=(change("a:1", 1, '{"balance":"9.00"}'),), free=(lock("a:1"),))
    written = await desk.send(done)
    (state,) = written.objects.values()
    assert (state.version, state.state, state.queue) == (1, '{"balance":"9.00"}', ())
    assert await store.objects(["a:1"]) == written.objects


async def test_a_changed_object_has_its_newest_state(store: Store, desk: Bench) -> None:
    for version in (1, 2, 3):
        await desk.begin(changes=(change("a:1", version, f'{{"n":{version}0}}'),))
        (state,) = (await store.objects(["a:1"])).values()
        assert (state.version, state.state) == (version, f'{{"n":{version}0}}')


async def test_places_do_not_touch_state_nor_version(store: Store, desk: Bench) -> None:
    await desk.begin(changes=(change("a:1", 1),))
    await desk.begin(admit=(lock("a:1"),))
    (state,) = (await store.objects(["a:1"])).values()
    assert (state.version, state.state) == (1, '{"n":1}')


async def test_names_with_odd_letters_are_names_like_any_other(store: Store, desk: Bench) -> None:
    odd = ['a:"{,}\\ ', "a:é:ü:1", "a:" + "x" * 500, "a:'; drop table saga", "a:NULL", "A:1", "a:1"]
    saga = await desk.begin(admit=tuple(lock(object) for object in odd))
    found = await store.locks(saga=None)
    assert sorted(view.object for view in found) == sorted(odd)
    await desk.send(following(saga, free=tuple(lock(object) for object in odd)))
    assert await store.locks() == []


# --- looking at locks ---------------------------------------------------------------------------------


async def test_locks_are_listed_by_object_then_place(store: Store, desk: Bench) -> None:
    held = (Held(object="a:1", granted=True), Held(object="b:1", granted=True))
    one = await desk.begin(record(locks=held), admit=(lock("b:1"), lock("a:1")))
    two = await desk.begin(record(locks=(Held(object="b:1"),)), admit=(lock("b:1"),))
    views = await store.locks()
    assert [(view.object, view.saga, view.held) for view in views] == [
        ("a:1", one.id, True),
        ("b:1", one.id, True),
        ("b:1", two.id, False),
    ]
    expected = LockView(
        object="b:1",
        saga=two.id,
        definition=two.definition,
        key=two.key,
        mode="exclusive",
        held=False,
        since=NOON,
        fence=2,
    )
    assert views[2] == expected
    assert await store.locks(object="b:1") == views[1:]
    assert await store.locks(saga=two.id) == [expected]
    assert await store.locks(saga=two.id, object="a:1") == []
    assert await store.locks(saga=new_id()) == []
    assert await store.locks(object="never:1") == []


async def test_an_object_tells_who_has_it_in_transaction(store: Store, desk: Bench) -> None:
    unknown = await store.object("a:1")
    assert (unknown.version, unknown.state, unknown.in_transaction, unknown.locks) == (0, "null", False, ())
    saga = await desk.begin(admit=(lock("a:1"),), changes=(change("a:1", 1),))
    view = await store.object("a:1")
    assert (view.version, view.state, view.in_transaction) == (1, '{"n":1}', True)
    assert [(place.saga, place.key, place.held) for place in view.locks] == [(saga.id, saga.key, True)]


async def test_the_wait_graph_has_every_waiter_with_all_it_asked_for(store: Store, desk: Bench) -> None:
    one = await desk.begin(waiting("a:1", "b:1"), admit=(lock("a:1"),))
    two = await desk.begin(waiting("b:1"), admit=(lock("b:1"),))
    await desk.begin(admit=(lock("c:1"),))
    graph = await store.wait_graph()
    assert graph.waiting == {one.id, two.id}
    assert {name: holders(queue) for name, queue in graph.queues.items()} == {
        "a:1": (one.id,),
        "b:1": (two.id,),
    }


async def test_the_wait_graph_is_empty_when_nobody_waits(store: Store, desk: Bench) -> None:
    await desk.begin(admit=(lock("a:1"),))
    graph = await store.wait_graph()
    assert (graph.waiting, graph.queues) == (frozenset(), {})


# --- cycles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes_back", [False, True])
async def test_a_cycle_has_one_victim_and_none_where_one_of_it_goes_back_already(
    store: Store, desk: Bench, goes_back: bool
) -> None:
    older = await desk.begin(waiting("a:1", "b:1"), admit=(lock("a:1"),))
    asked = tuple(Held(object=object) for object in ("a:1", "b:1"))
    later = NOON + timedelta(seconds=1)
    if goes_back:
        young = record(status=Status.COMPENSATING, locks=asked, created_at=later)
    else:
        young = record(status=Status.WAITING, waits_for=WaitsFor.LOCK, locks=asked, created_at=later)
    young = await desk.begin(young, admit=(lock("b:1"), lock("a:1")))
    await desk.send(following(older, admit=(lock("b:1"),)))
    victims = await break_cycles(store, later)
    assert victims == ([] if goes_back else [young.id])


async def test_who_has_begun_anew_already_is_spared_before_an_older_one_that_has_not(
    store: Store, desk: Bench
) -> None:
    older = await desk.begin(waiting("a:1", "b:1"), admit=(lock("a:1"),))
    asked = tuple(Held(object=object) for object in ("a:1", "b:1"))
    later = NOON + timedelta(seconds=1)
    again = record(status=Status.WAITING, waits_for=WaitsFor.LOCK, locks=asked, created_at=later, restarts=1)
    await desk.begin(again, admit=(lock("b:1"), lock("a:1")))
    await desk.send(following(older, admit=(lock("b:1"),)))
    assert await break_cycles(store, later) == [older.id]


async def test_who_is_cancelled_already_cannot_begin_anew_and_another_one_does(
    store: Store, desk: Bench
) -> None:
    asked = tuple(Held(object=object) for object in ("a:1", "b:1"))
    waits: dict[str, Any] = {"status": Status.WAITING, "waits_for": WaitsFor.LOCK, "locks": asked}
    older = await desk.begin(record(**waits, restarts=1), admit=(lock("a:1"),))
    later = NOON + timedelta(seconds=1)
    cancelled = record(**waits, created_at=later, cancelling="not wanted")
    await desk.begin(cancelled, admit=(lock("b:1"), lock("a:1")))
    await desk.send(following(older, admit=(lock("b:1"),)))
    assert await break_cycles(store, later) == [older.id]


async def test_whoever_stands_first_and_sleeps_is_rung(store: Store, desk: Bench) -> None:
    front = await desk.begin(waiting("a:1"), admit=(lock("a:1"),))
    holder = await desk.begin(admit=(lock("b:1"),))
    behind = await desk.begin(waiting("b:1"), admit=(lock("b:1"),))
    assert await break_cycles(store, NOON) == []
    rows = {saga.id: await store.saga(saga.id) for saga in (front, holder, behind)}
    assert [row.arrivals for row in rows.values() if row is not None] == [1, 0, 0]
