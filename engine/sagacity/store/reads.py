"""What readers ask: sagas, participants, locks. Nothing here locks or changes a row.

A start that nobody has looked at yet is a saga to its sender, so lists and counts show it as
`pending`, from its row in the inbox.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, and_, func, or_, select

from sagacity.model.canonical import NULL
from sagacity.model.record import Effect, Lane, Status, WaitsFor
from sagacity.model.unit import ObjectState, WaitGraph
from sagacity.model.views import LockView, ObjectView, SagaSummary
from sagacity.store import schema
from sagacity.store.base import Filter, SagaRow
from sagacity.store.claims import Now, instant
from sagacity.store.gauges import running
from sagacity.store.rows import (
    Scope,
    asked_objects,
    effect_of,
    lock_views,
    object_of,
    record_of,
    saga_row_of,
)

_INBOX = schema.inbox
_OBJECT = schema.object
_SAGA = schema.saga

_CHUNK = 500
SUMMARY = tuple(
    _SAGA.c[name]
    for name in (
        *("id", "definition", "version", "key", "status", "waits_for", "state", "reason"),
        *("created_at", "updated_at", "due_at"),
    )
)
_PENDING = and_(schema.IS_START, schema.UNREAD)


# --- sagas ------------------------------------------------------------------------------------------


def saga(conn: Connection, scope: Scope, saga: UUID) -> SagaRow | None:
    """A saga as stored."""
    row = conn.execute(select(_SAGA).where(scope.of(_SAGA), _SAGA.c.id == saga)).one_or_none()
    return None if row is None else saga_row_of(row)


def sagas(conn: Connection, scope: Scope, narrowed: Filter, *, now: Now) -> list[SagaSummary]:
    """Newest first, pending starts among them."""
    query = _listed(scope, narrowed)
    if tuple(narrowed.status) == (Status.RUNNING,):
        query = query.where(running(conn, scope, instant(conn, now)))
    found = [
        summary_of(scope, row)
        for row in conn.execute(query.order_by(_SAGA.c.id.desc()).limit(narrowed.limit))
    ]
    if not narrowed.status or Status.PENDING in narrowed.status:
        found += [_pending(scope, row) for row in conn.execute(_listed_starts(scope, narrowed))]
    found.sort(key=lambda summary: summary.id, reverse=True)
    return found[: narrowed.limit]


def _listed(scope: Scope, narrowed: Filter) -> Select[Any]:
    query = select(*SUMMARY).where(scope.of(_SAGA))
    if narrowed.definition is not None:
        query = query.where(_SAGA.c.definition == narrowed.definition)
    if narrowed.status:
        query = query.where(or_(*(_has_status(status) for status in narrowed.status)))
    if narrowed.key is not None:
        keyed = select(_INBOX.c.saga).where(scope.of(_INBOX), schema.IS_START, _INBOX.c.key == narrowed.key)
        query = query.where(_SAGA.c.id.in_(keyed))
    if narrowed.before is not None:
        query = query.where(_SAGA.c.id < narrowed.before)
    return query


def _has_status(status: Status) -> Any:
    """Written out, with what the partial index asks, so that the index on open matters serves."""
    matches = _SAGA.c.status == schema.text_constant(status)
    common = status in {Status.COMMITTED, Status.RUNNING}
    return matches if common else and_(matches, schema.OPEN_MATTERS)


def _listed_starts(scope: Scope, narrowed: Filter) -> Select[Any]:
    query = select(_INBOX).where(scope.of(_INBOX), _PENDING)
    if narrowed.definition is not None:
        query = query.where(_INBOX.c.definition == narrowed.definition)
    if narrowed.key is not None:
        query = query.where(_INBOX.c.key == narrowed.key)
    if narrowed.before is not None:
        query = query.where(_INBOX.c.id < narrowed.before)
    return query.order_by(_INBOX.c.id.desc()).limit(narrowed.limit)


def summary_of(scope: Scope, row: Any) -> SagaSummary:
    """A row of the columns `SUMMARY`."""
    return SagaSummary(
        id=row.id,
        definition=row.definition,
        version=row.version,
        key=row.key,
        status=Status(row.status),
        waits_for=None if row.waits_for is None else WaitsFor(row.waits_for),
        state=tuple(row.state.split()),
        reason=row.reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
        due_at=row.due_at,
        lane=Lane(scope.lane),
    )


def _pending(scope: Scope, row: Any) -> SagaSummary:
    """A start that nobody has looked at, as a saga."""
    return SagaSummary(
        id=row.saga,
        definition=row.definition,
        version=row.version,
        key=row.key,
        status=Status.PENDING,
        waits_for=None,
        state=(),
        reason=None,
        created_at=row.arrived_at,
        updated_at=row.arrived_at,
        due_at=None,
        lane=Lane(scope.lane),
    )


def counts(conn: Connection, scope: Scope, *, definition: str | None) -> dict[Status, int]:
    """Sagas per status, exact, pending starts included; statuses without sagas are left out."""
    query = select(_SAGA.c.status, func.count()).where(scope.of(_SAGA)).group_by(_SAGA.c.status)
    pending = select(func.count()).select_from(_INBOX).where(scope.of(_INBOX), _PENDING)
    if definition is not None:
        query = query.where(_SAGA.c.definition == definition)
        pending = pending.where(_INBOX.c.definition == definition)
    found = {Status(status): count for status, count in conn.execute(query)}
    if waiting := conn.scalar(pending):
        found[Status.PENDING] = found.get(Status.PENDING, 0) + waiting
    return found


def statuses(conn: Connection, scope: Scope, sagas: Sequence[UUID]) -> dict[UUID, SagaSummary]:
    """Where these stand; unknown ids are left out."""
    found: dict[UUID, SagaSummary] = {}
    for first in range(0, len(sagas), _CHUNK):
        some = sagas[first : first + _CHUNK]
        query = select(*SUMMARY).where(scope.of(_SAGA), _SAGA.c.id.in_(some))
        found |= {row.id: summary_of(scope, row) for row in conn.execute(query)}
        if missing := [id for id in some if id not in found]:
            starts = select(_INBOX).where(scope.of(_INBOX), _PENDING, _INBOX.c.id.in_(missing))
            found |= {row.saga: _pending(scope, row) for row in conn.execute(starts)}
    return found


def rolled_back_by(conn: Connection, scope: Scope, saga: UUID) -> UUID | None:
    """The rollback saga that was started for a committed saga; the newest, if any."""
    query = select(_SAGA.c.id).where(scope.of(_SAGA), _SAGA.c.rolls_back == saga)
    return max(conn.scalars(query), default=None)


def definition_hashes(conn: Connection, scope: Scope, names: Sequence[str]) -> dict[tuple[str, int], str]:
    """(definition, version) → the hash that its latest saga was started with."""
    columns = (_SAGA.c.definition, _SAGA.c.version, _SAGA.c.definition_hash)
    query = (
        select(*columns, func.max(_SAGA.c.created_at).label("latest"))
        .where(scope.of(_SAGA), _SAGA.c.definition.in_(names))
        .group_by(*columns)
        .order_by("latest")
    )
    return {(row.definition, row.version): row.definition_hash for row in conn.execute(query)}


def effects_of(conn: Connection, scope: Scope, saga: UUID) -> list[Effect]:
    """A saga's compensation rows, by n."""
    table = schema.compensation
    query = select(table).where(scope.of(table), table.c.saga == saga).order_by(table.c.n)
    return [effect_of(row) for row in conn.execute(query)]


