"""A whole deployment in one thread: workers, clients, their database, the outside, and what goes wrong.

The engine's own code runs, on the production store's own code, under a clock and a network that
belong to the seed. An hour takes half a second, and a seed that fails fails again.

```python
with Simulation(Project.of(Order), seed=7) as sim:
    sim.worker("one")
    sim.worker("two")

    async def story() -> None:
        app = sim.client()
        await app.start(Order, order)
        await sim.ended(within=timedelta(hours=1))

    sim.run(story())
    assert sim.services.ledger.standing == {}
```
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from sagacity.definition.project import Project
from sagacity.errors import SagacityError, StoreUnavailable
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.worker import Worker
from sagacity.store.base import Store
from sagacity.store.memory import MemoryDatabase, MemoryStore
from sagacity.testing.chance import Chance
from sagacity.testing.clock import NOON
from sagacity.testing.faults import NONE, Faults
from sagacity.testing.loop import Process, SimulatedLoop, present
from sagacity.testing.outside import Services
from sagacity.testing.stores import simulated_store

T = TypeVar("T")

Reached = Callable[[Process, str, int], "timedelta | None"]
"""Asked at every point that a process reaches (its name, and how often any has): None: go on; zero: it dies
there; longer: it freezes there for so long."""


class SimulatedClock:
    """A machine's clock: the simulation's time, seen through its own errors.

    Args:
        loop: has the true time.
        start: the instant at which the simulation began.
        skew: how far the machine is ahead.
        rate: how fast it runs; 1 is right.
    """

    def __init__(
        self, loop: SimulatedLoop, start: datetime, *, skew: timedelta = timedelta(0), rate: float = 1.0
    ) -> None:
        self.skew = skew
        self.rate = rate
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        """The machine's instant."""
        return self._start + self.skew + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Seconds since the simulation began, as this machine counts them."""
        return self._loop.time() * self.rate

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this machine's time."""
        await asyncio.sleep(max(0.0, seconds) / self.rate)  # noqa: TID251 - the loop's time is virtual


@dataclass(slots=True, kw_only=True)
class Machine:
    """One simulated worker's process, made anew whenever it dies.

    Attributes:
        name: also the worker's.
        clock: its own; a test may change its skew.
        process: the present one.
        worker: the present one; None while it is down.
        lives: how often it was begun.
    """

    name: str
    clock: SimulatedClock
    process: Process
    worker: Worker | None = None
    lives: int = 0


