"""One path of a dry run, played: the engine's own worker on a store in memory, in virtual time.

Whenever nothing moves any more, the stage manager looks at what the sagas wait for, lets that come, or lets
time pass to the next deadline. Nothing else differs from a worker at work.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sagacity.decide.begin import start_message
from sagacity.decide.draft import ended
from sagacity.definition.flow import Flow
from sagacity.definition.project import Project
from sagacity.dry.faults import Fault
from sagacity.dry.live import Live, Recorded
from sagacity.dry.loop import DryLoop
from sagacity.dry.marks import moved_by, stored_as, timeouts_of, wanted_of
from sagacity.dry.outside import Ask, Outside, Refusal
from sagacity.dry.overlay import DryStore
from sagacity.dry.samples import sample_of
from sagacity.dry.script import Arrival, Script
from sagacity.ids import derived_id
from sagacity.model import lines as L
from sagacity.model.canonical import Json, canonical
from sagacity.model.record import Record
from sagacity.model.unit import Message, Notice, ObjectState, Unit
from sagacity.model.views import HistoryLine
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.worker import Worker
from sagacity.store.base import RowImages
from sagacity.store.memory import MemoryDatabase
from sagacity.telemetry import REHEARSING
from sagacity.testing.chance import Chance
from sagacity.testing.loop import Process, present
from sagacity.testing.simulation import SimulatedClock

_AGES = timedelta(days=40_000)
"""Longer than any deadline: nobody polls, beats or sweeps while a dry run waits."""

_SETTINGS = WorkerSettings(name="dry", lease=_AGES, poll=_AGES, sweep=_AGES, threads=4, notices=True)
_LONGEST = timedelta(days=5_000)
"""How long a saga may be in hand."""

SLOW = 10.0
"""Virtual seconds that a slow store takes for one write."""

_MOMENT = 0.001
_TURNS = 2_000
"""Signals and deadlines after which a run is taken for endless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is played.

    Attributes:
        minds: external's name → what answers instead of its own mock.
        recorded: step → its result in a real run, which answers its effect where it is of that type.
        generate: what nobody mocks is answered from its declared type.
        ask: makes a safe read for real; None: no read is.
        run: the id of the saga; the others' follow from it and the script's seed.
        guarded: entered in each thread that runs the user's plain functions.
        watch: given the list in which what is refused to the path's code is to be written.
    """

    project: Project
    flow: Flow
    input: Json
    key: str
    script: Script = field(default_factory=Script)
    faults: tuple[Fault, ...] = ()
    minds: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Recorded] = field(default_factory=dict)
    generate: bool = False
    ask: Ask | None = None
    run: UUID = field(default_factory=lambda: derived_id("dry run"))
    guarded: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    watch: Callable[[list[Refusal]], None] = lambda refusals: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What happened.

    Attributes:
        saga: the one that was rehearsed; children and others it started are in `records` too.
        stories: saga → its lines.
        units: every unit in the order in which it was written.
        stores: what each write held, as a crash names it (`completed take_money`).
        came: what came from outside: (virtual seconds, wait, how).
        endless: it was stopped, for it went on and on.
        waiting: it was left waiting, for the script has no more patience.
        standing: what is left outside that should not be.
    """

    saga: UUID
    records: dict[UUID, Record]
    stories: dict[UUID, tuple[HistoryLine, ...]]
    units: tuple[Unit, ...]
    outside: Outside
    stores: tuple[str, ...]
    looked: dict[str, ObjectState]
    rows: tuple[tuple[str, RowImages], ...]
    came: tuple[tuple[float, str, str], ...]
    notices: tuple[Notice, ...]
    began: datetime
    seconds: float
    endless: bool
    waiting: bool
    errors: tuple[str, ...]

    @property
    def record(self) -> Record:
        """The saga that was rehearsed, at its end."""
        return self.records[self.saga]

    @property
    def standing(self) -> list[str]:
        """What is left outside that should not be there, or should and is not."""
        spawned = {x.key for unit in self.units for x in unit.lines if isinstance(x, L.Spawned)}
        return self.outside.ledger.standing(self.records.values(), spawned=spawned)


