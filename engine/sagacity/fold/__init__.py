"""From log lines to the record: the one place that says what each line means.

The engine writes no row that is not this function of the saga's lines, so reading the log
again gives the tables again. `verify` and `rebuild` are this module applied to a whole store.
"""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from sagacity.fold.acts import FOLDS as BY_HAND
from sagacity.fold.acts import STILL
from sagacity.fold.parts import (
    Changes,
    ended,
    entered,
    rearmed,
    turned,
    up,
    voided,
    with_effect,
    with_run,
    without_run,
)
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, canonical
from sagacity.model.changed import changed
from sagacity.model.record import Effect, EffectStatus, Phase, Record, Run, Status, WaitsFor


def folded(saga: UUID, lines: Iterable[L.Line]) -> Record:
    """The record that `lines`, a saga's whole story, make.

    Raises:
        ValueError: the story does not begin with `started`.
    """
    record: Record | None = None
    for line in lines:
        record = begun(saga, line) if record is None else fold(record, line)
    if record is None:
        raise ValueError(f"saga {saga} has no lines")
    return record


def begun(saga: UUID, line: L.Line) -> Record:
    """The record after its first line."""
    if not isinstance(line, L.Started):
        raise ValueError(f"saga {saga}: its story begins with {line.kind!r}, not with 'started'")
    backward = line.rolls_back is not None
    return Record(
        id=saga,
        definition=line.definition,
        version=line.version,
        definition_hash=line.definition_hash,
        key=line.key,
        input=line.input,
        state=line.state,
        status=Status.COMPENSATING if backward else Status.RUNNING,
        revision=1,
        seq=1,
        created_at=line.at,
        updated_at=line.at,
        parent=line.parent,
        parent_step=line.parent_step,
        rolls_back=line.rolls_back,
        effects=line.effects,
        restores=line.restores,
        trace=line.trace,
        backward=backward,
        visits={},
        results={},
    )


def fold(record: Record, line: L.Line) -> Record:
    """The record after one more line."""
    changes = _FOLDS[line.kind](record, line)
    if record.interrupted and _answers(line):
        changes = {**changes, "interrupted": 0}
    if record.acked and not isinstance(line, STILL):
        changes = {**changes, "acked": {}}
    seq = record.seq + 1
    return changed(record, seq=seq, revision=seq, updated_at=line.at, **changes)


_ANSWERS = (
    *(L.Completed, L.Undone, L.UndoFailed, L.Signalled, L.TimedOut, L.Compensating, L.Retried, L.Restarted),
    *(L.Committed, L.RolledBack, L.Skipped, L.Forced),
)


def _answers(line: L.Line) -> bool:
    """What was begun came to an answer: whoever had the saga in hand lived to write it."""
    if isinstance(line, L.Failed):
        return line.counts or line.signal is not None  # else its worker was lost
    return isinstance(line, _ANSWERS)


def _locked(record: Record, line: L.Locked) -> Changes:
    held = record.locks + tuple(changed(lock, granted=line.granted) for lock in line.locks)
    if line.granted:
        return {"locks": held}
    return {"locks": held, "status": Status.WAITING, "waits_for": WaitsFor.LOCK, "due_at": None}


def _granted(record: Record, line: L.Granted) -> Changes:
    held = tuple(changed(lock, granted=True) for lock in record.locks)
    return {"locks": held, "released": (), **up(record)}


def _armed(record: Record, line: L.Intent | L.Spawned, undo: str | None, safe: bool) -> tuple[Effect, ...]:
    known = record.effect_of(line.step, line.visit)
    if known is not None:
        return with_effect(record, changed(known, status=EffectStatus.ARMED))
    effect = Effect(
        n=len(record.effects) + 1,
        step=line.step,
        visit=line.visit,
        key=line.key,
        undo=undo,
        safe_on_nothing=safe,
        children=line.children if isinstance(line, L.Spawned) else (),
    )
    return (*record.effects, effect)


def _intent(record: Record, line: L.Intent) -> Changes:
    old = record.run_of(line.step)
    run = Run(
        step=line.step,
        visit=line.visit,
        attempt=line.attempt,
        phase=Phase.OPEN,
        since=old.since if old else line.at,
        unknown=bool(old and old.unknown),
        asked=bool(old and (old.asked or old.phase is Phase.GAVE_UP)),
        base=old.base if old else 0,
        error=old.error if old else None,
    )
    return {
        "runs": with_run(record, run),
        "effects": _armed(record, line, line.undo, line.safe_on_nothing),
        "visits": {**record.visits, line.step: line.visit},
        **up(record),
    }


