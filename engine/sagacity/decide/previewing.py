"""What an operator's act would do, in words: shown in the plan before, and written in the `act` line after.

Only what the record and the definition tell. Who is next in a lock's queue is the store's to say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagacity.decide.permitting import standing
from sagacity.decide.places import going_back, place, stands
from sagacity.decide.targets import Answer, Move, answered, forced, heard_now
from sagacity.definition.flow import CANCEL, Flow
from sagacity.model.by_hand import left_standing
from sagacity.model.operating import Verb
from sagacity.model.record import CLOSED, Effect, EffectStatus, Phase, Record, Status

Args = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an act would do to one saga; the same fields as in `PlanItem`.

    Attributes:
        before, after: where it stands, and where the act itself brings it.
        effects: `+` what becomes real, `!` what never will, or stays for ever.
        locks: what is freed.
        unknown: what cannot be known before.
    """

    before: str
    after: str
    effects: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def preview(record: Record, flow: Flow | None, verb: Verb, args: Args) -> Preview:
    """What `verb` would do, where `refusal` has no objection; else only where the saga stands.

    Args:
        record: where the saga stands.
        flow: its definition, if it is loaded here.
        verb: what is to be done.
        args: what the verb takes; see `Action`.
    """
    return _PREVIEWS[verb](record, flow, args)


def _on(record: Record) -> str:
    return "compensating" if record.backward else "running"


def _nothing(record: Record, flow: Flow | None, args: Args) -> Preview:
    return Preview(before=stands(record), after=stands(record))


def _retry(record: Record, flow: Flow | None, args: Args) -> Preview:
    again: list[str] = []
    unknown: list[str] = []
    effect = standing(record)
    if record.backward and effect is not None:
        again.append(f"+ {effect.undo or 'its undo'} makes good for {effect.step}, tried anew")
    for run in record.runs:
        if run.phase in (Phase.RETRY, Phase.GAVE_UP):
            again.append(f"+ {run.step} is tried anew, under the key it had")
            if run.unknown:
                unknown.append(f"whether {run.step} has happened outside already")
    if record.called_off is not None and not record.pivoted:
        unknown.append("once that is known it goes back: somebody asked to cancel it")
    return Preview(
        before=stands(record),
        after=place(_on(record), record.state),
        effects=tuple(again),
        unknown=(*unknown, "whether it works this time"),
    )


def _pause(record: Record, flow: Flow | None, args: Args) -> Preview:
    flying = [
        f"+ {run.step} is in flight: its answer is recorded" for run in record.runs if run.phase is Phase.OPEN
    ]
    waits = [f"! nothing happens when {wait.name} is due, until it is resumed" for wait in record.waits]
    return Preview(
        before=stands(record),
        after=place(record.status.value, record.state, paused=True),
        effects=(*flying, *waits),
        locks=tuple(f"{lock.object} stays with it" for lock in record.locks),
    )


def _resume(record: Record, flow: Flow | None, args: Args) -> Preview:
    again = [f"{lock.object} is asked for again, at the end of its queue" for lock in record.released]
    late = [f"whether {wait.name} is due by then: it comes at once" for wait in record.waits]
    back = ["+ it goes back: a cancel was noted while it was paused"] if record.cancelling is not None else []
    return Preview(
        before=stands(record),
        after=place(record.status.value, record.state),
        effects=tuple(back),
        locks=tuple(again),
        unknown=tuple(late),
    )


def _signal(record: Record, flow: Flow | None, args: Args) -> Preview:
    found = heard_now(record, flow, args)
    if isinstance(found, str):
        return _nothing(record, flow, args)
    wait, what = found
    if what.event == CANCEL:
        return _back(record, f"{wait.name} sends it back")
    return Preview(before=stands(record), after=place("running", what.state))


def _cancel(record: Record, flow: Flow | None, args: Args) -> Preview:
    return _back(record, "it is cancelled")


def _back(record: Record, why: str) -> Preview:
    """It goes back: what is made good, in which order, and what is not."""
    effects = [_undoing(effect) for effect in reversed(record.effects) if effect.status not in CLOSED]
    dropped = [f"! {staged.operation} of {staged.object} is never applied" for staged in record.staged]
    unknown = [f"whether {run.step} has happened outside: that is found out first" for run in _open(record)]
    if record.paused:
        unknown.append(f"when it is resumed: {why}, and goes back only then")
    return Preview(
        before=stands(record),
        after=going_back(record),
        effects=(*effects, *dropped),
        locks=tuple(f"{lock.object} is freed once it is back" for lock in record.locks),
        unknown=tuple(unknown),
    )


def _undoing(effect: Effect) -> str:
    if effect.undo is None:
        return f"! {effect.step} stands and cannot be undone: it will be stuck"
    if effect.undo == "child":
        return f"+ the sagas that {effect.step} started are cancelled or rolled back"
    sure = "" if effect.landed else ", if it has happened"
    return f"+ {effect.undo} makes good for {effect.step}{sure}"


def _open(record: Record) -> list[Any]:
    return [run for run in record.runs if run.unknown or run.phase is Phase.OPEN]


