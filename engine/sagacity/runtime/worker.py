"""A worker: one process that claims sagas and drives them, many at once on one loop.

Its lease stands on its own row; while it beats, its sagas are its own. When it falls silent
any other worker fences it and takes them over. Stopping is quiet: nothing new is claimed,
what is in flight ends or is handed back.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sagacity.clock import Clock, SystemClock
from sagacity.decide.draft import Draft, Scope
from sagacity.definition.external import External
from sagacity.definition.flow import Flow
from sagacity.errors import RefusedAct, StoreError, StoreUnavailable
from sagacity.ids import IdSource, new_id
from sagacity.invariants.broken import Violated
from sagacity.model import lines as L
from sagacity.model.canonical import storable
from sagacity.model.record import Lane, Record, Status
from sagacity.model.unit import Claimed, Message, WorkerInfo
from sagacity.runtime import externals as outside
from sagacity.runtime.alarm import Alarm
from sagacity.runtime.anchoring import Anchoring
from sagacity.runtime.apart import Apart, guarded_tables
from sagacity.runtime.committer import Committer, Lost
from sagacity.runtime.drive import Drive
from sagacity.runtime.ending import ended, in_time
from sagacity.runtime.executor import Executor
from sagacity.runtime.lease import Lease
from sagacity.runtime.outlets import Outlets, relays_of
from sagacity.runtime.owed import Owed
from sagacity.runtime.relay import Listener
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.short import Short, roll_back, wants_rollback
from sagacity.runtime.sweeper import break_cycles
from sagacity.runtime.timekeeper import Timekeeper
from sagacity.runtime.traced import begun, resumed, spanned
from sagacity.runtime.versions import check_definitions, tell_unserved
from sagacity.runtime.watch import is_over
from sagacity.runtime.webhook import HookSettings
from sagacity.store.base import Store
from sagacity.telemetry import tell, traced
from sagacity.telemetry.watching import Meter, Span, Tracer, Watching

_SWEEPS_PER_LOOK = 10
"""Where no flow takes late locks: sweeps between two looks at all queues."""


class Worker:
    """See the module. `run` until `stop`; both on one event loop.

    Args:
        store: opened; the worker does not close it.
        flows: definitions to execute, by name.
        participants: participant classes by type.
        settings: see there.
        listeners: told of ends and of what needs a human; giving any switches notices on.
        hook: a web hook that is told of what needs a human; switches notices on too.
        dry: who is told of what dry runs would have told.
        externals: instances to use instead of connecting (tests).
        anchoring: sends signed heads away, and refuses a store that is behind them.
        meter, tracer: told of what is done; without them that costs nothing.
        clock, ids: ports.
    """

    committer: Committer
    apart: Apart
    executor: Executor

    def __init__(
        self,
        store: Store,
        flows: Mapping[str, Flow],
        participants: Mapping[str, Any],
        *,
        settings: WorkerSettings | None = None,
        listeners: Sequence[Listener] = (),
        hook: HookSettings | None = None,
        dry: Outlets | None = None,
        externals: Mapping[str, External] | None = None,
        anchoring: Anchoring | None = None,
        meter: Meter | None = None,
        tracer: Tracer | None = None,
        clock: Clock | None = None,
        ids: IdSource = new_id,
    ) -> None:
        self.id, self.store = ids(), store
        self.settings, self.clock = settings or WorkerSettings(), clock or SystemClock()
        self.time = Timekeeper(store, self.clock)
        self._lease = Lease(store, self.id, self.settings.lease, self.clock)
        self.ready = asyncio.Event()
        self.on_over: Callable[[Record], None] | None = None
        self.alone = asyncio.Lock()
        outlets = Outlets(listeners=tuple(listeners), hook=hook)
        self._told = outlets.there or self.settings.notices
        self._alarm = Alarm(store, self.id) if outlets.there else None
        self._relays = relays_of(store, outlets, dry, worker=self.id, clock=self.clock)
        self._scopes = {name: self._scope(flow, participants) for name, flow in flows.items()}
        self._unserved: set[tuple[str, int]] = set()
        self._given, self._anchoring = externals, anchoring
        self._meter, self._tracer = meter, tracer
        self._participants = participants
        self._stopping, self._drained, self._work = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._freed: set[UUID] = set()
        self._drives: dict[UUID, asyncio.Task[None]] = {}
        self._owed = Owed(store, self.id, self._drives)
        self._unrung = self._left_over = False
        self._failure: BaseException | None = None

    def _scope(self, flow: Flow, participants: Mapping[str, Any]) -> Scope:
        return Scope(
            flow=flow,
            participants=participants,
            tenant=self.store.tenant,
            lane=self.store.lane,
            notices=self._told,
        )

    @property
    def stopping(self) -> bool:
        """No new step is begun."""
        return self._stopping.is_set()

    @property
    def lease_holds(self) -> bool:
        """It is entered, and nobody may take its sagas over yet."""
        return self.ready.is_set() and self._lease.holds

    @property
    def active(self) -> int:
        """Sagas in hand right now."""
        return len(self._drives)

    @property
    def _served(self) -> dict[str, int]:
        return {name: self._scopes[name].flow.version for name in sorted(self._scopes)}

    def poke(self) -> None:
        """There may be something to claim: look at once instead of at the next poll."""
        self._work.set()

    def posted(self) -> None:
        """One of its sagas has written to others: their bells are to be rung at once."""
        self._unrung = True
        self.poke()

    # --- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Execute sagas until `stop`.

        Raises:
            MissingExternal, ConfigError: it cannot serve its flows; nothing was claimed.
        HistoryLost: the store is behind what was anchored, or acknowledged.
            StoreError: the database was lost for good, or somebody took this worker's place.
        """
        await check_definitions(self.store, [scope.flow for scope in self._scopes.values()])
        if self._anchoring is not None:
            await self._anchoring.check()
        wanted = {n: c for scope in self._scopes.values() for n, c in scope.flow.externals.items()}
        made = dict(self._given) if self._given is not None else await outside.connect(wanted)
        try:
            await self._enter(made)
            await self._serve()
        finally:
            if self._given is None:
                await outside.close(made)

    async def stop(self, *, grace: timedelta = timedelta(seconds=10)) -> None:
        """Claim nothing more; let what is in flight end, or hand it back, within `grace`."""
        self._stopping.set()
        self.poke()
        try:
            if self._drives:
                await asyncio.wait(list(self._drives.values()), timeout=grace.total_seconds())
            await ended(list(self._drives.values()))
        finally:
            self._drained.set()

    async def _enter(self, made: Mapping[str, External]) -> None:
        since = self.clock.monotonic()
        now = await self.time.sync()
        flows = {name: scope.flow for name, scope in self._scopes.items()}
        info = WorkerInfo(
            id=self.id,
            name=self.settings.name,
            definitions={name: (flow.version, flow.hash) for name, flow in flows.items()},
            started_at=now,
            lease_until=now + self.settings.lease,
        )
        await self.store.guard(guarded_tables(self._participants))
        head = await self.store.register(info)
        self._lease.begin(since)
        self.committer = Committer(
            self.store,
            worker=self.id,
            head=head,
            clock=self.clock,
            batch=self.settings.batch,
            freed=self._ring_later,
            meter=self._meter,
        )
        self.apart = Apart(
            self.store,
            worker=self.id,
            clock=self.clock,
            chains=self.settings.own_chains,
            freed=self._ring_later,
            meter=self._meter,
        )
        self.executor = Executor(
            externals=made,
            participants=self._participants,
            lane=Lane(self.store.lane),
            threads=self.settings.threads,
            watching=Watching(clock=self.clock, meter=self._meter, tracer=self._tracer),
        )

    async def _serve(self) -> None:
        tasks = [
            asyncio.create_task(self.committer.run(), name="committer"),
            asyncio.create_task(self._beat(), name="lease"),
            asyncio.create_task(self._claim(), name="claim"),
            asyncio.create_task(self._listen(), name="wakeup"),
            asyncio.create_task(self._recount(), name="recount"),
            asyncio.create_task(self._sweep(), name="sweeper"),
        ]
        for relay in self._relays:
            tasks.append(asyncio.create_task(self._every(self.settings.poll, relay), name="relay"))
        if self._alarm is not None:
            alarm = self._every(self.settings.attention_every, self._alarm)
            tasks.append(asyncio.create_task(alarm, name="alarm"))
        if self._anchoring is not None:
            anchors = self._anchoring.run(self.clock, self.settings.anchor_every)
            tasks.append(asyncio.create_task(anchors, name="anchors"))
        self.ready.set()
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if stopped not in done:
                self._failure = next(iter(done)).exception()
                self._stopping.set()
                await ended(list(self._drives.values()))
            else:
                await self._drained.wait()
            if self._failure is None:
                await ended([task for task in tasks if task.get_name() == "relay"])
                # The next worker tells what is left.
                await asyncio.gather(*(in_time(relay.rest(), name="relay") for relay in self._relays))
        finally:
            await self._leave([stopped, *tasks])
        if self._failure is not None:
            raise self._failure

    async def _leave(self, tasks: Sequence["asyncio.Task[Any]"]) -> None:
        await ended(tasks)
        await ended(list(self._drives.values()))  # claimed in the very moment in which it stopped
        self.executor.close()
        await in_time(self._farewell(), name="farewell")  # who has left beats no more, so loses no patience

    async def _farewell(self) -> None:
        await self.store.ring_sagas(sorted(self._freed))
        await self.store.unregister(self.id)

    # --- loops ------------------------------------------------------------------------------------

    async def _every(self, pause: timedelta, act: Callable[[], Awaitable[object]]) -> None:
        """Call `act` again and again; while the database is away, just try later."""
        while True:
            try:
                await act()
                await self.clock.sleep(pause.total_seconds())
            except StoreUnavailable:
                self._lease.judge_nobody()
                await self.clock.sleep(max(pause, self.settings.poll).total_seconds())

    async def _beat(self) -> None:
        await self._every(self.settings.lease / 3, self._prolong)

    async def _prolong(self) -> None:
        if not await self._lease.prolonged():
            raise StoreError(f"worker {self.id} was taken for dead and its sagas were taken over")
        await self.time.sync()

    async def _recount(self) -> None:
        """Apart from the beat, which finds a silent line out and must not stand behind a query."""

        async def look() -> None:
            if await self._owed.find_forgotten():
                self.poke()

        await self._every(self.settings.lease / 3, look)

    async def sure(self) -> bool:
        """Its lease holds; one that may have run out was prolonged first. False: nobody knows."""
        return await self._lease.sure()

    async def _listen(self) -> None:
        async def heard() -> None:
            await self.store.hinted()
            self.posted()

        await self._every(timedelta(0), heard)

    async def _sweep(self) -> None:
        # Only late locks close a cycle. Without any, the queues are looked at once in a while all the same,
        # for a saga at the front that nobody woke.
        late = any(step.late_locks for scope in self._scopes.values() for step in scope.flow.steps.values())
        rest = 1 if late else _SWEEPS_PER_LOOK
        sweeps = itertools.count(1)

        async def sweep() -> None:
            if not self._lease.holds:
                self._lease.judge_nobody()
                await self._prolong()  # this process itself was asleep: it must not take itself for dead
            if (self._lease.judges and await self.store.take_over()) or await self.store.ring():
                self.poke()
            turn = next(sweeps)
            if turn % rest == 0 and await break_cycles(self.store, self.time.now()):
                self.poke()
            if turn % _SWEEPS_PER_LOOK == 1:
                self._unserved = await tell_unserved(self.store, self._served, self._unserved)

        await self._every(self.settings.sweep, sweep)

    async def _claim(self) -> None:
        while True:
            self._work.clear()
            found = 0
            try:
                found = await self._look()
            except StoreUnavailable:
                self._owed.unsure = True  # what was claimed and never told is in nobody's hands
            if not found or len(self._drives) >= self.settings.concurrency:
                await self._pause()

    async def _pause(self) -> None:
        """Until poked or the next poll, whichever is first."""
        nap = asyncio.create_task(self.clock.sleep(self.settings.poll.total_seconds()))
        poked = asyncio.create_task(self._work.wait())
        try:
            await asyncio.wait([nap, poked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (nap, poked):
                task.cancel()

    async def _look(self) -> int:
        """Ring what is to be rung and claim what there is room for."""
        await self._owed.release_all()
        if self._freed:
            freed, self._freed = self._freed, set()
            await self.store.ring_sagas(sorted(freed))
        if self._unrung:
            self._unrung = False
            await self.store.ring()
        if self.stopping:
            return 0
        names = self._served
        room = self.settings.concurrency - len(self._drives)
        if room <= 0:
            self._left_over = True
            return 0
        claimed = await self.store.claim(self.id, names, limit=room)
        if self._stopping.is_set():  # it was told to stop while it asked
            self._owed.add(*(saga.record.id for saga in claimed))
            return 0
        for saga in claimed:
            self._take(saga)
        room -= len(claimed)
        starts = await self.store.claim_starts(self.id, names, limit=room) if room > 0 else []
        mail = await self.store.mail([message.saga for message in starts]) if starts else {}
        if self._stopping.is_set():
            self._owed.add(*(message.saga for message in starts))
            return len(claimed)
        for message in starts:
            self._begin(message, [m for m in mail.get(message.saga, ()) if m.kind != "start"])
        self._left_over = len(starts) >= room
        return len(claimed) + len(starts)

    def _ring_later(self, sagas: set[UUID]) -> None:
        self._freed |= sagas
        self.poke()

    # --- sagas ------------------------------------------------------------------------------------

    def _begin(self, message: Message, mail: Sequence[Message]) -> None:
        scope = self._scopes[message.definition or ""]
        message, span = begun(self._tracer, message)
        drive = Drive.of_start(self, scope, message, through_inbox=True, mail=mail)
        self._drive(message.saga, drive, span)

    async def start(self, message: Message) -> None:
        """Start a saga in this very process, without the way through the inbox; return when it is durable.

        Raises:
            RefusedAct: its id or key is known; look in the inbox. StoreUnavailable: it is stopping.
        """
        if self.stopping or message.definition not in self._scopes:
            raise StoreUnavailable("this worker takes no starts")
        message, span = begun(self._tracer, message)
        drive = Drive.of_start(self, self._scopes[message.definition or ""], message, through_inbox=False)
        self._drive(message.saga, drive, span)
        await asyncio.wait([drive.durable])
        if drive.durable.cancelled():
            raise StoreUnavailable("this worker ended before the start was stored")
        try:
            drive.durable.result()
        except Lost as lost:
            raise RefusedAct(f"{message.definition} {message.key!r} is known: {lost.loss}") from None

    def _take(self, claimed: Claimed) -> None:
        record = claimed.record
        scope = self._scopes[record.definition]
        if record.status is Status.COMMITTED and any(map(wants_rollback, claimed.mail)):
            self._drive(record.id, Short(self, scope, claimed, roll_back), None)
        else:
            self._drive(record.id, Drive.of_claimed(self, scope, claimed), resumed(self._tracer, record))

    def _drive(self, saga: UUID, drive: Drive | Short, span: Span | None) -> None:
        # Claimed again while the drive that has just let go of it is still winding up: one after the other.
        work = partial(self._guarded, saga, drive, self._drives.get(saga))
        task = asyncio.create_task(spanned(span, drive, work), name=f"saga {saga}")
        self._drives[saga] = task
        task.add_done_callback(lambda done: self._done(saga, done))

    def _done(self, saga: UUID, task: "asyncio.Task[None]") -> None:
        if self._drives.get(saga) is task:
            del self._drives[saga]
        if self._left_over and len(self._drives) + 1 >= self.settings.concurrency:
            self.poke()

    async def _guarded(self, saga: UUID, drive: Drive | Short, previous: "asyncio.Task[None] | None") -> None:
        """One saga's trouble is its own: it never takes the worker with it."""
        try:
            if previous is not None:
                await asyncio.wait([previous])
            await drive.run()
        except Lost as lost:
            tell("saga.lost", saga=str(saga), loss=lost.loss.value)
        except StoreUnavailable as error:
            tell("saga.interrupted", saga=str(saga), error=storable(str(error)))
            await self.release(saga)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                await self.release(saga)
                return
            tell("saga.fault", saga=str(saga), trace=traced(error))
            await self._stick(saga, error)

    def told(self, record: Record) -> None:
        """So a saga stands now, and that is durable."""
        if self.on_over is not None and is_over(record.status):
            self.on_over(record)

    def has(self, saga: UUID) -> bool:
        """Whether it is in this worker's hands."""
        return saga in self._drives

    async def release(self, saga: UUID) -> None:
        """Give a saga back unchanged, for anybody to claim; while the database is away, later."""
        await self._owed.release(saga)

    async def _stick(self, saga: UUID, error: BaseException) -> None:
        """A fault of the flow's code or ours: the saga stops for an operator, with its locks."""
        try:
            await self._stick_now(saga, error)
        except StoreError:  # it must not stay this worker's and in nobody's hands
            await self.clock.sleep(self.settings.poll.total_seconds())
            self._owed.add(saga)

    async def _stick_now(self, saga: UUID, error: BaseException) -> None:
        row = await self.store.saga(saga)
        if row is None or row.owner != self.id:
            await self.release(saga)
            return
        if row.record.status.final:  # what is over stays over; the fault was in an act upon it
            claimed = Claimed(record=row.record, epoch=row.epoch, arrivals=row.arrivals, mail=())
            await self.store.rest(saga, self.id, claimed)
            return
        fault = "" if isinstance(error, Violated) else f"fault: {type(error).__name__}: "
        why = storable(f"{fault}{error}")
        draft = Draft(self._scopes[row.record.definition], row.record, ())
        draft.add(L.Stuck(why=why, at=self.time.now()))
        with contextlib.suppress(Lost):
            await self.committer.submit(draft.unit(epoch=row.epoch, release=True))
            self.told(draft.record)
