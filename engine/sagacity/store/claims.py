"""Who executes: workers, their chains, and the sagas they own.

A lease stands on the worker's row alone. A saga has an owner and an epoch; every change of hands
raises the epoch, and every write is fenced by it, so whoever lost a saga can no longer write it,
however late its result comes.

`now` is an instant or the database's own expression for it. What idle workers ask again and again is
built once: to build such a statement costs as much as to run it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from sagacity.errors import StoreError, StoreUnavailable
from sagacity.model.record import FINAL
from sagacity.model.unit import ChainHead, Claimed, HeadMoved, WorkerInfo
from sagacity.store import inbox, schema
from sagacity.store.base import Served
from sagacity.store.rows import Scope, head_of, record_of, worker_of, worker_values

Now = datetime | ColumnElement[datetime]

ORPHANED = -1
"""In `heard`, which counts from 0: nobody answers its bells, for its worker is dead. Any claim ends it."""

_CHAIN = schema.chain
_INBOX = schema.inbox
_SAGA = schema.saga
_WORKER = schema.worker
# An expression, so that no planner walks the index of a definition through all its history.
_DEFINITION: ColumnElement[str] = func.coalesce(_SAGA.c.definition, "")
# Values of statements that are built once.
AT: BindParameter[datetime] = bindparam("at_instant", type_=_WORKER.c.lease_until.type)
BY: BindParameter[UUID] = bindparam("by_worker", type_=_WORKER.c.id.type)
ROOM: BindParameter[int] = bindparam("room", type_=Integer())


# --- workers ----------------------------------------------------------------------------------------


def register(conn: Connection, scope: Scope, worker: WorkerInfo) -> ChainHead:
    """Enter a worker and give it a chain of its own.

    Raises:
        IntegrityError: the worker is registered already, or two made the same new chain: try again.
    """
    conn.execute(insert(_WORKER).values(scope.values | worker_values(worker)))
    return open_chain(conn, scope, worker.id)


def open_chain(conn: Connection, scope: Scope, worker: UUID) -> ChainHead:
    """An idle chain, fenced, or a new one.

    Raises:
        IntegrityError: two made the same new chain: try again.
        StoreUnavailable: the worker was taken over.
    """
    if not is_alive(conn, scope, worker):
        raise StoreUnavailable(f"worker {worker} was taken for dead: it gets no chain")
    idle = (
        select(_CHAIN.c.id)
        .where(scope.of(_CHAIN), _CHAIN.c.owner.is_(None))
        .order_by(_CHAIN.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = conn.scalar(idle)
    if found is not None:
        return _fenced(conn, scope, found, owner=worker)
    last = conn.scalar(select(func.max(_CHAIN.c.id)).where(scope.of(_CHAIN))) or 0
    head = ChainHead(id=last + 1, epoch=1, position=0, hash=b"")
    conn.execute(
        insert(_CHAIN).values(
            **scope.values, id=head.id, owner=worker, epoch=head.epoch, position=0, hash=head.hash
        )
    )
    return head


def fence(conn: Connection, scope: Scope, chain: int, *, owner: UUID | None = None) -> ChainHead:
    """Epoch + 1 and read, in one statement.

    Raises:
        HeadMoved: the chain is no longer `owner`'s; nothing was changed.
        StoreError: no such chain.
    """
    return _fenced(conn, scope, chain, of=owner)


def _fenced(
    conn: Connection, scope: Scope, chain: int, *, of: UUID | None = None, **values: Any
) -> ChainHead:
    mine = () if of is None else (_CHAIN.c.owner == of,)
    row = conn.execute(
        update(_CHAIN)
        .where(scope.of(_CHAIN), _CHAIN.c.id == chain, *mine)
        .values(epoch=_CHAIN.c.epoch + 1, **values)
        .returning(_CHAIN.c.id, _CHAIN.c.epoch, _CHAIN.c.position, _CHAIN.c.hash)
    ).one_or_none()
    if row is None and of is not None:
        raise HeadMoved(f"chain {chain} is no longer worker {of}'s")
    if row is None:
        raise StoreError(f"no chain {chain} in tenant {scope.tenant!r}, lane {scope.lane!r}")
    return head_of(row)


def is_alive(conn: Connection, scope: Scope, worker: UUID) -> bool:
    """Whether the worker is registered and was not taken over; it stays so until this transaction ends.

    Without it a claim that comes late (a frozen process, a slow line) would give a saga to somebody whom
    nobody takes over again.
    """
    return conn.scalar(living(scope), {"by_worker": worker}) is not None


@lru_cache(maxsize=64)
def living(scope: Scope) -> Select[Any]:
    """The worker's row, if it lives; nobody takes it over until this transaction ends."""
    row = select(_WORKER.c.id).where(scope.of(_WORKER), _WORKER.c.id == BY, _WORKER.c.alive)
    return row.with_for_update(read=True)


