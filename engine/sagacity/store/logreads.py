"""The log as a whole: stories, pages of chains, and the two writes that are no batch (erase, load).

Long reads go in pages, each a short transaction, up to heads that were taken in one statement:
what is behind those heads never changes, so the pages together are a consistent cut.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    BigInteger,
    Connection,
    Text,
    cast,
    func,
    insert,
    literal,
    select,
    tuple_,
    type_coerce,
    update,
)

from sagacity.errors import Conflict
from sagacity.model.canonical import NULL, JsonText, canonical
from sagacity.model.lines import SCHEMA_VERSION, Applied, Locked
from sagacity.model.record import Effect, Record, Status
from sagacity.model.unit import ChainHead, LogRow, Message, ObjectState
from sagacity.model.views import HistoryLine, ObjectVersion
from sagacity.store import schema
from sagacity.store.base import SagaRow
from sagacity.store.rows import (
    Scope,
    Values,
    effect_of,
    effect_values,
    entry_text,
    head_of,
    history_line_of,
    log_row_of,
    log_values,
    message_values,
    object_of,
    record_values,
    saga_row_of,
)
from sagacity.store.types import Id

PAGE = 1_000
"""Rows of one page."""

_CHAIN = schema.chain
_LOG = schema.log
_OBJECT = schema.object
_SAGA = schema.saga


# --- stories ----------------------------------------------------------------------------------------


def history(
    conn: Connection, scope: Scope, saga: UUID, *, after: int, limit: int | None
) -> list[HistoryLine]:
    """The saga's lines by seq, from behind `after`."""
    query = select(_LOG).where(scope.of(_LOG), _LOG.c.saga == saga, _LOG.c.seq > after)
    return [history_line_of(row) for row in conn.execute(query.order_by(_LOG.c.seq).limit(limit))]


def object_history(
    conn: Connection, scope: Scope, object: str, *, after: int = 0, limit: int | None = None
) -> list[ObjectVersion]:
    """The object's `applied` lines by version, from behind `after`."""
    query = select(_LOG).where(scope.of(_LOG), _LOG.c.object == object, _LOG.c.kind == Applied.kind)
    page = query.where(_LOG.c.version > after).order_by(_LOG.c.version).limit(limit)
    return [_version_of(row) for row in conn.execute(page)]


def _version_of(row: Any) -> ObjectVersion:
    content = None if row.data is None else orjson.loads(row.data)
    return ObjectVersion(
        version=row.version,
        at=row.at,
        saga=row.saga,
        state=None if content is None else _text(content["after"]),
        operations=None if content is None else _text(content["operations"]),
        chain=row.chain,
        position=row.position,
    )


