"""What one more line may say of a saga: pure rules over the record before it and the line.

They need nothing but the two, so the engine asks them of every line that it is about to write, and the
judge asks them of every line that it reads. A rule answers None, or why the line may not stand there.
"""

from collections.abc import Callable
from typing import Any

from sagacity.model import lines as L
from sagacity.model.by_hand import left_standing
from sagacity.model.record import CLOSED, EffectStatus, Phase, Record, Status

Rule = Callable[[Record, Any], str | None]


def i4_one_outcome(record: Record, line: L.Completed | L.Failed | L.NotTried) -> str | None:
    """I4: one success per (saga, step, visit), one outcome per attempt, that of the open one."""
    run = record.run_of(line.step)
    if run is None:
        if line.visit == record.visits.get(line.step, 0) + 1:
            return None
        return f"{line.step}, visit {line.visit}, has its outcome already"
    if line.visit != run.visit:
        return f"{line.step}: an outcome of visit {line.visit}, but visit {run.visit} is open"
    if isinstance(line, L.NotTried):
        return None
    expected = run.attempt + 1 if run.phase is Phase.RETRY else run.attempt
    if line.attempt != expected or run.phase is Phase.GAVE_UP:
        return (
            f"{line.step}, visit {line.visit}: attempt {line.attempt} has its outcome already, or none is due"
        )
    if run.phase is Phase.RETRY and record.effect_of(line.step, line.visit) is not None:
        return f"{line.step}: attempt {line.attempt} has an outcome, but no intent was written for it"
    return None


def i4_child_once(record: Record, line: L.ChildEnded) -> str | None:
    """I4: a child's end is told once."""
    if f"child:{line.child}" in record.results:
        return f"the end of child {line.child} was told already"
    return None


_ALWAYS_TOLD = (L.Act, L.ActRefused, L.ChildEnded, L.Adopted, L.Interrupted, L.Rehearsed)
"""Lines that move nothing: they may stand anywhere, also behind the end."""
_AFTER_END = frozenset(kind.kind for kind in (*_ALWAYS_TOLD, L.Erased))
_LEAVE_STUCK = frozenset(
    kind.kind
    for kind in (
        *(*_ALWAYS_TOLD, L.Retried, L.CancelAsked, L.Stuck, L.RollbackAsked, L.Paused, L.Resumed),
        *(L.Skipped, L.Forced, L.Abandoned, L.LockReleased),
    )
)


_BEGIN = frozenset(
    kind.kind
    for kind in (
        *(L.Intent, L.Spawned, L.Awaiting, L.Signalled, L.TimedOut, L.Joined, L.Granted, L.Locked),
        *(L.Compensating, L.Committed, L.RolledBack, L.Restarted),
    )
)
"""What a paused saga does not do; answers to what was in flight are recorded."""


def i9_ends_once(record: Record, line: L.Line) -> str | None:
    """I9: after its end nothing moves a saga; stuck and paused are left only by an operator's act."""
    kind, status = line.kind, record.status
    if record.paused and kind in _BEGIN:
        return f"{kind} while it is paused"
    if status.final and kind not in _AFTER_END:
        if kind == L.RollbackAsked.kind and status is Status.COMMITTED:
            return None
        return f"{kind} after it was {status.value}"
    if status is Status.STUCK and kind not in _LEAVE_STUCK:
        return f"{kind} while it is stuck: only an operator moves it"
    return None


def i10_granted(record: Record, line: L.Granted) -> str | None:
    """I10: only a saga that stands in a queue is granted its locks."""
    return "nothing was left to be granted" if record.locked else None


def i10_awaited(record: Record, line: L.Signalled | L.TimedOut) -> str | None:
    """I10: only what is awaited arrives or runs out."""
    if any(wait.name == line.wait for wait in record.waits):
        return None
    return f"{line.wait} is not awaited in {', '.join(record.state)}"


def i10_ended(record: Record, line: L.Committed | L.Restarted | L.RolledBack) -> str | None:
    """I10: it commits going forward (a rollback saga: having gone back), and starts anew only once back."""
    if isinstance(line, L.Committed):
        if record.backward != (record.rolls_back is not None):
            return "it committed while it was going back"
        whole = record.locked and not record.released
        return None if whole else "it committed without all of its locks"
    if isinstance(line, L.Restarted):
        return None if record.backward and record.restarting else "it started anew without being asked to"
    return None


def i14_pivot(record: Record, line: L.Compensating) -> str | None:
    """I14: behind the point of no return there is only forward."""
    return "it goes back behind its point of no return" if record.pivoted else None


def i15_reverse_order(record: Record, line: L.Undone | L.UndoFailed) -> str | None:
    """I15: undos run in the exact reverse order of the effects, none skipped."""
    standing = next((e for e in reversed(record.effects) if e.status not in CLOSED), None)
    if standing is not None and standing.n == line.n:
        return None
    expected = "none stands" if standing is None else f"effect {standing.n} ({standing.step}) is next"
    return f"the undo of effect {line.n} ({line.step}), but {expected}"


