"""Plans, selections and audit lines over a connection, the same on both databases.

A plan changes by compare-and-set only: two people who press at the same moment cannot both have it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Connection, Select, and_, func, insert, literal, select, tuple_, update

from sagacity.model.canonical import canonical
from sagacity.model.lines import SCHEMA_VERSION
from sagacity.model.operating import ActLine, Plan, PlanItem, PlanStatus, Selection, Verb
from sagacity.model.record import Status
from sagacity.model.unit import Message
from sagacity.store import inbox, reads, schema
from sagacity.store.claims import Now
from sagacity.store.office import ActsFilter, LockBoard, Moved, PlanFilter, PlanPage
from sagacity.store.rows import Scope, Values, asked_objects, lock_views

_LOG = schema.log
_PLAN = schema.plan
_SAGA = schema.saga
_SELECTION = schema.selection
_CHUNK = 500
MOST_PLANS, MOST_ACTS = 500, 1_000
"""Rows of a page, whatever is asked for."""
ITEMS_UPTO = 4_000_000
"""Characters of items that one page of plans has; a plan of 10,000 sagas alone has about so many."""
_ITEMS = TypeAdapter(tuple[PlanItem, ...])
_IDS = TypeAdapter(tuple[UUID, ...])
_MOVES = (
    *("status", "reason", "ticket", "approved_by", "rejected_by", "applied_at", "applied_by"),
    *("break_glass", "acknowledged_by"),
)
_PLAIN = ("id", "verb", "args", "tier", "hash", "selection", "newcomers", "made_by", "made_at", "expires_at")
_ONGOING = (Status.STUCK, Status.COMPENSATING, Status.WAITING)


# --- plans ------------------------------------------------------------------------------------------


def put_plan(conn: Connection, scope: Scope, plan: Plan) -> None:
    """Store a new plan."""
    values: Values = {name: getattr(plan, name) for name in (*_PLAIN, *_MOVES)}
    values |= {"items": canonical(plan.items, limit=None), "schema_version": SCHEMA_VERSION}
    conn.execute(insert(_PLAN).values(scope.values | values))


def plan(conn: Connection, scope: Scope, plan: UUID) -> Plan | None:
    """A plan as stored."""
    row = conn.execute(select(_PLAN).where(scope.of(_PLAN), _PLAN.c.id == plan)).one_or_none()
    return None if row is None else _plan_of(row)


def plans(conn: Connection, scope: Scope, narrowed: PlanFilter) -> PlanPage:
    """A page of them: first how long each is, then as many as go together."""
    limit = min(narrowed.limit, MOST_PLANS)
    query = _narrowed(select(_PLAN.c.id, func.length(_PLAN.c["items"]).label("size")), scope, narrowed)
    ids: list[UUID] = []
    read = 0
    sizes = conn.execute(query.order_by(_PLAN.c.id.desc()).limit(limit + 1)).all()
    for row in sizes[:limit]:
        read += row.size
        if ids and read > ITEMS_UPTO:
            break
        ids.append(row.id)
    whole = select(_PLAN).where(scope.of(_PLAN), _PLAN.c.id.in_(ids)).order_by(_PLAN.c.id.desc())
    found = tuple(_plan_of(row) for row in conn.execute(whole)) if ids else ()
    return PlanPage(plans=found, next=ids[-1] if ids and len(ids) < len(sizes) else None)


def _narrowed(query: Select[Any], scope: Scope, narrowed: PlanFilter) -> Select[Any]:
    query = query.where(scope.of(_PLAN))
    if narrowed.status == (PlanStatus.OPEN,):
        query = query.where(schema.UNDECIDED)
    elif narrowed.status:
        query = query.where(_PLAN.c.status.in_(narrowed.status))
    if narrowed.verb is not None:
        query = query.where(_PLAN.c.verb == narrowed.verb)
    if narrowed.made_by is not None:
        query = query.where(_PLAN.c.made_by == narrowed.made_by)
    if narrowed.needs_second:
        query = query.where(schema.TOP)
    if narrowed.unexpired_at is not None:
        query = query.where(_PLAN.c.expires_at > narrowed.unexpired_at)
    if narrowed.glass_open:
        query = query.where(schema.GLASS_OPEN)
    if narrowed.before is not None:
        query = query.where(_PLAN.c.id < narrowed.before)
    return query


def move_plan(
    conn: Connection, scope: Scope, plan: Plan, *, expect: Sequence[PlanStatus], now: Now | None
) -> bool:
    """Compare and set; with `now`, only where its time has not run out by then."""
    stands = and_(_PLAN.c.id == plan.id, _PLAN.c.hash == plan.hash, _PLAN.c.status.in_(expect))
    change = update(_PLAN).where(scope.of(_PLAN), stands)
    if now is not None:
        change = change.where(_PLAN.c.expires_at > now)
    return conn.execute(change.values({name: getattr(plan, name) for name in _MOVES})).rowcount == 1


def apply_plan(
    conn: Connection,
    scope: Scope,
    plan: Plan,
    messages: Sequence[Message],
    *,
    expect: Sequence[PlanStatus],
    now: Now,
) -> tuple[Moved, ...] | None:
    """Move the plan, look whether all its sagas stand where it says, and leave the messages.

    Raises:
        NotAsPlanned: they do not; the transaction is to be rolled back.
    """
    if not move_plan(conn, scope, plan, expect=expect, now=now):
        return None
    if moved := _moved(conn, scope, plan):
        raise NotAsPlanned(moved)
    inbox.put(conn, scope, messages, ring=True)
    return ()


class NotAsPlanned(Exception):
    """Carries what moved out of a transaction that is rolled back by it."""

    def __init__(self, moved: tuple[Moved, ...]) -> None:
        super().__init__(f"{len(moved)} sagas moved")
        self.moved = moved


def _moved(conn: Connection, scope: Scope, plan: Plan) -> tuple[Moved, ...]:
    if plan.verb is Verb.PAUSE:
        return ()  # it stops a saga wherever it is by then
    items = plan.touches
    found = _revisions(conn, scope, [item.saga for item in items])
    return tuple(
        Moved(saga=item.saga, planned=item.revision, revision=found.get(item.saga))
        for item in items
        if found.get(item.saga, 0) != item.revision
    )


def _revisions(conn: Connection, scope: Scope, sagas: Sequence[UUID]) -> dict[UUID, int]:
    found: dict[UUID, int] = {}
    for first in range(0, len(sagas), _CHUNK):
        ids = sagas[first : first + _CHUNK]
        query = select(_SAGA.c.id, _SAGA.c.seq).where(scope.of(_SAGA), _SAGA.c.id.in_(ids))
        found |= {row.id: row.seq for row in conn.execute(query)}
    return found


def overtaken(conn: Connection, scope: Scope, plans: Sequence[Plan], *, upto: int) -> frozenset[UUID]:
    """Plans of which a saga moved. A pause is never overtaken: it stops a saga wherever it is by then."""
    named = [(plan.id, item) for plan in plans if plan.verb is not Verb.PAUSE for item in plan.touches][:upto]
    now = _revisions(conn, scope, sorted({item.saga for _, item in named}))
    return frozenset(plan for plan, item in named if now.get(item.saga, 0) != item.revision)


def _plan_of(row: Any) -> Plan:
    values = {name: getattr(row, name) for name in (*_PLAIN, *_MOVES)}
    values |= {"verb": Verb(row.verb), "status": PlanStatus(row.status)}
    return Plan(**values, items=_ITEMS.validate_json(row.items))


# --- selections -------------------------------------------------------------------------------------


def put_selection(conn: Connection, scope: Scope, selection: Selection) -> None:
    """Store a selection."""
    values: Values = {name: getattr(selection, name) for name in _SELECTED}
    values |= {"sagas": canonical(selection.sagas, limit=None), "schema_version": SCHEMA_VERSION}
    conn.execute(insert(_SELECTION).values(scope.values | values))


def selection(conn: Connection, scope: Scope, selection: UUID) -> Selection | None:
    """A selection as stored."""
    query = select(_SELECTION).where(scope.of(_SELECTION), _SELECTION.c.id == selection)
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    values = {name: getattr(row, name) for name in _SELECTED}
    return Selection(**values, sagas=_IDS.validate_json(row.sagas))


_SELECTED = ("id", "filter", "made_by", "made_at", "complete")


# --- what operators did -----------------------------------------------------------------------------


def acts(conn: Connection, scope: Scope, narrowed: ActsFilter) -> list[ActLine]:
    """Audit lines, newest first."""
    place = (_LOG.c.at, _LOG.c.chain, _LOG.c.position)
    query = select(_LOG).where(scope.of(_LOG), schema.IS_ACT)
    if narrowed.before is not None:
        query = query.where(_LOG.c.at <= narrowed.before[0], tuple_(*place) < _bound(narrowed.before))
    if narrowed.since is not None:
        query = query.where(_LOG.c.at >= narrowed.since)
    query = query.order_by(*(column.desc() for column in place)).limit(min(narrowed.limit, MOST_ACTS))
    return [_act_of(row) for row in conn.execute(query)]


def _bound(before: tuple[datetime, int, int]) -> Any:
    at, chain, position = before
    columns = (_LOG.c.at, _LOG.c.chain, _LOG.c.position)
    return tuple_(
        *(literal(value, column.type) for value, column in zip((at, chain, position), columns, strict=True))
    )


def acts_of(conn: Connection, scope: Scope, sagas: Sequence[UUID]) -> list[ActLine]:
    """The audit lines of these sagas, by saga and seq."""
    found: list[ActLine] = []
    wanted = sorted(set(sagas))
    for first in range(0, len(wanted), _CHUNK):
        some = wanted[first : first + _CHUNK]
        # By the whole condition, so that the index on a saga's lines serves, not the one on all acts.
        query = select(_LOG).where(scope.of(_LOG), _LOG.c.saga.in_(some), schema.IS_ACT)
        found += [_act_of(row) for row in conn.execute(query.order_by(_LOG.c.saga, _LOG.c.seq))]
    return found


def _act_of(row: Any) -> ActLine:
    names = ("saga", "seq", "at", "kind", "data", "chain", "position")
    return ActLine(**{name: getattr(row, name) for name in names})


# --- locks ------------------------------------------------------------------------------------------


def lock_board(conn: Connection, scope: Scope, *, limit: int) -> LockBoard:
    """Found from the sagas, for they have indexes: those that are worked on, and those that are not over."""
    sorts = [and_(_SAGA.c.status == schema.text_constant(s), schema.OPEN_MATTERS) for s in _ONGOING]
    asked: set[str] = set()
    complete = True
    for sort in (schema.QUEUED, *sorts, _SAGA.c.owner.is_not(None)):
        query = select(_SAGA.c.memo).where(scope.of(_SAGA), sort).limit(limit + 1)
        memos = list(conn.scalars(query))
        complete = complete and len(memos) <= limit
        for memo in memos[:limit]:
            asked.update(asked_objects(memo))
    states = [state for state in reads.objects(conn, scope, asked).values() if state.queue]
    states.sort(key=lambda state: (-len(state.queue), state.queue[0].since, state.object))
    known = reads.named(conn, scope, states)
    return LockBoard(locks=tuple(v for state in states for v in lock_views(state, known)), complete=complete)
