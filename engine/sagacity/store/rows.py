"""Records to rows and back: the only place that knows which field lies in which column.

What queries need of a saga lies in columns; the rest lies in one canonical text, `memo`, so
the hot row stays narrow and a new field of the record needs no new column.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, get_type_hints, overload
from uuid import UUID

import orjson
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, Table, and_

from sagacity.ids import derived_id
from sagacity.model.canonical import JsonText
from sagacity.model.lines import SCHEMA_VERSION
from sagacity.model.record import Effect, EffectStatus, Record, Restore, Staged, Status, WaitsFor
from sagacity.model.unit import (
    ChainHead,
    LogRow,
    Message,
    Notice,
    ObjectState,
    QueueEntry,
    WorkerInfo,
    holders,
)
from sagacity.model.views import HistoryLine, LockView
from sagacity.store.base import SagaRow
from sagacity.store.types import instant, micros

Values = dict[str, Any]
"""Column name → value, in Python's types."""


class Scope(NamedTuple):
    """The tenant and lane that a store serves."""

    tenant: str
    lane: str

    def of(self, table: Table) -> ColumnElement[bool]:
        """The condition that every query on `table` carries."""
        return _of(self, table)

    @property
    def values(self) -> Values:
        """The first two columns of every inserted row."""
        return {"tenant": self.tenant, "lane": self.lane}


@lru_cache(maxsize=1024)
def _of(scope: Scope, table: Table) -> ColumnElement[bool]:
    # Conditions never change once they are made; making one costs as much as a small query.
    return and_(table.c.tenant == scope.tenant, table.c.lane == scope.lane)


# --- sagas ------------------------------------------------------------------------------------------


_NO_MEMO = frozenset(
    (
        *("id", "definition", "version", "definition_hash", "key", "input", "state", "status", "waits_for"),
        *("reason", "paused", "revision", "seq", "created_at", "updated_at", "due_at", "parent"),
        *("parent_step", "rolls_back"),
    )
)
"""Fields of a record that are columns; every other one, also one that comes later, goes into `memo`."""

_HINTS = get_type_hints(Record, include_extras=True)
_Memo = make_dataclass(
    "_Memo", [(name, hint, field(default=None)) for name, hint in _HINTS.items() if name not in _NO_MEMO]
)
_MEMO: TypeAdapter[Any] = TypeAdapter(_Memo)
_NESTED = ("staged", "effects", "restores")
_PLAIN = tuple(f.name for f in fields(Record) if f.name not in _NO_MEMO | {"results", *_NESTED})
_EMPTY = JsonText("{}")
_JSON_FIELDS = frozenset({"result", "args", "before", "after"})
_FIELDS: dict[type, tuple[tuple[str, bool], ...]] = {
    kind: tuple((f.name, f.name in _JSON_FIELDS) for f in fields(kind)) for kind in (Effect, Staged, Restore)
}


def asked_objects(memo: str) -> tuple[str, ...]:
    """The objects whose locks a saga has asked for, by its memo alone."""
    return tuple(lock["object"] for lock in orjson.loads(memo).get("locks", ()))


def memo_text(record: Record) -> JsonText:
    """The canonical text of what is no column; what is empty is left out, and reads back as empty."""
    content: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(record, name))}
    if record.results:
        content["results"] = {name: orjson.Fragment(text) for name, text in record.results.items()}
    for name in _NESTED:
        if items := getattr(record, name):
            content[name] = [_embedded(item) for item in items]
    return JsonText(orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()) if content else _EMPTY


def _embedded(item: Effect | Staged | Restore) -> Values:
    """A nested record with its JSON texts as JSON, not as quoted strings."""
    found: Values = {}
    for name, is_json in _FIELDS[type(item)]:
        value = getattr(item, name)
        if name == "operations":
            found[name] = [_embedded(operation) for operation in value]
        else:
            found[name] = orjson.Fragment(value) if is_json else value
    return found


def record_values(record: Record) -> Values:
    """The columns that a record fills (not: owner, epoch, arrivals, heard, wake_at)."""
    return {
        "id": record.id,
        "definition": record.definition,
        "version": record.version,
        "definition_hash": record.definition_hash,
        "key": record.key,
        "state": " ".join(record.state),
        "status": record.status.value,
        "waits_for": None if record.waits_for is None else record.waits_for.value,
        "reason": record.reason,
        "paused": record.paused,
        "revision": record.revision,
        "seq": record.seq,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "due_at": record.due_at,
        "parent": record.parent,
        "parent_step": record.parent_step,
        "rolls_back": record.rolls_back,
        "schema_version": SCHEMA_VERSION,
        "input": record.input,
        "memo": memo_text(record),
    }


