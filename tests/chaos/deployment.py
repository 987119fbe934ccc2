"""One seed of the simulation: a small town's sagas for an hour, with everything that may go wrong in it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sagacity.definition.project import Project
from sagacity.runtime.settings import WorkerSettings
from sagacity.store.memory import MemoryDatabase
from sagacity.testing.chance import Chance, decided
from sagacity.testing.faults import Faults
from sagacity.testing.loop import Process
from sagacity.testing.simulation import Simulation
from tests.chaos.family import FAMILY
from tests.chaos.judged import JudgedStore
from tests.chaos.people import People
from tests.chaos.town import POTS, Pot, Purse

WORKERS = 4
SAGAS = 12
HOUR = timedelta(hours=1)
CALM = 40 * 60.0
"""Virtual second from which on nothing goes wrong any more: what lives then must end by itself (I12)."""

PLAIN = 50
"""Seeds up to this one know no operators who act by hand: what they have shown, they go on showing."""

_START_UP = ("store.definition_hashes", "store.guard", "store.now", "store.register")
_RATES = {
    **dict.fromkeys(_START_UP, 0.05),  # a worker that never comes up proves nothing
    ":dies": 0.003,
    ":freezes": 0.002,
    ":cut": 0.02,
    ":jumps": 0.02,
    ":no": 0.05,
}


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of one seed.

    Attributes:
        wrong: what should not be, as sentences; empty: all is well.
        fired: names of the faults that happened, in order.
    """

    seed: int
    wrong: list[str] = field(default_factory=list)
    fired: list[str] = field(default_factory=list)
    log_hash: str = ""
    ends: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    batches: int = 0
    seconds: float = 0.0
    lives: int = 0
    repeats: int = 0


