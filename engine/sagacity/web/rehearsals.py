"""Calls that rehearse: dry runs are played in a process of their own; a report is found again by its id.

One call plays one input, or many; or it plays the stories of real sagas again, and compares.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import Field, model_validator

from sagacity.dry.comparing import Compared, Difference
from sagacity.dry.many import Outcome, Sources, compared_with, dry_runs, newest_ended
from sagacity.dry.rehearsing import dry_run
from sagacity.dry.report import Report
from sagacity.dry.script import Script
from sagacity.dry.shelf import stored_report
from sagacity.errors import Unfinished
from sagacity.orchestrator import Orchestrator
from sagacity.web import answers
from sagacity.web.acts import check_known
from sagacity.web.bodies import Body, Name, documented, read
from sagacity.web.guard.caller import current_actor
from sagacity.web.seen import Seen, seen

AT_ONCE = 2
"""Processes for dry runs at the same time; more wait."""

MANY = 100
"""Runs of one call at the most."""

_What = ("input", "inputs", "against", "shadow")


class DryRunBody(Body):
    """Rehearse one saga (`input`), many (`inputs`), or real ones again (`against` one, `shadow` N)."""

    definition: Name = Field(description="name of the flow")
    input: dict[str, Any] | None = Field(
        default=None, description="of one run; with `against`: instead of its"
    )
    inputs: list[dict[str, Any]] | None = Field(
        default=None, min_length=1, max_length=MANY, description="of many runs, told in a line each"
    )
    against: Name | None = Field(
        default=None, description="id or key of a real saga: its own story is played, and compared"
    )
    shadow: int | None = Field(
        default=None, ge=1, le=MANY, description="the newest N real sagas that have ended are, each"
    )
    key: str | None = Field(default=None, max_length=500, description="of one run; default: the flow's")
    script: dict[str, Any] = Field(default={}, description="what comes from outside: see `Script`")
    faults: tuple[str, ...] = Field(default=(), max_length=MANY, description="e.g. `effect take_money: lost`")
    recorded: bool = Field(default=False, description="newest real answers answer before any mock")
    generate: bool = Field(default=False, description="what nobody mocks is answered from its declared type")
    real_reads: bool = Field(default=False, description="reads that are declared safe are made for real")

    @model_validator(mode="after")
    def _one_of_them(self) -> "DryRunBody":
        given = [name for name in _What if getattr(self, name) is not None]
        if given not in (["input"], ["inputs"], ["against"], ["input", "against"], ["shadow"]):
            raise ValueError("give one of `input`, `inputs`, `against` (also with an `input`) and `shadow`")
        if self.key is not None and given != ["input"]:
            raise ValueError("`key` goes with one `input`: other runs have the keys of theirs")
        return self

    @property
    def played(self) -> dict[str, Any]:
        """How each run is played."""
        return {"script": Script.of(self.script), "faults": self.faults}

    @property
    def sources(self) -> dict[str, bool]:
        """Where answers come from."""
        return {"recorded": self.recorded, "generate": self.generate, "real_reads": self.real_reads}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """One of many dry runs. `error`: why it could not be played; else its report is found by `run`."""

    ok: bool
    key: str | None = None
    run: UUID | None = None
    verdict: str | None = None
    why: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsals:
    """Many dry runs. `ok`: of all of them; `ends`: how many ended how; `items`: as their inputs came."""

    ok: bool
    ends: dict[str, int]
    items: tuple[Rehearsed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A real saga and its story played again.

    Attributes:
        ok: they are the same at every point.
        up_to: where the real one is, if it is not over: they were compared up to there.
        points: how many of each kind were compared.
        error: why it could not be played.
    """

    ok: bool
    real: UUID
    dry: UUID | None = None
    up_to: str | None = None
    points: dict[str, int]
    differences: tuple[Difference, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """Real sagas played again. `ok`: none differs; these runs are not kept."""

    ok: bool
    same: int
    differ: int
    items: tuple[Beside, ...]


def rehearsals(sagas: Orchestrator, *, notices: bool = False) -> APIRouter:
    """The routes that rehearse; `notices`: there is a dry outlet, which is told of them."""
    router = APIRouter(tags=["rehearse"])
    turns = asyncio.Semaphore(AT_ONCE)

    @router.post(
        "/dry-runs",
        summary="Rehearse a saga, many, or real ones again",
        status_code=201,
        responses=answers.described(Shadowed, 200, "`shadow`: compared, and not kept")
        | answers.described_any(Report, Rehearsals, Beside, status=201, what="rehearsed, and kept"),
        openapi_extra=documented(DryRunBody),
    )
    async def rehearse(request: Request) -> Response:
        """Play sagas on live data, in lane `dry`: the real code and log, and nothing happens."""
        body = await read(request, DryRunBody)
        check_known(body.definition, sagas, current_actor(request))
        call = _Call(sagas, seen(request, sagas), body, notices=notices)
        return await call.answered(turns)

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


class _Call:
    """One call of `POST /v1/dry-runs`."""

    def __init__(self, sagas: Orchestrator, seen: Seen, body: DryRunBody, *, notices: bool) -> None:
        self._sagas, self._seen, self._body = sagas, seen, body
        self._told: dict[str, Any] = {"app": sagas, "notices": notices, **body.played}

    async def answered(self, turns: asyncio.Semaphore) -> Response:
        body = self._body
        if body.inputs is not None:
            return await self._many(turns, body.inputs)
        if body.shadow is not None:
            return await self._shadowed(turns, body.shadow)
        if body.against is not None:
            return await self._against(turns, body.against)
        return await self._one(turns)

    async def _one(self, turns: asyncio.Semaphore) -> Response:
        body = self._body
        told = {"key": body.key, **self._told, **body.sources}
        async with turns:
            report = await dry_run(body.definition, body.input, **told)
        report = await self._seen.report(report)
        return answers.one(report, status=201, headers=_found_at(report.run))

    async def _many(self, turns: asyncio.Semaphore, inputs: list[dict[str, Any]]) -> Response:
        async with turns:
            found = await dry_runs(self._body.definition, inputs, **self._told, sources=self._sources)
        items = [await self._rehearsed(one) for one in found]
        ends = Counter(_end(one, outcome) for one, outcome in zip(items, found, strict=True))
        all_ok = all(one.ok for one in items)
        return answers.one(Rehearsals(ok=all_ok, ends=dict(ends), items=tuple(items)), status=201)

    async def _rehearsed(self, one: Outcome[Report]) -> Rehearsed:
        if one.found is None:
            return Rehearsed(ok=False, error=str(one.error))
        report = await self._seen.report(one.found)
        return Rehearsed(ok=report.ok, key=report.key, run=report.run, verdict=report.verdict, why=report.why)

    async def _against(self, turns: asyncio.Semaphore, ref: str) -> Response:
        view = await self._sagas.show(await self._seen.existing(ref))
        told = {"input": self._body.input, "keep": True, **self._told, "sources": self._sources}
        async with turns:
            [one] = await compared_with(self._body.definition, [view], **told)
        if one.error is not None:
            raise one.error
        beside = await self._beside(view.id, one)
        return answers.one(beside, status=201, headers=_found_at(beside.dry))

    async def _shadowed(self, turns: asyncio.Semaphore, count: int) -> Response:
        views = await newest_ended(self._sagas, self._body.definition, count)
        async with turns:
            found = await compared_with(self._body.definition, views, **self._told, sources=self._sources)
        items = [await self._beside(view.id, one) for view, one in zip(views, found, strict=True)]
        same = sum(one.ok for one in items)
        differ = len(items) - same
        return answers.one(Shadowed(ok=not differ, same=same, differ=differ, items=tuple(items)))

    async def _beside(self, real: UUID, one: Outcome[Compared]) -> Beside:
        if one.found is None:
            return Beside(ok=False, real=real, points={}, differences=(), error=str(one.error))
        found = await self._seen.compared(one.found)
        return Beside(
            ok=found.ok,
            real=found.real,
            dry=found.dry,
            up_to=found.up_to,
            points=found.points,
            differences=found.differences,
        )

    @property
    def _sources(self) -> Sources:
        return Sources(**self._body.sources)


def _end(one: Rehearsed, outcome: Outcome[Report]) -> str:
    if one.verdict is not None:
        return one.verdict
    return "not finished" if isinstance(outcome.error, Unfinished) else "could not be played"


def _found_at(run: UUID | None) -> dict[str, str]:
    return {"location": f"/v1/dry-runs/{run}"}
