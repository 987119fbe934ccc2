"""What a saga does next, forward or back: the one pure function that every claim, answer and bell ends in.

First what has arrived is taken in (acts, children's ends, signals, deadlines) until the machine
stands still; then steps are started, or the saga goes to sleep, or it is at its end.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sagacity.decide import backward
from sagacity.decide.acts import take_acts
from sagacity.decide.draft import Draft, Moves, RunStep, ended
from sagacity.decide.outcomes import join_children, lost
from sagacity.decide.waits import take_waits
from sagacity.definition.flow import Step
from sagacity.definition.locks import in_order
from sagacity.definition.table import Facts, is_final, joined, next_steps
from sagacity.model import lines as L
from sagacity.model.record import Held, Lock, Phase, Record, Run, WaitsFor

_MAX_MOVES = 1_000


def advance(
    draft: Draft, *, now: datetime, busy: frozenset[str] = frozenset(), holding: bool = False
) -> Moves:
    """Add to the draft what follows now, and say what to do.

    Args:
        draft: the saga's unit in the making.
        now: the database's instant.
        busy: steps (or `undo`) that are being executed by this process for this saga.
        holding: the saga stands first in all queues it is in.
    """
    take_acts(draft, now)
    record = draft.record
    if ended(record):
        return Moves(rest=True)
    if record.paused:
        return _paused(draft, now, busy)
    if _unasked(record):
        if busy:
            return Moves()
        holding = _ask_again(draft, now)
    moves = _through_locks(draft, now, busy, holding=holding)
    if moves is not None:
        return moves
    if draft.record.backward:
        return backward.advance(draft, now=now, busy=busy)
    if draft.record.cancelling is None:
        moves = _forward(draft, now, busy)
        if moves is not None:
            return moves
    return backward.turn(draft, now=now, busy=busy)


def _through_locks(draft: Draft, now: datetime, busy: frozenset[str], *, holding: bool) -> Moves | None:
    """None: it has its locks, or needs none for what it does now."""
    record = draft.record
    # Whoever goes back holds what it has worked on; only what was taken from it must be waited for.
    taken = _owed_a_lock(record)
    needless = record.backward and record.rolls_back is None and not taken
    if record.locked or needless:
        return None
    if record.cancelling is not None and not (record.restarting or record.effects or busy):
        draft.add(L.RolledBack(reason=record.cancelling, at=now))
        return Moves(rest=True)
    if record.cancelling is None or record.rolls_back is not None or taken:
        if holding:
            draft.add(L.Granted(at=now))
        elif not _moved_in_queue(draft, now) or taken:
            return Moves(sleep=WaitsFor.LOCK, due_at=_deadline(draft))
    return None


def _owed_a_lock(record: Record) -> bool:
    """What was taken comes back before it does anything; but a deadlock's victim yields without it."""
    return bool(record.released) and not record.restarting


def _unasked(record: Record) -> tuple[Lock, ...]:
    """Locks that an operator took from it, and that it has not asked for again."""
    if not record.released:
        return ()
    held = {lock.object for lock in record.locks}
    return tuple(lock for lock in record.released if lock.object not in held)


def _ask_again(draft: Draft, now: datetime) -> bool:
    """It stands at the end of their queues before it does anything more. False: it holds them not yet."""
    again = sorted(_unasked(draft.record), key=lambda lock: lock.object)
    late = tuple(Held(object=lock.object, mode=lock.mode, late=True) for lock in again)
    draft.add(L.Locked(locks=late, granted=False, at=now))
    return False


def _paused(draft: Draft, now: datetime, busy: frozenset[str]) -> Moves:
    """Nothing begins. What is in flight is waited for; what nobody works on any more is written as lost."""
    if busy:
        return Moves()
    for run in draft.record.runs:
        if run.phase is Phase.OPEN:
            lost(draft, draft.flow.steps[run.step], run, now)
    return Moves(rest=True)


def _moved_in_queue(draft: Draft, now: datetime) -> bool:
    """Other regions' deadlines come also while one queues for a late lock. True: one sends the saga back."""
    if not draft.record.backward and draft.record.waits:
        while draft.record.cancelling is None and take_waits(draft, now):
            pass
    return draft.record.cancelling is not None


def _deadline(draft: Draft) -> datetime | None:
    """The next one that may be taken meanwhile; whoever goes back, or is to, listens to none."""
    record = draft.record
    if record.backward or record.cancelling is not None:
        return None
    return min((wait.until for wait in record.waits), default=None)


def _forward(draft: Draft, now: datetime, busy: frozenset[str]) -> Moves | None:
    """None: something happened that makes it go back."""
    for _ in range(_MAX_MOVES):
        if draft.record.cancelling is not None or draft.record.backward:
            return None
        record = draft.record
        done = joined(draft.flow, record.state, Facts(draft.flow, record.input, record.results))
        if done is not None:
            draft.add(L.Joined(of=done[0], state=done[1], at=now))
        elif is_final(draft.flow, record.state):
            return Moves(finish=not busy)
        elif not (_children(draft, now) or take_waits(draft, now)):
            return _start(draft, now, busy)
    draft.add(
        L.CancelAsked(
            reason=f"the machine moved {_MAX_MOVES} times without doing anything",
            actor=None,
            message=None,
            at=now,
        )
    )
    return None


