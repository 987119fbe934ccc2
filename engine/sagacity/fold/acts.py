"""What the lines of operators' acts mean. `act` itself moves nothing: what stands behind it does."""

from collections.abc import Callable
from typing import Any

from sagacity.fold.parts import Changes, awake, ended, entered, rearmed, turned, with_effect
from sagacity.model import lines as L
from sagacity.model.canonical import loaded
from sagacity.model.changed import changed
from sagacity.model.operating import GLASS
from sagacity.model.record import Effect, EffectStatus, Glass, Lock, Phase, Record, Status

STILL = (L.Act, L.ActRefused, L.Adopted, L.Erased, L.Rehearsed)
"""Lines that move nothing, so what was acknowledged before them stays so."""


def _act(record: Record, line: L.Act) -> Changes:
    changes: Changes = {}
    if line.verb == "ack":
        args = loaded(line.args)
        kind = str(args.get("kind")) if isinstance(args, dict) else ""
        if kind == GLASS:
            return {"glass": tuple(one for one in record.glass if not _is_it(one, args))}
        return {"acked": {**record.acked, kind: record.seq + 1}}
    if line.break_glass:
        broken = Glass(plan=line.plan, actor=line.actor, verb=line.verb, at=line.at)
        changes["glass"] = (*record.glass, broken)
    return changes


def _is_it(glass: Glass, args: Any) -> bool:
    """Whether it is the one that is acknowledged; an acknowledgement that names no plan is for all."""
    named = args.get("plan")
    return named is None or str(glass.plan) == named


def _paused(record: Record, line: L.Paused) -> Changes:
    return {"paused": True, "due_at": None}


def _resumed(record: Record, line: L.Resumed) -> Changes:
    return {"paused": False}


def _sent_on(record: Record) -> Changes:
    """A giving up is taken back; a cancel that somebody asked for still stands."""
    still = None if record.pivoted else record.called_off
    return {
        "status": awake(record),
        "waits_for": None,
        "due_at": None,
        **turned(record),
        "cancelling": still,
        "called_off": still,
        "restarting": record.backward and record.restarting,
    }


def _skipped(record: Record, line: L.Skipped) -> Changes:
    changes = _sent_on(record)
    if line.n is not None:
        effect = rearmed(record.effects[line.n - 1])
        return {**changes, "effects": with_effect(record, _told(effect, line.landed))}
    runs = tuple(
        changed(run, phase=Phase.OPEN, due_at=None, signal=None) if run.step == line.step else run
        for run in record.runs
    )
    return {**changes, "runs": runs}


def _told(effect: Effect, landed: bool) -> Effect:
    """The effect as a person says that it is; what the log knows to have landed stays so."""
    if effect.landed or landed:
        return changed(effect, status=EffectStatus.LANDED, landed=True, error=None)
    return changed(effect, status=EffectStatus.VOID, error=None)


def _forced(record: Record, line: L.Forced) -> Changes:
    effects = record.effects
    for n in (*line.landed, *line.void):
        effects = with_effect(
            changed(record, effects=effects), _told(record.effects[n - 1], landed=n in line.landed)
        )
    return {
        **_sent_on(record),
        **entered(record, line.state),
        "effects": effects,
        "runs": tuple(run for run in record.runs if run.step not in line.left),
        "pivoted": record.pivoted or line.pivot,
    }


def _abandoned(record: Record, line: L.Abandoned) -> Changes:
    return ended(Status.ABANDONED, line.reason)


def _lock_released(record: Record, line: L.LockReleased) -> Changes:
    taken = next((lock for lock in record.locks if lock.object == line.object), None)
    if taken is None:
        return {}
    known = tuple(lock for lock in record.released if lock.object != line.object)
    return {
        "locks": tuple(lock for lock in record.locks if lock.object != line.object),
        "released": (*known, Lock(object=taken.object, mode=taken.mode)),
    }


FOLDS: dict[str, Callable[[Record, Any], Changes]] = {
    L.Act.kind: _act,
    L.Paused.kind: _paused,
    L.Resumed.kind: _resumed,
    L.Skipped.kind: _skipped,
    L.Forced.kind: _forced,
    L.Abandoned.kind: _abandoned,
    L.LockReleased.kind: _lock_released,
}
"""Line kind → the changes it makes."""
