"""Signals, approvals, timers and their deadlines: what moves a saga from outside, or when nothing comes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError

from sagacity.decide.draft import Draft, refuse
from sagacity.decide.orders import Order, planned, written
from sagacity.decide.places import going_back, place, stands
from sagacity.definition.flow import CANCEL, Await, Flow
from sagacity.definition.table import Facts, fire
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json, canonical, loaded
from sagacity.model.record import Record, Wait, WaitsFor
from sagacity.model.unit import Message


def seems_due(record: Record, now: datetime) -> bool:
    """Whether an instant that the record waits for has come, if `now` is right."""
    instants = (
        *(wait.until for wait in record.waits),
        *(run.due_at for run in record.runs),
        *(effect.undo_due_at for effect in record.effects),
    )
    return any(instant is not None and instant <= now for instant in instants)


def take_waits(draft: Draft, now: datetime) -> bool:
    """Begin to listen where the machine stands, and take in the first thing that came. True: it moved."""
    for leaf in draft.record.state:
        if draft.flow.awaits_at.get(leaf):
            _listen(draft, leaf, now)
    waits = draft.record.waits
    for message in [m for m in draft.mail if m.kind == "signal"]:
        wait = next((w for w in waits if w.signal is not None and w.signal == message.name), None)
        if wait is not None and _arrived(draft, wait, message, now):
            return True
    first = min(waits, key=_deadline, default=None)
    if first is None or first.until > now:
        return False
    _timed_out(draft, first, draft.flow.awaits[first.name], now)
    return True


def _deadline(wait: Wait) -> datetime:
    return wait.until


def _listen(draft: Draft, leaf: str, now: datetime) -> None:
    heard = {wait.name for wait in draft.record.waits if wait.state == leaf}
    waits = tuple(
        Wait(name=a.name, state=leaf, kind=a.kind, signal=a.signal, until=now + a.within)
        for a in draft.flow.awaits_at[leaf]
        if a.name not in heard
    )
    if waits:
        draft.add(L.Awaiting(waits=waits, at=now))


def _arrived(draft: Draft, wait: Wait, message: Message, now: datetime) -> bool:
    """True: the signal was taken and the saga moved."""
    found = heard(draft.record, draft.flow, wait, message.data)
    if isinstance(found, str):
        refuse(draft, message, found, now)
        return False
    order = Order.of(message) if planned(message) else None
    if isinstance(order, str):
        refuse(draft, message, order, now)
        return False
    draft.consume(message)
    if order is not None:
        record = draft.record
        after = going_back(record) if found.event == CANCEL else place("running", found.state)
        written(draft, order, before=stands(record), after=after, now=now)
    told = message.id if order is None else None
    take(draft, wait, found, message=told, actor=message.actor, now=now)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a signal makes of the saga that awaits it.

    Attributes:
        data: what it carries, validated.
        event: what it fires; CANCEL: it sends the saga back.
        state: the machine's after it.
    """

    data: Json
    event: str
    state: tuple[str, ...]


def heard(record: Record, flow: Flow, wait: Wait, data: Json) -> Heard | str:
    """What would become of the saga if `wait` came now with `data`; a sentence: why it cannot be taken."""
    awaited = flow.awaits[wait.name]
    fitting = _checked(awaited, data)
    if isinstance(fitting, _Unfit):
        return fitting.why
    event = awaited.event or CANCEL
    if awaited.kind is WaitsFor.APPROVAL and not _approved(fitting):
        event = awaited.otherwise or CANCEL
    state: tuple[str, ...] | None = record.state
    if event != CANCEL:
        results = {**record.results, awaited.name: fitting}
        state = fire(flow, record.state, event, Facts(flow, record.input, results))
    if state is None:
        return f"no guard of {event!r} lets it pass"
    return Heard(data=fitting, event=event, state=state)


def take(
    draft: Draft, wait: Wait, what: Heard, *, message: UUID | None, actor: str | None, now: datetime
) -> None:
    """Write that `wait` came, and what it does."""
    draft.add(
        L.Signalled(
            wait=wait.name,
            signal=wait.signal or "",
            message=message,
            data=what.data,
            actor=actor,
            state=what.state,
            at=now,
        )
    )
    if what.event == CANCEL:
        reason = _reason(draft.flow.awaits[wait.name], what.data)
        draft.add(L.CancelAsked(reason=reason, actor=actor, message=None, at=now))


@dataclass(frozen=True, slots=True)
class _Unfit:
    why: str


def _checked(awaited: Await, data: Json) -> Json | _Unfit:
    """What the signal carries, validated."""
    try:
        value = awaited.data.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "data"
        return _Unfit(f"what it carries does not fit {awaited.name!r}: {place}: {first['msg']}")
    return canonical(awaited.data.dump_python(value)) if value is not None else NULL


def _approved(data: Json) -> bool:
    value = loaded(data)
    return bool(value.get("approved", False)) if isinstance(value, dict) else bool(value)


def _reason(awaited: Await, data: Json) -> str:
    value = loaded(data)
    said = (value.get("reason") or value.get("comment")) if isinstance(value, dict) else None
    what = f"{awaited.signal} was refused" if awaited.kind is WaitsFor.APPROVAL else str(awaited.signal)
    return f"{what}: {said}" if said else what


def _timed_out(draft: Draft, wait: Wait, awaited: Await, now: datetime) -> None:
    record = draft.record
    event = awaited.event if awaited.kind is WaitsFor.TIMER else awaited.otherwise
    state: tuple[str, ...] | None = record.state
    if event is not None and event != CANCEL:
        state = fire(draft.flow, record.state, event, Facts(draft.flow, record.input, record.results))
    draft.add(L.TimedOut(wait=wait.name, state=state or record.state, at=now))
    if event is None or event == CANCEL or state is None:
        what = f"{wait.signal} did not arrive" if wait.signal else f"{wait.name} passed"
        reason = f"{what} until {wait.until.isoformat(timespec='seconds')}"
        draft.add(L.CancelAsked(reason=reason, actor=None, message=None, at=now))