class Play:
    """One seed being played.

    Args:
        seed: decides everything.
        off: faults that are left out.
        database: used again from seed to seed.
    """

    def __init__(self, seed: int, database: MemoryDatabase, *, off: Collection[str] = ()) -> None:
        self.chance = Chance(seed, "script")
        self.seed = seed
        self.faults = Faults(seed=seed, rates=_RATES, calm=CALM, off=frozenset(off))
        project = project_of_town()
        self.lease = timedelta(seconds=self.chance.between(60, 180))
        self.sim = Simulation(
            project,
            seed=seed,
            faults=self.faults,
            settings=self._settings(),
            database=database,
            reached=self._reached,
        )
        self.store = JudgedStore(database, tenant="main", clock=self.sim.clock, flows=project.flows)
        self.sim.services.watch = self.store.call
        by_hand = Chance(seed, "operators") if seed > PLAIN else None
        self.people = People(self.sim, self.chance, calm=CALM, by_hand=by_hand)
        self.result = Result(seed=seed)
        self._fill_tables(database)

    def _settings(self) -> WorkerSettings:
        chance = self.chance
        return WorkerSettings(
            lease=self.lease,
            poll=timedelta(seconds=chance.between(30, 70)),
            sweep=timedelta(seconds=chance.between(20, 60)),
            concurrency=chance.pick((200, 200, 3)),
            batch=chance.pick((200, 200, 1, 2)),
            own_chains=chance.pick((1, 2)),
            short_sleep=timedelta(seconds=chance.pick((0, 1, 30))),
            notices=chance.hit(0.3),
        )

    def _fill_tables(self, database: MemoryDatabase) -> None:
        raw = self._raw = database.raw
        raw.execute("CREATE TABLE chaos_purses (id VARCHAR PRIMARY KEY, coins INTEGER NOT NULL)")
        raw.executemany("INSERT INTO chaos_purses VALUES (?, 100)", [(name,) for name in POTS])

    # --- what happens to processes --------------------------------------------------------------------

    def _reached(self, process: Process, point: str, hit: int) -> timedelta | None:
        del process
        kind = self.faults.at(point, ("dies", "freezes"), self.sim.seconds)
        if kind == "freezes":
            return self.lease * (0.5 + 2.5 * decided(self.seed, point, hit))
        return None if kind is None else timedelta(0)

    async def _nemesis(self) -> None:
        """Cuts the network and sets clocks, now and then."""
        while self.sim.seconds < CALM:
            await self.sim.sleep(timedelta(seconds=20))
            for name, machine in self.sim.machines.items():
                kind = self.faults.at(f"machine {name}", ("cut", "jumps", "dies"), self.sim.seconds)
                if kind == "cut":
                    self.sim.cut(machine.process, timedelta(seconds=self.chance.between(1, 200)))
                elif kind == "jumps":
                    machine.clock.skew += timedelta(seconds=self.chance.pick((-600, 86_400)))
                elif kind == "dies":
                    machine.process.kill()

    async def _clerk(self) -> None:
        while not await self._all_ended():
            await self.sim.sleep(timedelta(seconds=self.chance.between(20, 60)))
            rows = [row async for row in self.store.sagas_whole()]
            for row in rows:
                await self.people.look_at(row.record)

    async def _all_ended(self) -> bool:
        counts = await self.sim.store.counts()
        ended = sum(number for status, number in counts.items() if status.final)
        [(asked,)] = self._raw.execute(
            "SELECT count(*) FROM inbox WHERE NOT done AND kind IN ('start', 'rollback')"
        )
        return self._started and ended == sum(counts.values()) and not asked

    # --- all of it --------------------------------------------------------------------------------------

    async def _story(self) -> bool:
        self._started = False
        for n in range(WORKERS):
            skew = timedelta(seconds=self.chance.between(-3600, 3600))
            self.sim.worker(f"w{n}", skew=skew, inner=self.store)
        nemesis = self.sim.loop.create_task(self._nemesis())
        clerk = self.sim.loop.create_task(self._clerk())
        await self.people.start(SAGAS)
        self._started = True
        while self.sim.seconds < HOUR.total_seconds() and not clerk.done():
            await self.sim.sleep(timedelta(seconds=30))
        for task in (nemesis, clerk):
            task.cancel()
        if clerk.done() and not clerk.cancelled() and (error := clerk.exception()) is not None:
            raise error
        # Whoever has a saga in hand that is over already, for mail that came late, puts it down meanwhile.
        await self.sim.sleep(self.lease * 3)
        return await self._all_ended()

    def run(self) -> Result:
        """Play it, and judge it."""
        sim, result = self.sim, self.result
        sim.loop.run_until_complete(self.store.open())
        ended = sim.run(self._story())
        sim.loop.run_until_complete(self._judge(ended))
        result.fired = [str(fault) for fault in self.faults.fired]
        result.log_hash = sim.log_hash()
        result.seconds = sim.seconds
        result.batches = self.store.batches
        result.lines = self.store.judge.lines
        result.lives = sum(machine.lives for machine in sim.machines.values())
        result.repeats = sim.services.ledger.repeats
        return result

    async def _judge(self, ended: bool) -> None:
        result, ledger = self.result, self.sim.services.ledger
        wrong = [str(broken) for broken in self.store.found]
        wrong += [str(broken) for broken in await self.store.judge_whole(ledger.entries)]
        stored = {UUID(id) for (id,) in self._raw.execute("SELECT id FROM inbox")}
        wrong += [str(broken) for broken in self.store.judge.history(self.people.history, stored=stored)]
        wrong += [f"I16: a second effect under {key}" for key in ledger.doubled]
        wrong += [f"a process ended with {error!r}" for error in self.sim.broken]
        wrong += [f"a task was left with {fault}" for fault in self.sim.loop.faults]
        wrong += await self._left_over(ended)
        result.wrong = list(dict.fromkeys(wrong))

    async def _left_over(self, ended: bool) -> list[str]:
        """I12, I24: what should have ended, and what an end should have freed."""
        wrong = [] if ended else ["I12: an hour is over and not everything has ended"]
        async for row in self.store.sagas_whole():
            record, ends = row.record, self.result.ends
            where = f"{record.definition} {record.key}"
            ends[record.status.value] = ends.get(record.status.value, 0) + 1
            if not record.status.final:
                wrong.append(f"I12: {where} is {record.status.value}: {record.reason}")
            elif row.owner is not None:
                wrong.append(f"I12: {where} is over and still owned")
        locks = await self.store.locks() if ended else ()
        return wrong + [f"I24: {lock.object} is still locked by {lock.saga}" for lock in locks]


def project_of_town() -> Project:
    """The family of flows with the town's participants."""
    project = Project.of(*FAMILY)
    mine = {cls.type: cls for cls in (Pot, Purse)}
    return Project(flows=project.flows, participants=mine, externals=project.externals)


def play(seed: int, database: MemoryDatabase, *, off: Collection[str] = ()) -> Result:
    """Play one seed to its end."""
    game = Play(seed, database, off=off)
    with game.sim:
        return game.run()


def shrunk(result: Result, database: MemoryDatabase, *, tries: int = 80) -> tuple[Result, list[str]]:
    """Leave faults out, whole points first and then single ones, as long as it still goes wrong.

    Many at once, then half as many, down to one at a time (delta debugging).

    Returns:
        The last failing play, and what was left out in it.
    """
    off: list[str] = []
    for names in (_points, list):
        size = max(1, len(names(result.fired)) // 2)
        while size:
            first = 0
            while first < len(left := names(result.fired)):
                tries -= 1
                if tries < 0:
                    return result, off
                some = left[first : first + size]
                again = play(result.seed, database, off=[*off, *some])
                if again.wrong:
                    result, off = again, [*off, *some]
                else:
                    first += size
            size //= 2
    return result, off


def _points(fired: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.rpartition("#")[0] for name in fired))
