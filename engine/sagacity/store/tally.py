"""How many sagas there are of each status, at the cost of a few index ranges, however many there are.

An exact number of a million costs a walk over a million. Whoever looks at a page wants to know whether it is
three or many; so each number ends at a limit, and says whether it did.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal, select, true

from sagacity.model.record import Status
from sagacity.model.views import Count
from sagacity.store import schema
from sagacity.store.claims import Now, instant
from sagacity.store.gauges import at_work
from sagacity.store.rows import Scope

_INBOX = schema.inbox
_SAGA = schema.saga
_OPEN = tuple(s for s in Status if s not in {Status.PENDING, Status.RUNNING, Status.COMMITTED})


def tally(
    conn: Connection, scope: Scope, *, definition: str | None, upto: int, now: Now
) -> dict[Status, Count]:
    """See the contract. The caller gives the snapshot: all selects must see one moment."""
    at = instant(conn, now)
    counted = _Counted(conn, scope, definition, upto)
    found: dict[Status, Count] = {
        status: counted.of(_SAGA, _SAGA.c.status == schema.text_constant(status), schema.OPEN_MATTERS)
        for status in _OPEN
    }
    running = [counted.of(_SAGA, where, status=Status.RUNNING) for where in at_work(at)]
    found[Status.RUNNING] = sum(running, start=Count(number=0, exact=True))
    found[Status.COMMITTED] = _committed(counted, list(found.values()))
    found[Status.PENDING] = counted.of(_INBOX, schema.IS_START, schema.UNREAD)
    return {status: count for status, count in found.items() if count.number or not count.exact}


def _committed(counted: "_Counted", others: list[Count]) -> Count:
    """What is left: no index holds the ones that ended well, and most have."""
    if not all(count.exact for count in others):
        return counted.oldest(Status.COMMITTED)
    known = sum(count.number for count in others)
    all_ = counted.all_upto(counted.rows + known)
    return Count(number=max(0, all_.number - known), exact=all_.exact)


class _Counted:
    """Counts for one definition, or all: each to `upto`, or, where rows themselves are read, to a tenth."""

    def __init__(self, conn: Connection, scope: Scope, definition: str | None, upto: int) -> None:
        self._conn = conn
        self._scope = scope
        self._definition = definition
        self._upto = upto
        self.rows = max(1, upto // 10)

    def of(self, table: Any, *where: ColumnElement[bool], status: Status | None = None) -> Count:
        """What lies in the range of an index; of one definition or status, those among the first of it."""
        named = {} if self._definition is None else {table.c.definition: self._definition}
        named |= {} if status is None else {table.c.status: status.value}
        limit = self.rows if named else self._upto
        columns = [column.label(column.name) for column in named] or [literal(1).label("one")]
        some = select(*columns).where(self._scope.of(table), *where).limit(limit + 1).subquery()
        mine = and_(true(), *(some.c[column.name] == value for column, value in named.items()))
        counts = select(func.count(), func.sum(case((mine, 1), else_=0))).select_from(some)
        read, number = self._conn.execute(counts).one()
        return Count(number=min(int(number or 0), limit), exact=read <= limit)

    def all_upto(self, limit: int) -> Count:
        """All sagas, along an index, to that limit."""
        query = self._sagas(literal(1).label("one")).limit(limit + 1)
        number = self._conn.scalar(select(func.count()).select_from(query.subquery())) or 0
        return Count(number=min(number, limit), exact=number <= limit)

    def oldest(self, status: Status) -> Count:
        """Those of this status among the oldest, which have had the time to end: at least so many."""
        some = self._sagas(_SAGA.c.status).order_by(_SAGA.c.id).limit(self.rows).subquery()
        mine = select(func.count()).select_from(some).where(some.c.status == status.value)
        return Count(number=self._conn.scalar(mine) or 0, exact=False)

    def _sagas(self, column: ColumnElement[Any]) -> Select[Any]:
        query = select(column).where(self._scope.of(_SAGA))
        return query if self._definition is None else query.where(_SAGA.c.definition == self._definition)
