"""T18: sagas lock sets of objects that cross: all at once none can deadlock, one by one they are helped."""

import asyncio
import random
import time
from collections import Counter
from datetime import timedelta
from typing import Any

from sagacity.errors import StoreError
from sagacity.model.record import Status
from sagacity.runtime.sweeper import blockers, cycles
from tests.chaos.__main__ import Options
from tests.chaos.flows.locks import Grab, Reach
from tests.chaos.harness.oracle import all_sagas, judge_locks, judge_log
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.watch import ended, watched
from tests.chaos.harness.world import World, world

OBJECTS = 20
AT_ONCE = 16
"""Sagas under way at any time: of those that lock one by one all hold something while they wait."""
MOST_RESTARTED = 0.05
"""Of all sagas so many may be sent back to their start."""
LONGEST = 5.0
"""Seconds for which one and the same cycle may be seen: two sweeps and their work, on a loaded machine."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T18", options, _test)


async def _test(report: Report) -> None:
    count = report.size(2_500, 5_000)
    chance = random.Random(report.seed)
    grabs = [_wish(f"g{n}", chance) for n in range(count)]
    reaches = [_wish(f"r{n}", chance) for n in range(count // 25)]
    async with world(report, modules=["tests.chaos.flows.locks"], sagas=[Grab, Reach], lease=8.0) as made:
        await made.hire(2, SAGACITY_CONCURRENCY="8")
        await made.ready()
        seen = Cycles(made)
        async with watched(made, lambda: ended(made)), seen.watched():
            for flow, inputs in ((Grab, grabs), (Reach, reaches)):
                began = time.monotonic()
                await _abreast(made, flow, inputs)
                report.figure(f"{flow.__name__}: sagas per second", len(inputs) / (time.monotonic() - began))
        report.figure("cycles seen", len(seen.first))
        report.figure("longest cycle, s", seen.longest)
        report.holds(seen.longest < LONGEST, f"a cycle of sagas lasted {seen.longest:.1f} s")
        await made.dismiss()
        await _judge(made, report, {one["name"]: one for one in [*grabs, *reaches]}, grabs)


async def _abreast(made: World, flow: Any, inputs: list[dict[str, Any]]) -> None:
    """Start them all, `AT_ONCE` under way at any time."""
    waiting = iter(inputs)

    async def one_after_the_other() -> None:
        for one in waiting:
            await (await made.app.start(flow, one)).outcome(timeout=timedelta(seconds=120))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())


def _wish(name: str, chance: random.Random) -> dict[str, Any]:
    objects = [f"o{n}" for n in chance.sample(range(OBJECTS), chance.randint(2, 6))]
    return {"name": name, "objects": objects}


class Cycles:
    """Looks at the wait-for graph again and again, and remembers how long each cycle was there."""

    def __init__(self, made: World) -> None:
        self._made = made
        self.first: dict[tuple[Any, ...], float] = {}
        self.longest = 0.0

    def watched(self) -> "_Watching":
        return _Watching(self)

    async def look(self) -> None:
        try:
            graph = await self._made.app.store.wait_graph()
        except StoreError:
            return
        now = time.monotonic()
        still = [[entry for entry in queue if entry.saga in graph.waiting] for queue in graph.queues.values()]
        for cycle in cycles(blockers(still)):
            places = tuple(sorted(e.ticket for queue in still for e in queue if e.saga in cycle))
            since = self.first.setdefault((cycle, places), now)
            self.longest = max(self.longest, now - since)


class _Watching:
    def __init__(self, seen: Cycles) -> None:
        self._seen = seen

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._seen.look()
            await asyncio.sleep(0.2)


async def _judge(
    made: World, report: Report, inputs: dict[str, dict[str, Any]], grabs: list[dict[str, Any]]
) -> None:
    sagas = await all_sagas(made.app)
    wrong = [saga for saga in sagas.values() if saga.status is not Status.COMMITTED]
    report.figure("committed", len(sagas) - len(wrong))
    report.holds(len(sagas) == len(inputs), f"{len(inputs)} were started and {len(sagas)} are there")
    for saga in wrong[:10]:
        report.blame(f"{saga.key} is {saga.status.value}: {saga.reason}")
    restarts = await _restarts(made)
    at_once = {one["name"] for one in grabs}
    report.figure("restarts, of the late ones, %", 100 * sum(restarts.values()) / (len(inputs) - len(grabs)))
    report.figure("restarts of one, at most", max(restarts.values(), default=0))
    report.figure("restarts, of all, %", 100 * sum(restarts.values()) / len(inputs))
    many = sum(restarts.values())
    report.holds(many <= MOST_RESTARTED * len(inputs), f"{many} restarts of {len(inputs)} sagas")
    report.holds(not at_once & set(restarts), "one that locks all at once was restarted")
    told = "".join(child.log.read_text() for child in made.workers)
    deadlocks = told.count("40P01") + told.count("deadlock detected")
    report.figure("SQLSTATE 40P01 that left the store", deadlocks)
    report.holds(deadlocks == 0, "a deadlock inside the server reached a worker")
    wanted = Counter(f"count:{name}" for one in inputs.values() for name in one["objects"])
    for name, times in wanted.items():
        view = await made.app.object(name)
        state: Any = view.version
        report.holds(
            state == times, f"{name} was changed {state} times, and {times} sagas committed a change"
        )
    await judge_locks(made.app, report)
    await judge_log(made.app, report)


async def _restarts(made: World) -> Counter[str]:
    """How often each was sent back to its start, by key."""
    driver = await made.server.session()
    try:
        rows = await driver.fetch(
            "SELECT saga.key FROM log JOIN saga ON saga.id = log.saga WHERE log.kind = 'restarted'"
        )
    finally:
        await driver.close()
    return Counter(row["key"] for row in rows)
