"""What is counted for those who watch a store, from indexes alone.

A count over all columns reads every saga that ever was. So what is open is counted where an index holds
it, all are counted by definition, and what is left is what ended well.
"""

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, union_all

from sagacity.model.canonical import loaded
from sagacity.model.gauges import Gauges
from sagacity.model.record import Status
from sagacity.store import schema
from sagacity.store.claims import Now, instant, workers
from sagacity.store.rows import Scope

_INBOX = schema.inbox
_LOG = schema.log
_OUTBOX = schema.outbox
_SAGA = schema.saga

_FEW = 10_000
_SOME = 500
"""Of a long row of what waits, so many are asked how long: the age is then at least that."""
_RUNNING = _SAGA.c.status == schema.text_constant(Status.RUNNING)
# Each status by name, so that SQLite takes the index that leads with it.
_OPEN = and_(
    schema.OPEN_MATTERS,
    _SAGA.c.status.in_(
        [schema.text_constant(s) for s in Status if s not in {Status.COMMITTED, Status.RUNNING}]
    ),
)
_DUE = and_(schema.FREE, _SAGA.c.wake_at.is_not(None), ~_SAGA.c.paused)

# An expression, so that no planner walks the index of a definition through all its history.
_NAME: ColumnElement[str] = func.coalesce(_SAGA.c.definition, "").label("name")

Counts = Counter[tuple[str, Status]]


def gauges(conn: Connection, scope: Scope, *, now: Now) -> Gauges:
    """See `Gauges`. The caller gives the snapshot: all selects must see one moment."""
    at = instant(conn, now)
    unsent, unsent_since = _unsent(conn, scope)
    return Gauges(
        at=at,
        sagas=_sagas(conn, scope, at),
        lock_waits=conn.scalar(_number().where(scope.of(_SAGA), schema.QUEUED)) or 0,
        runnable_since=_runnable_since(conn, scope, at),
        workers=len(workers(conn, scope, now=at)),
        unsent=unsent,
        unsent_since=unsent_since,
    )


def _number() -> Select[Any]:
    return select(func.count()).select_from(_SAGA)


def _sagas(conn: Connection, scope: Scope, at: datetime) -> Counts:
    """All by definition, less what is open, is what ended well; starts are counted where they lie."""
    found: Counts = Counter()
    by_status = select(_NAME, _SAGA.c.status, func.count()).group_by(_NAME, _SAGA.c.status)
    for definition, status, number in conn.execute(by_status.where(scope.of(_SAGA), _OPEN)):
        found[definition, Status(status)] += number
    few = select(_NAME, func.count()).group_by(_NAME)
    for where in at_work(at):
        for definition, number in conn.execute(few.where(scope.of(_SAGA), _RUNNING, where)):
            found[definition, Status.RUNNING] += number
    open_: Counter[str] = Counter()
    for (definition, _), number in found.items():
        open_[definition] += number
    all_ = select(_SAGA.c.definition, func.count()).group_by(_SAGA.c.definition)
    for definition, number in conn.execute(all_.where(scope.of(_SAGA))):
        found[definition, Status.COMMITTED] += number - open_[definition]
    starts = select(_INBOX.c.definition, func.count()).group_by(_INBOX.c.definition)
    for definition, number in conn.execute(starts.where(scope.of(_INBOX), schema.IS_START, schema.UNREAD)):
        found[definition, Status.PENDING] += number
    return +found


def running(conn: Connection, scope: Scope, at: datetime) -> ColumnElement[bool]:
    """That a saga is running, put so that the few of a large store are found without reading it."""
    some = [select(_SAGA.c.id).where(scope.of(_SAGA), _RUNNING, where) for where in at_work(at)]
    ids = union_all(*some)
    number = conn.scalar(select(func.count()).select_from(ids.limit(_FEW + 1).subquery())) or 0
    # Where there are many, the next page is full of them wherever one looks.
    return _SAGA.c.id.in_(ids) if number <= _FEW else _RUNNING


def at_work(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Each running saga stands in exactly one of these, and each has its index.

    A running one that nobody owns was handed back: it is due since then, or rung. What is due later waits.
    """
    due = and_(_DUE, _SAGA.c.wake_at <= at)
    rung = and_(schema.RUNG, ~_SAGA.c.paused, or_(_SAGA.c.wake_at.is_(None), _SAGA.c.wake_at > at))
    return _SAGA.c.owner.is_not(None), due, rung, and_(schema.FREE, schema.PAUSED)


def _runnable_since(conn: Connection, scope: Scope, at: datetime) -> datetime | None:
    """The oldest that is due, was rung, or was never looked at."""
    due = select(func.min(_SAGA.c.wake_at)).where(scope.of(_SAGA), _DUE, _SAGA.c.wake_at <= at)
    rung = select(func.min(_INBOX.c.arrived_at)).where(
        scope.of(_INBOX), schema.UNREAD, _INBOX.c.saga.in_(_rung(scope))
    )
    start = (
        select(_INBOX.c.arrived_at)
        .where(scope.of(_INBOX), schema.IS_START, schema.UNREAD, _INBOX.c.taken_by.is_(None))
        .order_by(_INBOX.c.id)
        .limit(1)
    )
    return min(
        (since for query in (due, rung, start) if (since := conn.scalar(query)) is not None), default=None
    )


def _rung(scope: Scope) -> Select[Any]:
    """Free sagas whose bell nobody answered; the first of them stand for all."""
    return (
        select(_SAGA.c.id)
        .where(scope.of(_SAGA), schema.RUNG, ~_SAGA.c.paused)
        .order_by(_SAGA.c.id)
        .limit(_SOME)
    )


def _unsent(conn: Connection, scope: Scope) -> tuple[int, datetime | None]:
    """How many notices wait, and since when: written with the line that they tell of, or by themselves."""
    number = select(func.count()).select_from(_OUTBOX).where(scope.of(_OUTBOX), schema.UNSENT)
    some = select(_OUTBOX.c.saga, _OUTBOX.c.seq).where(scope.of(_OUTBOX), schema.UNSENT)
    first = some.order_by(_OUTBOX.c.key, _OUTBOX.c.seq).limit(_SOME).subquery()
    oldest = (
        select(func.min(_LOG.c.at))
        .select_from(first)
        .join(_LOG, and_(scope.of(_LOG), _LOG.c.saga == first.c.saga, _LOG.c.seq == first.c.seq))
    )
    alone = select(_OUTBOX.c.data).where(scope.of(_OUTBOX), schema.UNSENT, schema.IS_MATTER)
    told = [loaded(data)["told_at"] for data in conn.scalars(alone.order_by(_OUTBOX.c.id).limit(_SOME))]
    since = [*map(datetime.fromisoformat, told), conn.scalar(oldest)]
    return conn.scalar(number) or 0, min((at for at in since if at is not None), default=None)