def heartbeat(conn: Connection, scope: Scope, worker: UUID, lease: timedelta, *, now: Now) -> bool:
    """Prolong the lease; False: it was taken over."""
    prolonged = (
        update(_WORKER)
        .where(scope.of(_WORKER), _WORKER.c.id == worker, _WORKER.c.alive)
        .values(lease_until=now + lease)
        .returning(_WORKER.c.id)
    )
    return conn.scalar(prolonged) is not None


def unregister(conn: Connection, scope: Scope, worker: UUID, *, now: Now) -> None:
    """A clean end: all it owns is handed back, its chains become idle."""
    conn.execute(
        update(_WORKER).where(scope.of(_WORKER), _WORKER.c.id == worker).values(alive=False, lease_until=now)
    )
    _let_go(conn, scope, worker, now=now)


def take_over(conn: Connection, scope: Scope, *, now: Now) -> list[UUID]:
    """Fence the workers whose lease ran out; returns their ids."""
    dead = (
        select(_WORKER.c.id)
        .where(scope.of(_WORKER), _WORKER.c.alive, _WORKER.c.lease_until < now)
        .order_by(_WORKER.c.id)
        .with_for_update(skip_locked=True)
    )
    ids = [row.id for row in conn.execute(dead)]
    for worker in ids:
        conn.execute(update(_WORKER).where(scope.of(_WORKER), _WORKER.c.id == worker).values(alive=False))
        _let_go(conn, scope, worker, now=now, heard=ORPHANED)
    return ids


def _let_go(conn: Connection, scope: Scope, worker: UUID, *, now: Now, **values: Any) -> None:
    """Starts, sagas and chains of a worker, in the order of locks that batches keep."""
    taken = _in_order(
        select(_INBOX.c.id).where(
            scope.of(_INBOX), schema.IS_START, schema.UNREAD, _INBOX.c.taken_by == worker
        ),
        _INBOX.c.id,
    )
    conn.execute(update(_INBOX).where(scope.of(_INBOX), _INBOX.c.id.in_(taken)).values(taken_by=None))
    owned = _in_order(select(_SAGA.c.id).where(scope.of(_SAGA), _SAGA.c.owner == worker), _SAGA.c.id)
    conn.execute(
        update(_SAGA)
        .where(scope.of(_SAGA), _SAGA.c.id.in_(owned))
        .values(owner=None, epoch=_SAGA.c.epoch + 1, wake_at=now, **values)
    )
    chains = _in_order(select(_CHAIN.c.id).where(scope.of(_CHAIN), _CHAIN.c.owner == worker), _CHAIN.c.id)
    conn.execute(
        update(_CHAIN)
        .where(scope.of(_CHAIN), _CHAIN.c.id.in_(chains))
        .values(owner=None, epoch=_CHAIN.c.epoch + 1)
    )


def _in_order(query: Select[Any], key: ColumnElement[Any]) -> Select[Any]:
    """The keys of rows that are now locked, one after the other in key order."""
    # An expression, so that no planner walks the key's own index through all rows.
    by_key = func.coalesce(key, key)
    return select(query.order_by(by_key).with_for_update().cte("locked").c.id)


def workers(conn: Connection, scope: Scope, *, now: Now) -> list[WorkerInfo]:
    """Those whose lease holds, by id."""
    query = select(_WORKER).where(scope.of(_WORKER), _WORKER.c.alive, _WORKER.c.lease_until > now)
    return [worker_of(row) for row in conn.execute(query.order_by(_WORKER.c.id))]


