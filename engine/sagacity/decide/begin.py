"""How a saga comes into being: from a start message to its first lines, and the locks it asks for."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from sagacity.decide.draft import Draft, Scope
from sagacity.decide.outcomes import request_hash
from sagacity.definition.table import Facts
from sagacity.errors import InputError
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json, canonical, loaded, storable
from sagacity.model.record import Effect, Held, Lock, Restore
from sagacity.model.unit import Message

_EFFECTS: TypeAdapter[tuple[Effect, ...]] = TypeAdapter(tuple[Effect, ...])
_RESTORES: TypeAdapter[tuple[Restore, ...]] = TypeAdapter(tuple[Restore, ...])


def start_message(
    scope_flow: Any,
    *,
    saga: UUID,
    key: str,
    data: Json,
    now: datetime,
    actor: str | None = None,
    trace: str | None = None,
) -> Message:
    """The inbox row that starts a saga of this flow. `trace`: the caller's `traceparent`, if it has one."""
    return Message(
        id=saga,
        kind="start",
        saga=saga,
        definition=scope_flow.name,
        version=scope_flow.version,
        key=key,
        request_hash=request_hash(scope_flow.name, data),
        data=data,
        payload=NULL if trace is None else canonical({"trace": trace}),
        actor=actor,
        arrived_at=now,
    )


def begin(scope: Scope, message: Message, *, now: datetime) -> Draft:
    """The draft of the saga that `message` starts, with its first line."""
    payload: Mapping[str, Any] = loaded(message.payload) or {}
    flow = scope.flow
    started = L.Started(
        definition=flow.name,
        version=flow.version,
        definition_hash=flow.hash,
        key=message.key or str(message.id),
        request_hash=message.request_hash or "",
        input=message.data,
        state=flow.start,
        parent=_uuid(payload.get("parent")),
        parent_step=payload.get("parent_step"),
        rolls_back=_uuid(payload.get("rolls_back")),
        effects=_EFFECTS.validate_python(payload.get("effects", ())),
        restores=_RESTORES.validate_python(payload.get("restores", ())),
        trace=payload.get("trace"),
        at=now,
    )
    return Draft.first(scope, message.saga, started)


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def ask_locks(draft: Draft, *, granted: bool, now: datetime, known: tuple[Lock, ...] = ()) -> bool:
    """Ask for the saga's locks, all at once in key order. False: they could not be told, and the saga ended.

    With `granted` the unit is sent optimistically: it holds only if all are granted at once. `known` are
    locks that it is going to want later on, as an earlier start of it has shown.
    """
    try:
        locks = merged((*wanted(draft), *known))
    except Exception as error:
        reason = storable(f"participants: {type(error).__name__}: {error}")
        draft.add(L.RolledBack(reason=reason, at=now))
        return False
    if locks:
        held = tuple(Held(object=lock.object, mode=lock.mode) for lock in locks)
        draft.add(L.Locked(locks=held, granted=granted, at=now))
    return True


def wanted(draft: Draft) -> tuple[Lock, ...]:
    """The participants of this saga, by key; an object asked for twice is locked in the stronger mode."""
    record = draft.record
    if record.rolls_back is not None:
        return merged(Lock(object=restore.object) for restore in record.restores)
    flow = draft.flow
    facts = Facts(flow, record.input, {})
    return merged(flow.participants(flow.self, facts.input) or ())


def merged(locks: Iterable[Lock]) -> tuple[Lock, ...]:
    """Locks by key, each object once."""
    found: dict[str, Lock] = {}
    for lock in locks:
        if not isinstance(lock, Lock):
            raise InputError(f"participants must yield exclusive(…) or shared(…), not {lock!r}")
        if lock.object not in found or lock.mode == "exclusive":
            found[lock.object] = lock
    return tuple(found[name] for name in sorted(found))


def rollback_payload(
    *,
    saga: UUID,
    effects: Iterable[Effect],
    restores: Iterable[Restore],
    parent: str | None = None,
    parent_step: str | None = None,
) -> Json:
    """What a rollback's start message carries beside the original's input."""
    return canonical(
        {
            "rolls_back": str(saga),
            "effects": [_open(effect) for effect in effects],
            "restores": [_open(restore) for restore in restores],
            "parent": parent,
            "parent_step": parent_step,
        },
        limit=None,
    )


_JSON = ("result", "args", "before", "after")


def _open(record: Any) -> dict[str, Any]:
    """A nested record as plain JSON values, its JSON texts opened."""
    plain: dict[str, Any] = {}
    for name in record.__dataclass_fields__:
        value = getattr(record, name)
        if name in _JSON:
            value = loaded(value)
        elif name == "operations":
            value = [_open(item) for item in value]
        plain[name] = value
    return plain
