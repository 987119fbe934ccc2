"""Making a plan: every saga by id and revision, with what the act would do to it. Nothing is changed.

All reads go in lists, so a plan over thousands of sagas costs a few dozen queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sagacity.decide import operating as engine
from sagacity.definition.flow import Flow
from sagacity.errors import InputError, NotFound, RefusedAct
from sagacity.looking import Looking
from sagacity.model.canonical import JsonText, loaded
from sagacity.model.operating import GLASS, Action, PlanItem, Verb
from sagacity.model.record import Record, Status
from sagacity.model.unit import ObjectState, holders
from sagacity.model.views import RollbackPreview, SagaSummary

_ARGS: dict[Verb, frozenset[str]] = {
    Verb.SIGNAL: frozenset({"name", "data"}),
    Verb.SKIP: frozenset({"result", "landed", "step"}),
    Verb.FORCE: frozenset({"to", "landed", "break_edge"}),
    Verb.RELEASE_LOCK: frozenset({"object", "fence", "holder"}),
    Verb.ACK: frozenset({"kind"}),
    Verb.ROLLBACK: frozenset({"accept_remaining"}),
}
_BEFORE_IT_BEGAN = (Verb.CANCEL, Verb.SIGNAL)
"""What a saga that no worker has looked at yet takes too: it lies in its mail from the start."""


def args_of(action: Action) -> dict[str, Any]:
    """The verb's arguments.

    Raises:
        InputError: not an object, or one with fields that the verb does not know.
    """
    args = loaded(JsonText(action.args))
    if args is None:
        return {}
    if not isinstance(args, dict):
        raise InputError(f"what {action.verb} is given must be a JSON object")
    known = _ARGS.get(action.verb, frozenset())
    unknown = sorted(set(args) - known)
    if unknown:
        names = ", ".join(sorted(known)) or "nothing"
        raise InputError(f"{action.verb} takes no {unknown[0]!r} (it takes {names})")
    if action.verb is Verb.ACK and args.get("kind") == GLASS:
        raise InputError("a broken glass is acknowledged by its plan: `sagacity ack PLAN`")
    return args


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was read for a plan: the records, and the queues of all objects that they hold or wait for."""

    records: Mapping[UUID, Record]
    queues: Mapping[str, ObjectState]
    names: Mapping[UUID, SagaSummary]


async def items_of(
    looking: Looking, verb: Verb, args: Mapping[str, Any], ids: Sequence[UUID]
) -> list[PlanItem]:
    """One item for each of `ids`, in their order.

    Raises:
        NotFound: there is no such saga.
    """
    records = {id: row.record for id, row in (await looking.store.sagas_by_id(ids)).items()}
    missing = [id for id in ids if id not in records]
    pending = await looking.store.statuses(missing) if missing else {}
    for id in missing:
        if id not in pending:
            raise NotFound(f"no saga {id}")
    seen = await _seen(looking, records)
    items = []
    for id in ids:
        if id in pending:
            items.append(_pending(pending[id], verb, args))
        elif verb is Verb.ROLLBACK:
            items.append(await _rollback(looking, records[id], args))
        else:
            flow = looking.project.flows.get(records[id].definition)
            items.append(_item(records[id], flow, verb, args, seen))
    return items


async def _seen(looking: Looking, records: Mapping[UUID, Record]) -> _Seen:
    objects = sorted({lock.object for record in records.values() for lock in record.locks})
    queues = await looking.store.objects(objects) if objects else {}
    others = {entry.saga for state in queues.values() for entry in state.queue}
    return _Seen(records=records, queues=queues, names=await looking.store.statuses(sorted(others)))


def _pending(summary: SagaSummary, verb: Verb, args: Mapping[str, Any]) -> PlanItem:
    """A saga that lies in the inbox: it has no revision yet."""
    takes = verb in _BEFORE_IT_BEGAN
    refusal = None if takes else f"it cannot {verb} before a worker has looked at it"
    if verb is Verb.SIGNAL and not (isinstance(args.get("name"), str) and args["name"]):
        takes, refusal = False, "say which signal: `name`"
    return PlanItem(
        saga=summary.id,
        definition=summary.definition,
        key=summary.key,
        revision=0,
        refusal=refusal,
        before="pending",
        after="pending; it is handed over when a worker takes it up" if takes else "pending",
    )