# --- sagas ------------------------------------------------------------------------------------------


def instant(conn: Connection, now: Now) -> datetime:
    """The instant as a value: a planner that is to walk a range of an index must see where it ends."""
    found: datetime = now if isinstance(now, datetime) else conn.execute(select(now)).scalar_one()
    return found


def claim(
    conn: Connection, scope: Scope, worker: UUID, definitions: Served, *, limit: int, now: Now
) -> list[Claimed]:
    """Sagas that nobody owns and that are due or rung, now owned by `worker`; none where it is dead."""
    if not is_alive(conn, scope, worker):
        return []
    known = isinstance(now, datetime)
    due, rung = _wanted(scope, inbox.asked(definitions), AT if known else now)
    at = {"at_instant": now} if known else {}
    orphaned: set[UUID] = set()
    free = list(conn.execute(due, {"room": limit, **at}))
    found = _owned(conn, scope, worker, free, orphaned)
    if len(found) < limit:
        free = list(conn.execute(rung, {"room": limit - len(found)}))
        found += _owned(conn, scope, worker, free, orphaned)
    return with_mail(conn, scope, found, orphaned)


@lru_cache(maxsize=64)
def _wanted(
    scope: Scope, served: tuple[tuple[str, int | None], ...], now: ColumnElement[datetime]
) -> tuple[Select[Any], Select[Any]]:
    """Free sagas that are due, and those that are rung: `room` of them at most that nobody else is taking."""
    free = select(_SAGA.c.id, _SAGA.c.heard).where(served_and_free(scope, served))
    due = free.where(is_due(now)).order_by(_SAGA.c.wake_at, _SAGA.c.id)
    rung = free.where(schema.RUNG).order_by(_SAGA.c.id)
    due, rung = (each.limit(ROOM).with_for_update(skip_locked=True) for each in (due, rung))
    return due, rung


def served_and_free(scope: Scope, served: tuple[tuple[str, int | None], ...]) -> ColumnElement[bool]:
    """A saga that nobody owns, of a definition that the worker has in the saga's version."""
    free = and_(scope.of(_SAGA), schema.FREE, _DEFINITION.in_([name for name, _ in served]))
    if all(version is None for _, version in served):
        return free
    own = or_(false(), *(_is(name, version) for name, version in served if version is not None))
    return and_(free, or_(own, _SAGA.c.status.in_(FINAL)))