class _SagaColumns(Protocol):
    """A row of `saga`, for the type checker."""

    id: UUID
    definition: str
    version: int
    definition_hash: str
    key: str
    state: str
    status: str
    waits_for: str | None
    reason: str | None
    paused: bool
    revision: int
    seq: int
    epoch: int
    owner: UUID | None
    arrivals: int
    heard: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    parent: UUID | None
    parent_step: str | None
    rolls_back: UUID | None
    input: JsonText
    memo: str


def record_of(row: Row[Any] | _SagaColumns) -> Record:
    """The record that a whole row of `saga` holds."""
    memo: dict[str, Any] = {"visits": {}, "results": {}}
    if row.memo != _EMPTY:
        content = orjson.loads(row.memo)
        known = _MEMO.validate_python(content)
        memo |= {name: getattr(known, name) for name in content if name in _HINTS}
    return Record(
        id=row.id,
        definition=row.definition,
        version=row.version,
        definition_hash=row.definition_hash,
        key=row.key,
        input=row.input,
        state=tuple(row.state.split()),
        status=Status(row.status),
        waits_for=None if row.waits_for is None else WaitsFor(row.waits_for),
        reason=row.reason,
        paused=row.paused,
        revision=row.revision,
        seq=row.seq,
        created_at=row.created_at,
        updated_at=row.updated_at,
        due_at=row.due_at,
        parent=row.parent,
        parent_step=row.parent_step,
        rolls_back=row.rolls_back,
        **memo,
    )


def saga_row_of(row: Row[Any] | _SagaColumns) -> SagaRow:
    """A whole row of `saga`."""
    return SagaRow(
        record=record_of(row), owner=row.owner, epoch=row.epoch, arrivals=row.arrivals, heard=row.heard
    )


# --- effects, messages, notices, workers ------------------------------------------------------------


def effect_values(saga: UUID, effect: Effect) -> Values:
    """A row of `compensation`, without scope."""
    return {
        "saga": saga,
        "n": effect.n,
        "step": effect.step,
        "visit": effect.visit,
        "key": effect.key,
        "undo": effect.undo,
        "safe_on_nothing": effect.safe_on_nothing,
        "status": effect.status.value,
        "result": effect.result,
        "undo_attempts": effect.undo_attempts,
        "undo_since": effect.undo_since,
        "undo_due_at": effect.undo_due_at,
        "error": effect.error,
        "schema_version": SCHEMA_VERSION,
    }


def effect_of(row: Row[Any]) -> Effect:
    """The effect that a row of `compensation` holds."""
    return Effect(
        n=row.n,
        step=row.step,
        visit=row.visit,
        key=row.key,
        undo=row.undo,
        safe_on_nothing=row.safe_on_nothing,
        status=EffectStatus(row.status),
        result=row.result,
        undo_attempts=row.undo_attempts,
        undo_since=row.undo_since,
        undo_due_at=row.undo_due_at,
        error=row.error,
    )


def message_values(message: Message, *, done: bool, rung: bool) -> Values:
    """A row of `inbox`, without scope."""
    return {
        "id": message.id,
        "kind": message.kind,
        "saga": message.saga,
        "definition": message.definition,
        "version": message.version,
        "key": message.key,
        "request_hash": message.request_hash,
        "name": message.name,
        "data": message.data,
        "payload": message.payload,
        "actor": message.actor,
        "arrived_at": message.arrived_at,
        "done": done,
        "rung": rung,
        "taken_by": None,
        "schema_version": SCHEMA_VERSION,
    }


def message_of(row: Row[Any]) -> Message:
    """The message that a row of `inbox` holds."""
    return Message(
        id=row.id,
        kind=row.kind,
        saga=row.saga,
        definition=row.definition,
        version=row.version,
        key=row.key,
        request_hash=row.request_hash,
        name=row.name,
        data=row.data,
        payload=row.payload,
        actor=row.actor,
        arrived_at=row.arrived_at,
    )


def notice_id(scope: Scope, notice: Notice) -> UUID:
    """The row's id: the same notice written again is the same row."""
    return derived_id("notice", *scope, notice.saga, notice.key, notice.seq)


def notice_values(scope: Scope, notice: Notice) -> Values:
    """A row of `outbox`, without scope."""
    return {
        "id": notice_id(scope, notice),
        "key": notice.key,
        "saga": notice.saga,
        "seq": notice.seq,
        "kind": notice.kind,
        "data": notice.data,
        "sent": False,
        "schema_version": SCHEMA_VERSION,
    }


