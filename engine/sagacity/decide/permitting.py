"""Whether an operator's act is possible, as pure questions to the record: why not, in one sentence, or None.

The plan asks them to show a refusal before anybody acts, the worker asks them again before it writes: the
same rules at both ends, so what was shown and what is done cannot differ.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sagacity.decide.targets import answered, forced, heard_now, on_it
from sagacity.definition.flow import Flow
from sagacity.model.canonical import NULL
from sagacity.model.operating import Verb
from sagacity.model.record import CLOSED, Effect, Phase, Record, Status

Args = Mapping[str, Any]


def refusal(record: Record, flow: Flow | None, verb: Verb, args: Args) -> str | None:
    """Why `verb` is not possible on this saga now; None: it is.

    Args:
        record: where the saga stands.
        flow: its definition; None where it is not loaded here: then what needs it is refused.
        verb: what is to be done.
        args: what the verb takes; see `Action`.
    """
    why = _MAY[verb](record)
    fits = _FITS.get(verb)
    return why if why is not None or fits is None else fits(record, flow, args)


def allowed(record: Record, flow: Flow | None = None) -> tuple[Verb, ...]:
    """Verbs that are possible now, given what each needs. `flow`: as in `refusal`; it narrows `force`.

    `ack` is listed where something is to be acknowledged: it is stuck, or a glass was broken.
    """
    found: list[Verb] = [verb for verb in Verb if verb is not Verb.ACK and _MAY[verb](record) is None]
    if record.status is Status.STUCK or record.glass:
        found.append(Verb.ACK)
    return tuple(found)


def cancel_refusal(record: Record) -> str | None:
    """Why a cancel is not possible; None: it is. While it is paused it is noted, and done once it goes on."""
    if record.status.final:
        return _over(record)
    if record.backward and not record.restarting:
        return "it is going back already"
    if record.pivoted:
        return "its point of no return is behind: it can only go forward"
    return None


def retry_refusal(record: Record) -> str | None:
    """Why there is nothing to retry; None: there is."""
    if record.paused:
        return "it is paused: resume it first"
    return None if failing(record) else f"nothing to retry: it is {record.status.value}"


def failing(record: Record) -> bool:
    """It is stuck, or waits to try a step or a compensation again."""
    waiting = any(run.phase is Phase.RETRY for run in record.runs) or any(
        effect.undo_due_at is not None for effect in record.effects
    )
    return record.status is Status.STUCK or (waiting and not record.status.final)


def standing(record: Record) -> Effect | None:
    """The effect that is undone next, when it goes back."""
    return next((e for e in reversed(record.effects) if e.status not in CLOSED), None)


def _over(record: Record) -> str:
    return f"it is {record.status.value} already"


def _pause(record: Record) -> str | None:
    if record.status.final:
        return _over(record)
    return "it is paused already" if record.paused else None


def _resume(record: Record) -> str | None:
    return None if record.paused else "it is not paused"


def _signal(record: Record) -> str | None:
    if record.status.final:
        return _over(record)
    if record.paused:
        return "it is paused: resume it first"
    if record.cancelling is not None or record.backward:
        return "it is to go back: it listens no more"
    if record.status is Status.STUCK:
        return "it is stuck: it listens once it goes on"
    return None if any(wait.signal for wait in record.waits) else "it waits for no signal now"


def _skip(record: Record) -> str | None:
    return None if failing(record) else f"nothing to skip: it is {record.status.value}"


def _force(record: Record) -> str | None:
    if record.status.final:
        return _over(record)
    if record.backward:
        return "it is going back: nothing leads forward any more (retry, skip or abandon)"
    if record.called_off is not None:
        return "somebody asked to cancel it: it is to go back"
    return _at_rest(record)


def _abandon(record: Record) -> str | None:
    return _over(record) if record.status.final else _at_rest(record)


def _at_rest(record: Record) -> str | None:
    """Nothing is under way that could still come to an answer."""
    resting = record.status in (Status.STUCK, Status.WAITING) or record.paused or failing(record)
    if not resting:
        return f"it is {record.status.value}: pause it first"
    if record.status is Status.STUCK:
        return None
    flying = next((run.step for run in record.runs if run.phase is Phase.OPEN), None)
    return None if flying is None else f"{flying} is in flight: wait for its answer"


def _release_lock(record: Record) -> str | None:
    if record.rolls_back is not None:
        # It is nobody's victim, so one that asks again behind another rollback would wait for ever.
        return "it rolls back a committed saga, and holds what it restores: abandon it instead"
    if record.status.final:
        return _over(record)
    if not (record.paused or record.status is Status.STUCK):
        return f"its holder is {record.status.value}: only of a stuck or paused saga a lock is taken"
    return None if record.locks else "it holds no lock"


def _rollback(record: Record) -> str | None:
    if record.status is not Status.COMMITTED:
        return f"only a committed saga can be rolled back; this one is {record.status.value}"
    if record.rolls_back is not None:
        return f"it is itself the rollback of saga {record.rolls_back}"
    return "what it did was erased: it cannot be brought back" if record.input == NULL else None


def _always(record: Record) -> str | None:
    return None


_MAY: dict[Verb, Callable[[Record], str | None]] = {
    Verb.RETRY: retry_refusal,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.CANCEL: cancel_refusal,
    Verb.SIGNAL: _signal,
    Verb.SKIP: _skip,
    Verb.FORCE: _force,
    Verb.ABANDON: _abandon,
    Verb.RELEASE_LOCK: _release_lock,
    Verb.ROLLBACK: _rollback,
    Verb.ACK: _always,
}


def _signal_fits(record: Record, flow: Flow | None, args: Args) -> str | None:
    found = heard_now(record, flow, args)
    return found if isinstance(found, str) else None


def _skip_fits(record: Record, flow: Flow | None, args: Args) -> str | None:
    found = answered(record, flow, args)
    if isinstance(found, str):
        return found
    void = found.effect is not None and not found.landed and not found.back
    if void and found.pivot and record.called_off is not None:
        return (
            f"{found.step} never happened, and somebody asked to cancel: it would pass its point of no return"
        )
    return None


def _force_fits(record: Record, flow: Flow | None, args: Args) -> str | None:
    found = forced(record, flow, args)
    return found if isinstance(found, str) else None


def _lock_fits(record: Record, flow: Flow | None, args: Args) -> str | None:
    found = on_it(record, args)
    return found if isinstance(found, str) else None


def _ack_fits(record: Record, flow: Flow | None, args: Args) -> str | None:
    kind = args.get("kind")
    if not isinstance(kind, str) or not kind:
        return "say what is acknowledged: `kind`"
    return "no glass was broken" if kind == "break_glass" and not record.glass else None


_FITS: dict[Verb, Callable[[Record, Flow | None, Args], str | None]] = {
    Verb.SIGNAL: _signal_fits,
    Verb.SKIP: _skip_fits,
    Verb.FORCE: _force_fits,
    Verb.RELEASE_LOCK: _lock_fits,
    Verb.ACK: _ack_fits,
}


def glass_refusal(record: Record, actor: str | None, plan: str | None = None) -> str | None:
    """Why this person may not acknowledge a broken glass (that of `plan`): they broke it. None: they may."""
    own = any(glass.actor == actor and plan in (None, str(glass.plan)) for glass in record.glass)
    return "who broke the glass cannot acknowledge it: somebody else must" if own else None