def _item(record: Record, flow: Flow | None, verb: Verb, args: Mapping[str, Any], seen: _Seen) -> PlanItem:
    refusal = engine.refusal(record, flow, verb, dict(args)) or _fence_refusal(record, verb, args, seen)
    if refusal is not None:
        return _of(record, refusal=refusal, after=engine.stands(record))
    shown = engine.preview(record, flow, verb, dict(args))
    return _of(
        record,
        refusal=None,
        after=shown.after,
        effects=shown.effects,
        locks=tuple(_lock(text, record, seen) for text in shown.locks),
        unknown=shown.unknown,
    )


def _fence_refusal(record: Record, verb: Verb, args: Mapping[str, Any], seen: _Seen) -> str | None:
    """Why the lock that is to be freed is not the one that was named; None: it is."""
    if verb is not Verb.RELEASE_LOCK:
        return None
    state = seen.queues.get(str(args.get("object")))
    place = next((e for e in state.queue if e.saga == record.id), None) if state is not None else None
    if place is None:
        return f"it has no place in the queue of {args.get('object')}"
    if place.ticket != args.get("fence"):
        return f"the lock's fencing number is {place.ticket}, not {args.get('fence')}"
    return None


def _of(record: Record, *, refusal: str | None, after: str, **said: Any) -> PlanItem:
    return PlanItem(
        saga=record.id,
        definition=record.definition,
        key=record.key,
        revision=record.seq,
        refusal=refusal,
        before=engine.stands(record),
        after=after,
        **said,
    )


def _lock(text: str, record: Record, seen: _Seen) -> str:
    """What the rules say of a lock, and, where it is freed, who has it next."""
    freed = next((lock.object for lock in record.locks if text.startswith(f"{lock.object} is freed")), None)
    if freed is None:
        return text
    state = seen.queues.get(freed)
    rest = [entry for entry in state.queue if entry.saga != record.id] if state is not None else []
    if not rest:
        return f"{text}; nobody waits for it"
    next_ones = holders(rest)
    names = ", ".join(_name(id, seen) for id in next_ones[:3])
    behind = len(rest) - len(next_ones)
    return f"{text}; {names} has it next" + (f", {behind} more behind" if behind else "")


def _name(saga: UUID, seen: _Seen) -> str:
    known = seen.names.get(saga)
    return str(saga) if known is None else f"{known.definition} {known.key}"


# --- rolling back -----------------------------------------------------------------------------------


async def _rollback(looking: Looking, record: Record, args: Mapping[str, Any]) -> PlanItem:
    try:
        shown = await looking.preview(record.id)
    except RefusedAct as refused:
        return _of(record, refusal=str(refused), after=engine.stands(record))
    refusal = _stays(shown, accepted=bool(args.get("accept_remaining")))
    if refusal is not None:
        return _of(record, refusal=refusal, after=engine.stands(record))
    return _of(
        record,
        refusal=None,
        after="committed; a new saga, linked to it, rolls it back",
        effects=tuple(
            f"{'!' if item.how == 'impossible' else '+'} {item.what}: {item.detail}" for item in shown.items
        ),
        unknown=tuple(
            f"{item.what} was changed by others since" for item in shown.items if item.changed_since
        ),
    )


def _stays(shown: RollbackPreview, *, accepted: bool) -> str | None:
    """Why it cannot be rolled back; None: it can, as far as was accepted."""
    bad = [item for item in shown.items if item.how not in ("exact", "counter-action")]
    if not bad or (accepted and all(item.detail.startswith("declared final") for item in bad)):
        return None
    what = "; ".join(f"{item.what}: {item.detail}" for item in bad)
    return f"cannot be rolled back: {what}"


def sentence(summary: SagaSummary) -> str:
    """Where a saga stands now, for telling what moved."""
    if summary.status is Status.PENDING:
        return "pending"
    return summary.status.value + (f" for {summary.waits_for.value}" if summary.waits_for else "")