def i15_all_undone(record: Record, line: L.RolledBack | L.Committed | L.Restarted) -> str | None:
    """I15: at its end everything is undone (a rollback saga that is refused: nothing)."""
    if isinstance(line, L.Committed) and record.rolls_back is None:
        return None
    standing = [e for e in record.effects if e.status not in CLOSED]
    if not standing:
        return None
    refused = isinstance(line, L.RolledBack) and record.rolls_back is not None
    if refused and all(e.status is not EffectStatus.UNDONE for e in record.effects):
        return None
    return f"{line.kind}, but effect {standing[-1].n} ({standing[-1].step}) is {standing[-1].status.value}"


def i17_undo_of_something(record: Record, line: L.Undone | L.UndoFailed) -> str | None:
    """I17: no undo starts before its step did, none while it goes forward, and none twice."""
    if not record.backward:
        return f"{line.undo} ran while the saga goes forward"
    if not 1 <= line.n <= len(record.effects):
        return f"{line.undo} ran for effect {line.n}, which was never begun"
    effect = record.effects[line.n - 1]
    if effect.step != line.step or (effect.undo or "") != line.undo:
        return f"{line.undo} of {line.step}, but effect {line.n} is {effect.undo} of {effect.step}"
    if effect.status in CLOSED:
        return f"{line.undo} ran for effect {line.n}, which is {effect.status.value}"
    return None


def i17_forward_only(record: Record, line: L.Line) -> str | None:
    """I17: once the saga goes back no forward step starts or is accepted."""
    return f"{line.kind} after it turned back" if record.backward else None


def i18_empty(record: Record, line: L.Undone) -> str | None:
    """I18: the undo of an action that is not known to have arrived is told as empty, and must be safe so."""
    if line.undo == "child" or not 1 <= line.n <= len(record.effects):
        return None
    effect = record.effects[line.n - 1]
    if line.empty is effect.landed:
        known = "landed" if effect.landed else "is not known to have landed"
        return f"effect {line.n} {known}, and its undo tells it otherwise"
    if line.empty and not effect.safe_on_nothing:
        return f"{line.undo} is not safe on nothing, and whether effect {line.n} landed was not known"
    return None


def i19_stuck(record: Record, line: L.Line) -> str | None:
    """I19: an undo out of retries makes the saga stuck, at once."""
    if record.status is Status.STUCK or record.status.final or not record.backward:
        return None
    gone = next((e for e in record.effects if e.status is EffectStatus.GAVE_UP), None)
    if gone is None or line.kind in (L.Retried.kind, L.Stuck.kind):
        return None
    return f"{line.kind}, although the undo of {gone.step} gave up"


def i22_two_phase(record: Record, line: L.Locked) -> str | None:
    """I22: no lock is taken after the first was let go."""
    if record.status.final:
        return "locks are asked for after all were let go"
    held = {lock.object for lock in record.locks}
    twice = next((lock.object for lock in line.locks if lock.object in held), None)
    return None if twice is None else f"{twice} is asked for twice"


def i23_fenced(record: Record, line: L.Applied) -> str | None:
    """I23: an object is changed only by the saga that holds its exclusive lock."""
    for lock in record.locks:
        if lock.object == line.object:
            if lock.mode == "exclusive" and lock.granted:
                return None
            return f"{line.object} was changed under a lock that is {lock.mode if lock.granted else 'queued'}"
    return f"{line.object} was changed without a lock"


def i23_still_its_own(record: Record, line: L.Intent | L.Spawned) -> str | None:
    """I23: nothing is begun while a lock that was taken from it is not its own again."""
    if not record.released:
        return None
    return f"{line.step} begins, and {record.released[0].object} was taken from it"


def i23_had_it(record: Record, line: L.LockReleased) -> str | None:
    """I23: only a lock that it has, or queues for, is taken from it; and only while it stands still."""
    if not (record.paused or record.status is Status.STUCK):
        return f"{line.object} was taken from it while it is {record.status.value}"
    has = any(lock.object == line.object for lock in record.locks)
    return None if has else f"{line.object} was taken from it, and it has no such lock"


def i15_answered(record: Record, line: L.Skipped) -> str | None:
    """I15: going back, a person answers only for the effect whose turn it is."""
    if (line.n is not None) is not record.backward:
        return f"{line.step} was answered for in the wrong direction"
    if line.n is None:
        return None
    standing = next((e for e in reversed(record.effects) if e.status not in CLOSED), None)
    if standing is None or standing.n != line.n:
        return f"the undo of effect {line.n} ({line.step}) was answered for out of turn"
    return f"effect {line.n} is known to have landed" if standing.landed and not line.landed else None


