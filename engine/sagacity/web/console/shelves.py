"""The pages that list what is not a saga: locks, dry runs, definitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sagacity.cli.narrowing import id_of, next_cursor
from sagacity.definition.flow import Flow
from sagacity.dry.shelf import stored_report
from sagacity.model.record import Status
from sagacity.model.unit import WorkerInfo
from sagacity.model.views import Count, LockView
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter
from sagacity.web.console import outline
from sagacity.web.console.frame import Frame
from sagacity.web.console.svg import Walk, svg
from sagacity.web.seen import seen

PAGE, LOCKS = 50, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One object, who has it, and who waits for it."""

    object: str
    holders: tuple[LockView, ...]
    waiters: tuple[LockView, ...]

    @property
    def since(self) -> datetime:
        """Since when the oldest place in its queue is there."""
        return min(place.since for place in (*self.holders, *self.waiters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One definition of this project, who runs it, and how many of its sagas stand where."""

    flow: Flow
    drawing: str
    outline: Sequence[outline.Item]
    counts: dict[Status, Count]
    workers: Sequence[WorkerInfo]


def pages(frame: Frame) -> APIRouter:
    """The routes of this module."""
    router = frame.router()
    _locks(router, frame)
    _dry_runs(router, frame)
    _definitions(router, frame)
    return router


def _locks(router: APIRouter, frame: Frame) -> None:
    @router.get("/locks")
    async def locks(request: Request, object: str = "", waited: bool = False) -> Response:
        if object:
            places, complete = tuple(await frame.sagas.locks(object=object)), True
        else:
            board = await frame.sagas.store.lock_board(limit=LOCKS)
            places, complete = board.locks, board.complete
        found = by_object(places)
        return await frame.page(
            request,
            "locks.html",
            found=[one for one in found if one.waiters] if waited else found,
            queued=sum(1 for one in found if one.waiters),
            complete=complete,
            object=object,
            waited=waited,
        )


def by_object(places: Sequence[LockView]) -> list[Locked]:
    """The places of queues, object by object; the longest queue first, then the oldest."""
    objects = dict.fromkeys(place.object for place in places)
    found = [
        Locked(
            object=object,
            holders=tuple(p for p in places if p.object == object and p.held),
            waiters=tuple(p for p in places if p.object == object and not p.held),
        )
        for object in objects
    ]
    return sorted(found, key=lambda one: (-len(one.waiters), one.since))


def _dry_runs(router: APIRouter, frame: Frame) -> None:
    @router.get("/dry-runs")
    async def listed(request: Request, definition: str = "", cursor: str = "") -> Response:
        """Runs, newest first; each with its verdict, and with `run` in the address the whole report."""
        dry = frame.sagas.store.beside("dry")
        before = id_of(cursor, what="cursor") if cursor else None
        all_ = await dry.sagas(Filter(definition=definition or None, before=before, limit=PAGE))
        mine = seen(request, frame.sagas)
        found = [one for one in all_ if mine.holds(one.definition)]
        chosen = request.query_params.get("run")
        report = None
        if chosen:
            report = await mine.report(await stored_report(frame.sagas.store, id_of(chosen, what="run")))
        return await frame.page(
            request,
            "dry_runs.html",
            found=found,
            report=report,
            lines=report.text().splitlines() if report is not None else (),
            definition=definition,
            definitions=sorted(name for name in frame.sagas.project.flows if mine.holds(name)),
            next=next_cursor(all_, limit=PAGE),
        )


def _definitions(router: APIRouter, frame: Frame) -> None:
    @router.get("/definitions")
    async def definitions(request: Request) -> Response:
        workers = await frame.sagas.store.workers()
        mine = seen(request, frame.sagas)
        flows = [flow for flow in frame.sagas.project.flows.values() if mine.holds(flow.name)]
        found = [await _known(frame.sagas, flow, workers) for flow in flows]
        return await frame.page(request, "definitions.html", found=found, workers=workers)


async def _known(sagas: Orchestrator, flow: Flow, workers: Sequence[WorkerInfo]) -> Known:
    return Known(
        flow=flow,
        drawing=svg(flow, id=f"flow-{flow.name}"),
        outline=outline.of(flow, Walk()),
        counts={s: count for s, count in (await sagas.tally(flow.name)).items() if count.number},
        workers=[one for one in workers if flow.name in one.definitions],
    )