def _text(value: Any) -> JsonText:
    """A part of a loaded canonical text as canonical text again."""
    return JsonText(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


# --- pages ------------------------------------------------------------------------------------------


def heads(conn: Connection, scope: Scope) -> list[ChainHead]:
    """All chain heads, in one statement."""
    query = select(_CHAIN).where(scope.of(_CHAIN)).order_by(_CHAIN.c.id)
    return [head_of(row) for row in conn.execute(query)]


def chain_page(conn: Connection, scope: Scope, chain: int, after: int, upto: int) -> list[LogRow]:
    """Up to a page of a chain's lines, behind position `after`, up to and with `upto`."""
    query = (
        select(_LOG)
        .where(scope.of(_LOG), _LOG.c.chain == chain, _LOG.c.position > after, _LOG.c.position <= upto)
        .order_by(_LOG.c.position)
        .limit(PAGE)
    )
    return [log_row_of(row) for row in conn.execute(query)]


def chain_links(conn: Connection, scope: Scope, chain: int, after: int, upto: int) -> list[tuple[Any, ...]]:
    """The same page as the chain sees it: plain values, in the order of `sagacity.chain.Link`."""
    at: Any = type_coerce(_LOG.c.at, BigInteger)
    if conn.dialect.name == "postgresql":
        at = cast(func.extract("epoch", _LOG.c.at) * 1_000_000, BigInteger)
    saga = cast(_LOG.c.saga, Text) if conn.dialect.name == "postgresql" else type_coerce(_LOG.c.saga, Text)
    line = _LOG.c
    told = (line.position, saga, line.seq, line.kind, line.object, line.version, line.schema_version, at)
    query = (
        select(*told, line.data, line.digest, line.hash)
        .where(scope.of(_LOG), line.chain == chain, line.position > after, line.position <= upto)
        .order_by(line.position)
        .limit(PAGE)
    )
    return [tuple(row) for row in conn.execute(query)]


def saga_lines_page(conn: Connection, scope: Scope, after: tuple[UUID, int] | None) -> list[LogRow]:
    """Up to a page of all lines by (saga, seq), behind `after`."""
    query = select(_LOG).where(scope.of(_LOG)).order_by(_LOG.c.saga, _LOG.c.seq).limit(PAGE)
    if after is not None:
        # A bare tuple would bind the id as SQLAlchemy's own UUID type, which SQLite writes otherwise.
        behind = tuple_(literal(after[0], Id), literal(after[1]))
        query = query.where(tuple_(_LOG.c.saga, _LOG.c.seq) > behind)
    return [log_row_of(row) for row in conn.execute(query)]


def within(rows: Iterable[LogRow], heads: Mapping[int, int]) -> list[LogRow]:
    """Those of `rows` that lie up to the heads (chain → position)."""
    return [row for row in rows if row.position <= heads.get(row.chain, 0)]


def saga_page(conn: Connection, scope: Scope, after: UUID | None) -> list[SagaRow]:
    """Up to a page of saga rows by id, behind `after`."""
    query = select(_SAGA).where(scope.of(_SAGA)).order_by(_SAGA.c.id).limit(PAGE)
    if after is not None:
        query = query.where(_SAGA.c.id > after)
    return [saga_row_of(row) for row in conn.execute(query)]


def object_page(conn: Connection, scope: Scope, after: str | None) -> list[ObjectState]:
    """Up to a page of object rows by key, behind `after`."""
    query = select(_OBJECT).where(scope.of(_OBJECT)).order_by(_OBJECT.c.object).limit(PAGE)
    if after is not None:
        query = query.where(_OBJECT.c.object > after)
    return [object_of(row) for row in conn.execute(query)]


def effect_page(conn: Connection, scope: Scope, after: tuple[UUID, int] | None) -> list[tuple[UUID, Effect]]:
    """Up to a page of compensation rows by (saga, n), behind `after`."""
    table = schema.compensation
    query = select(table).where(scope.of(table)).order_by(table.c.saga, table.c.n).limit(PAGE)
    if after is not None:
        behind = tuple_(literal(after[0], Id), literal(after[1]))
        query = query.where(tuple_(table.c.saga, table.c.n) > behind)
    return [(row.saga, effect_of(row)) for row in conn.execute(query)]


def known_messages(conn: Connection, scope: Scope, ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those of `ids` that lie in the inbox."""
    found: set[UUID] = set()
    inbox = schema.inbox
    for first in range(0, len(ids), PAGE):
        query = select(inbox.c.id).where(scope.of(inbox), inbox.c.id.in_(ids[first : first + PAGE]))
        found.update(conn.execute(query).scalars())
    return frozenset(found)


# --- erase and load -----------------------------------------------------------------------------------


def erase_lines(conn: Connection, scope: Scope, saga: UUID, seqs: Sequence[int]) -> None:
    """Set `data` of those lines to null; the trigger lets it pass once an `erased` line names them.

    What the saga's row and its messages hold of the same goes with it.
    """
    conn.execute(
        update(_LOG).where(scope.of(_LOG), _LOG.c.saga == saga, _LOG.c.seq.in_(seqs)).values(data=None)
    )
    inbox = schema.inbox
    conn.execute(update(_SAGA).where(scope.of(_SAGA), _SAGA.c.id == saga).values(input=NULL))
    mail = update(inbox).where(scope.of(inbox), inbox.c.saga == saga)
    conn.execute(mail.values(data=NULL, payload=NULL))
    outbox = schema.outbox
    told = select(outbox.c.id, outbox.c.data).where(scope.of(outbox), outbox.c.saga == saga)
    for row in list(conn.execute(told)):
        # A listener may still have to be told that it ended, and how; not why.
        content = orjson.loads(row.data)
        data = canonical({**content, "reason": None} if isinstance(content, dict) else None)
        conn.execute(update(outbox).where(scope.of(outbox), outbox.c.id == row.id).values(data=data))


def check_empty(conn: Connection, scope: Scope) -> None:
    """Only a store without history may be loaded into.

    Raises:
        Conflict: there is something of this tenant and lane already.
    """
    for table in (_LOG, _SAGA, _OBJECT, schema.inbox):
        if conn.execute(select(table.c.tenant).where(scope.of(table)).limit(1)).first() is not None:
            raise Conflict(
                f"the store has rows in {table.name} already: rebuild into an empty store, "
                "or with another tenant"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What folding a log gave, to be loaded behind its lines."""

    sagas: Sequence[Record]
    objects: Sequence[ObjectState]
    heads: Sequence[ChainHead]
    starts: Sequence[Message]


def load_lines(conn: Connection, scope: Scope, rows: Sequence[LogRow], tickets: Counter[str]) -> None:
    """Insert log lines as they are; `tickets` counts the places given out per object."""
    _insert(conn, scope, _LOG, [log_values(row) for row in rows])
    for row in rows:
        if row.kind == Locked.kind and row.data is not None:
            tickets.update(lock["object"] for lock in orjson.loads(row.data)["locks"])


def load_tables(conn: Connection, scope: Scope, folded: Folded, tickets: Counter[str]) -> None:
    """Insert what folding the log gave. Nobody owns anything; chains are idle; what can run is due now."""
    sagas, objects, heads, starts = folded.sagas, folded.objects, folded.heads, folded.starts
    _insert(conn, scope, schema.inbox, [message_values(start, done=True, rung=True) for start in starts])
    _insert(conn, scope, _SAGA, [_loaded(record) for record in sagas])
    _insert(conn, scope, _OBJECT, [_loaded_object(state, tickets) for state in objects])
    effects = [effect_values(record.id, effect) for record in sagas for effect in record.effects]
    _insert(conn, scope, schema.compensation, effects)
    conn.execute(_CHAIN.delete().where(scope.of(_CHAIN)))
    chains = [
        {"id": head.id, "owner": None, "epoch": head.epoch, "position": head.position, "hash": head.hash}
        for head in heads
    ]
    _insert(conn, scope, _CHAIN, chains)


def _loaded(record: Record) -> Values:
    """A saga row that nobody owns; one that was running is due at once."""
    moving = record.status in {Status.RUNNING, Status.COMPENSATING}
    lease = {"owner": None, "epoch": 1, "arrivals": 0, "heard": 0}
    return record_values(record) | lease | {"wake_at": record.updated_at if moving else record.due_at}


def _loaded_object(state: ObjectState, tickets: Counter[str]) -> Values:
    """An object row whose next fencing number is higher than all that were ever given out."""
    return {
        "object": state.object,
        "version": state.version,
        "state": state.state,
        "queue": tuple(entry_text(entry) for entry in state.queue),
        "tickets": max(tickets[state.object], *(entry.ticket for entry in state.queue), 0),
        "schema_version": SCHEMA_VERSION,
    }


def _insert(conn: Connection, scope: Scope, table: Any, rows: Sequence[Values]) -> None:
    for first in range(0, len(rows), PAGE):
        conn.execute(insert(table), [scope.values | row for row in rows[first : first + PAGE]])
