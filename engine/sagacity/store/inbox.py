"""What comes in from outside: stored first, rung once, taken by one.

A message is a row that is there if and only if its sender's transaction committed. Ringing is
apart from storing: the bell (`saga.arrivals`) is a hot row of the engine's, and a caller's
transaction must not hold it. So no message is ever lost between the two: a row says whether its
bell was rung.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from sagacity.errors import KeyTaken, NotFound
from sagacity.model.unit import Message
from sagacity.store import schema
from sagacity.store.base import Receipt, Served
from sagacity.store.rows import Scope, Values, message_of, message_values

_INBOX = schema.inbox
_SAGA = schema.saga
_CHUNK = 500


def put(conn: Connection, scope: Scope, messages: Sequence[Message], *, ring: bool) -> list[Receipt]:
    """Store messages; with `ring`, ring the bells of the sagas they are for.

    Nothing is left behind where it raises, also in a caller's transaction that goes on.

    Raises:
        KeyTaken, NotFound: as in the contract.
    """
    alive = _targets(conn, scope, messages)
    known = _known(conn, scope, messages)
    receipts = [_receipt(message, known) for message in messages]
    rows = {m.id: m for m, receipt in zip(messages, receipts, strict=True) if receipt is None}
    new = _insert(conn, scope, [_values(m, ring and m.saga in alive) for m in rows.values()])
    if len(new) < receipts.count(None):
        receipts = _late(conn, scope, messages, receipts, new)
    if ring:
        ring_bells(conn, scope, (rows[id].saga for id in new if rows[id].saga in alive))
    return [receipt or Receipt(saga=m.saga, new=True) for m, receipt in zip(messages, receipts, strict=True)]


def _values(message: Message, rung: bool) -> Values:
    return message_values(message, done=False, rung=rung or message.kind == "start")


def _targets(conn: Connection, scope: Scope, messages: Sequence[Message]) -> frozenset[UUID]:
    """The sagas among the targets that have a row.

    Raises:
        NotFound: a target that is neither a saga nor a start, stored or in `messages`.
    """
    wanted = {message.saga for message in messages if message.kind != "start"}
    if not wanted:
        return frozenset()
    known = select(_SAGA.c.id).where(scope.of(_SAGA))
    alive = frozenset(row.id for row in _chunked(conn, known, _SAGA.c.id, sorted(wanted)))
    missing = wanted - alive - {message.saga for message in messages if message.kind == "start"}
    if missing:
        starts = select(_INBOX.c.id).where(scope.of(_INBOX), schema.IS_START)
        missing -= {row.id for row in _chunked(conn, starts, _INBOX.c.id, sorted(missing))}
    if missing:
        raise NotFound(f"no saga {min(missing)} in tenant {scope.tenant!r}, lane {scope.lane!r}")
    return alive


class _Known:
    """Rows that are there already: by id, and starts by (definition, key)."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self.ids: dict[UUID, UUID] = {}
        self.keys: dict[tuple[str | None, str | None], tuple[UUID, str | None]] = {}
        for row in rows:
            self.ids[row.id] = row.saga
            if row.kind == "start":
                self.keys[row.definition, row.key] = (row.saga, row.request_hash)


def _known(conn: Connection, scope: Scope, messages: Sequence[Message]) -> _Known:
    columns = select(
        *(_INBOX.c[name] for name in ("id", "kind", "saga", "definition", "key", "request_hash"))
    ).where(scope.of(_INBOX))
    keys = [(message.key, message.definition) for message in messages if message.kind == "start"]
    pair = tuple_(_INBOX.c.key, _INBOX.c.definition)
    return _Known(
        chain(
            _chunked(conn, columns, _INBOX.c.id, [message.id for message in messages]),
            _chunked(conn, columns.where(schema.IS_START), pair, keys),
        )
    )


def _chunked(conn: Connection, query: Select[Any], column: Any, keys: Sequence[Any]) -> Iterator[Row[Any]]:
    """The rows whose `column` is among `keys`, asked for in lists that every database takes."""
    for first in range(0, len(keys), _CHUNK):
        yield from conn.execute(query.where(column.in_(keys[first : first + _CHUNK])))


def _receipt(message: Message, known: _Known) -> Receipt | None:
    """What to say of a message that is there already; None: it is new.

    Raises:
        KeyTaken: its key belongs to another request.
    """
    if message.id in known.ids:
        return Receipt(saga=known.ids[message.id], new=False)
    if message.kind != "start" or (message.definition, message.key) not in known.keys:
        return None
    saga, request_hash = known.keys[message.definition, message.key]
    if request_hash != message.request_hash:
        raise KeyTaken(str(message.definition), str(message.key), saga)
    return Receipt(saga=saga, new=False)


def _insert(conn: Connection, scope: Scope, rows: Sequence[Values]) -> list[UUID]:
    """Insert rows, those that collide left out; returns the ids of the others."""
    if not rows:
        return []
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(_INBOX).on_conflict_do_nothing().returning(_INBOX.c.id)
    return [row.id for row in conn.execute(statement, [scope.values | row for row in rows])]


def _late(
    conn: Connection,
    scope: Scope,
    messages: Sequence[Message],
    receipts: Sequence[Receipt | None],
    new: Sequence[UUID],
) -> list[Receipt | None]:
    """Receipts once more, where some collided with each other or with what came between look and insert.

    Raises:
        KeyTaken: a key belongs to another request; what was inserted is taken out again.
    """
    fresh, known = set(new), _known(conn, scope, messages)
    found: list[Receipt | None] = []
    try:
        for message, receipt in zip(messages, receipts, strict=True):
            if receipt is None and message.id in fresh:
                fresh.discard(message.id)
                found.append(None)
            else:
                found.append(receipt or _receipt(message, known))
    except KeyTaken:
        conn.execute(_INBOX.delete().where(scope.of(_INBOX), _INBOX.c.id.in_(new)))
        raise
    return found


