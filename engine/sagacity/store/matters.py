"""What the attention page reads: every query goes along an index and ends at a limit.

So its cost depends on the limit and not on how many sagas there are.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Connection, and_, case, literal, select

from sagacity.decide.attention import Limits
from sagacity.model.record import Status, WaitsFor
from sagacity.store import reads, schema
from sagacity.store.claims import Now, workers
from sagacity.store.office import Matter, Matters
from sagacity.store.rows import Scope

_COMPENSATION = schema.compensation
_INBOX = schema.inbox
_SAGA = schema.saga
_AGES = timedelta(days=50 * 365)


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
        """Along the index that `order` names; `whole` reads what is in the memo, too."""
        wanted = case((_SAGA.c.memo.contains('"acked"'), _SAGA.c.memo), else_=None)
        memo = _SAGA.c.memo if whole else wanted.label("memo")
        query = select(*reads.SUMMARY, _SAGA.c.paused, _SAGA.c.wake_at, memo)
        query = query.where(self._scope.of(_SAGA), condition).order_by(*order).limit(self._limit + 1)
        rows = self._conn.execute(query)
        return tuple(_matter(row, {} if row.memo is None else orjson.loads(row.memo)) for row in rows)


def _matter(row: Any, memo: dict[str, Any]) -> Matter:
    """A row as it is looked at; of the memo only what matters here is read, for there are thousands."""
    failing = [run for run in memo.get("runs", ()) if run.get("error")]
    undone = [effect for effect in memo.get("effects", ()) if effect.get("undo_due_at")]
    errors = [one["error"] for one in (*undone, *failing) if one.get("error")]
    since = [run["since"] for run in failing] + [e["undo_since"] for e in undone if e.get("undo_since")]
    return Matter(
        saga=row.id,
        definition=row.definition,
        version=row.version,
        key=row.key,
        status=Status(row.status),
        waits_for=None if row.waits_for is None else WaitsFor(row.waits_for),
        state=row.state,
        paused=row.paused,
        error=errors[-1] if errors else row.reason,
        since=row.updated_at,
        due_at=row.wake_at,
        acked=frozenset(memo.get("acked", ())),
        tried_since=min((datetime.fromisoformat(at) for at in since), default=None),
        asked=tuple(lock["object"] for lock in memo.get("locks", ()) if not lock.get("granted")),
    )


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