def i15_settled(record: Record, line: L.Forced) -> str | None:
    """I15: what is settled by hand was open."""
    for n in (*line.landed, *line.void):
        if not 1 <= n <= len(record.effects) or record.effects[n - 1].status is not EffectStatus.ARMED:
            return f"effect {n} was settled by hand, and it was not open"
    return None


def i18_told(record: Record, line: L.Abandoned) -> str | None:
    """I18: an abandoned saga tells what stands, and what nobody knows."""
    told = (line.stands, line.unknown)
    return None if told == left_standing(record) else "it was abandoned, and tells its effects wrong"


def i35_not_early(record: Record, line: L.TimedOut | L.Intent | L.Undone | L.UndoFailed) -> str | None:
    """I35: a deadline, a timer or a retry never comes early."""
    if isinstance(line, L.TimedOut):
        until = next((wait.until for wait in record.waits if wait.name == line.wait), None)
        return (
            None
            if until is None or line.at >= until
            else f"{line.wait} is due at {until}, it ran out earlier"
        )
    if isinstance(line, L.Intent):
        run = record.run_of(line.step)
        if run is None or run.due_at is None or run.signal is not None or line.at >= run.due_at:
            return None
        return f"{line.step} is due again at {run.due_at}, it was tried earlier"
    if not 1 <= line.n <= len(record.effects):
        return None
    due = record.effects[line.n - 1].undo_due_at
    return (
        None if due is None or line.at >= due else f"{line.undo} is due again at {due}, it was tried earlier"
    )


def i37_next_attempt(record: Record, line: L.Intent | L.Spawned) -> str | None:
    """I37: attempts follow one another; a second executor's intent beside an open one is refused."""
    run = record.run_of(line.step)
    attempt = 1 if isinstance(line, L.Spawned) else line.attempt
    if run is None:
        if line.visit == record.visits.get(line.step, 0) + 1 and attempt == 1:
            return None
        return f"{line.step}: visit {line.visit}, attempt {attempt} is not the next"
    if run.phase in (Phase.OPEN, Phase.CHILDREN):
        return f"{line.step}: attempt {attempt} begins while attempt {run.attempt} is open"
    if isinstance(line, L.Spawned) or (line.visit == run.visit and attempt == run.attempt + 1):
        return None
    return f"{line.step}: visit {line.visit}, attempt {attempt} does not follow {run.visit}/{run.attempt}"


_FORWARD: tuple[Rule, ...] = (i17_forward_only,)
_OUTCOME: tuple[Rule, ...] = (i4_one_outcome, *_FORWARD)
_START: tuple[Rule, ...] = (i37_next_attempt, *_FORWARD)
_UNDO: tuple[Rule, ...] = (i17_undo_of_something, i15_reverse_order, i35_not_early)

RULES: dict[str, tuple[Rule, ...]] = {
    L.Locked.kind: (i22_two_phase,),
    L.Granted.kind: (i10_granted,),
    L.Intent.kind: (*_START, i35_not_early, i23_still_its_own),
    L.Spawned.kind: (*_START, i23_still_its_own),
    L.Completed.kind: _OUTCOME,
    L.Failed.kind: _OUTCOME,
    L.NotTried.kind: _OUTCOME,
    L.Awaiting.kind: _FORWARD,
    L.Signalled.kind: (i10_awaited, *_FORWARD),
    L.TimedOut.kind: (i10_awaited, i35_not_early, *_FORWARD),
    L.Joined.kind: _FORWARD,
    L.ChildEnded.kind: (i4_child_once,),
    L.Compensating.kind: (i14_pivot, *_FORWARD),
    L.Undone.kind: (*_UNDO, i18_empty),
    L.UndoFailed.kind: _UNDO,
    L.Applied.kind: (i23_fenced,),
    L.Committed.kind: (i10_ended, i15_all_undone),
    L.RolledBack.kind: (i15_all_undone,),
    L.Restarted.kind: (i10_ended, i15_all_undone),
    L.Skipped.kind: (i15_answered,),
    L.Forced.kind: (i15_settled, *_FORWARD),
    L.Abandoned.kind: (i18_told,),
    L.LockReleased.kind: (i23_had_it,),
}
"""Line kind → what is asked of such a line, beside `ALWAYS`."""

ALWAYS: tuple[Rule, ...] = (i9_ends_once, i19_stuck)

NUMBERS = {rule: rule.__name__.partition("_")[0].upper() for rules in RULES.values() for rule in rules} | {
    rule: rule.__name__.partition("_")[0].upper() for rule in ALWAYS
}
"""Rule → the number of its invariant."""


def judged(record: Record, line: L.Line) -> list[tuple[str, str]]:
    """Every (invariant, why) that `line` breaks behind `record`."""
    found: list[tuple[str, str]] = []
    for rule in (*ALWAYS, *RULES.get(line.kind, ())):
        why = rule(record, line)
        if why is not None:
            found.append((NUMBERS[rule], why))
    return found
