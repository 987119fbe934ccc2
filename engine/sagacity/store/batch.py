"""A batch as Core statements, for a database where one writer has the file to itself.

The transaction holds the write lock before the first look, so the conditions can be read and
judged in Python, every loser be named, and only then anything be written: what is refused has
changed nothing. PostgreSQL, where others write meanwhile, does the same in one statement.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from sagacity.errors import StoreError
from sagacity.model.canonical import NULL
from sagacity.model.lines import SCHEMA_VERSION
from sagacity.model.unit import (
    Batch,
    BatchRefused,
    ChainHead,
    HeadMoved,
    Loss,
    ObjectState,
    Unit,
    Written,
)
from sagacity.store import schema
from sagacity.store.compiled import among, by_id, ignoring, plain, upsert
from sagacity.store.parts import ObjectMove, Parts, arrange
from sagacity.store.rows import (
    Scope,
    Values,
    effect_values,
    log_values,
    message_values,
    notice_values,
    object_state,
    record_values,
)

_MUTABLE = (
    *("state", "status", "waits_for", "reason", "paused", "revision", "seq", "updated_at", "due_at"),
    *("schema_version", "memo", "owner", "heard", "wake_at"),
)


class _Object(NamedTuple):
    """An object's row, as it is or as it will be."""

    version: int
    state: str
    queue: tuple[str, ...]
    tickets: int


_ABSENT = _Object(0, NULL, (), 0)


class _Seen(NamedTuple):
    """What stands in the rows that a batch touches."""

    sagas: dict[UUID, Any]
    unread: frozenset[UUID]
    starts: frozenset[UUID]
    keys: frozenset[tuple[str | None, str | None]]
    objects: dict[str, _Object]


def write(conn: Connection, scope: Scope, batch: Batch) -> Written:
    """The whole of `Store.write`; the caller holds the write lock and ends the transaction.

    Raises:
        BatchRefused, HeadMoved, StoreError: as in the contract; nothing was written.
    """
    parts = arrange(batch)
    _check_head(conn, scope, batch.head)
    seen = _look(conn, scope, parts)
    _check_freed(parts, seen)
    after = {move.object: _moved(move, seen.objects.get(move.object)) for move in parts.objects}
    losers = _losers(parts, seen, after, batch.worker)
    if losers:
        raise BatchRefused(losers)
    _write_inbox(conn, scope, parts)
    _write_sagas(conn, scope, parts, seen, batch.worker)
    _write_objects(conn, scope, after)
    upsert(schema.compensation).run(conn, scope, [effect_values(*effect) for effect in parts.effects])
    plain(schema.log).run(conn, scope, [log_values(row) for row in batch.rows])
    ignoring(schema.outbox).run(conn, scope, [notice_values(scope, notice) for notice in parts.notices])
    move_head(conn, scope, batch.new_head)
    return Written(
        arrivals={
            unit.saga: seen.sagas[unit.saga].arrivals if unit.saga in seen.sagas else 0
            for unit in batch.units
        },
        objects={object: _state(object, row) for object, row in after.items()},
    )


def move_head(conn: Connection, scope: Scope, head: ChainHead) -> None:
    """Set where a chain stands."""
    stands = {"row_id": head.id, "position": head.position, "hash": head.hash}
    by_id(schema.chain, ("position", "hash")).run(conn, scope, [stands])


# --- looking ----------------------------------------------------------------------------------------


def _check_head(conn: Connection, scope: Scope, head: ChainHead) -> None:
    row = next(_HEAD.run(conn, scope, [head.id]), None)
    if row is None or (row.epoch, row.position) != (head.epoch, head.position):
        raise HeadMoved(f"chain {head.id} does not stand at {head.position} with epoch {head.epoch}")


def _look(conn: Connection, scope: Scope, parts: Parts) -> _Seen:
    sagas = _SAGAS.run(conn, scope, [unit.saga for unit in (*parts.inserted, *parts.updated)])
    mail = _MAIL.run(conn, scope, [row.id for row in parts.consumed])
    starts = _MAIL.run(conn, scope, [start.id for start in parts.starts])
    keys = _KEYS.run(conn, scope, [start.key for start in parts.starts])
    objects = _OBJECTS.run(conn, scope, [move.object for move in parts.objects])
    return _Seen(
        sagas={row.id: row for row in sagas},
        unread=frozenset(row.id for row in mail if not row.done),
        starts=frozenset(row.id for row in starts),
        keys=frozenset((row.definition, row.key) for row in keys),
        objects={row.object: _Object(row.version, row.state, row.queue, row.tickets) for row in objects},
    )


_INBOX, _SAGA, _OBJECT = schema.inbox.c, schema.saga.c, schema.object.c
_STANDS = (_SAGA.id, _SAGA.revision, _SAGA.epoch, _SAGA.owner, _SAGA.arrivals, _SAGA.heard)
_CHAIN = schema.chain.c
_HEAD = among(select(_CHAIN.epoch, _CHAIN.position), _CHAIN.id)
_SAGAS = among(select(*_STANDS), _SAGA.id)
_MAIL = among(select(_INBOX.id, _INBOX.done), _INBOX.id)
_KEYS = among(select(_INBOX.definition, _INBOX.key).where(schema.IS_START), _INBOX.key)
_OBJECTS = among(select(schema.object), _OBJECT.object)