def play(scene: Scene, live: Live, database: MemoryDatabase | None = None) -> Played:
    """Play one path to its end. Blocks; not on a thread in which a loop runs.

    Args:
        scene: what is played.
        live: what lies under it.
        database: one to use again; it is emptied.

    Raises:
        What is no part of the flow: a definition that cannot be served, a live store that is away.
    """
    if not REHEARSING.get():
        return copy_context().run(_rehearsing, scene, live, database)
    own = database is None
    database = database or MemoryDatabase()
    database.empty()
    stage = _Stage(scene, live, database)
    try:
        return stage.run()
    finally:
        stage.close()
        if own:
            database.close()


def _rehearsing(scene: Scene, live: Live, database: MemoryDatabase | None) -> Played:
    REHEARSING.set(True)
    return play(scene, live, database)


class _Stage:
    """See the module."""

    def __init__(self, scene: Scene, live: Live, database: MemoryDatabase) -> None:
        seed = scene.script.seed
        self.scene = scene
        self.loop = DryLoop(Chance(seed, "order"), guarded=scene.guarded)
        self.began = live.now()
        self.clock = SimulatedClock(self.loop, self.began)
        self.store = DryStore(
            database,
            clock=self.clock,
            live=live,
            before=self._before,
            after=self._after,
            rested=self._wake,
        )
        self.outside = _outside(scene, self.loop, self.began)
        scene.watch(self.outside.refusals)
        self.came: list[tuple[float, str, str]] = []
        self.units: list[Unit] = []
        self.stores: list[str] = []
        self.errors: list[str] = []
        self._ids = Chance(seed, scene.run, "ids")
        self._rested = asyncio.Event()
        self._worker: Worker | None = None
        self._ending = False
        self._records: dict[UUID, Record] = {}
        self._said: set[tuple[UUID, str, str]] = set()
        self._written: Counter[str] = Counter()
        self._saga = scene.run
        self._dead: BaseException | None = None
        self._waiting = False

    def run(self) -> Played:
        return self.loop.run_until_complete(self._story())

    def close(self) -> None:
        self.loop.bury()
        self.loop.close()

    # --- the worker ---------------------------------------------------------------------------------------

    async def _supervised(self) -> None:
        """A worker, and after its death the next, who takes over."""
        while not self._ending:
            process = Process(self.loop, "worker")
            worker = self._made()
            task = process.begin(worker.run(), name="worker")
            end = self.loop.create_task(process.ended(task))
            ready = self.loop.create_task(worker.ready.wait())
            await asyncio.wait([end, ready], return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if process.alive and not task.done():
                self._worker = worker
            self._rested.set()
            await end
            if process.alive:
                self._dead = None if task.cancelled() else task.exception()
                self._rested.set()
                return
            await self.store.heartbeat(worker.id, timedelta(0))  # its lease runs out at once
            await asyncio.sleep(1.0)  # noqa: TID251 - virtual
            await self.store.take_over()

    def _made(self) -> Worker:
        return Worker(
            self.store,
            self.scene.project.flows,
            self.scene.project.participants,
            settings=_SETTINGS,
            externals=self.outside.connected(),
            clock=self.clock,
            ids=self._ids.id,
        )

    def _wake(self) -> None:
        self._rested.set()

    async def _before(self, units: Sequence[Unit]) -> None:
        label = stored_as(units)
        self.stores.append(label)
        self._written[label] += 1
        slow = Fault(where="store", name=label, kind="slow", hit=self._written[label])
        if slow in self.scene.faults:
            self.outside.fired.add(slow)
            await asyncio.sleep(SLOW)  # noqa: TID251 - virtual
        self._crash(Fault(where="crash", name=label, kind="before", hit=self._written[label]))
        if present() is not None and not present().alive:  # type: ignore[union-attr]
            await self.loop.create_future()

    async def _after(self, units: Sequence[Unit]) -> None:
        self.units += units
        self._records.update((unit.saga, unit.record) for unit in units)
        if any(unit.release for unit in units):
            self._rested.set()
        for unit in units:
            for line in unit.lines:
                await self._maybe_cancel(unit.saga, line)
        label = stored_as(units)
        self._crash(Fault(where="crash", name=label, kind="after", hit=self._written[label]))
        if present() is not None and not present().alive:  # type: ignore[union-attr]
            await self.loop.create_future()

    def _crash(self, here: Fault) -> None:
        process = present()
        if process is not None and here in self.scene.faults and not self._ending:
            self.outside.fired.add(here)
            self._worker = None
            process.kill()

    async def _maybe_cancel(self, saga: UUID, line: L.Line) -> None:
        name = moved_by(line)
        wanted = next((f for f in self.scene.faults if f.where == "cancel" and f.name == name), None)
        if wanted is not None and wanted not in self.outside.fired:
            self.outside.fired.add(wanted)
            await self._tell("cancel", self._saga, data=canonical("called off (dry run)"))
            self.came.append((self.loop.time(), "cancel", f"after {name}"))

    # --- the story ----------------------------------------------------------------------------------------

    async def _story(self) -> Played:
        await self.store.open()
        scene = self.scene
        message = start_message(
            scene.flow, saga=self._saga, key=scene.key, data=scene.input, now=self.clock.now()
        )
        await self.store.post(message)
        supervisor = self.loop.create_task(self._supervised())
        endless = True
        for _ in range(_TURNS):
            await self._quiet()
            self._check_alive()
            await self._early()
            if not await self._next():
                endless = False
                break
        await asyncio.sleep(self.outside.lands_within)  # noqa: TID251 - virtual
        await self._quiet()
        self._check_alive()
        self._ending = self.store.over = True
        if self._worker is not None and not supervisor.done():
            with contextlib.suppress(Exception):
                await self._worker.stop(grace=timedelta(seconds=1))
        await supervisor
        return await self._told(endless)

    def _check_alive(self) -> None:
        """Raise what a worker ended with that was not to end."""
        if self._dead is not None:
            raise self._dead
        if self.store.away is not None:
            raise self.store.away

    async def _quiet(self) -> None:
        """Until nobody has anything in hand: what can happen without time passing has happened."""
        while self._dead is None and self.store.away is None:
            if self._worker is None:
                await self._rested.wait()  # for the first, or the next, to be there
            self._rested.clear()
            await asyncio.sleep(_MOMENT)  # noqa: TID251 - virtual
            if self._worker is None:
                continue
            begun, in_hand, unheard = self.store.standing()
            if in_hand or not begun:
                async with asyncio.timeout(_LONGEST.total_seconds()):
                    await self._rested.wait()
            elif unheard:
                self._poke()
            else:
                return

    def _by_id(self) -> list[Record]:
        """All sagas as they stand."""
        return [self._records[saga] for saga in sorted(self._records)]

    def _poke(self) -> None:
        if self._worker is not None:
            self._worker.posted()

    async def _early(self) -> None:
        """What comes before anybody waits for it."""
        for fault in self.scene.faults:
            if fault.where == "wait" and fault.kind == "early" and fault not in self.outside.fired:
                await self._send(self._saga, fault.name, how="early", fault=fault)

    async def _next(self) -> bool:
        """Let the next thing happen that somebody waits for. False: nobody waits for anything."""
        if await self.store.ring():  # as a sweeper would: somebody was told something and not woken
            self._poke()
            return True
        open_ = [record for record in self._by_id() if not ended(record)]
        for record in open_:
            if not record.backward and await self._arrives(record):
                return True
        due = [record.due_at for record in open_ if record.due_at is not None]
        if not due:
            return False
        left = (min(due) - self.clock.now()).total_seconds()
        patience = self.scene.script.patience
        if patience is not None and left > patience.total_seconds():
            self._waiting = True
            return False
        await asyncio.sleep(max(0.0, left) + _MOMENT)  # noqa: TID251 - virtual
        self._poke()
        return True

    async def _arrives(self, record: Record) -> bool:
        """Something this saga waits for comes now, in time. False: nothing does before its deadline."""
        flow = self.scene.project.flows[record.definition]
        for wait in wanted_of(flow, record, self.scene.script, self.scene.faults):
            place = (record.id, wait.name, f"{record.visits}{wait.until}")
            if place in self._said:
                continue
            arrival = self.scene.script.signals.get(wait.name, Arrival())
            fault = self._fault_at(wait.name)
            if arrival.never or (fault is not None and fault.kind == "missing"):
                if fault is not None:
                    self.outside.fired.add(fault)
                self._said.add(place)
                continue
            self._said.add(place)
            until = (wait.until - self.clock.now()).total_seconds()
            after = arrival.after.total_seconds()
            if fault is not None and fault.kind == "late":
                after = max(after, until - 1.0)
            if after >= until:
                continue
            await asyncio.sleep(after)  # noqa: TID251 - virtual
            await self._send(record.id, wait.name, how=fault.kind if fault else "came", fault=fault)
            return True
        return False

    def _fault_at(self, wait: str) -> Fault | None:
        kinds = ("missing", "twice", "garbled", "comes", "late")
        return next(
            (f for f in self.scene.faults if f.where == "wait" and f.name == wait and f.kind in kinds), None
        )

    async def _send(self, saga: UUID, name: str, *, how: str, fault: Fault | None = None) -> None:
        awaited = self._awaited(name)
        given = self.scene.script.signals.get(name)
        carries = "data" in given.model_fields_set if given is not None else False
        data = canonical(given.data) if given is not None and carries else sample_of(awaited)
        if how == "garbled":
            data = canonical({"dry": ["garbled"]})
        for _ in range(2 if how == "twice" else 1):
            await self._tell("signal", saga, name=awaited.signal, data=data)
        self.came.append((self.loop.time(), name, how))
        if fault is not None:
            self.outside.fired.add(fault)

    def _awaited(self, name: str) -> Any:
        flows = (self.scene.flow, *self.scene.project.flows.values())
        return next(flow.awaits[name] for flow in flows if name in flow.awaits)

    async def _tell(self, kind: Any, saga: UUID, *, data: Json, name: str | None = None) -> None:
        message = Message(
            id=self._ids.id(), kind=kind, saga=saga, name=name, data=data, arrived_at=self.clock.now()
        )
        await self.store.post(message)
        if self._worker is not None:
            self._worker.poke()

    # --- what is left of it ---------------------------------------------------------------------------------

    async def _told(self, endless: bool) -> Played:
        records = {record.id: record for record in self._by_id()}
        stories = {saga: tuple(await self.store.history(saga)) for saga in records}
        notices = [notice for unit in self.units for notice in unit.notices]
        return Played(
            saga=self._saga,
            records=records,
            stories=stories,
            units=tuple(self.units),
            outside=self.outside,
            stores=tuple(self.stores),
            looked=dict(self.store.looked),
            rows=tuple(self.store.rows),
            came=tuple(self.came),
            notices=tuple(notices),
            began=self.began,
            seconds=self.loop.time(),
            endless=endless,
            waiting=self._waiting,
            errors=tuple(str(fault.get("message")) for fault in self.loop.faults),
        )


def _outside(scene: Scene, loop: DryLoop, began: datetime) -> Outside:
    return Outside(
        classes=dict(scene.project.externals),
        minds=scene.minds,
        faults=[f for f in scene.faults if f.where in ("effect", "undo")],
        now=loop.time,
        timeouts=timeouts_of(scene.project),
        loop=loop,
        recorded=scene.recorded,
        generate=scene.script.seed if scene.generate else None,
        ask=scene.ask,
        began=began,
    )
