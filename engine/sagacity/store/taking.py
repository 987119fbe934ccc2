"""What a worker claims on PostgreSQL: in one statement each, which is a transaction of its own.

`claims.claim` and `inbox.claim_starts` do the same in several statements, with a transaction around them;
where each is a trip to a server, a worker that finds nothing would make ten of them at each look.
"""

from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Connection,
    Select,
    any_,
    cast,
    exists,
    func,
    join,
    not_,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from sagacity.model.unit import Claimed, Message
from sagacity.store import claims, inbox, schema
from sagacity.store.base import Served
from sagacity.store.claims import Now
from sagacity.store.rows import Scope, message_of

_INBOX = schema.inbox
_SAGA = schema.saga
_Asked = tuple[tuple[str, int | None], ...]


def claim_starts(
    conn: Connection, scope: Scope, worker: UUID, definitions: Served, *, limit: int
) -> list[Message]:
    """See `inbox.claim_starts`; none where the worker is dead."""
    rows = conn.execute(_starts(scope, inbox.asked(definitions)), {"by_worker": worker, "room": limit})
    return sorted((message_of(row) for row in rows), key=lambda message: message.id)


@lru_cache(maxsize=64)
def _starts(scope: Scope, served: _Asked) -> ReturningUpdate[Any]:
    living = claims.living(scope).cte("living")
    fresh = inbox.fresh(scope, served).where(exists(select(living.c.id))).cte("fresh")
    return (
        update(_INBOX)
        .where(scope.of(_INBOX), _INBOX.c.id == _any_of(fresh))
        .values(taken_by=claims.BY)
        .returning(*_INBOX.c)
    )


def claim(
    conn: Connection, scope: Scope, worker: UUID, definitions: Served, *, limit: int, now: Now
) -> list[Claimed]:
    """See `claims.claim`; a second statement reads the mail of what was claimed."""
    known = isinstance(now, datetime)
    query = _claims(scope, inbox.asked(definitions), claims.AT if known else now)
    given = {"by_worker": worker, "room": limit} | ({"at_instant": now} if known else {})
    rows = [row for row in conn.execute(query, given) if row.id is not None]
    orphaned = {row.id for row in rows if row.heard_before == claims.ORPHANED}
    return claims.with_mail(conn, scope, rows, orphaned)


@lru_cache(maxsize=64)
def _claims(scope: Scope, served: _Asked, now: Any) -> Select[Any]:
    """Own the due before the rung; what the claim changed is returned as it was before."""
    living = claims.living(scope).cte("living")
    free = select(_SAGA.c.id, _SAGA.c.heard, _SAGA.c.wake_at).where(
        claims.served_and_free(scope, served), exists(select(living.c.id))
    )
    due = _locked(free.where(claims.is_due(now)).order_by(_SAGA.c.wake_at, _SAGA.c.id), claims.ROOM, "due")
    # Whatever is due as well would be locked twice by the same transaction, and so be found twice.
    only_rung = free.where(schema.RUNG, not_(claims.is_due(now)))
    left = claims.ROOM - select(func.count()).select_from(due).scalar_subquery()
    rung = _locked(only_rung.order_by(_SAGA.c.id), left, "rung")
    taken = union_all(
        select(due.c.id, due.c.heard, due.c.wake_at),
        select(rung.c.id, rung.c.heard, cast(null(), _SAGA.c.wake_at.type)),
    ).cte("taken")
    mine = claims.owning(scope, _SAGA.c.id == _any_of(taken)).cte("mine")
    # Of both the planner expects a row or two, and would hold each against each, were it free to.
    hashed = join(mine, taken, taken.c.id == mine.c.id, full=True)
    return (
        select(*mine.c, taken.c.heard.label("heard_before"))
        .select_from(hashed)
        .order_by(taken.c.wake_at.nulls_last(), taken.c.id)
    )


def _locked(query: Select[Any], room: Any, name: str) -> CTE:
    return query.limit(room).with_for_update(skip_locked=True).cte(name)


def _any_of(rows: CTE) -> Any:
    """One of their ids: as an array, of which every planner expects few, so that it asks the key for each."""
    return any_(func.array(select(rows.c.id).scalar_subquery()))
