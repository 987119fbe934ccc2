"""Timers under wrong clocks: skewed, jumping, ten times too fast or too slow, leap day and summer time.

Whether a timer was early is judged where the truth is: at the database, when the batch is written.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sagacity.definition.project import Project
from sagacity.model import lines as L
from sagacity.model.unit import LogRow
from sagacity.runtime.settings import WorkerSettings
from sagacity.store.memory import MemoryDatabase
from sagacity.testing.chance import Chance
from sagacity.testing.clock import NOON
from sagacity.testing.loop import Process
from sagacity.testing.simulation import Simulation
from tests.chaos.family import Ask, Leave
from tests.chaos.judged import JudgedStore
from tests.chaos.town import POTS

HOUR = timedelta(hours=1)
SETTINGS = WorkerSettings(
    lease=timedelta(minutes=5), poll=timedelta(seconds=5), sweep=timedelta(seconds=10), takeovers=100
)
LATE = timedelta(seconds=90)
"""By when a timer must have fired: two freezes of 20 s with it in hand, a sweep and some polls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """How the machines' clocks are wrong.

    Attributes:
        start: the database's instant at the beginning.
        skews: one machine for each.
        rates: how fast each runs, in turn.
        jumps: by how much a machine's clock is set, every few minutes, in turn.
    """

    name: str
    start: datetime = NOON
    skews: tuple[timedelta, ...] = (timedelta(0), timedelta(0))
    rates: tuple[float, ...] = (1.0,)
    jumps: tuple[timedelta, ...] = ()


CLOCKS = (
    Clocks(name="right"),
    Clocks(name="skewed by an hour", skews=(HOUR, -HOUR)),
    Clocks(name="jumping", jumps=(timedelta(minutes=-10), timedelta(days=1))),
    Clocks(name="ten times too fast", rates=(10.0, 1.0)),
    Clocks(name="all ten times too fast", rates=(10.0,)),
    Clocks(name="ten times too slow", rates=(0.1, 1.0)),
    Clocks(name="leap day", start=datetime(2028, 2, 28, 23, 50, tzinfo=UTC), skews=(HOUR, -HOUR)),
    Clocks(name="summer time", start=datetime(2026, 3, 29, 0, 50, tzinfo=UTC), skews=(HOUR, -HOUR)),
    Clocks(name="winter time", start=datetime(2026, 10, 25, 0, 50, tzinfo=UTC), skews=(HOUR, -HOUR)),
)


@dataclass(slots=True)
class Fired:
    """What was seen of all waits of one play."""

    waits: dict[tuple[UUID, str], datetime] = field(default_factory=dict)
    timed_out: Counter[tuple[UUID, str]] = field(default_factory=Counter)
    answered: set[tuple[UUID, str]] = field(default_factory=set)
    early: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)


class WatchedStore(JudgedStore):
    """The judged database, which also looks at its own clock when a deadline is written.

    Attributes:
        fired: what it saw.
    """

    fired: Fired

    async def _judged(self, rows: Iterable[LogRow]) -> None:
        rows = tuple(rows)
        now = await self.now()
        for row in rows:
            self._watch(row, now)
        await super()._judged(rows)

    def _watch(self, row: LogRow, now: datetime) -> None:
        fired = self.fired
        line = L.read_line(row.kind, row.data or "", at=row.at, object=row.object, version=row.version)
        if isinstance(line, L.Awaiting):
            fired.waits.update({(row.saga, wait.name): wait.until for wait in line.waits})
        elif isinstance(line, L.Signalled):
            fired.answered.add((row.saga, line.wait))
        elif isinstance(line, L.TimedOut):
            until = fired.waits[row.saga, line.wait]
            fired.timed_out[row.saga, line.wait] += 1
            where = f"{line.wait} of {row.saga}, due {until.isoformat()}, written {now.isoformat()}"
            if now < until:
                fired.early.append(where)
            elif now > until + LATE:
                fired.late.append(where)


def timed(clocks: Clocks, database: MemoryDatabase, *, sagas: int, seed: int = 1) -> tuple[Fired, list[str]]:
    """Let `sagas` wait for timers, signals and approvals, half of which never come, under wrong clocks."""
    chance = Chance(seed, clocks.name)

    def reached(process: Process, point: str, hit: int) -> timedelta | None:
        del process, point
        return timedelta(seconds=20) if hit % 197 == 0 else None

    project = Project.of(Ask, Leave)
    sim = Simulation(
        project,
        seed=(seed, clocks.name),
        settings=SETTINGS,
        at=clocks.start,
        database=database,
        reached=reached,
    )
    with sim:
        store = WatchedStore(database, tenant="main", clock=sim.clock, flows=project.flows)
        store.fired = Fired()
        sim.loop.run_until_complete(store.open())
        for n, skew in enumerate(clocks.skews):
            sim.worker(f"w{n}", skew=skew, rate=clocks.rates[n % len(clocks.rates)], inner=store)
        sim.run(_story(sim, chance, clocks, sagas))
        entries = sim.services.ledger.entries
        found = sim.loop.run_until_complete(store.judge_whole(entries))
        wrong = [str(broken) for broken in [*store.found, *found]]
        return store.fired, wrong + _missing(store)


async def _story(sim: Simulation, chance: Chance, clocks: Clocks, sagas: int) -> None:
    app = sim.client(network=False)
    handles = []
    for n in range(sagas):
        asked = {"name": f"s{n}", "pot": f"{POTS[0]}-{n}", "other": POTS[1], "amount": 1}
        handles.append((await app.start(chance.pick((Ask, Leave)), asked)).id)
        await sim.sleep(timedelta(seconds=chance.between(0, 20)))
    jumps = iter(range(1_000_000))
    while not await sim.ended(within=timedelta(minutes=2)):
        for machine in sim.machines.values() if clocks.jumps else ():
            machine.clock.skew += clocks.jumps[next(jumps) % len(clocks.jumps)]
        for id in handles:
            row = await sim.store.saga(id)
            if row is not None and not row.record.status.final and chance.hit(0.3):
                await app.signal(
                    id, "hello"
                )  # nobody awaits it; whoever looks at the saga looks at its timers too
            for wait in row.record.waits if row is not None else ():
                if wait.signal is not None and wait.signal != "called_off" and chance.hit(0.1):
                    await app.signal(id, wait.signal, {"approved": True, "count": 1})
        assert sim.seconds < 2 * HOUR.total_seconds(), "not everything has ended"


def _missing(store: WatchedStore) -> list[str]:
    """A wait that ended neither by an answer nor by its deadline, or by its deadline twice."""
    fired, records = store.fired, store.judge.records
    wrong = [f"I35: early: {where}" for where in fired.early] + [
        f"I35: late: {where}" for where in fired.late
    ]
    wrong += [
        f"I35: {wait} of {saga} fired {n} times" for (saga, wait), n in fired.timed_out.items() if n > 1
    ]
    wrong += [
        f"I12: {record.key} is {record.status}" for record in records.values() if not record.status.final
    ]
    return wrong
