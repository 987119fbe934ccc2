"""Calls that rehearse: a dry run is played in a process of its own; its report is found again by its id."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import Field

from sagacity.dry.rehearsing import dry_run
from sagacity.dry.report import Report
from sagacity.dry.script import Script
from sagacity.dry.shelf import stored_report
from sagacity.orchestrator import Orchestrator
from sagacity.web import answers
from sagacity.web.acts import check_known
from sagacity.web.bodies import Body, documented, read
from sagacity.web.guard.caller import current_actor
from sagacity.web.seen import seen

AT_ONCE = 2
"""Processes for dry runs at the same time; more wait."""


class DryRunBody(Body):
    """Rehearse one saga."""

    definition: str = Field(description="name of the flow", min_length=1, max_length=200)
    input: dict[str, Any]
    key: str | None = Field(default=None, max_length=500, description="default: what the flow declares")
    script: dict[str, Any] = Field(default={}, description="what comes from outside: see `Script`")
    faults: tuple[str, ...] = Field(default=(), description="e.g. `effect take_money: lost`")


def rehearsals(sagas: Orchestrator, *, notices: bool = False) -> APIRouter:
    """The routes that rehearse; `notices`: there is a dry outlet, which is told of them."""
    router = APIRouter(tags=["rehearse"])
    turns = asyncio.Semaphore(AT_ONCE)

    @router.post(
        "/dry-runs",
        summary="Rehearse a saga",
        status_code=201,
        responses=answers.described(Report, 201, "rehearsed"),
        openapi_extra=documented(DryRunBody),
    )
    async def rehearse(request: Request) -> Response:
        """Play a saga on live data, in lane `dry`: the real code and log, and nothing happens."""
        body = await read(request, DryRunBody)
        check_known(body.definition, sagas, current_actor(request))
        script = Script.of(body.script)
        async with turns:
            told: dict[str, Any] = {"key": body.key, "faults": body.faults, "notices": notices}
            report = await dry_run(body.definition, body.input, app=sagas, script=script, **told)
        report = await seen(request, sagas).report(report)
        return answers.one(report, status=201, headers={"location": f"/v1/dry-runs/{report.run}"})

    @router.get("/dry-runs/{run}", summary="One dry run", responses=answers.described(Report))
    async def show(
        request: Request,
        run: UUID,
        text: Annotated[bool, Query(description="for a person, 80 columns wide")] = False,
    ) -> Response:
        """The report of a dry run, as it was stored."""
        report = await seen(request, sagas).report(await stored_report(sagas.store, run))
        return PlainTextResponse(report.text()) if text else answers.one(report)

    return router