def find(conn: Connection, scope: Scope, definition: str, key: str) -> UUID | None:
    """The saga that (definition, key) started."""
    return conn.scalar(
        select(_INBOX.c.saga).where(
            scope.of(_INBOX), schema.IS_START, _INBOX.c.key == key, _INBOX.c.definition == definition
        )
    )


# --- bells ------------------------------------------------------------------------------------------


def ring_bells(conn: Connection, scope: Scope, sagas: Iterable[UUID]) -> None:
    """`arrivals + 1` for each, one row after the other in key order."""
    rows = [{"row_id": id} for id in sorted(set(sagas))]
    if rows:
        bell = update(_SAGA).where(scope.of(_SAGA), _SAGA.c.id == bindparam("row_id"))
        conn.execute(bell.values(arrivals=_SAGA.c.arrivals + 1), rows)


def ring(conn: Connection, scope: Scope, *, limit: int) -> int:
    """Ring the bells of messages that were stored without; returns how many messages."""
    ids = [row.id for row in conn.execute(_unrung(scope), {"room": limit})]
    if not ids:
        return 0
    rung = update(_INBOX).where(scope.of(_INBOX), _INBOX.c.id.in_(ids)).values(rung=True)
    ring_bells(conn, scope, (row.saga for row in conn.execute(rung.returning(_INBOX.c.saga))))
    return len(ids)


@lru_cache(maxsize=64)
def _unrung(scope: Scope) -> Select[Any]:
    has_row = exists().where(scope.of(_SAGA), _SAGA.c.id == _INBOX.c.saga)
    return (
        select(_INBOX.c.id)
        .where(scope.of(_INBOX), schema.UNRUNG, has_row)
        .order_by(_INBOX.c.id)
        .limit(bindparam("room", type_=Integer()))
        .with_for_update(skip_locked=True, of=_INBOX)
    )


# --- taking and reading -------------------------------------------------------------------------------


def asked(definitions: Served) -> tuple[tuple[str, int | None], ...]:
    """What a worker serves, as a key: names with their versions, or without."""
    if isinstance(definitions, Mapping):
        return tuple(sorted(definitions.items()))
    return tuple((name, None) for name in definitions)


def claim_starts(
    conn: Connection, scope: Scope, worker: UUID, definitions: Served, *, limit: int
) -> list[Message]:
    """Starts that nobody has taken, oldest first, now taken by `worker`."""
    ids = [row.id for row in conn.execute(fresh(scope, asked(definitions)), {"room": limit})]
    if not ids:
        return []
    taken = update(_INBOX).where(scope.of(_INBOX), _INBOX.c.id.in_(ids)).values(taken_by=worker)
    found = [message_of(row) for row in conn.execute(taken.returning(*_INBOX.c))]
    return sorted(found, key=lambda message: message.id)


@lru_cache(maxsize=64)
def fresh(scope: Scope, served: tuple[tuple[str, int | None], ...]) -> Select[Any]:
    """Starts for `served`, `room` of them at most that nobody else is taking; built once, asked often."""
    free = (
        select(_INBOX.c.id)
        .where(scope.of(_INBOX), schema.IS_START, schema.UNREAD, _INBOX.c.taken_by.is_(None))
        .where(_INBOX.c.definition.in_([name for name, _ in served]))
        .order_by(_INBOX.c.id)
        .limit(bindparam("room", type_=Integer()))
        .with_for_update(skip_locked=True)
    )
    newer = [
        and_(_INBOX.c.definition == name, _INBOX.c.version > version)
        for name, version in served
        if version is not None
    ]
    return free.where(not_(func.coalesce(or_(*newer), false()))) if newer else free


def give_back_starts(conn: Connection, scope: Scope, worker: UUID, messages: Sequence[UUID]) -> None:
    """Give up taken starts that were not begun."""
    conn.execute(
        update(_INBOX)
        .where(scope.of(_INBOX), _INBOX.c.id.in_(messages), _INBOX.c.taken_by == worker)
        .where(schema.UNREAD)
        .values(taken_by=None)
    )


def mail(conn: Connection, scope: Scope, sagas: Sequence[UUID]) -> dict[UUID, tuple[Message, ...]]:
    """The unread rows of these sagas, each saga's oldest first."""
    found: dict[UUID, tuple[Message, ...]] = {}
    for row in conn.execute(_unread(scope), {"sagas": list(sagas)}):
        found[row.saga] = (*found.get(row.saga, ()), message_of(row))
    return found


@lru_cache(maxsize=64)
def _unread(scope: Scope) -> Select[Any]:
    mine = _INBOX.c.saga.in_(bindparam("sagas", expanding=True))
    query = select(_INBOX).where(scope.of(_INBOX), mine, schema.UNREAD)
    return query.order_by(_INBOX.c.arrived_at, _INBOX.c.id)


def messages(conn: Connection, scope: Scope, saga: UUID) -> list[Message]:
    """All inbox rows of a saga, read or not, oldest first."""
    query = select(_INBOX).where(scope.of(_INBOX), _INBOX.c.saga == saga)
    return [message_of(row) for row in conn.execute(query.order_by(_INBOX.c.arrived_at, _INBOX.c.id))]
