"""What the attention page reads: every query goes along an index and ends at a limit.

So its cost depends on the limit and not on how many sagas there are.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, false, literal, select

from sagacity.decide.attention import Limits
from sagacity.decide.explain import last_error
from sagacity.model.record import Record, Status, WaitsFor
from sagacity.store import reads, schema
from sagacity.store.claims import Now, workers
from sagacity.store.office import Matter, Matters
from sagacity.store.rows import Scope, record_of

_COMPENSATION = schema.compensation
_INBOX = schema.inbox
_SAGA = schema.saga
_AGES = timedelta(days=50 * 365)
_CHUNK = 500


def matters(conn: Connection, scope: Scope, limits: Limits, *, now: datetime, leases: Now) -> Matters:
    """All rows that may be a matter; what they are is decided elsewhere."""
    living = workers(conn, scope, now=leases)
    wake = _SAGA.c.wake_at
    free = and_(schema.FREE, wake.is_not(None))
    stuck = and_(_SAGA.c.status == schema.text_constant(Status.STUCK), schema.OPEN_MATTERS)
    alive = [worker.id for worker in living]
    lost = and_(_SAGA.c.owner.is_not(None), _SAGA.c.owner.not_in(alive) if alive else literal(True))
    row = _Rows(conn, scope, limits.rows)
    return Matters(
        stuck=row.found(stuck, _SAGA.c.status, _SAGA.c.id),
        gave_up=_gave_up(conn, scope, limits.rows),
        paused=row.found(schema.PAUSED, _SAGA.c.status, _SAGA.c.id),
        overdue=row.found(and_(free, wake <= now - limits.overdue), wake),
        endless=row.found(and_(free, wake > now + _AGES), wake),
        retrying=row.found(and_(free, wake > now - limits.overdue, wake <= now + _AGES), wake, whole=True),
        rung=row.found(schema.RUNG, _SAGA.c.id),
        lost=row.found(lost, _SAGA.c.owner),
        queued=row.found(schema.QUEUED, _SAGA.c.id, whole=True),
        starts=_starts(conn, scope, limits, now=now),
        workers=tuple(living),
    )


class _Rows:
    """One query of the page: the rows, one more than the limit where there are more."""

    def __init__(self, conn: Connection, scope: Scope, limit: int) -> None:
        self._conn = conn
        self._scope = scope
        self._limit = limit

    def found(self, condition: ColumnElement[bool], *order: Any, whole: bool = False) -> tuple[Matter, ...]:
        """Along the index that `order` names; `whole` reads the records, too."""
        if whole:
            query: Any = select(_SAGA)
        else:
            acked = case((_SAGA.c.memo.contains('"acked"'), literal(True)), else_=false())
            query = select(*reads.SUMMARY, _SAGA.c.paused, _SAGA.c.wake_at, acked.label("acked"))
        query = query.where(self._scope.of(_SAGA), condition).order_by(*order).limit(self._limit + 1)
        rows = list(self._conn.execute(query))
        if whole:
            return tuple(_whole(row) for row in rows)
        acks = self._acks([row.id for row in rows if row.acked])
        return tuple(_matter(row, acks.get(row.id, frozenset())) for row in rows)

    def _acks(self, ids: Sequence[UUID]) -> dict[UUID, frozenset[str]]:
        found: dict[UUID, frozenset[str]] = {}
        for first in range(0, len(ids), _CHUNK):
            some = ids[first : first + _CHUNK]
            query = select(_SAGA).where(self._scope.of(_SAGA), _SAGA.c.id.in_(some))
            for row in self._conn.execute(query):
                found[row.id] = frozenset(record_of(row).acked)
        return found


def _matter(row: Any, acked: frozenset[str], **more: Any) -> Matter:
    return Matter(
        saga=row.id,
        definition=row.definition,
        version=row.version,
        key=row.key,
        status=Status(row.status),
        waits_for=None if row.waits_for is None else WaitsFor(row.waits_for),
        state=row.state,
        paused=row.paused,
        error=more.pop("error", row.reason),
        since=row.updated_at,
        due_at=row.wake_at,
        acked=acked,
        **more,
    )


def _whole(row: Any) -> Matter:
    record = record_of(row)
    return _matter(
        row,
        frozenset(record.acked),
        error=last_error(record) or record.reason,
        tried_since=_tried_since(record),
        asked=tuple(lock.object for lock in record.locks if not lock.granted),
    )


def _tried_since(record: Record) -> datetime | None:
    """Since when the oldest try that failed goes on; None: nothing failed."""
    runs = [run.since for run in record.runs if run.error is not None]
    undos = [effect.undo_since for effect in record.effects if effect.undo_due_at is not None]
    return min([*runs, *(since for since in undos if since is not None)], default=None)


def _gave_up(conn: Connection, scope: Scope, limit: int) -> frozenset[UUID]:
    query = select(_COMPENSATION.c.saga).where(scope.of(_COMPENSATION), schema.GAVE_UP)
    return frozenset(conn.scalars(query.order_by(_COMPENSATION.c.saga).limit(limit + 1)))


def _starts(conn: Connection, scope: Scope, limits: Limits, *, now: datetime) -> tuple[Matter, ...]:
    """Starts that lie in the inbox for too long, the oldest first."""
    late = and_(schema.IS_START, schema.UNREAD, _INBOX.c.arrived_at <= now - limits.overdue)
    query = select(_INBOX).where(scope.of(_INBOX), late).order_by(_INBOX.c.id).limit(limits.rows + 1)
    return tuple(
        Matter(
            saga=row.saga,
            definition=row.definition,
            version=row.version,
            key=row.key,
            status=Status.PENDING,
            waits_for=None,
            state="",
            paused=False,
            error=None,
            since=row.arrived_at,
            due_at=row.arrived_at,
            acked=frozenset(),
        )
        for row in conn.execute(query)
    )