class Simulation:
    """See the module. Not for two threads at once.

    Args:
        project: the flows, participants and externals to simulate.
        seed: decides everything that is not written down.
        faults: what goes wrong; by default nothing does.
        settings: of all workers, unless one is given its own.
        at: the database's instant at the beginning.
        instead: external's name → what answers in place of its `Mock`.
        reached: kills and freezes; see `Reached`.
        database: one to use again; it is emptied.

    Attributes:
        loop, chance, faults: see their modules.
        services: the outside, with its ledger.
        store: the database without a network between: for looking at it from outside of the simulation.
        clock: the true time, which is the database's.
        machines: workers by name.
        points: how often each point (`store.write.before`) was reached.
        broken: errors that no process should end with.
    """

    def __init__(
        self,
        project: Project,
        *,
        seed: object,
        faults: Faults = NONE,
        settings: WorkerSettings | None = None,
        at: datetime = NOON,
        instead: Mapping[str, Any] | None = None,
        reached: Reached | None = None,
        database: MemoryDatabase | None = None,
        tenant: str = "main",
    ) -> None:
        self.project = project
        self.faults = faults
        self.chance = Chance(seed, "what happens")
        self.loop = SimulatedLoop(Chance(seed, "what runs next"))
        self.clock = SimulatedClock(self.loop, at)
        self.services = Services(self, project.externals, instead=instead)
        self.machines: dict[str, Machine] = {}
        self.points: Counter[str] = Counter()
        self.broken: list[BaseException] = []
        self.reached = reached
        self._settings = settings or WorkerSettings()
        self._start = at
        self._tenant = tenant
        self._database = database or MemoryDatabase()
        self._own_database = database is None
        self._database.empty()
        self.store: Store = self._memory_store()
        self.loop.run_until_complete(self.store.open())
        self._ids = Chance(seed, "ids")
        self._hints: dict[object, asyncio.Event] = {}
        self._cut: dict[Process, float] = {}
        self._supervisors: list[asyncio.Task[None]] = []
        self._ending = False

    def _memory_store(self) -> MemoryStore:
        return MemoryStore(self._database, tenant=self._tenant, lane="live", clock=self.clock)

    # --- who takes part -----------------------------------------------------------------------------------

    def port(self, *, inner: Store | None = None) -> Store:
        """A store behind the simulated network. `inner`: what answers, instead of the database itself."""
        return simulated_store(self, inner or self.store)

    def client(self, *, network: bool = True) -> Orchestrator:
        """Somebody who starts sagas and speaks to them.

        Args:
            network: through the network, with its faults (see `insist`); else straight at the database.
        """
        store = self.port() if network else self.store
        return Orchestrator(store, self.project, clock=self.clock, ids=self._ids.id)

    async def insist(self, call: Callable[[], Coroutine[Any, Any, T]], *, tries: int = 50) -> T:
        """Call again while the database is away, as a client does that has promised its own caller something.

        Raises:
            StoreUnavailable: still, after `tries`.
        """
        for _ in range(tries - 1):
            try:
                return await call()
            except StoreUnavailable:
                await self.sleep(timedelta(seconds=self.chance.between(0.1, 5.0)))
        return await call()

    def worker(
        self,
        name: str,
        *,
        settings: WorkerSettings | None = None,
        skew: timedelta = timedelta(0),
        rate: float = 1.0,
        inner: Store | None = None,
    ) -> Machine:
        """A worker that is started again whenever it ends, a few seconds later.

        Args:
            name: of its machine.
            settings: its own instead of the simulation's.
            skew: how far its clock is ahead.
            rate: how fast its clock runs.
            inner: the store that it works on, instead of the database itself (for planted bugs).
        """
        clock = SimulatedClock(self.loop, self._start, skew=skew, rate=rate)
        machine = Machine(name=name, clock=clock, process=Process(self.loop, name))
        self.machines[name] = machine
        work = self._supervised(machine, replace(settings or self._settings, name=name), inner)
        self._supervisors.append(self.loop.create_task(work, name=f"supervisor of {name}"))
        return machine

    async def _supervised(self, machine: Machine, settings: WorkerSettings, inner: Store | None) -> None:
        while not self._ending:
            if machine.lives:
                machine.process = Process(self.loop, machine.name)
            machine.lives += 1
            machine.worker = self._made(machine, settings, inner)
            task = machine.process.begin(machine.worker.run(), name=machine.name)
            await machine.process.ended(task)
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None and not isinstance(error, SagacityError):
                self.broken.append(error)
            machine.worker = None
            if not self._ending:
                await self.sleep(timedelta(seconds=self.chance.between(0.1, 10.0)))

    def _made(self, machine: Machine, settings: WorkerSettings, inner: Store | None) -> Worker:
        return Worker(
            self.port(inner=inner),
            self.project.flows,
            self.project.participants,
            settings=settings,
            externals=self.services.connected(),
            clock=machine.clock,
            ids=self._ids.id,
        )

    # --- what a port asks -----------------------------------------------------------------------------------

    async def reach(self, point: str) -> None:
        """A process has come to `point`: it may die or freeze here."""
        self.points[point] += 1
        process = present()
        if process is None:
            return
        process.check()
        if self.reached is None:
            return
        fate = self.reached(process, point, self.points[point])
        if fate is None:
            return
        if fate:
            self.freeze(process, fate)
            await asyncio.sleep(0)  # noqa: TID251 - from here it goes on after the thaw
        else:
            process.kill()
            await self.loop.create_future()

    def cut_off(self) -> bool:
        """The network is down for the process that asks."""
        process = present()
        return process is not None and self.loop.time() < self._cut.get(process, 0.0)

    def hint_all(self) -> None:
        """All who wait for a hint get it, a moment later."""
        for event in list(self._hints.values()):
            self.loop.in_world(self.chance.between(0.0002, 0.005), event.set)

    async def hinted(self, port: object) -> None:
        """Wait for a hint to this port."""
        event = self._hints.setdefault(port, asyncio.Event())
        await event.wait()
        event.clear()

    # --- what may happen to a process -----------------------------------------------------------------

    def freeze(self, process: Process, length: timedelta) -> None:
        """Stop a process, as by SIGSTOP, and let it go on after `length`."""
        process.freeze()
        self.loop.in_world(length.total_seconds(), process.thaw)

    def cut(self, process: Process, length: timedelta) -> None:
        """Take a process off the network for `length`."""
        self._cut[process] = self.loop.time() + length.total_seconds()

    # --- running --------------------------------------------------------------------------------------

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """Play until `story` ends; the workers that take part are stopped after it.

        Raises:
            Stalled: nothing can happen any more, and the story has not ended.
            Whatever the story raises.
        """
        return self.loop.run_until_complete(self._played(story))

    async def _played(self, story: Coroutine[Any, Any, T]) -> T:
        answer = await story
        self._ending, self.reached = True, None
        for machine in self.machines.values():
            if machine.process.frozen:
                machine.process.kill()
            elif machine.worker is not None:
                stop = machine.worker.stop()
                await machine.process.begin(stop, name=f"stop {machine.name}")
        await asyncio.gather(*self._supervisors)
        return answer

    async def sleep(self, length: timedelta) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(length.total_seconds())  # noqa: TID251 - virtual

    async def ended(self, *, within: timedelta, every: timedelta = timedelta(seconds=10)) -> bool:
        """Wait until no saga is live any more. False: after `within` some still are."""
        until = self.loop.time() + within.total_seconds()
        while True:
            counts = await self.store.counts()
            if all(status.final or not number for status, number in counts.items()):
                return True
            if self.loop.time() >= until:
                return False
            await self.sleep(every)

    @property
    def seconds(self) -> float:
        """Virtual time since the beginning."""
        return self.loop.time()

    def log_hash(self) -> str:
        """One hash over all chains' heads and the ledger: two runs with equal ones had equal histories."""
        heads = self.loop.run_until_complete(self.store.heads())
        said = [f"{head.id} {head.epoch} {head.position} {head.hash.hex()}" for head in heads]
        said += [f"{landing.at:.9f} {key}" for key, landing in self.services.ledger.landed.items()]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()

    def close(self) -> None:
        """Bury the dead and let go of the database. Twice is harmless."""
        if self.loop.is_closed():
            return
        for machine in self.machines.values():
            machine.process.alive = False
        self.loop.bury()
        self.loop.close()
        if self._own_database:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
