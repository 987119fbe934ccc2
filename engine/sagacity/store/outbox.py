"""The outbox over a connection: what listeners are still to be told, and what they were told and still lasts.

A notice of an end is written with its line and stays. One of what came to need a human with time stands
by itself: it stays while that lasts, so that it is told once, and goes when it is over.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from sagacity.model.unit import Notice
from sagacity.store import schema
from sagacity.store.rows import Scope, notice_id, notice_of, notice_values

_OUTBOX = schema.outbox
_CHUNK = 500


def notices(conn: Connection, scope: Scope, *, limit: int, after: str = "") -> list[tuple[UUID, Notice]]:
    """Unsent notices, per key only the lowest, with the row's id; by key, of keys behind `after`."""
    lower = _OUTBOX.alias("lower")
    is_behind = (
        select(lower.c.id)
        .where(lower.c.tenant == scope.tenant, lower.c.lane == scope.lane, ~lower.c.sent)
        .where(lower.c.key == _OUTBOX.c.key, lower.c.seq < _OUTBOX.c.seq)
        .exists()
    )
    query = (
        select(_OUTBOX)
        .where(scope.of(_OUTBOX), schema.UNSENT, ~is_behind, _OUTBOX.c.key > after)
        .order_by(_OUTBOX.c.key, _OUTBOX.c.seq)
        .limit(limit)
    )
    return [(row.id, notice_of(row)) for row in conn.execute(query)]


def notices_sent(conn: Connection, scope: Scope, ids: Sequence[UUID]) -> None:
    """Acknowledge: they are not sent again."""
    conn.execute(_OUTBOX.update().where(scope.of(_OUTBOX), _OUTBOX.c.id.in_(ids)).values(sent=True))


def tell_of(
    conn: Connection,
    scope: Scope,
    lasting: Sequence[Notice],
    *,
    early: Collection[str],
    unsure: tuple[str, ...],
) -> int:
    """Put in what does not lie there yet; take out what was sent and lasts no more. How many were put in."""
    query = select(_OUTBOX.c.id, _OUTBOX.c.key, _OUTBOX.c.sent).where(scope.of(_OUTBOX), schema.IS_MATTER)
    known = {row.id: row for row in conn.execute(query)}
    last = {notice_id(scope, notice): notice for notice in lasting}
    new = [
        scope.values | notice_values(scope, notice)
        for id, notice in last.items()
        if id not in known and notice.key not in early
    ]
    dialect: Any = postgresql if conn.dialect.name == "postgresql" else sqlite
    for first in range(0, len(new), _CHUNK):
        conn.execute(dialect.insert(_OUTBOX).on_conflict_do_nothing(), new[first : first + _CHUNK])
    over = sorted(
        id for id, row in known.items() if id not in last and row.sent and not row.key.startswith(unsure)
    )
    for first in range(0, len(over), _CHUNK):
        some = over[first : first + _CHUNK]
        conn.execute(delete(_OUTBOX).where(scope.of(_OUTBOX), _OUTBOX.c.id.in_(some)))
    return len(new)