def _spawned(record: Record, line: L.Spawned) -> Changes:
    run = Run(step=line.step, visit=line.visit, phase=Phase.CHILDREN, since=line.at, children=line.children)
    return {
        "runs": with_run(record, run),
        "effects": _armed(record, line, "child", False),
        "visits": {**record.visits, line.step: line.visit},
        **up(record),
    }


def _completed(record: Record, line: L.Completed) -> Changes:
    effect = record.effect_of(line.step, line.visit)
    effects = record.effects
    if effect is not None:
        status = EffectStatus.LANDED if line.landed else EffectStatus.VOID
        done = changed(effect, status=status, landed=line.landed, result=line.result, error=None)
        effects = with_effect(record, done)
    changes: Changes = {
        "runs": without_run(record, line.step),
        "effects": effects,
        "visits": {**record.visits, line.step: line.visit},
        "results": {**record.results, line.step: line.result},
        "staged": record.staged + line.staged,
        **entered(record, line.state),
    }
    if line.pivot:
        # A cancel that came while the pivot was in flight came too late: from here there is only forward.
        changes |= {"pivoted": True, "cancelling": None, "restarting": False, "called_off": None}
    return changes


def _failed(record: Record, line: L.Failed) -> Changes:
    old = record.run_of(line.step)
    unknown = line.landed in ("unknown", "yes") or bool(old and old.unknown and line.landed != "no")
    run = Run(
        step=line.step,
        visit=line.visit,
        attempt=line.attempt,
        phase=Phase.GAVE_UP if line.retry_at is None else Phase.RETRY,
        since=old.since if old else line.at,
        due_at=line.retry_at,
        error=line.error,
        unknown=unknown,
        asked=bool(old and old.asked),
        base=(old.base if old else 0) + (0 if line.counts else 1),
        signal=line.signal,
    )
    changes: Changes = {"visits": {**record.visits, line.step: line.visit}, **up(record)}
    if line.retry_at is not None or unknown:
        changes["runs"] = with_run(record, run)
    else:
        changes["runs"] = without_run(record, line.step)
        changes["effects"] = voided(record, line.step, line.visit, line.error)
    if line.retry_at is None and record.cancelling is None:
        changes["cancelling"] = f"{line.step}: {line.error}"
    return changes


def _not_tried(record: Record, line: L.NotTried) -> Changes:
    old = record.run_of(line.step)
    if old is None:
        return {}
    run = changed(old, phase=Phase.RETRY, due_at=line.at, base=old.base + 1)
    effects = record.effects if old.unknown else voided(record, line.step, line.visit, None)
    return {"runs": with_run(record, run), "effects": effects, **up(record)}


def _interrupted(record: Record, line: L.Interrupted) -> Changes:
    return {"interrupted": record.interrupted + 1}


def _awaiting(record: Record, line: L.Awaiting) -> Changes:
    return {"waits": record.waits + line.waits}


def _slept(record: Record, line: L.Slept) -> Changes:
    if record.backward:
        return {"due_at": line.due_at}
    return {"status": Status.WAITING, "waits_for": line.waits_for, "due_at": line.due_at}


def _signalled(record: Record, line: L.Signalled) -> Changes:
    waits = tuple(w for w in record.waits if w.name != line.wait)
    return {
        "results": {**record.results, line.wait: line.data},
        **entered(changed(record, waits=waits), line.state),
    }


def _timed_out(record: Record, line: L.TimedOut) -> Changes:
    waits = tuple(w for w in record.waits if w.name != line.wait)
    return entered(changed(record, waits=waits), line.state)


def _joined(record: Record, line: L.Joined) -> Changes:
    return entered(record, line.state)


def _child_ended(record: Record, line: L.ChildEnded) -> Changes:
    results = {**record.results, f"child:{line.child}": canonical(line.status)}
    if record.status.final or record.status is Status.STUCK:
        return {"results": results}
    return {"results": results, **up(record)}


def _cancel_asked(record: Record, line: L.CancelAsked) -> Changes:
    # A cancel that joins a restart takes its place: whoever asked does not want it started anew.
    restarting = line.restart and (record.restarting or record.cancelling is None)
    first = record.cancelling is None or record.restarting
    reason = line.reason if first else record.cancelling
    called_off = record.called_off if line.restart else record.called_off or line.reason
    asked: Changes = {"cancelling": reason, "restarting": restarting, "called_off": called_off}
    return {**asked, **up(record), **turned(record)}


