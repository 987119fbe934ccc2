"""The pieces that the meaning of every line is made of: what changes when a saga wakes, enters, ends.

Each answers with fields to replace in the record, so a line's meaning is read as one small table.
"""

from typing import Any

from sagacity.model.changed import changed
from sagacity.model.record import Effect, EffectStatus, Record, Run, Status

Changes = dict[str, Any]
"""Fields of the record, and what they become."""


def awake(record: Record) -> Status:
    """What it is while nothing holds it up."""
    return Status.COMPENSATING if record.backward else Status.RUNNING


def up(record: Record) -> Changes:
    """It sleeps no longer."""
    return {"status": awake(record), "waits_for": None, "due_at": None}


def entered(record: Record, state: tuple[str, ...]) -> Changes:
    """The machine stands in `state`: waits of states that were left end."""
    waits = tuple(w for w in record.waits if w.state in state)
    return {"state": state, "waits": waits, **up(record)}


def with_run(record: Record, run: Run) -> tuple[Run, ...]:
    """The runs, with this one for its step."""
    others = tuple(r for r in record.runs if r.step != run.step)
    return (*others, run)


def without_run(record: Record, step: str) -> tuple[Run, ...]:
    """The runs but the step's."""
    return tuple(r for r in record.runs if r.step != step)


def with_effect(record: Record, effect: Effect) -> tuple[Effect, ...]:
    """The effects, with this one in its place."""
    return tuple(effect if e.n == effect.n else e for e in record.effects)


def voided(record: Record, step: str, visit: int, error: str | None) -> tuple[Effect, ...]:
    """The effects; what was only armed for this execution never happened."""
    effect = record.effect_of(step, visit)
    if effect is None or effect.status is not EffectStatus.ARMED:
        return record.effects
    return with_effect(record, changed(effect, status=EffectStatus.VOID, error=error))


def turned(record: Record) -> Changes:
    """An operator sent it on: it says no more why it was stuck, but why it goes back, if it does."""
    if record.status is not Status.STUCK:
        return {"reason": record.reason if record.backward else None}
    return {"reason": record.goes_back_for, "goes_back_for": None}


def ended(status: Status, reason: str | None) -> Changes:
    """It is over, or at its start again: nothing is held, run or awaited."""
    return {
        "status": status,
        "waits_for": None,
        "due_at": None,
        "reason": reason,
        "cancelling": None,
        "called_off": None,
        "goes_back_for": None,
        "locks": (),
        "runs": (),
        "waits": (),
        "staged": (),
        "paused": False,
        "released": (),
    }


def rearmed(effect: Effect) -> Effect:
    """An undo that failed may be tried anew."""
    if effect.status is not EffectStatus.GAVE_UP and effect.undo_due_at is None:
        return effect
    status = EffectStatus.LANDED if effect.landed else EffectStatus.ARMED
    return changed(effect, status=status, undo_attempts=0, undo_since=None, undo_due_at=None)