def is_due(now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """It asked to be woken by now."""
    return and_(_SAGA.c.wake_at.is_not(None), _SAGA.c.wake_at <= now)


def unserved(
    conn: Connection, scope: Scope, definitions: Mapping[str, int], *, now: Now
) -> set[tuple[str, int]]:
    """(name, version) of what could be claimed but for its version, and no live worker has."""
    free = select(_SAGA.c.definition, _SAGA.c.version).where(
        *(scope.of(_SAGA), schema.FREE, _DEFINITION.in_(list(definitions))),
        _SAGA.c.status.not_in(FINAL),
        *(not_(_is(n, v)) for n, v in definitions.items()),
    )
    due = free.where(_SAGA.c.wake_at.is_not(None), _SAGA.c.wake_at <= now)
    ready = (due, free.where(schema.RUNG))
    found = {(row.definition, row.version) for query in ready for row in conn.execute(query.distinct())}
    if not found:
        return found
    living = workers(conn, scope, now=now)
    return found - {(name, version) for info in living for name, (version, _) in info.definitions.items()}


def _is(name: str, version: int) -> ColumnElement[bool]:
    return and_(_DEFINITION.in_([name]), _SAGA.c.version == version)


def _owned(
    conn: Connection, scope: Scope, worker: UUID, free: Sequence[Any], orphaned: set[UUID]
) -> list[Any]:
    """The whole rows of `free`, now the worker's, in the same order."""
    if not free:
        return []
    ids = [row.id for row in free]
    orphaned.update(row.id for row in free if row.heard == ORPHANED)
    rows = {row.id: row for row in conn.execute(_taking(scope), {"by_worker": worker, "ids": ids})}
    return [rows[id] for id in ids if id in rows]


@lru_cache(maxsize=64)
def _taking(scope: Scope) -> ReturningUpdate[Any]:
    """Own those of `ids` that are free; their mail is read next."""
    return owning(scope, _SAGA.c.id.in_(bindparam("ids", expanding=True)))


def owning(scope: Scope, which: ColumnElement[bool]) -> ReturningUpdate[Any]:
    """Make the worker the owner of those that are free; the bells so far count as answered."""
    return (
        update(_SAGA)
        .where(scope.of(_SAGA), schema.FREE, which)
        .values(owner=BY, epoch=_SAGA.c.epoch + 1, wake_at=None, heard=_SAGA.c.arrivals)
        .returning(*_SAGA.c)
    )


def reclaim(conn: Connection, scope: Scope, saga: UUID, worker: UUID) -> Claimed | None:
    """That very saga, if nobody owns it and the worker lives."""
    if not is_alive(conn, scope, worker):
        return None
    rows = list(conn.execute(_taking(scope), {"by_worker": worker, "ids": [saga]}))
    return next(iter(with_mail(conn, scope, rows)), None)


def reload(conn: Connection, scope: Scope, saga: UUID, worker: UUID, epoch: int) -> Claimed | None:
    """An owned saga read again; None if the lease is gone."""
    query = select(_SAGA).where(
        scope.of(_SAGA), _SAGA.c.id == saga, _SAGA.c.owner == worker, _SAGA.c.epoch == epoch
    )
    return next(iter(with_mail(conn, scope, list(conn.execute(query)))), None)


def with_mail(
    conn: Connection, scope: Scope, rows: Sequence[Any], orphaned: Collection[UUID] = ()
) -> list[Claimed]:
    """Claims from whole rows: their mail is read after their arrivals, so no bell is without its row."""
    unread = inbox.mail(conn, scope, [row.id for row in rows]) if rows else {}
    return [
        Claimed(
            record=record_of(row),
            epoch=row.epoch,
            arrivals=row.arrivals,
            mail=unread.get(row.id, ()),
            orphaned=row.id in orphaned,
        )
        for row in rows
    ]


def hand_back(conn: Connection, scope: Scope, worker: UUID, sagas: Sequence[UUID], *, now: Now) -> None:
    """Give up owned sagas unchanged; they are runnable at once."""
    owned = select(_SAGA.c.id).where(scope.of(_SAGA), _SAGA.c.id.in_(sagas), _SAGA.c.owner == worker)
    conn.execute(
        update(_SAGA)
        .where(scope.of(_SAGA), _SAGA.c.id.in_(_in_order(owned, _SAGA.c.id)))
        .values(owner=None, wake_at=now)
    )


def held(conn: Connection, scope: Scope, worker: UUID) -> list[UUID]:
    """Sagas that the worker owns and starts that it has taken."""
    return [row.id for query in _held(scope) for row in conn.execute(query, {"by_worker": worker})]


@lru_cache(maxsize=64)
def _held(scope: Scope) -> tuple[Select[Any], Select[Any]]:
    owned = select(_SAGA.c.id).where(scope.of(_SAGA), _SAGA.c.owner == BY)
    taken = select(_INBOX.c.id).where(
        scope.of(_INBOX), schema.IS_START, schema.UNREAD, _INBOX.c.taken_by == BY
    )
    return owned, taken


def rest(conn: Connection, scope: Scope, saga: UUID, worker: UUID, claimed: Claimed) -> bool:
    """Give up a claimed saga unchanged, asleep until due or rung; False: a bell rang, or it is lost."""
    asleep = (
        update(_SAGA)
        .where(scope.of(_SAGA), _SAGA.c.id == saga, _SAGA.c.owner == worker)
        .where(_SAGA.c.epoch == claimed.epoch, _SAGA.c.arrivals == claimed.arrivals)
        .values(owner=None, wake_at=_SAGA.c.due_at, heard=claimed.arrivals)
        .returning(_SAGA.c.id)
    )
    return conn.scalar(asleep) is not None