# --- participants and locks ---------------------------------------------------------------------------


def objects(conn: Connection, scope: Scope, objects: Iterable[str]) -> dict[str, ObjectState]:
    """These participants as committed; absent ones as version 0."""
    wanted = sorted(set(objects))
    found = {object: ObjectState(object=object, version=0, state=NULL) for object in wanted}
    for first in range(0, len(wanted), _CHUNK):
        some = wanted[first : first + _CHUNK]
        query = select(_OBJECT).where(scope.of(_OBJECT), _OBJECT.c.object.in_(some))
        found |= {row.object: object_of(row) for row in conn.execute(query)}
    return found


def object(conn: Connection, scope: Scope, object: str) -> ObjectView:
    """One participant with its queue."""
    state = objects(conn, scope, [object])[object]
    return ObjectView(
        object=object,
        version=state.version,
        state=state.state,
        in_transaction=bool(state.queue),
        locks=lock_views(state, named(conn, scope, [state])),
    )


def locks(conn: Connection, scope: Scope, *, object: str | None, saga: UUID | None) -> list[LockView]:
    """All places in all queues, by object, then place."""
    queued = _queued(conn, scope, object=object, saga=saga)
    known = named(conn, scope, queued)
    found = [view for state in queued for view in lock_views(state, known)]
    return found if saga is None else [view for view in found if view.saga == saga]


def _queued(conn: Connection, scope: Scope, *, object: str | None, saga: UUID | None) -> list[ObjectState]:
    """The objects to look at, by key."""
    if saga is not None:
        row = conn.execute(select(_SAGA).where(scope.of(_SAGA), _SAGA.c.id == saga)).one_or_none()
        asked = {lock.object for lock in record_of(row).locks} if row is not None else set()
        wanted = asked if object is None else asked & {object}
        return list(objects(conn, scope, wanted).values())
    if object is not None:
        return list(objects(conn, scope, [object]).values())
    query = select(_OBJECT).where(scope.of(_OBJECT), _OBJECT.c.queue != ()).order_by(_OBJECT.c.object)
    return [object_of(row) for row in conn.execute(query)]


def named(conn: Connection, scope: Scope, states: Sequence[ObjectState]) -> dict[UUID, tuple[str, str]]:
    """Definition and key of every saga in these queues."""
    ids = sorted({entry.saga for state in states for entry in state.queue})
    found: dict[UUID, tuple[str, str]] = {}
    for first in range(0, len(ids), _CHUNK):
        some = ids[first : first + _CHUNK]
        query = select(_SAGA.c.id, _SAGA.c.definition, _SAGA.c.key).where(
            scope.of(_SAGA), _SAGA.c.id.in_(some)
        )
        found |= {row.id: (row.definition, row.key) for row in conn.execute(query)}
    return found


def wait_graph(conn: Connection, scope: Scope) -> WaitGraph:
    """Every saga that waits for a lock and is not paused, and all queues it stands in.

    The caller gives the snapshot: both selects must see one moment.
    """
    query = select(_SAGA.c.id, _SAGA.c.memo).where(scope.of(_SAGA), schema.QUEUED, ~_SAGA.c.paused)
    asked = {row.id: asked_objects(row.memo) for row in conn.execute(query)}
    states = objects(conn, scope, set(chain.from_iterable(asked.values())))
    queues = {name: state.queue for name, state in states.items()}
    return WaitGraph(waiting=frozenset(asked), queues=queues)
