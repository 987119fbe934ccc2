"""Operators' calls: plan, approve, apply; select; what needs a human; who did what.

Each is one call of the orchestrator, within the caller's roles. What is outside their definitions does not
exist: a plan that touches one saga of another definition is not there for them.
"""

import builtins
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from sagacity.cli.narrowing import id_of
from sagacity.decide.attention import Limits
from sagacity.errors import Conflict, InputError, NotFound
from sagacity.ids import derived_id
from sagacity.model.canonical import canonical, loaded
from sagacity.model.operating import (
    Action,
    ActLine,
    Actor,
    AttentionGroup,
    ItemOutcome,
    Plan,
    PlanStatus,
    Selection,
    Verb,
)
from sagacity.operating import rules
from sagacity.orchestrator import Orchestrator
from sagacity.store.office import ActsFilter, PlanFilter, PlanPage
from sagacity.web import answers
from sagacity.web.bodies import Body, Name, Reason, documented, key_of, read
from sagacity.web.guard.caller import current_actor
from sagacity.web.seen import Seen, seen

_MOST = 10_000
COUNTED = 200
"""Items of a plan that a list looks at to tell how far it is; its own page looks at all."""
Ref = Annotated[str, Field(min_length=1, max_length=500)]


class PlanBody(Body):
    """What is to be done, to which sagas: by id or key, or by a stored selection."""

    verb: Verb
    sagas: list[Ref] = Field(default=[], max_length=_MOST)
    selection: UUID | None = None
    definition: Name | None = Field(default=None, description="of the sagas that are named by key")
    args: Any = Field(default=None, description="what the verb needs; see the plan's decision record")


class ApplyBody(Body):
    """What a plan's tier asks for."""

    reason: Reason | None = Field(default=None, description="why; at least 8 characters from tier 2 on")
    ticket: Annotated[str, Field(max_length=200)] | None = None
    confirm: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, description="tier 3: the business key, or the number of sagas"
    )
    break_glass: bool = Field(default=False, description="tier 3: without the second person; it is told")


class ApproveBody(Body):
    """The second person's word; `hash`: of the plan that they looked at."""

    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class NoBody(Body):
    """Nothing."""