def _children(draft: Draft, now: datetime) -> bool:
    for run in draft.record.runs:
        if run.phase is Phase.CHILDREN and join_children(draft, draft.flow.steps[run.step], run, now):
            return True
    return False


def _start(draft: Draft, now: datetime, busy: frozenset[str]) -> Moves | None:
    """Start what can be started; None: it has to go back. Nothing else moves the machine here."""
    record = draft.record
    facts = Facts(draft.flow, record.input, record.results)
    steps = [step for step in _standing(draft, facts, busy) if step.name not in busy]
    late = _late_locks(draft, [step for step in steps if record.run_of(step.name) is None], facts)
    if late:
        # Whoever queues is let go of, so nothing may be in flight, nor begun beside it.
        return Moves() if busy else _ask_late(draft, late, now)
    begin: list[RunStep] = []
    for step in steps:
        run = record.run_of(step.name)
        if run is not None and run.phase is Phase.OPEN:
            lost(draft, step, run, now)
            run = draft.record.run_of(step.name)
        if run is None or _due(draft, run, now):
            begin.append(_begin(draft, step, run, now))
    if begin:
        return Moves(steps=tuple(begin))
    return Moves() if busy else _sleep(draft, now)


def _standing(draft: Draft, facts: Facts, busy: frozenset[str]) -> list[Step]:
    """The steps of the present leaves. One that was begun stays, whatever its guards say by now."""
    flow, record = draft.flow, draft.record
    found: dict[str, Step] = {}
    for leaf in record.state:
        begun = next(
            (s for s in flow.steps_at.get(leaf, ()) if s.name in busy or record.run_of(s.name)), None
        )
        for step in next_steps(flow, (leaf,), facts) if begun is None else (begun,):
            found[step.name] = step
    return list(found.values())


def _due(draft: Draft, run: Run, now: datetime) -> bool:
    if run.phase is not Phase.RETRY or run.due_at is None:
        return False
    if run.due_at <= now:
        return True
    woken = next((m for m in draft.mail if m.kind == "signal" and m.name == run.signal), None)
    if run.signal is None or woken is None:
        return False
    draft.consume(woken)
    return True


def _late_locks(draft: Draft, steps: Sequence[Step], facts: Facts) -> tuple[Lock, ...]:
    """Locks that these steps want and the saga does not hold (or holds too weakly), in key order."""
    wanted: list[Lock] = []
    for step in steps:
        if step.late_locks is not None:
            wanted += in_order(facts.call(step.late_locks, step.late_params), said_by=f"locks of {step.name}")
    if not wanted:
        return ()
    held = {lock.object: lock.mode for lock in draft.record.locks}
    return tuple(
        lock
        for lock in in_order(wanted, said_by="locks")
        if held.get(lock.object) not in ("exclusive", lock.mode)
    )


def _ask_late(draft: Draft, locks: tuple[Lock, ...], now: datetime) -> Moves | None:
    held = {lock.object for lock in draft.record.locks}
    weak = ", ".join(lock.object for lock in locks if lock.object in held)
    if weak:
        reason = f"{weak} is held shared and cannot be made exclusive later: lock it exclusively at the start"
        draft.add(L.CancelAsked(reason=reason, actor=None, message=None, at=now))
        return None
    late = tuple(Held(object=lock.object, mode=lock.mode, late=True) for lock in locks)
    draft.add(L.Locked(locks=late, granted=False, at=now))
    return Moves(sleep=WaitsFor.LOCK, due_at=_deadline(draft))


def _begin(draft: Draft, step: Step, run: Run | None, now: datetime) -> RunStep:
    """One attempt; for an effect its intent, which registers the compensation, is written first."""
    record = draft.record
    visit = run.visit if run is not None else record.visits.get(step.name, 0) + 1
    attempt = run.attempt + 1 if run is not None else 1
    key = draft.scope.key(record.id, step.name, visit)
    if step.effectful:
        draft.add(
            L.Intent(
                step=step.name,
                visit=visit,
                attempt=attempt,
                external=step.external or "",
                key=key,
                undo=step.undo.name if step.undo is not None else None,
                safe_on_nothing=step.undo is not None and step.undo.safe_on_nothing,
                at=now,
            )
        )
    settle = run is not None and run.unknown
    return RunStep(step=step, visit=visit, attempt=attempt, key=key, settle=settle)


def _sleep(draft: Draft, now: datetime) -> Moves | None:
    """Nothing to do now: what would move it, and when by itself. None: nothing ever would."""
    record = draft.record
    reasons: list[tuple[datetime, WaitsFor]] = [(w.until, w.kind) for w in record.waits]
    reasons += [(r.due_at, WaitsFor.RETRY) for r in record.runs if r.due_at is not None]
    if any(run.phase is Phase.CHILDREN for run in record.runs):
        due = min((at for at, _ in reasons), default=None)
        return Moves(sleep=WaitsFor.CHILD, due_at=due)
    if not reasons:
        reason = f"in {', '.join(record.state)}: no step may run and nothing is awaited"
        draft.add(L.CancelAsked(reason=reason, actor=None, message=None, at=now))
        return None
    first: Callable[[tuple[datetime, WaitsFor]], datetime] = lambda reason: reason[0]  # noqa: E731
    due, kind = min(reasons, key=first)
    if kind is not WaitsFor.RETRY:
        kind = next((k for _, k in reasons if k is not WaitsFor.TIMER), kind)
    return Moves(sleep=kind, due_at=due)
