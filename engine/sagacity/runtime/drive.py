"""One saga in the hands of this worker, from the moment it owns it until it lets go.

The loop is always the same: decide, make durable what was decided, do it, report what
happened, decide again. It ends when the saga sleeps, rests, ends, or was lost to another.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from sagacity.decide import backward
from sagacity.decide.acting import held_up
from sagacity.decide.begin import ask_locks, begin
from sagacity.decide.draft import Draft, Moves, RunStep, Scope, ended
from sagacity.decide.finish import Images, check_restores, finish, needs_check, own_rows, touched
from sagacity.decide.forward import advance
from sagacity.decide.outcomes import SUSPECT, interrupted, settle
from sagacity.decide.waits import seems_due
from sagacity.errors import HistoryLost, StepError, StoreError, StoreUnavailable
from sagacity.model import lines as L
from sagacity.model.canonical import Json, storable
from sagacity.model.operating import Verb
from sagacity.model.outcome import NotTried, Outcome
from sagacity.model.record import Record, Staged, Status, WaitsFor
from sagacity.model.unit import Claimed, Loss, Message, Unit
from sagacity.runtime import footing
from sagacity.runtime.apart import changed_row, guarded_rows
from sagacity.runtime.bench import Bench
from sagacity.runtime.committer import Ack, Lost
from sagacity.runtime.doors import Passage
from sagacity.runtime.footing import Footing
from sagacity.store.base import OwnTableError, RowImages


class Drive:
    """See `run`."""

    def __init__(self, bench: Bench, scope: Scope, *, epoch: int, arrivals: int) -> None:
        self._bench = bench
        self._scope = scope
        self._epoch = epoch
        self._arrivals = arrivals
        self._start: Message | None = None
        self._early: tuple[Message, ...] = ()
        self._through_inbox = False
        self._footing = Footing(bench.store)
        self._tasks: dict[str, asyncio.Task[tuple[RunStep, Outcome]]] = {}
        self._passages: dict[str, Passage] = {}
        self._checked = False
        self._orphaned = False
        self.durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.draft: Draft

    # --- how it gets hold of a saga ---------------------------------------------------------------

    @classmethod
    def of_claimed(cls, bench: Bench, scope: Scope, claimed: Claimed) -> "Drive":
        """For a saga that the worker has claimed."""
        drive = cls(bench, scope, epoch=claimed.epoch, arrivals=claimed.arrivals)
        drive._orphaned = claimed.orphaned and not ended(claimed.record)
        drive.draft = Draft(scope, claimed.record, claimed.mail)
        return drive

    @classmethod
    def of_start(
        cls,
        bench: Bench,
        scope: Scope,
        message: Message,
        *,
        through_inbox: bool,
        mail: Sequence[Message] = (),
    ) -> "Drive":
        """For a start: taken from the inbox with what else lay there for it, or handed over here."""
        drive = cls(bench, scope, epoch=1, arrivals=0)
        drive._early = tuple(mail)
        drive._start = message
        drive._through_inbox = through_inbox
        return drive

    async def run(self) -> None:
        """Drive the saga until it sleeps, rests, ends or is lost; raises what the store raises."""
        try:
            if self._start is not None and not await self._begin():
                return
            if self._suspect():
                async with self._bench.alone:  # whoever waits has nothing begun, so it is not counted again
                    await self._loop()
            else:
                await self._loop()
        except Exception as error:
            if self._start is not None and not isinstance(error, (Lost, StoreUnavailable, HistoryLost)):
                await self._store_start(error)
            if not self.durable.done():
                self.durable.set_exception(error)
                self.durable.exception()  # somebody may or may not be waiting for it
            raise
        finally:
            self.durable.cancel()
            for task in self._tasks.values():
                task.cancel()

    async def _store_start(self, error: Exception) -> None:
        """Its first decision failed: it is stored, in its queues, as what an operator can look at.

        Where the store itself will not have it so (a lock on what cannot be a key), it ends at once.
        """
        if isinstance(error, (StoreError, OwnTableError)):
            assert self._start is not None
            now = self._bench.time.now()
            self.draft = begin(self._scope, self._start, now=now)
            if self._through_inbox:
                self.draft.consumed.append(self._start.id)
            self.draft.add(L.RolledBack(reason=storable(f"it cannot be stored: {error}"), at=now))
            await self._commit(release=True)
        elif self._first_draft(granted=False):
            await self._commit()
        else:
            await self._commit(release=True)

    # --- the beginning ----------------------------------------------------------------------------

    async def _begin(self) -> bool:
        """Admit the saga: optimistically, its first intent along; refused, as queued. False: it let go."""
        if not self._first_draft(granted=True):
            await self._commit(release=True)
            return False
        if not self.draft.admits:
            return True
        try:
            moves = Moves() if self.draft.record.rolls_back else self._advance()
            await self._commit(optimistic=True)
        except Lost as lost:
            if lost.loss is not Loss.BUSY:
                raise
            self._first_draft(granted=False)
            return await self._queue()
        if moves.steps:
            await self._launch(moves)
        return True

    def _first_draft(self, *, granted: bool) -> bool:
        """Make the saga's first lines. False: it could not tell its locks, and ended."""
        assert self._start is not None
        now = self._bench.time.now()
        self.draft = begin(self._scope, self._start, now=now)
        self.draft.mail = list(self._early)
        if self._through_inbox:
            self.draft.consumed.append(self._start.id)
        return ask_locks(self.draft, granted=granted, now=now)

    async def _queue(self) -> bool:
        """Stand in the queues. True: it came to the front meanwhile."""
        ack = await self._commit(release=True)
        return footing.first_in_all(self.draft.record, ack.objects) and await self._reclaim()

    async def _reclaim(self) -> bool:
        claimed = await self._bench.store.reclaim(self.draft.record.id, self._bench.id)
        if claimed is None:
            return False
        self._epoch, self._arrivals = claimed.epoch, claimed.arrivals
        self.draft = Draft(self._scope, claimed.record, claimed.mail)
        self._footing.holding = True
        return True

    # --- the loop ---------------------------------------------------------------------------------

    def _suspect(self) -> bool:
        """It may be what kills its workers."""
        return self._start is None and self.draft.record.interrupted + self._orphaned >= SUSPECT

    async def _loop(self) -> None:
        if self._orphaned:
            # Before anything is begun again: what kills the process now must find itself counted.
            interrupted(self.draft, self._bench.time.now(), limit=self._bench.settings.takeovers)
            if not ended(self.draft.record):
                await self._commit()
        if not self.draft.record.locked and not self._footing.holding:
            await self._footing.look(self.draft.record)
        while True:
            if self._bench.stopping:
                if await self._hand_back():
                    return
                continue
            paused = self.draft.record.paused
            if not (paused or self._checked) and needs_check(
                self.draft.record, holding=self._footing.holding
            ):
                await self._footing.load(touched(self.draft.record), fresh=True)
                check_restores(self.draft, self._footing.states, now=self._bench.time.now())
                self._checked = True
            if seems_due(self.draft.record, self._bench.time.now()):
                await self._bench.time.sync()  # this machine's clock, running ahead, makes nothing due
            await self._see_fences()
            if await self._carry_out(self._advance()):
                return

    async def _see_fences(self) -> None:
        """An act names a lock by its fencing number: see what it is now."""
        if any(m.kind == "act" and m.name == Verb.RELEASE_LOCK.value for m in self.draft.mail):
            await self._footing.look(self.draft.record)
            self.draft.fences = self._footing.fences(self.draft.record)

    def _advance(self) -> Moves:
        return advance(
            self.draft,
            now=self._bench.time.now(),
            busy=frozenset(self._tasks),
            holding=self._footing.holding,
        )

    async def _carry_out(self, moves: Moves) -> bool:
        """Do what was decided. True: this worker is done with the saga."""
        if moves.finish:
            return await self._finish()
        elif moves.restart:
            return await self._restart()
        elif moves.rest or moves.sleep is not None:
            return await self._let_go(moves)
        else:
            # A start from the inbox is stored before its first step: what kills the process leaves a trace.
            first = self._start is not None and self._through_inbox
            if self.draft.lines and (moves.intends or self.draft.admits or self._tasks or first):
                await self._commit()  # also what one region has done, while another is still at it
            await self._launch(moves)
        return False

    async def _launch(self, moves: Moves) -> None:
        """Run what was decided and take in what has happened, as soon as anything has."""
        if moves.undo is not None:
            passage = Passage(
                step=f"{moves.undo.effect.step} (undo)",
                key=moves.undo.effect.undo_key,
                undoes=moves.undo.effect.key,
                sure=self._bench.sure,
            )
            outcome = await self._bench.executor.undo(
                self._scope.flow, moves.undo, self.draft.record, passage
            )
            outcome = await self._judged(passage, outcome)
            now = self._bench.time.now()
            backward.settle_undo(self.draft, moves.undo, outcome, now=now)
            return
        if len(moves.steps) == 1 and not self._tasks and len(self.draft.record.state) == 1:
            self._take(*await self._attempt(moves.steps[0]))
            return
        for run in moves.steps:
            self._tasks[run.step.name] = asyncio.create_task(self._attempt(run))
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in self._tasks.values() if task.done()]:  # as they were begun, always
            run, outcome = task.result()
            del self._tasks[run.step.name]
            self._take(run, outcome)

    async def _attempt(self, run: RunStep) -> tuple[RunStep, Outcome]:
        record = self.draft.record
        if run.step.effectful and (why := self._not_now()):
            return run, NotTried(why=why)
        if any(param.kind == "stage" for param in run.step.params):
            await self._footing.load(tuple(h.object for h in record.locks if h.mode == "exclusive"))
        passage = self._passages[run.step.name] = Passage(
            step=run.step.name,
            key=run.key,
            settle=run.settle,
            back=run.back,
            ask=run.ask,
            sure=self._bench.sure,
        )
        states: Mapping[str, Json] = {name: state.state for name, state in self._footing.states.items()}
        outcome = await self._bench.executor.step(self._scope.flow, run, record, states, passage)
        return run, await self._judged(passage, outcome)

    async def _judged(self, passage: Passage, outcome: Outcome) -> Outcome:
        """What was held back at the door was not tried, whatever the step's code made of that."""
        if not passage.late or passage.tried:
            return outcome
        await self._bench.clock.sleep(self._bench.settings.poll.total_seconds())
        return NotTried(why="the worker's lease may have run out")

    def _not_now(self) -> str | None:
        """Why an effect whose intent is written is not made after all."""
        if self._bench.stopping:
            return "the worker is stopping"
        if any(message.kind == "cancel" for message in self.draft.mail):
            return "a cancel came in"
        if any(held_up(message) for message in self.draft.mail):
            return "it is to be paused"
        return None

    def _take(self, run: RunStep, outcome: Outcome) -> None:
        self._passages.pop(run.step.name, None)
        now = self._bench.time.now()
        settle(self.draft, run.step, visit=run.visit, attempt=run.attempt, outcome=outcome, now=now)

    # --- writing ----------------------------------------------------------------------------------

    def _unit(self, *, release: bool, optimistic: bool) -> Unit:
        return self.draft.unit(
            epoch=self._epoch,
            arrivals=self._arrivals if release and self._start is None else None,
            release=release,
            optimistic=optimistic,
            start=None if self._through_inbox else self._start,
        )

    async def _commit(self, *, release: bool = False, optimistic: bool = False) -> Ack:
        """Write the draft; what follows builds on it."""
        if any(line.kind == L.Granted.kind for line in self.draft.lines):
            self._footing.assert_held(self.draft.record)
        unit = self._unit(release=release, optimistic=optimistic)
        guarded = guarded_rows(self._scope.participants, unit)
        if guarded:
            ack = await self._bench.apart.submit(unit.saga, guarded, lambda images: unit)
        else:
            ack = await self._bench.committer.submit(unit)
        await self._written(unit, ack)
        return ack

    async def _written(self, unit: Unit, ack: Ack) -> None:
        """Go on from what now stands in the store."""
        self._start = None
        if not self.durable.done():
            self.durable.set_result(None)
        if unit.posts:
            self._bench.posted()
        record = self.draft.record
        self._bench.told(record)
        if unit.optimistic:
            self._footing.assert_held(record, ack.objects)
        self._footing.seen(record, unit, ack.objects)
        self.draft = Draft(self._scope, record, self.draft.mail)
        if not unit.release and ack.arrivals != self._arrivals:
            await self._look_again()

    async def _read_mail(self) -> None:
        """A bell rang: read the unread mail again; the draft stays as it is."""
        claimed = await self._bench.store.reload(self.draft.record.id, self._bench.id, self._epoch)
        if claimed is None:
            raise Lost(Loss.STALE)
        self._arrivals = claimed.arrivals
        gone = set(self.draft.consumed)
        self.draft.mail = [message for message in claimed.mail if message.id not in gone]

    async def _let_go(self, moves: Moves) -> bool:
        """Sleep or rest. False: a bell rang meanwhile, or the wait is so short that it is kept here."""
        now = self._bench.time.now()
        if moves.sleep is WaitsFor.RETRY and moves.due_at is not None and self._is_short(moves.due_at - now):
            if self.draft.lines:
                await self._commit()
            left = moves.due_at - self._bench.time.now()
            await self._bench.clock.sleep(max(0.0, left.total_seconds()))
            await self._bench.time.sync()
            return False
        if not self.draft.lines and await self._bench.time.lags_behind(moves.due_at):
            return False
        mark, record = self.draft.mark(), self.draft.record
        if moves.sleep is not None and not self._asleep(record, moves):
            self.draft.add(L.Slept(waits_for=moves.sleep, due_at=moves.due_at, at=now))
        if not self.draft.lines:
            return await self._rest()
        try:
            ack = await self._commit(release=True)
        except Lost as lost:
            if lost.loss is not Loss.ARRIVALS:
                raise
            self.draft.back_to(mark, record)
            return await self._look_again()
        if self.draft.record.status is Status.WAITING and self._waits_at_front(ack):
            return not await self._reclaim()
        return True

    def _is_short(self, wait: timedelta) -> bool:
        # Only retries: who waits for a signal must hear it before its deadline, and here nobody listens.
        return wait <= self._bench.settings.short_sleep

    def _asleep(self, record: Record, moves: Moves) -> bool:
        """The record says already what `slept` would say, and nothing else is to be written."""
        if self.draft.posts:
            return False
        if record.backward:
            return not self.draft.lines and record.due_at == moves.due_at
        return (
            record.status is Status.WAITING
            and record.waits_for == moves.sleep
            and record.due_at == moves.due_at
        )

    def _waits_at_front(self, ack: Ack) -> bool:
        record = self.draft.record
        return not (record.locked or record.paused) and footing.first_in_all(record, ack.objects)

    async def _rest(self) -> bool:
        """Nothing happened: put the saga down as it was found."""
        store, record = self._bench.store, self.draft.record
        claimed = Claimed(
            record=record, epoch=self._epoch, arrivals=self._arrivals, mail=tuple(self.draft.mail)
        )
        if await store.rest(record.id, self._bench.id, claimed):
            return True
        return await self._look_again()

    async def _look_again(self) -> bool:
        """A bell rang: there is mail, or the saga came to the front of its queues.

        True: it is over, so the mail may ask for what is no drive's work; whoever claims it next decides.
        """
        if self.draft.record.status.final:
            await self._bench.release(self.draft.record.id)
            return True
        await self._read_mail()
        if not self.draft.record.locked:
            await self._footing.look(self.draft.record)
        return False

    async def _hand_back(self) -> bool:
        """Stopping: write what is known and give the saga to anybody. False: something was in flight."""
        if self.draft.lines:
            await self._commit()
        if self._tasks:
            await self._launch(Moves())
            return False
        await self._bench.store.hand_back(self._bench.id, [self.draft.record.id])
        return True

    # --- the end ----------------------------------------------------------------------------------

    async def _finish(self) -> bool:
        """Apply what is staged and commit. False: it could not be, and the saga goes on."""
        mark, record = self.draft.mark(), self.draft.record
        if self.draft.admits:
            await self._commit()
            mark = self.draft.mark()
        await self._footing.load(touched(record), fresh=record.rolls_back is not None)
        own = own_rows(self._scope.participants, record)
        try:
            if own:
                await self._commit_apart(own)
            else:
                finish(self.draft, self._footing.states, now=self._bench.time.now())
                await self._commit(release=True)
            return True
        except (StepError, OwnTableError) as error:
            self.draft.back_to(mark, record)
            self._refused_at_commit(error)
        except Lost as lost:
            if lost.loss not in (Loss.ARRIVALS, Loss.VERSION):
                raise
            self.draft.back_to(mark, record)
            self._footing.states.clear()
            await self._read_mail()
        return False

    def _refused_at_commit(self, error: Exception) -> None:
        """An operation cannot be applied: the saga goes back, or is stuck where it cannot."""
        now, why = self._bench.time.now(), storable(f"commit: {error}")
        if self.draft.record.backward or self.draft.record.pivoted:
            self.draft.add(L.Stuck(why=why, at=now))
        else:
            self.draft.add(L.CancelAsked(reason=why, actor=None, message=None, at=now))

    async def _commit_apart(self, own: Mapping[str, tuple[Staged, ...]]) -> None:
        registry = self._scope.participants
        rows = tuple(changed_row(registry, name, operations) for name, operations in own.items())
        mark, record, now = self.draft.mark(), self.draft.record, self._bench.time.now()

        def compose(images: Mapping[str, RowImages]) -> Unit:
            self.draft.back_to(mark, record)
            seen = {name: Images(before=i.before, after=i.after) for name, i in images.items()}
            finish(self.draft, self._footing.states, now=now, images=seen)
            return self._unit(release=True, optimistic=False)

        await self._bench.apart.submit(record.id, rows, compose)
        if record.parent is not None or record.adopter is not None:
            self._bench.posted()
        self._bench.told(self.draft.record)

    async def _restart(self) -> bool:
        """A deadlock's victim is back at its start, and in the queues for its locks anew."""
        self._footing.states.clear()
        await self._commit()
        return False