class SelectionBody(Body):
    """A filter, to be resolved once."""

    filter: Annotated[str, Field(max_length=2_000)] = Field(description="e.g. `status:stuck type:Order`")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPlan:
    """A plan, what it still asks for, and what became of its items.

    Attributes:
        asked: reason, confirmation, approval, as far as its tier asks for them.
        confirmation: what is to be typed; None: nothing.
        outcomes: pending, done or refused, each item; empty before it is applied.
    """

    plan: Plan
    asked: tuple[str, ...]
    confirmation: str | None
    outcomes: tuple[ItemOutcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A plan in one line, and how far it is.

    Attributes:
        sagas: how many it touches.
        counted: of how many of its items the next three tell: of the first 200, once it is applied.
        pending, done, refused: how many of these stand so.
    """

    plan: UUID
    verb: Verb
    tier: int
    status: PlanStatus
    made_by: str
    made_at: datetime
    applied_by: str | None
    applied_at: datetime | None
    reason: str | None
    sagas: int
    counted: int
    pending: int
    done: int
    refused: int


def office(sagas: Orchestrator) -> APIRouter:
    """The routes of operators."""
    router = APIRouter(tags=["operate"])
    _plans(router, sagas)
    _decisions(router, sagas)
    _lists(router, sagas)
    _selections(router, sagas)
    return router


# --- plans --------------------------------------------------------------------------------------------


def _plans(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/plans",
        summary="Plan an act",
        status_code=201,
        responses=answers.described(ShownPlan, 201, "made")
        | answers.described(ShownPlan, 200, "made before"),
        openapi_extra=documented(PlanBody, idempotent=True),
    )
    async def plan(request: Request) -> Response:
        """What it would do to each saga. It is good for 15 minutes and changes nothing else."""
        body = await read(request, PlanBody)
        mine = seen(request, sagas)
        named = [await mine.resolve(ref, definition=body.definition) for ref in body.sagas]
        if body.selection is not None:
            await _selection(sagas, mine, body.selection)
        action = Action(
            verb=body.verb, sagas=tuple(named), selection=body.selection, args=canonical(body.args)
        )
        made, new = await planned(sagas, action, current_actor(request), key=key_of(request))
        shown = await _shown(sagas, mine, made)
        return answers.one(shown, status=201 if new else 200, headers={"location": f"/v1/plans/{made.id}"})

    @router.get("/plans/{plan}", summary="One plan", responses=answers.described(ShownPlan))
    async def one(request: Request, plan: UUID) -> Response:
        """With what became of each of its items."""
        mine = seen(request, sagas)
        return answers.one(await _shown(sagas, mine, await _plan(sagas, mine, plan)))


async def planned(
    sagas: Orchestrator, action: Action, actor: Actor, *, key: str | None = None
) -> tuple[Plan, bool]:
    """A plan, and whether it is new: the same `key` of the same actor gives the same plan.

    Raises:
        Conflict: the key made another plan. Otherwise as `Orchestrator.plan`.
    """
    if key is None:
        return await sagas.plan(action, actor), True
    id = derived_id("plan", actor.id, key)
    try:
        before = await sagas.plan_of(id)
    except NotFound:
        return await sagas.plan(action, actor, id=id), True
    same = (before.verb, before.selection, loaded(before.args) or {}) == (
        action.verb,
        action.selection,
        loaded(action.args) or {},
    )
    named = {item.saga for item in before.items}
    if (
        not same
        or not named.issuperset(action.sagas)
        or (action.sagas and len(named) != len(set(action.sagas)))
    ):
        raise Conflict("this Idempotency-Key made another plan: take a new key")
    return before, False


async def _selection(sagas: Orchestrator, mine: Seen, id: UUID) -> Selection:
    """The selection, if every saga in it exists for the caller. Raises NotFound."""
    found = await sagas.selection(id)
    if not await mine.visible(found.sagas) >= set(found.sagas):
        raise NotFound(f"no selection {id}")
    return found


async def _plan(sagas: Orchestrator, mine: Seen, id: UUID) -> Plan:
    """The plan, if all that it names exists for the caller. Raises NotFound."""
    found = await sagas.plan_of(id)
    if not all(mine.holds(item.definition) for item in found.items):
        raise NotFound(f"no plan {id}")
    return found


async def _shown(sagas: Orchestrator, mine: Seen, plan: Plan) -> ShownPlan:
    outcomes = await sagas.outcomes(plan.id) if plan.status is PlanStatus.APPLIED else []
    shown = await mine.plan(plan)
    return ShownPlan(
        plan=shown,
        asked=rules.asked_for(plan.tier),
        confirmation=rules.confirmation_of(shown),
        outcomes=tuple(await mine.outcomes(plan, outcomes)),
    )


# --- decisions ------------------------------------------------------------------------------------------


def _decisions(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/plans/{plan}/apply",
        summary="Apply a plan",
        responses=answers.described(ShownPlan),
        openapi_extra=documented(ApplyBody),
    )
    async def apply(request: Request, plan: UUID) -> Response:
        """To exactly the sagas that it names. Sent again by the same caller it changes nothing.

        409 `stale-plan`: sagas moved, and `moved` says which. 428 `not-confirmed`: `missing` says what is.
        """
        body = await read(request, ApplyBody)
        mine = seen(request, sagas)
        await _plan(sagas, mine, plan)
        done = await sagas.apply(
            plan,
            current_actor(request),
            reason=body.reason,
            ticket=body.ticket,
            confirm=body.confirm,
            break_glass=body.break_glass,
        )
        return answers.one(await _shown(sagas, mine, done))

    _second_persons(router, sagas)


def _second_persons(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/plans/{plan}/approve",
        summary="Approve a plan",
        responses=answers.described(ShownPlan),
        openapi_extra=documented(ApproveBody),
    )
    async def approve(request: Request, plan: UUID) -> Response:
        """As its second person: never one's own."""
        body = await read(request, ApproveBody)
        mine = seen(request, sagas)
        await _plan(sagas, mine, plan)
        return answers.one(
            await _shown(sagas, mine, await sagas.approve(plan, current_actor(request), hash=body.hash))
        )

    @router.post(
        "/plans/{plan}/reject",
        summary="Reject a plan",
        responses=answers.described(ShownPlan),
        openapi_extra=documented(NoBody),
    )
    async def reject(request: Request, plan: UUID) -> Response:
        """So that nobody applies it; its maker may, too."""
        await read(request, NoBody)
        mine = seen(request, sagas)
        await _plan(sagas, mine, plan)
        return answers.one(await _shown(sagas, mine, await sagas.reject(plan, current_actor(request))))

    _afterwards(router, sagas)


def _afterwards(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/plans/{plan}/acknowledge",
        summary="Acknowledge a broken glass",
        responses=answers.described(ShownPlan),
        openapi_extra=documented(NoBody),
    )
    async def acknowledge(request: Request, plan: UUID) -> Response:
        """Say that one has looked at a plan that was applied without its second person."""
        await read(request, NoBody)
        mine = seen(request, sagas)
        await _plan(sagas, mine, plan)
        return answers.one(await _shown(sagas, mine, await sagas.acknowledge(plan, current_actor(request))))


# --- lists ------------------------------------------------------------------------------------------------

Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]