# --- judging ----------------------------------------------------------------------------------------


def _check_freed(parts: Parts, seen: _Seen) -> None:
    for move in parts.objects:
        if move.freed and move.object not in seen.objects:
            raise StoreError(f"object {move.object}: a lock is freed that nobody ever asked for")


def _moved(move: ObjectMove, row: _Object | None) -> _Object:
    """The object's row after the batch: what was freed is out, what was admitted stands behind."""
    before = row or _ABSENT
    gone = frozenset(move.freed)
    queue = [entry for entry in before.queue if entry[:37] not in gone]
    tickets = before.tickets
    for place in move.admitted:
        tickets += 1
        queue.append(f"{place.who}:{tickets}:{place.since}")
    if move.version is None or move.state is None:
        return _Object(before.version, before.state, tuple(queue), tickets)
    return _Object(move.version, move.state, tuple(queue), tickets)


def _losers(parts: Parts, seen: _Seen, after: dict[str, _Object], worker: UUID) -> dict[UUID, Loss]:
    """Who fails a condition; where one saga fails several, the first in this order is told."""
    losers: dict[UUID, Loss] = {}
    for judge in (_stale(parts, seen, worker), _known(parts, seen), _taken(parts, seen)):
        for saga, loss in judge:
            losers.setdefault(saga, loss)
    for move in parts.objects:
        for saga in _busy(move, after[move.object]):
            losers.setdefault(saga, Loss.BUSY)
    for move in parts.objects:
        stands = seen.objects.get(move.object, _ABSENT).version
        if move.changer is not None and move.version != stands + 1:
            losers.setdefault(move.changer, Loss.VERSION)
    return losers


def _stale(parts: Parts, seen: _Seen, worker: UUID) -> Iterator[tuple[UUID, Loss]]:
    for unit in parts.updated:
        row = seen.sagas.get(unit.saga)
        if row is None or (row.revision, row.epoch, row.owner) != (unit.before, unit.epoch, worker):
            yield unit.saga, Loss.STALE
        elif unit.arrivals is not None and row.arrivals != unit.arrivals:
            yield unit.saga, Loss.ARRIVALS


def _known(parts: Parts, seen: _Seen) -> Iterator[tuple[UUID, Loss]]:
    """Starts and inserted sagas that exist; of two starts with one key in a batch, the later one."""
    keys = set(seen.keys)
    for start in parts.starts:
        if start.id in seen.starts or (start.definition, start.key) in keys:
            yield start.saga, Loss.KNOWN
        keys.add((start.definition, start.key))
    for unit in parts.inserted:
        if unit.saga in seen.sagas:
            yield unit.saga, Loss.KNOWN


def _taken(parts: Parts, seen: _Seen) -> Iterator[tuple[UUID, Loss]]:
    for row in parts.consumed:
        if row.id not in seen.unread:
            yield row.saga, Loss.TAKEN


def _busy(move: ObjectMove, row: _Object) -> Iterator[UUID]:
    front = _front(row.queue)
    for saga in move.optimistic:
        if str(saga) not in front:
            yield saga


def _front(queue: Sequence[str]) -> frozenset[str]:
    """Ids of the sagas that hold: the first entry, or the leading run of shared ones."""
    if not queue or queue[0].startswith("x"):
        return frozenset(entry[1:37] for entry in queue[:1])
    shared = takewhile(lambda entry: entry.startswith("s"), queue)
    return frozenset(entry[1:37] for entry in shared)


# --- writing ----------------------------------------------------------------------------------------


def _write_inbox(conn: Connection, scope: Scope, parts: Parts) -> None:
    done = [{"row_id": row.id, "done": True} for row in parts.consumed]
    by_id(schema.inbox, ("done",)).run(conn, scope, done)
    starts = [message_values(start, done=True, rung=True) for start in parts.starts]
    plain(schema.inbox).run(conn, scope, starts)
    posts = [message_values(post, done=False, rung=post.kind == "start") for post in parts.posts]
    ignoring(schema.inbox).run(conn, scope, posts)


def _write_sagas(conn: Connection, scope: Scope, parts: Parts, seen: _Seen, worker: UUID) -> None:
    inserted = [
        record_values(unit.record) | _lease(unit, 0, worker) | {"epoch": unit.epoch, "arrivals": 0}
        for unit in parts.inserted
    ]
    plain(schema.saga).run(conn, scope, inserted)
    updated = [
        record_values(unit.record) | _lease(unit, seen.sagas[unit.saga].heard, worker) | {"row_id": unit.saga}
        for unit in parts.updated
    ]
    by_id(schema.saga, _MUTABLE).run(conn, scope, updated)


def _lease(unit: Unit, heard: int, worker: UUID) -> Values:
    """Who owns the saga after the unit, and when it is next looked at."""
    return {
        "owner": None if unit.release else worker,
        "wake_at": unit.record.due_at if unit.release else None,
        "heard": heard if unit.arrivals is None else unit.arrivals,
    }


def _write_objects(conn: Connection, scope: Scope, after: dict[str, _Object]) -> None:
    values = [
        {"object": object, **row._asdict(), "schema_version": SCHEMA_VERSION} for object, row in after.items()
    ]
    upsert(schema.object).run(conn, scope, values)


def _state(object: str, row: _Object) -> ObjectState:
    return object_state(object, row.version, row.state, row.queue)
