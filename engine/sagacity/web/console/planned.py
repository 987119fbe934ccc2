"""Plans, what became of them, and who did what: three pages.

A plan is applied by naming it. The form sends no saga and no verb, so what is done is what the page shows,
or nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from sagacity.cli.narrowing import id_of
from sagacity.errors import Conflict, Forbidden, InputError, NotConfirmed, RefusedAct, SagacityError
from sagacity.model.operating import (
    ActLine,
    Actor,
    ItemOutcome,
    Plan,
    PlanItem,
    PlanStatus,
    Role,
)
from sagacity.model.views import SagaSummary
from sagacity.operating.rules import asked_for, confirmation_of, role_for
from sagacity.orchestrator import Orchestrator
from sagacity.store.office import ActsFilter, PlanFilter
from sagacity.web.console.forms import Form, read_form
from sagacity.web.console.frame import Frame
from sagacity.web.guard.caller import current_actor
from sagacity.web.office import COUNTED

SHOWN, PAGE = 200, 25
"""Items of a plan on its page, and plans on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One item of a plan. `moved`: where the saga's revision is by now, if it is not the planned one."""

    item: PlanItem
    moved: int | None
    outcome: ItemOutcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One plan in a list; `done` counts what became of the first `counted` items, once it was applied."""

    plan: Plan
    done: Mapping[str, int]
    counted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One line of the audit. `said`: what it says; empty where it was erased."""

    line: ActLine
    said: Mapping[str, Any]
    saga: SagaSummary | None


def pages(frame: Frame) -> APIRouter:
    """The routes of this module."""
    router = frame.router()
    _plan(router, frame)
    _operations(router, frame)
    _audit(router, frame)
    return router


async def _shown(
    frame: Frame,
    request: Request,
    id: UUID,
    form: Form | None = None,
    error: SagacityError | None = None,
) -> Response:
    sagas = frame.sagas
    plan, actor = await sagas.plan_of(id), current_actor(request)
    items = await _items(sagas, plan)
    return await frame.page(
        request,
        "plan.html",
        status=frame.status_of(error),
        error=error,
        plan=plan,
        items=items,
        stale=[one for one in items if one.moved is not None and one.item.refusal is None],
        said=form or Form(()),
        may=_may(plan, actor),
        asked=asked_for(plan.tier),
        confirmation=confirmation_of(plan),
        done=Counter(one.outcome.state for one in items if one.outcome is not None),
        shown=SHOWN,
    )