def _lists(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get("/plans", summary="List plans, newest first", responses=answers.described_page(Plan))
    async def plans(
        request: Request,
        *,
        status: Annotated[builtins.list[PlanStatus] | None, Query()] = None,
        verb: Verb | None = None,
        made_by: str | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Response:
        filter_ = PlanFilter(
            status=tuple(status or ()), verb=verb, made_by=made_by, before=_before(cursor), limit=limit
        )
        found = await seen(request, sagas).plans(await sagas.plans(filter_))
        return answers.many(found.plans, after=_next(found))

    @router.get(
        "/operations", summary="Plans and how far they are", responses=answers.described_page(Operation)
    )
    async def operations(request: Request, *, cursor: Cursor = None, limit: Limit = 50) -> Response:
        """One line for each plan, newest first; what it names is in `/v1/plans/{plan}`."""
        filter_ = PlanFilter(before=_before(cursor), limit=limit)
        found = await seen(request, sagas).plans(await sagas.plans(filter_))
        return answers.many([await _operation(sagas, one) for one in found.plans], after=_next(found))

    _watched(router, sagas)


def _watched(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get("/attention", summary="What needs a human", responses=answers.described_page(AttentionGroup))
    async def attention(request: Request) -> Response:
        """Everything that nothing will move by itself, the gravest first, grouped by what looks alike."""
        return answers.many(await seen(request, sagas).attention(await sagas.attention(Limits())))

    @router.get("/audit", summary="Who did what, newest first", responses=answers.described_page(ActLine))
    async def audit(
        request: Request,
        *,
        since: Annotated[datetime | None, Query(description="with a time zone")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Response:
        """Acts and refused acts, as they stand in the log."""
        if since is not None and since.tzinfo is None:
            raise InputError("`since` has no time zone: write e.g. 2026-01-31T12:00:00Z")
        filter_ = ActsFilter(before=_line(cursor) if cursor else None, since=since, limit=limit)
        found = await sagas.acts(filter_)
        after = _cursor(found[-1]) if len(found) == limit else None
        return answers.many(await seen(request, sagas).acts(found), after=after)


def _next(page: PlanPage) -> str | None:
    """The cursor of the page behind it. A page may be shorter than asked for, and not the last."""
    return None if page.next is None else str(page.next)


async def _operation(sagas: Orchestrator, plan: Plan) -> Operation:
    applied = plan.status is PlanStatus.APPLIED
    outcomes = await sagas.outcomes(plan.id, first=COUNTED) if applied else []
    return Operation(
        plan=plan.id,
        verb=plan.verb,
        tier=plan.tier,
        status=plan.status,
        made_by=plan.made_by,
        made_at=plan.made_at,
        applied_by=plan.applied_by,
        applied_at=plan.applied_at,
        reason=plan.reason,
        sagas=len(plan.touches),
        counted=len(outcomes),
        pending=sum(one.state == "pending" for one in outcomes),
        done=sum(one.state == "done" for one in outcomes),
        refused=sum(one.state == "refused" for one in outcomes),
    )


def _before(cursor: str | None) -> UUID | None:
    return id_of(cursor, what="cursor") if cursor is not None else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _cursor(line: ActLine) -> str:
    return f"{(line.at - _EPOCH) // timedelta(microseconds=1)}.{line.chain}.{line.position}"


def _line(cursor: str) -> tuple[datetime, int, int]:
    """The cursor of the audit as the line that it names. Raises InputError."""
    try:
        at, chain, position = (int(part) for part in cursor.split("."))
        return _EPOCH + timedelta(microseconds=at), _int(chain), _int(position)
    except (ValueError, OverflowError):
        raise InputError(f"cursor {cursor!r} is none of this list") from None


def _int(number: int) -> int:
    if not 0 <= number < 1 << 62:
        raise ValueError
    return number


# --- selections ---------------------------------------------------------------------------------------------


def _selections(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/selections",
        summary="Resolve a filter once",
        status_code=201,
        responses=answers.described(Selection, 201, "stored"),
        openapi_extra=documented(SelectionBody, idempotent=True),
    )
    async def select(request: Request) -> Response:
        """Into at most 10,000 stored ids; a plan is made from it, and sagas that come later are not in it."""
        body = await read(request, SelectionBody)
        actor, key = current_actor(request), key_of(request)
        id = derived_id("selection", actor.id, key) if key is not None else None
        try:
            made = await sagas.selection(id) if id is not None else None
        except NotFound:
            made = None
        if made is not None and made.filter != body.filter:
            raise Conflict("this Idempotency-Key made another selection: take a new key")
        if made is None:
            made = await sagas.select(body.filter, actor, id=id)
        return answers.one(made, status=201)