def _compensating(record: Record, line: L.Compensating) -> Changes:
    effects = record.effects
    for run in record.runs:
        if not run.unknown and run.phase is not Phase.CHILDREN:
            effects = voided(changed(record, effects=effects), run.step, run.visit, run.error)
    return {
        "status": Status.COMPENSATING,
        "waits_for": None,
        "due_at": None,
        "reason": line.reason,
        "backward": True,
        "cancelling": None,
        "called_off": None,
        "staged": (),
        "runs": (),
        "waits": (),
        "effects": effects,
    }


def _undone(record: Record, line: L.Undone) -> Changes:
    effect = record.effects[line.n - 1]
    done = changed(
        effect,
        status=EffectStatus.UNDONE,
        undo_attempts=line.attempt,
        undo_due_at=None,
        error=None,
    )
    return {"effects": with_effect(record, done), **up(record)}


def _undo_failed(record: Record, line: L.UndoFailed) -> Changes:
    effect = record.effects[line.n - 1]
    failed = changed(
        effect,
        status=EffectStatus.GAVE_UP if line.retry_at is None else effect.status,
        undo_attempts=line.attempt,
        undo_since=effect.undo_since or line.at,
        undo_due_at=line.retry_at,
        error=line.error,
    )
    return {"effects": with_effect(record, failed), **up(record)}


def _committed(record: Record, line: L.Committed) -> Changes:
    return ended(Status.COMMITTED, record.reason)


def _rolled_back(record: Record, line: L.RolledBack) -> Changes:
    return ended(Status.ROLLED_BACK, line.reason)


def _stuck(record: Record, line: L.Stuck) -> Changes:
    changes: Changes = {"status": Status.STUCK, "waits_for": None, "due_at": None, "reason": line.why}
    if record.backward and record.status is not Status.STUCK:
        changes["goes_back_for"] = record.reason
    return changes


def _retried(record: Record, line: L.Retried) -> Changes:
    runs = tuple(
        changed(r, phase=Phase.RETRY, due_at=line.at, base=r.attempt, since=line.at, asked=False)
        if r.phase in (Phase.RETRY, Phase.GAVE_UP)
        else r
        for r in record.runs
    )
    effects = tuple(rearmed(e) for e in record.effects)
    changes: Changes = {"runs": runs, "effects": effects, **up(record), **turned(record)}
    if record.status is Status.STUCK:
        # A step's giving up is taken back; a cancel that somebody asked for still stands.
        still = None if record.pivoted else record.called_off
        restarting = record.backward and record.restarting
        changes |= {"cancelling": still, "called_off": still, "restarting": restarting}
    return changes


def _restarted(record: Record, line: L.Restarted) -> Changes:
    return {
        **ended(Status.RUNNING, None),
        "state": line.state,
        "backward": False,
        "restarting": False,
        "results": {},
        "restarts": record.restarts + 1,
    }


def _rehearsed(record: Record, line: L.Rehearsed) -> Changes:
    return {}


def _erased(record: Record, line: L.Erased) -> Changes:
    # What is left is what operators and the idempotency of its key need; nothing of what it knew.
    effects = tuple(changed(effect, result=NULL, error=None) for effect in record.effects)
    known: Changes = {"input": NULL, "results": {}, "reason": None, "goes_back_for": None}
    return {**known, "effects": effects, "restores": ()}


def _adopted(record: Record, line: L.Adopted) -> Changes:
    return {"adopter": line.parent, "adopter_step": line.step}


def _nothing(record: Record, line: L.Line) -> Changes:
    return {}


_FOLDS: dict[str, Callable[[Record, Any], Changes]] = {
    L.Locked.kind: _locked,
    L.Granted.kind: _granted,
    L.Intent.kind: _intent,
    L.Spawned.kind: _spawned,
    L.Completed.kind: _completed,
    L.Failed.kind: _failed,
    L.NotTried.kind: _not_tried,
    L.Interrupted.kind: _interrupted,
    L.Awaiting.kind: _awaiting,
    L.Slept.kind: _slept,
    L.Signalled.kind: _signalled,
    L.TimedOut.kind: _timed_out,
    L.Joined.kind: _joined,
    L.ChildEnded.kind: _child_ended,
    L.CancelAsked.kind: _cancel_asked,
    L.ActRefused.kind: _nothing,
    L.Compensating.kind: _compensating,
    L.Undone.kind: _undone,
    L.UndoFailed.kind: _undo_failed,
    L.Applied.kind: _nothing,
    L.Committed.kind: _committed,
    L.RolledBack.kind: _rolled_back,
    L.Stuck.kind: _stuck,
    L.Retried.kind: _retried,
    L.RollbackAsked.kind: _nothing,
    L.Adopted.kind: _adopted,
    L.Restarted.kind: _restarted,
    L.Erased.kind: _erased,
    L.Rehearsed.kind: _rehearsed,
    **BY_HAND,
}