def _skip(record: Record, flow: Flow | None, args: Args) -> Preview:
    found = answered(record, flow, args)
    if isinstance(found, str):
        return _nothing(record, flow, args)
    return _undo_skipped(record, found) if found.back else _step_skipped(record, found)


def _undo_skipped(record: Record, found: Answer) -> Preview:
    name = found.effect.undo or "its undo" if found.effect is not None else ""
    said = (
        f"! {name} of {found.step} is not run: it counts as done"
        if found.landed
        else f"! {found.step} counts as never happened: nothing is undone"
    )
    left = [e for e in record.effects if e.status not in CLOSED and e is not found.effect]
    return Preview(
        before=stands(record),
        after=place("compensating" if left else "rolled_back", record.state, paused=record.paused),
        effects=(said, *(_undoing(effect) for effect in reversed(left))),
        locks=tuple(f"{lock.object} is freed once it is back" for lock in record.locks),
        unknown=("whether what you say is so",),
    )


def _step_skipped(record: Record, found: Answer) -> Preview:
    if found.effect is None:
        said = f"! {found.step} is not run: its result is the one given"
    elif found.landed:
        undo = found.effect.undo or "nothing"
        said = f"+ {found.step} counts as happened: {undo} undoes it, should it go back"
    else:
        said = f"! {found.step} counts as never happened: nothing is undone, should it go back"
    turn = ["+ the point of no return is behind it then"] if found.pivot else []
    back = record.called_off is not None and not record.pivoted and not found.pivot
    if back:
        turn = ["! it goes back at once: somebody asked to cancel it"]
    elif record.called_off is not None and not record.pivoted:
        turn.append("! the cancel that somebody asked for is dropped: it can only go forward")
    return Preview(
        before=stands(record),
        after=place("compensating" if back else "running", found.state, paused=record.paused),
        effects=(said, *turn),
        unknown=(
            "whether what you say is so",
            f"what {found.step} would have noted for the end",
        ),
    )


def _force(record: Record, flow: Flow | None, args: Args) -> Preview:
    found = forced(record, flow, args)
    if isinstance(found, str):
        return _nothing(record, flow, args)
    landed = [f"+ {_step(record, n)} counts as happened" for n in found.landed]
    void = [f"! {_step(record, n)} counts as never happened: it is never undone" for n in found.void]
    left = [f"! {step} is given up" for step in found.left]
    turn = ["+ the point of no return is behind it then"] if found.pivot and not record.pivoted else []
    return Preview(
        before=stands(record),
        after=place("running", found.state, paused=record.paused),
        effects=(*left, *landed, *void, *turn),
        unknown=(_by(found), "whether later steps need results of those that are passed over"),
    )


def _by(found: Move) -> str:
    if found.edge is None:
        return "no edge of the definition leads there: nobody has thought about what follows"
    return f"by {found.edge}, which is there for: {found.why}"


def _step(record: Record, n: int) -> str:
    return record.effects[n - 1].step


def _abandon(record: Record, flow: Flow | None, args: Args) -> Preview:
    there, unknown = left_standing(record)
    dropped = [f"! {staged.operation} of {staged.object} is never applied" for staged in record.staged]
    return Preview(
        before=stands(record),
        after=place(Status.ABANDONED.value, record.state),
        effects=(*(f"! {_step(record, n)} stays as it is, for ever" for n in there), *dropped),
        locks=tuple(f"{lock.object} is freed" for lock in record.locks),
        unknown=tuple(_left_open(record.effects[n - 1]) for n in unknown),
    )


def _left_open(effect: Effect) -> str:
    if effect.landed:
        return f"whether {effect.undo} has made good for {effect.step} all the same"
    return f"whether {effect.step} has happened outside"


def _release_lock(record: Record, flow: Flow | None, args: Args) -> Preview:
    name = args.get("object")
    at_stake = [
        f"! {staged.operation} of {name} is applied to what others make of it meanwhile"
        for staged in record.staged
        if staged.object == name
    ]
    return Preview(
        before=stands(record),
        after=stands(record),
        effects=tuple(at_stake),
        locks=(f"{name} is freed; before it goes on, this saga asks for it at the end of the queue",),
        unknown=(f"what others do to {name} meanwhile",),
    )


def _rollback(record: Record, flow: Flow | None, args: Args) -> Preview:
    there = [e for e in reversed(record.effects) if e.status is EffectStatus.LANDED]
    undone = [
        f"+ {e.undo} makes good for {e.step}" if e.undo else f"! {e.step} is declared final: it stays"
        for e in there
    ]
    return Preview(
        before=stands(record),
        after=f"{stands(record)}, and a new saga rolls it back",
        effects=tuple(undone),
        unknown=("whether its changes to objects can be brought back: see its rollback preview",),
    )


_PREVIEWS: dict[Verb, Callable[[Record, Flow | None, Args], Preview]] = {
    Verb.RETRY: _retry,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.CANCEL: _cancel,
    Verb.SIGNAL: _signal,
    Verb.SKIP: _skip,
    Verb.FORCE: _force,
    Verb.ABANDON: _abandon,
    Verb.RELEASE_LOCK: _release_lock,
    Verb.ROLLBACK: _rollback,
    Verb.ACK: _nothing,
}