def _plan(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.get("/plans/{plan}")
    async def show(request: Request, plan: UUID) -> Response:
        return await _shown(frame, request, plan)

    @router.post("/plans/{plan}/apply")
    @router.post("/plans/{plan}/approve")
    @router.post("/plans/{plan}/reject")
    @router.post("/plans/{plan}/acknowledge")
    @router.post("/plans/{plan}/again")
    async def decide(request: Request, plan: UUID) -> Response:
        """Decide about it; or plan again what it could not do."""
        decision = request.url.path.rpartition("/")[2]
        form, actor = await read_form(request), current_actor(request)
        try:
            leads = await _decided(sagas, plan, decision, form, actor)
        except (Conflict, NotConfirmed, Forbidden, RefusedAct, InputError) as error:
            return await _shown(frame, request, plan, form, error)
        return RedirectResponse(f"/plans/{leads}", 303)


async def _decided(sagas: Orchestrator, plan: UUID, decision: str, form: Form, actor: Actor) -> UUID:
    """Do it; the plan whose page is to be shown next."""
    if decision == "apply":
        await sagas.apply(
            plan,
            actor,
            reason=form.text("reason") or None,
            ticket=form.text("ticket") or None,
            confirm=form.text("confirm") or None,
            break_glass=form.ticked("break_glass"),
        )
    elif decision == "approve":
        await sagas.approve(plan, actor, hash=form.text("hash"))
    elif decision == "reject":
        await sagas.reject(plan, actor)
    elif decision == "acknowledge":
        await sagas.acknowledge(plan, actor)
    else:
        return (await sagas.plan_again(plan, actor)).id
    return plan


async def _items(sagas: Orchestrator, plan: Plan) -> list[Shown]:
    first = plan.items[:SHOWN]
    applied = plan.status is PlanStatus.APPLIED
    outcomes = {one.saga: one for one in await sagas.outcomes(plan.id)} if applied else {}
    waiting = plan.status in (PlanStatus.OPEN, PlanStatus.APPROVED)
    rows = await sagas.store.sagas_by_id([item.saga for item in first]) if waiting else {}
    now = {id: row.record.revision for id, row in rows.items()}
    return [
        Shown(
            item=item,
            moved=now[item.saga] if now.get(item.saga, item.revision) != item.revision else None,
            outcome=outcomes.get(item.saga),
        )
        for item in first
    ]


def _may(plan: Plan, actor: Actor) -> Mapping[str, bool]:
    """What of this plan is theirs to decide. The engine asks again; this only spares them a refusal."""
    open_ = plan.status is PlanStatus.OPEN
    usable = plan.status in (PlanStatus.OPEN, PlanStatus.APPROVED) and bool(plan.touches)
    everywhere = {item.definition for item in plan.touches}
    senior = all(actor.may(role_for(plan.tier), one) for one in everywhere)
    approver = actor.kind == "person" and all(actor.may(Role.APPROVER, one) for one in everywhere)
    own = actor.id == plan.made_by
    needs_second = "approval" in asked_for(plan.tier)
    return {
        "apply": usable and senior,
        "approve": open_ and usable and needs_second and approver and not own,
        "reject": plan.status in (PlanStatus.OPEN, PlanStatus.APPROVED) and (own or approver),
        "glass": usable and senior and needs_second and open_ and actor.kind == "person",
        "acknowledge": plan.break_glass
        and plan.acknowledged_by is None
        and actor.kind == "person"
        and actor.id != plan.applied_by
        and actor.may(Role.OPERATOR),
        "again": actor.may(Role.OPERATOR),
    }


def _operations(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.get("/operations")
    async def listed(request: Request, status: str = "", cursor: str = "") -> Response:
        chosen = _status(status)
        before = id_of(cursor, what="cursor") if cursor else None
        page = await sagas.plans(PlanFilter(status=chosen, before=before, limit=PAGE))
        return await frame.page(
            request,
            "operations.html",
            found=[await _operation(sagas, plan) for plan in page.plans],
            said={"status": status},
            statuses=list(PlanStatus),
            next=str(page.next) if page.next is not None else None,
            first=not cursor,
        )


def _status(text: str) -> tuple[PlanStatus, ...]:
    try:
        return (PlanStatus(text),) if text else ()
    except ValueError:
        raise InputError(f"status {text!r} does not exist: there are {', '.join(PlanStatus)}") from None


async def _operation(sagas: Orchestrator, plan: Plan) -> Operation:
    applied = plan.status is PlanStatus.APPLIED
    outcomes = await sagas.outcomes(plan.id, first=COUNTED) if applied else []
    return Operation(plan=plan, done=Counter(str(one.state) for one in outcomes), counted=len(outcomes))


def _audit(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.get("/audit")
    async def audit(request: Request, before: str = "") -> Response:
        found = await sagas.acts(ActsFilter(before=_place(before), limit=PAGE * 2))
        names = await sagas.statuses(list({line.saga for line in found}))
        return await frame.page(
            request,
            "audit.html",
            found=[_deed(line, names) for line in found],
            next=_cursor(found[-1]) if len(found) == PAGE * 2 else None,
            first=not before,
        )


def _deed(line: ActLine, names: Mapping[UUID, SagaSummary]) -> Deed:
    said = orjson.loads(line.data) if line.data is not None else {}
    return Deed(line=line, said=said, saga=names.get(line.saga))


def _cursor(line: ActLine) -> str:
    return f"{line.at.isoformat()}~{line.chain}~{line.position}"


def _place(text: str) -> tuple[datetime, int, int] | None:
    """Where the next page of the audit begins.

    Raises:
        InputError: it was not made by this page.
    """
    if not text:
        return None
    try:
        at, chain, position = text.split("~")
        return datetime.fromisoformat(at), int(chain), int(position)
    except ValueError:
        raise InputError(f"{text!r} is no place in the audit: follow the page's own link") from None
