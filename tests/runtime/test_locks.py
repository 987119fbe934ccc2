"""Locks are queues in the database: nobody overtakes, nobody starves, nobody sleeps through its turn."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from sagacity import Saga, Stage, State, exclusive, shared, step
from sagacity.model.canonical import loaded
from sagacity.model.record import Lock, Status, WaitsFor
from sagacity.orchestrator import Orchestrator
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Box, Errand, Fill
from tests.runtime.outside import BringBack, Depot, Receipt


class Look(Saga, version=1, key="name"):
    """Shares a box while it lends something."""

    class Input(BaseModel):
        name: str
        box: str

    asked = State(initial=True)
    done = State(final=True)
    lend = asked.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield shared("box", asked.box)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)


class Both(Saga, version=1, key="name"):
    """Locks one box at the start, and another on its way: such locks can close a cycle."""

    class Input(BaseModel):
        name: str
        first: str
        then: str

    asked = State(initial=True)
    lent = State()
    done = State(final=True)
    lend = asked.to(lent)
    fill = lent.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("box", asked.first)

    def the_other(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("box", asked.then)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(fill, locks=the_other)
    def fill_both(self, asked: Input, stage: Stage) -> None:
        stage(Box, asked.first).put(Decimal(1))
        stage(Box, asked.then).put(Decimal(1))


async def all_committed(handles: Iterable[Any]) -> None:
    for handle in handles:
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def ends(app: Orchestrator, handles: list[Any]) -> list[str]:
    """Keys in the order of their commits."""
    lines = {handle.key: (await handle.history())[-1] for handle in handles}
    return sorted(lines, key=lambda key: (lines[key].chain, lines[key].position))


async def test_an_exclusive_queue_is_first_come_first_served(house: House) -> None:
    app = await house.open(Errand, Fill)
    gate = house.town.gate("depot.lend")
    await house.work()
    first = await app.start(Errand, {"name": "b"})
    await until(lambda: house.town.count("depot.lend"))
    others = []
    for n in range(5):
        others.append(await app.start(Fill, {"name": f"n{n}", "box": "b"}))
        await settled(app, others[-1].id)
    view = await app.object("box:b")
    assert [(lock.key, lock.held) for lock in view.locks] == [
        ("b", True),
        *((f"n{n}", False) for n in range(5)),
    ]
    assert [lock.fence for lock in view.locks] == sorted({lock.fence for lock in view.locks})
    waiting = await others[2].show()
    assert (waiting.waits_for, waiting.why) == (WaitsFor.LOCK, "queues for box:b")
    gate.set()
    await all_committed([first, *others])
    assert await ends(app, [first, *others]) == ["b", "n0", "n1", "n2", "n3", "n4"]
    assert await app.locks() == []


async def test_shared_holders_hold_together_and_an_exclusive_one_waits_for_all(house: House) -> None:
    app = await house.open(Look, Fill)
    gate = house.town.gate("depot.lend")
    await house.work()
    looks = [await app.start(Look, {"name": f"l{n}", "box": "b"}) for n in range(3)]
    await until(lambda: house.town.count("depot.lend") == 3)
    fill = await app.start(Fill, {"name": "f", "box": "b"})
    await settled(app, fill.id)
    late = await app.start(Look, {"name": "late", "box": "b"})
    assert (await settled(app, late.id)).waits_for is WaitsFor.LOCK, "nobody overtakes, not even to share"
    assert [lock.held for lock in await app.locks()] == [True, True, True, False, False]
    gate.set()
    await all_committed([*looks, fill, late])


async def test_a_busy_optimistic_admission_queues(house: House) -> None:
    app = await house.open(Errand, Fill)
    gate = house.town.gate("depot.lend")
    app.worker = await house.work()
    first = await app.start(Errand, {"name": "b"})
    await until(lambda: house.town.count("depot.lend"))
    second = await app.start(Fill, {"name": "n", "box": "b"})
    locked = [line for line in await second.history() if line.kind == "locked"]
    assert loaded(locked[0].data or "")["granted"] is False  # type: ignore[arg-type]
    gate.set()
    await all_committed([first, second])
    assert [line.kind for line in await second.history()][:3] == ["started", "locked", "granted"]


async def test_a_hand_over_wakes_a_saga_of_another_worker(house: House) -> None:
    app = await house.open(Errand, Fill)
    gate = house.town.gate("depot.lend")
    other = await house.another()
    one = await house.work(poll=timedelta(milliseconds=20), concurrency=1)
    first = await app.start(Errand, {"name": "b"})
    await until(lambda: house.town.count("depot.lend"))
    await house.work(other, poll=timedelta(milliseconds=20))
    handles = [await app.start(Fill, {"name": f"n{n}", "box": "b"}) for n in range(30)]
    gate.set()
    await all_committed([first, *handles])
    chains = {line.chain for handle in [first, *handles] for line in await handle.history()}
    assert one.active == 0
    assert len(chains) == 2, "both workers have done some"


@pytest.mark.parametrize(("count", "direct"), [(40, True), (200, False)])
async def test_two_hundred_sagas_on_one_hot_object_all_end(house: House, count: int, direct: bool) -> None:
    app = await house.open(Fill)
    worker = await house.work()
    inputs = [{"name": f"n{n}", "box": "hot"} for n in range(count)]
    if direct:
        app.worker = worker
        handles = await asyncio.gather(*(app.start(Fill, one) for one in inputs))
    else:
        handles = await app.start_many(Fill, [(None, one) for one in inputs])  # type: ignore[assignment]

    async def ended() -> bool:
        return (await app.counts()).get(Status.COMMITTED) == count

    await until(ended, within=timedelta(seconds=60))
    view = await app.object("box:hot")
    assert (loaded(view.state)["total"], view.version, view.locks) == (str(count), count, ())
    assert len(handles) == count


async def test_a_cycle_of_late_locks_ends_with_the_younger_starting_anew(house: House) -> None:
    app = await house.open(Both)
    gate = house.town.gate("depot.lend")
    await house.work(sweep=timedelta(milliseconds=30))
    older = await app.start(Both, {"name": "older", "first": "a", "then": "b"})
    await until(lambda: house.town.count("depot.lend") == 1)
    younger = await app.start(Both, {"name": "younger", "first": "b", "then": "a"})
    await until(lambda: house.town.count("depot.lend") == 2)
    gate.set()
    await all_committed([older, younger])
    assert "restarted" not in [line.kind for line in await older.history()]
    lines = await younger.history()
    [restarted] = [loaded(line.data or "") for line in lines if line.kind == "restarted"]  # type: ignore[arg-type]
    waits = f"it waits for {older.id}, which wait for it"
    assert restarted["why"] == f"deadlock: {waits}; it has begun anew least often"
    assert house.town.standing == ["depot.lend(older)", "depot.lend(younger)"]
    assert house.town.count("depot.lend") == 3
    assert len(set(house.town.keys("depot.lend"))) == 3, "the second visit has a key of its own"
    for name in ("a", "b"):
        assert loaded((await app.object(f"box:{name}")).state)["total"] == "2"


async def test_a_victim_that_starts_anew_asks_for_all_its_locks_at_once(house: House) -> None:
    app = await house.open(Both)
    gate = house.town.gate("depot.lend")
    await house.work(sweep=timedelta(milliseconds=30))
    older = await app.start(Both, {"name": "older", "first": "a", "then": "b"})
    await until(lambda: house.town.count("depot.lend") == 1)
    younger = await app.start(Both, {"name": "younger", "first": "b", "then": "a"})
    await until(lambda: house.town.count("depot.lend") == 2)
    gate.set()
    await all_committed([older, younger])
    asked = [[lock["object"] for lock in line["locks"]] for line in await house.lines(younger.id, "locked")]
    assert asked == [["box:b"], ["box:a"], ["box:a", "box:b"]]


async def test_whoever_only_queues_for_its_first_lock_is_no_victim_of_the_cycle_around_it(
    house: House,
) -> None:
    app = await house.open(Both)
    gate = house.town.gate("depot.lend")
    older = await app.start(Both, {"name": "older", "first": "a", "then": "b"})
    younger = await app.start(Both, {"name": "younger", "first": "b", "then": "a"})
    worker = await house.work(sweep=timedelta(hours=1))
    await until(lambda: house.town.count("depot.lend") == 2)
    queues = await app.start(Both, {"name": "queues", "first": "a", "then": "c"})
    await until(lambda: _waits_in_line(app, "box:a", 2))
    gate.set()
    await until(lambda: _waits_in_line(app, "box:a", 3))
    await until(lambda: _waits_in_line(app, "box:b", 2))
    await worker.stop()
    await house.work(sweep=timedelta(milliseconds=30))
    await all_committed([older, younger, queues])
    anew = [
        [line.kind for line in await one.history()].count("restarted") for one in (older, younger, queues)
    ]
    assert anew == [0, 1, 0]


async def _waits_in_line(app: Orchestrator, name: str, places: int) -> bool:
    return len((await app.object(name)).locks) >= places


async def test_a_late_lock_that_is_free_costs_only_a_commit(house: House) -> None:
    app = await house.open(Both)
    await house.work()
    handle = await app.start(Both, {"name": "x", "first": "a", "then": "b"})
    await all_committed([handle])
    kinds = [line.kind for line in await handle.history()]
    assert kinds == [
        *("started", "locked", "intent", "completed", "locked", "granted", "completed"),
        *("applied", "applied", "committed"),
    ]


async def test_a_cycle_with_a_rollback_in_it_is_broken_by_the_one_that_can_start_anew(house: House) -> None:
    app = await house.open(Both)
    await house.work()
    first = await app.start(Both, {"name": "one", "first": "a", "then": "b"})
    await all_committed([first])
    gate = house.town.gate("depot.lend")
    second = await app.start(Both, {"name": "two", "first": "a", "then": "b"})
    await until(lambda: house.town.count("depot.lend") == 2)
    rollback = await app.rollback(first.id, reason="not wanted")
    await settled(app, rollback.id)
    gate.set()
    await all_committed([rollback, second])
    restarted = [line.kind for line in await second.history()].count("restarted")
    assert restarted == 1, "whoever is going back already cannot be sent back"
    assert "act_refused" not in [line.kind for line in await app.history(rollback.id)]