def notice_of(row: Row[Any]) -> Notice:
    """The notice that a row of `outbox` holds."""
    return Notice(key=row.key, saga=row.saga, seq=row.seq, kind=row.kind, data=row.data)


def worker_values(worker: WorkerInfo) -> Values:
    """A row of `worker`, without scope."""
    return {
        "id": worker.id,
        "name": worker.name,
        "definitions": orjson.dumps(worker.definitions, option=orjson.OPT_SORT_KEYS).decode(),
        "started_at": worker.started_at,
        "lease_until": worker.lease_until,
        "alive": True,
    }


def worker_of(row: Row[Any]) -> WorkerInfo:
    """The worker that a row of `worker` holds."""
    known = orjson.loads(row.definitions)
    return WorkerInfo(
        id=row.id,
        name=row.name,
        definitions={name: (version, digest) for name, (version, digest) in known.items()},
        started_at=row.started_at,
        lease_until=row.lease_until,
    )


# --- the log ----------------------------------------------------------------------------------------


_LINE = tuple(f.name for f in fields(LogRow))
_LINE_VALUES = attrgetter(*_LINE)


def log_values(row: LogRow) -> Values:
    """A row of `log`, without scope."""
    return dict(zip(_LINE, _LINE_VALUES(row), strict=True))


def log_row_of(row: Row[Any]) -> LogRow:
    """The line as stored."""
    return LogRow(
        chain=row.chain,
        position=row.position,
        saga=row.saga,
        seq=row.seq,
        kind=row.kind,
        object=row.object,
        version=row.version,
        schema_version=row.schema_version,
        at=row.at,
        data=row.data,
        digest=bytes(row.digest),
        hash=bytes(row.hash),
    )


def history_line_of(row: Row[Any]) -> HistoryLine:
    """The line as readers see it."""
    return HistoryLine(
        seq=row.seq,
        at=row.at,
        kind=row.kind,
        data=row.data,
        object=row.object,
        version=row.version,
        chain=row.chain,
        position=row.position,
    )


def head_of(row: Row[Any]) -> ChainHead:
    """Where a chain stands."""
    return ChainHead(id=row.id, epoch=row.epoch, position=row.position, hash=bytes(row.hash))


# --- objects and their queues -----------------------------------------------------------------------


def entry_text(entry: QueueEntry) -> str:
    """A place in a queue as stored; its first 37 characters (mode and saga) identify it."""
    mode = "x" if entry.mode == "exclusive" else "s"
    return f"{mode}{entry.saga}:{entry.ticket}:{micros(entry.since)}"


def entry_of(text: str) -> QueueEntry:
    """What `entry_text` wrote."""
    saga, ticket, since = text[1:].split(":")
    return QueueEntry(
        saga=UUID(saga),
        mode="exclusive" if text[0] == "x" else "shared",
        ticket=int(ticket),
        since=instant(int(since)),
    )


def object_of(row: Row[Any]) -> ObjectState:
    """A participant with its queue."""
    return object_state(row.object, row.version, row.state, row.queue)


def object_state(object: str, version: int, state: str, queue: Sequence[str]) -> ObjectState:
    """A participant from its columns."""
    return ObjectState(
        object=object, version=version, state=JsonText(state), queue=_Places(queue) if queue else ()
    )


class _Places(Sequence[QueueEntry]):
    """A queue as stored, its places read only when looked at: of a long one mostly the front is."""

    __slots__ = ("_texts",)

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[QueueEntry]:
        return map(entry_of, self._texts)

    @overload
    def __getitem__(self, place: int) -> QueueEntry: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[QueueEntry, ...]: ...
    def __getitem__(self, place: int | slice) -> QueueEntry | tuple[QueueEntry, ...]:
        if isinstance(place, slice):
            return tuple(map(entry_of, self._texts[place]))
        return entry_of(self._texts[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


def lock_views(state: ObjectState, known: Mapping[UUID, tuple[str, str]]) -> tuple[LockView, ...]:
    """The places in one object's queue; `known`: saga → (definition, key)."""
    holding = frozenset(holders(state.queue))
    return tuple(
        LockView(
            object=state.object,
            saga=entry.saga,
            definition=known.get(entry.saga, (None, None))[0],
            key=known.get(entry.saga, (None, None))[1],
            mode=entry.mode,
            held=entry.saga in holding,
            since=entry.since,
            fence=entry.ticket,
        )
        for entry in state.queue
    )
