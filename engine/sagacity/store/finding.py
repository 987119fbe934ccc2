"""Searching sagas by terms, and by many ids at once. Each term is written so that its index can serve."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, literal, not_, or_, select

from sagacity.decide.explain import last_error
from sagacity.model.canonical import canonical
from sagacity.model.record import Status, WaitsFor
from sagacity.model.views import SagaSummary
from sagacity.store import schema
from sagacity.store.base import SagaRow
from sagacity.store.claims import Now, instant
from sagacity.store.gauges import running
from sagacity.store.office import Term
from sagacity.store.reads import SUMMARY, summary_of
from sagacity.store.rows import Scope, record_of, saga_row_of

_INBOX = schema.inbox
_SAGA = schema.saga
_CHUNK = 500
_PAGE = 1_000
_LOOKED_AT = 20_000
"""Sagas that a search for an error reads at most."""
_COMMON = frozenset({Status.COMMITTED.value, Status.RUNNING.value})


def by_id(conn: Connection, scope: Scope, sagas: Sequence[UUID]) -> dict[UUID, SagaRow]:
    """These sagas as stored."""
    found: dict[UUID, SagaRow] = {}
    for first in range(0, len(sagas), _CHUNK):
        query = select(_SAGA).where(scope.of(_SAGA), _SAGA.c.id.in_(sagas[first : first + _CHUNK]))
        found |= {row.id: saga_row_of(row) for row in conn.execute(query)}
    return found


def search(
    conn: Connection,
    scope: Scope,
    terms: Sequence[Term],
    *,
    limit: int,
    before: UUID | None,
    now: Now,
) -> list[SagaSummary]:
    """Newest first."""
    conditions = [
        running(conn, scope, instant(conn, now)) if _asks_for_running(term) else _condition(term, scope)
        for term in terms
    ]
    errors = [term for term in terms if term.field == "error"]
    if not errors:
        query = _page(select(*SUMMARY), scope, conditions, before).limit(limit)
        return [summary_of(scope, row) for row in conn.execute(query)]
    return _by_error(conn, scope, conditions, errors, limit=limit, before=before)


def _page(query: Any, scope: Scope, conditions: Sequence[Any], before: UUID | None) -> Any:
    query = query.where(scope.of(_SAGA), *conditions)
    if before is not None:
        query = query.where(_SAGA.c.id < before)
    return query.order_by(_SAGA.c.id.desc())


def _by_error(
    conn: Connection,
    scope: Scope,
    conditions: Sequence[Any],
    errors: Sequence[Term],
    *,
    limit: int,
    before: UUID | None,
) -> list[SagaSummary]:
    """What the database finds by the text of a row is looked at once more: the text must be an error's."""
    found: list[SagaSummary] = []
    for _ in range(_LOOKED_AT // _PAGE):
        rows = list(conn.execute(_page(select(_SAGA), scope, conditions, before).limit(_PAGE)))
        found += [summary_of(scope, row) for row in rows if all(_says(row, term) for term in errors)]
        if len(rows) < _PAGE or len(found) >= limit:
            break
        before = rows[-1].id
    return found[:limit]


def _says(row: Any, term: Term) -> bool:
    told = f"{row.reason or ''}\n{last_error(record_of(row)) or ''}".casefold()
    return any(value.casefold() in told for value in term.values) != term.negated


def _asks_for_running(term: Term) -> bool:
    return term.field == "status" and term.values == (Status.RUNNING,) and not term.negated


def _condition(term: Term, scope: Scope) -> ColumnElement[bool]:
    match term.field:
        case "created":
            return _compared(_SAGA.c.created_at, term)
        case "due":
            # A saga that somebody owns, or that nothing wakes, has no such instant: not even for a `not`.
            free = and_(schema.FREE, _SAGA.c.wake_at.is_not(None))
            return and_(free, _compared(_SAGA.c.wake_at, term))
        case "status" if not term.negated:
            return or_(*(_has_status(value) for value in term.values))
        case "waits" if not term.negated:
            waiting = _SAGA.c.status == schema.text_constant(Status.WAITING)
            kinds = or_(
                *(_SAGA.c.waits_for == schema.text_constant(WaitsFor(value)) for value in term.values)
            )
            return and_(waiting, schema.OPEN_MATTERS, kinds)
        case "error" if term.negated:
            return literal(True)
        case _:
            plain: ColumnElement[bool] = _PLAIN[term.field](term, scope)
            return not_(plain) if term.negated else plain


def _compared(column: Any, term: Term) -> ColumnElement[bool]:
    at = term.at
    compared: dict[str, ColumnElement[bool]] = {
        "<": column < at,
        "<=": column <= at,
        ">": column > at,
        ">=": column >= at,
    }
    return not_(compared[term.compare]) if term.negated else compared[term.compare]


def _has_status(value: str) -> ColumnElement[bool]:
    is_it = _SAGA.c.status == schema.text_constant(Status(value))
    return is_it if value in _COMMON else and_(is_it, schema.OPEN_MATTERS)


def _state(term: Term, scope: Scope) -> ColumnElement[bool]:
    del scope
    leaves = literal(" ") + _SAGA.c.state + literal(" ")
    return or_(*(leaves.contains(f" {value} ", autoescape=True) for value in term.values))


def _key(term: Term, scope: Scope) -> ColumnElement[bool]:
    if term.negated:
        return _SAGA.c.key.in_(term.values)
    starts = select(_INBOX.c.saga).where(scope.of(_INBOX), schema.IS_START, _INBOX.c.key.in_(term.values))
    return _SAGA.c.id.in_(starts)


def _error(term: Term, scope: Scope) -> ColumnElement[bool]:
    """Wide: whatever has the text in its reason or anywhere in its memo, as JSON writes it there."""
    del scope
    wide = []
    for value in term.values:
        wide.append(_SAGA.c.reason.icontains(value, autoescape=True))
        wide.append(_SAGA.c.memo.icontains(canonical(value)[1:-1], autoescape=True))
    return func.coalesce(or_(*wide), False)


_PLAIN: dict[str, Any] = {
    "definition": lambda term, _: _SAGA.c.definition.in_(term.values),
    "status": lambda term, _: _SAGA.c.status.in_(term.values),
    "waits": lambda term, _: func.coalesce(_SAGA.c.waits_for.in_(term.values), False),
    "paused": lambda term, _: schema.PAUSED if not term.negated else _SAGA.c.paused,
    "state": _state,
    "key": _key,
    "error": _error,
}
