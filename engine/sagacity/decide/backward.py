"""Going back: settle what is open, then undo the effects in exact reverse order, none skipped.

Nothing is undone on a guess. An effect whose outcome is unknown is driven forward under its
key until the answer is known; only an undo that is safe on nothing may run instead.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sagacity.decide.begin import ask_locks
from sagacity.decide.draft import Draft, Moves, RunStep, RunUndo
from sagacity.decide.outcomes import child_statuses, lost
from sagacity.definition.flow import Step, Undo
from sagacity.ids import derived_id
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical
from sagacity.model.record import Effect, EffectStatus, Lock, Phase, Record, Run, Status, WaitsFor
from sagacity.model.unit import Message
from sagacity.retry import retry_at

UNDO = "undo"
"""What `busy` holds while a compensation runs."""


def turn(draft: Draft, *, now: datetime, busy: frozenset[str]) -> Moves:
    """The saga is to go back: first every open outcome must be known."""
    if busy:
        return Moves()
    steps: list[RunStep] = []
    due: list[datetime] = []
    # What has given up comes first: where it is hopeless nothing else is begun.
    for run in sorted(draft.record.runs, key=lambda run: run.phase is not Phase.GAVE_UP):
        moves = _settled(draft, run, now)
        if isinstance(moves, RunStep):
            steps.append(moves)
        elif isinstance(moves, datetime):
            due.append(moves)
        elif moves is False:
            _stick(draft, f"{run.step}: whether it happened outside is unknown ({run.error})", now)
            return Moves(rest=True)
    if steps:
        return Moves(steps=tuple(steps))
    if due:
        return Moves(sleep=WaitsFor.RETRY, due_at=min(due))
    reason = draft.record.cancelling or "cancelled"
    if draft.record.pivoted:
        _stick(draft, f"{reason} (behind the point of no return there is only forward)", now)
        return Moves(rest=True)
    draft.add(L.Compensating(reason=reason, at=now))
    return advance(draft, now=now, busy=busy)


def _settled(draft: Draft, run: Run, now: datetime) -> RunStep | datetime | bool:
    """True: nothing of this run is open. False: it cannot be known. Else how, or when, to find out."""
    step = draft.flow.steps[run.step]
    if run.phase is Phase.CHILDREN:
        return True
    if run.phase is Phase.OPEN:
        lost(draft, step, run, now)
        run = draft.record.run_of(run.step) or run
    if not run.unknown or (step.undo is not None and step.undo.safe_on_nothing):
        return True
    gave_up = run.phase is Phase.GAVE_UP
    if gave_up and (run.asked or not _has_probe(step)):
        return False
    if run.due_at is not None and run.due_at > now:
        return run.due_at
    record = draft.record
    attempt = run.attempt + 1
    key = draft.scope.key(record.id, run.step, run.visit)
    draft.add(
        L.Intent(
            step=run.step,
            visit=run.visit,
            attempt=attempt,
            external=step.external or "",
            key=key,
            undo=step.undo.name if step.undo is not None else None,
            at=now,
        )
    )
    return RunStep(step=step, visit=run.visit, attempt=attempt, key=key, settle=True, back=True, ask=gave_up)


def _has_probe(step: Step) -> bool:
    return any(p.kind == "external" and p.type.effects and p.type.has_probe for p in step.params)


def advance(draft: Draft, *, now: datetime, busy: frozenset[str]) -> Moves:
    """Undo the latest effect that is still standing; at the end of them, end."""
    if busy:
        return Moves()
    record = draft.record
    for effect in reversed(record.effects):
        if effect.status in (EffectStatus.UNDONE, EffectStatus.VOID):
            continue
        if effect.undo is None or effect.status is EffectStatus.GAVE_UP:
            _stick(draft, f"{effect.step}: its effect stands and cannot be undone", now)
            return Moves(rest=True)
        if effect.undo_due_at is not None and effect.undo_due_at > now:
            return Moves(sleep=WaitsFor.RETRY, due_at=effect.undo_due_at)
        if effect.undo == "child":
            moves = _undo_children(draft, effect, now)
            return moves if moves is not None else advance(draft, now=now, busy=busy)
        if not (effect.landed or effect.safe_on_nothing):
            _stick(draft, f"{effect.step}: whether it happened outside is unknown ({effect.error})", now)
            return Moves(rest=True)
        undo = undo_of(draft, effect)
        if undo is None:
            _stick(draft, f"{effect.step}: this version of {record.definition} has no {effect.undo}", now)
            return Moves(rest=True)
        return Moves(undo=RunUndo(effect=effect, undo=undo, attempt=effect.undo_attempts + 1))
    return _back(draft, now)


def undo_of(draft: Draft, effect: Effect) -> Undo | None:
    """The compensation that the flow declares for this effect today."""
    step = draft.flow.steps.get(effect.step)
    if step is not None and step.undo is not None and step.undo.name == effect.undo:
        return step.undo
    return draft.flow.compensations.get(effect.undo or "")


def _back(draft: Draft, now: datetime) -> Moves:
    record = draft.record
    if record.rolls_back is not None:
        return Moves(finish=True)
    if record.restarting:
        draft.add(L.Restarted(why=record.reason or "", state=draft.flow.start, at=now))
        # All at once this time, late ones too: what made the cycle cannot make another. And in one unit:
        # between the two it would stand at its start without its locks.
        known = tuple(Lock(object=lock.object, mode=lock.mode) for lock in record.locks)
        asked = ask_locks(draft, granted=False, now=now, known=known)
        return Moves(restart=True) if asked else Moves(rest=True)
    draft.add(L.RolledBack(reason=record.cancelling or record.reason or "cancelled", at=now))
    return Moves(rest=True)


def settle_undo(draft: Draft, run: RunUndo, outcome: O.Outcome, *, now: datetime) -> None:
    """Add to the draft what this outcome of a compensation means."""
    effect = run.effect
    name = effect.undo or ""
    if isinstance(outcome, O.Completed):
        draft.add(
            L.Undone(
                n=effect.n,
                step=effect.step,
                undo=name,
                attempt=run.attempt,
                result=outcome.result,
                empty=not effect.landed,
                at=now,
            )
        )
        return
    if isinstance(outcome, O.NotTried):
        return
    error, wish, final = _failure(outcome, now)
    again = None
    if not final:
        again = retry_at(
            run.undo.retry,
            attempt=run.attempt,
            since=effect.undo_since or now,
            now=now,
            error=error,
            wish=wish,
        )
    failed = L.UndoFailed(
        n=effect.n, step=effect.step, undo=name, attempt=run.attempt, error=error, retry_at=again, at=now
    )
    draft.add(failed)
    if again is None:
        _stick(draft, f"{name} of {effect.step} gave up after {run.attempt} attempts: {error}", now)


def _failure(outcome: O.Failed | O.Unknown | O.Waiting, now: datetime) -> tuple[str, timedelta | None, bool]:
    if isinstance(outcome, O.Failed):
        return outcome.error, outcome.retry_after, outcome.final
    if isinstance(outcome, O.Unknown):
        return outcome.error, None, False
    return f"asks to be tried again at {outcome.until.isoformat()}", outcome.until - now, False


def _stick(draft: Draft, why: str, now: datetime) -> None:
    if draft.record.status is not Status.STUCK:
        draft.add(L.Stuck(why=why, at=now))


def _undo_children(draft: Draft, effect: Effect, now: datetime) -> Moves | None:
    """Cancel running children, roll back committed ones, and wait for both. None: all are undone."""
    record = draft.record
    statuses = child_statuses(record.results, effect.children)
    if record.rolls_back is not None:
        # It committed, so all its children had; their ends lie in its own record, not in this one's.
        statuses = [Status.COMMITTED.value] * len(effect.children)
    waiting = False
    for child, status in zip(effect.children, statuses, strict=True):
        if status is None:
            draft.post(_cancel_child(record, child, now))
            waiting = True
        elif status == Status.ABANDONED.value:
            _stick(draft, f"{effect.step}: child saga {child} was abandoned: its effects stand", now)
            return Moves(rest=True)
        elif status == Status.COMMITTED.value:
            ended = child_statuses(record.results, (derived_id(child, "rollback"),))[0]
            if ended is None:
                draft.post(_roll_child_back(record, effect, child, now))
                waiting = True
            elif ended != Status.COMMITTED.value:
                _stick(draft, f"{effect.step}: child saga {child} could not be rolled back", now)
                return Moves(rest=True)
    if waiting:
        return Moves(sleep=WaitsFor.CHILD)
    draft.add(L.Undone(n=effect.n, step=effect.step, undo="child", attempt=1, at=now))
    return None


def _cancel_child(record: Record, child: UUID, now: datetime) -> Message:
    return Message(
        id=derived_id(record.id, child, "cancel"),
        kind="cancel",
        saga=child,
        data=canonical(f"its parent saga {record.id} goes back: {record.reason}"),
        actor="engine",
        arrived_at=now,
    )


def _roll_child_back(record: Record, effect: Effect, child: UUID, now: datetime) -> Message:
    return Message(
        id=derived_id(record.id, child, "rollback"),
        kind="rollback",
        saga=child,
        data=canonical(f"its parent saga {record.id} goes back: {record.reason}"),
        payload=canonical({"parent": str(record.id), "parent_step": effect.step}),
        actor="engine",
        arrived_at=now,
    )
