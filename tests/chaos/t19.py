"""T19: sagas read and append to lists: no cycle in their history; without locks the checker finds some."""

import asyncio
import json
import random
import time
from typing import Any

from sagacity.errors import StoreError
from sagacity.model.record import Status
from tests.chaos.__main__ import Options
from tests.chaos.flows.locks import Append
from tests.chaos.harness.lists import Found, Transaction, check
from tests.chaos.harness.load import Feed
from tests.chaos.harness.oracle import judge_ledger, judge_locks, judge_log
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world

LISTS = [f"l{n}" for n in range(50)]
READERS = 8


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T19", options, _test)


async def _test(report: Report) -> None:
    count = report.size(2_000, 20_000)
    found = await _played(report, count)
    report.figure("cycles (G0, G1c, G-single, G2)", len(found.cycles))
    report.figure("reads of what was never committed (G1a)", len(found.aborted))
    report.figure("reads in the middle of a saga (G1b)", len(found.halves))
    report.figure("lost, doubled or torn appends", len(found.torn))
    for what in found.all[:10]:
        report.blame(what)
    control = await _played(report, min(300, count), locks=False)
    report.figure("control without locks: anomalies", len(control.all))
    report.figure("control without locks: of these cycles", len(control.cycles))
    report.holds(bool(control.all), "without locks the checker finds nothing: it proves nothing")


async def _played(report: Report, count: int, *, locks: bool = True) -> Found:
    chance = random.Random(report.seed)
    inputs = [_wish(n, chance) for n in range(count)]
    module = "tests.chaos.flows.locks"
    async with world(report, modules=[module], sagas=[Append], lease=8.0) as made:
        await made.faults(slow=1.0, least=0.0, most=0.02)
        await made.hire(2, **({} if locks else {"CHAOS_CONTROL": "locks-off"}))
        await made.ready()
        readers = Readers(made, chance)
        tasks = [asyncio.create_task(readers.run()) for _ in range(READERS)]
        began = time.monotonic()
        async with watched(made, lambda: ended(made)):
            await Feed(made.app, Append, inputs, per_second=1e6).run()
            await all_ended(made, within=120)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if locks:
            report.figure("sagas per second", count / (time.monotonic() - began))
            report.figure("snapshots by outside readers", len(readers.seen))
        return await _checked(made, report, readers, {one["name"]: one for one in inputs}, locks=locks)


async def _checked(
    made: World, report: Report, readers: "Readers", inputs: dict[str, dict[str, Any]], *, locks: bool
) -> Found:
    """The history as the checker wants it; with locks also the log, the ledger and the locks."""
    done: list[Transaction] = []
    ends: dict[str, Any] = {}
    async for row in made.app.store.sagas_whole():
        record = row.record
        ends[record.key] = record
        committed = record.status is Status.COMMITTED
        said = record.results.get("read_all")
        reads = json.loads(said)["lists"] if said is not None and committed else {}
        done.append(Transaction(record.key, reads, inputs[record.key]["appends"], committed))
        if committed == inputs[record.key]["refused"]:
            report.blame(f"{record.key} is {record.status.value}: {record.reason}")
    if locks:
        report.figure("committed", sum(one.committed for one in done))
        report.figure("rolled back", sum(not one.committed for one in done))
        await judge_log(made.app, report, ledger=made.ledger)
        await judge_locks(made.app, report)
        judge_ledger(made.ledger, ends, report, steps=1)
    found = await made.app.store.objects([f"notes:{name}" for name in LISTS])
    final = {name.removeprefix("notes:"): _values(state.state) for name, state in found.items()}
    return check([*done, *readers.transactions()], final)


def _wish(number: int, chance: random.Random) -> dict[str, Any]:
    """Two to four lists are read, one to three of them appended to, some twice; one in five goes back."""
    reads = chance.sample(LISTS, chance.randint(2, 4))
    name = f"a{number}"
    appends = {
        one: [f"{name}.{one}.{n}" for n in range(chance.randint(1, 2))]
        for one in chance.sample(reads, chance.randint(1, min(3, len(reads))))
    }
    return {"name": name, "reads": reads, "appends": appends, "refused": chance.random() < 0.2}


def _values(state: Any) -> list[str]:
    said = json.loads(state)
    return list(said["values"]) if said else []


class Readers:
    """Looks at a few lists at once from outside, again and again."""

    def __init__(self, made: World, chance: random.Random) -> None:
        self._made = made
        self._chance = random.Random(chance.random())
        self.seen: list[dict[str, list[str]]] = []

    async def run(self) -> None:
        while True:
            names = [f"notes:{name}" for name in self._chance.sample(LISTS, 4)]
            try:
                found = await self._made.app.store.objects(names)
            except StoreError:
                continue
            self.seen.append(
                {
                    name.removeprefix("notes:"): _values(found[name].state) if name in found else []
                    for name in names
                }
            )
            await asyncio.sleep(0.1)

    def transactions(self) -> list[Transaction]:
        return [Transaction(f"reader {n}", reads, {}) for n, reads in enumerate(self.seen)]
