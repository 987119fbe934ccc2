"""The pages about sagas: the list, and one saga, whole.

A saga can have thousands of lines. Its page reads the last ones for the drawing and the timeline,
and serves the log in pieces: scripts fetch the next when it comes into view, without them it is a link.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sagacity.cli.narrowing import id_of, next_cursor
from sagacity.cli.story import tell
from sagacity.decide import explain
from sagacity.definition.flow import Flow
from sagacity.errors import InputError
from sagacity.model.operating import Role
from sagacity.model.record import Record, Run, Status, WaitsFor
from sagacity.model.views import Count, HistoryLine, LockView, SagaSummary, SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.web.console import outline, story
from sagacity.web.console.acting import BULK, offers
from sagacity.web.console.frame import Frame
from sagacity.web.console.svg import Walk, svg
from sagacity.web.console.values import EFFECT
from sagacity.web.guard.caller import current_actor

PAGE, LINES, LAST = 50, 200, 2_000
"""Sagas on a page, lines in one piece of a log, and lines that a drawing is made from."""

FAILURES = frozenset({"failed", "undo_failed", "stuck", "act_refused", "timed_out", "interrupted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One object that a saga holds or waits for, and who else is there."""

    mine: LockView
    holders: tuple[LockView, ...]
    waiters: tuple[LockView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of a log, and what it says in words."""

    line: HistoryLine
    text: str

    @property
    def failure(self) -> bool:
        """Whether something went wrong."""
        return self.line.kind in FAILURES


def pages(frame: Frame) -> APIRouter:
    """The routes of this module."""
    router = frame.router()
    _list(router, frame)
    _one(router, frame)
    _log(router, frame)
    return router


def _list(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.get("/sagas")
    async def listed(
        request: Request,
        q: str = "",
        status: str = "",
        cursor: str = "",
    ) -> Response:
        wanted = " ".join(part for part in (q.strip(), f"status:{status}" if status else "") if part)
        before = id_of(cursor, what="cursor") if cursor else None
        error: InputError | None = None
        found: list[SagaSummary] = []
        try:
            found = await sagas.find(wanted, limit=PAGE, before=before, actor=current_actor(request))
        except InputError as refused:
            error = refused
        counts = await sagas.tally()
        none = Count(number=0, exact=True)
        return await frame.page(
            request,
            "sagas.html",
            found=found,
            counts={one: counts.get(one, none) for one in Status},
            total=sum(counts.values(), start=none),
            status=frame.status_of(error),
            error=error,
            said={"q": q, "status": status},
            wanted=wanted,
            verbs=BULK if current_actor(request).may(Role.OPERATOR) else (),
            next=next_cursor(found, limit=PAGE),
            first=not cursor,
        )


def _one(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.get("/sagas/{ref}")
    async def one(request: Request, ref: str, definition: str | None = None) -> Response:
        id = await sagas.resolve(ref, definition=definition)
        view = await sagas.show(id)
        row = await sagas.store.saga(id)
        record = row.record if row is not None else None
        now = await sagas.store.now()
        last = await sagas.store.history(id, after=max(-1, view.revision - LAST - 1))
        flow = _flow_of(sagas, view)
        walk = story.walk(record, last, now) if record is not None else Walk(here=frozenset(view.state))
        return await frame.page(
            request,
            "saga.html",
            view=view,
            runs=_runs(record),
            paused=record is not None and record.paused,
            error=explain.last_error(record) if record is not None else None,
            flow=flow,
            drawing=svg(flow, walk) if flow is not None else None,
            outline=outline.of(flow, walk) if flow is not None else (),
            chart=story.chart(last, view.updated_at if view.status.final else now),
            cut=view.revision > len(last),
            offers=offers(record, flow, current_actor(request)) if record is not None else (),
            chain=(await sagas.waits_for(id))[1:] if view.waits_for is WaitsFor.LOCK else (),
            queues=await _queues(sagas, view),
            effect_words=EFFECT,
            lines=_told(await sagas.store.history(id, limit=LINES)),
            many=LINES,
            acts=_told([line for line in last if line.kind in OPERATORS]),
            kinds=sorted({line.kind for line in last}),
        )


OPERATORS = frozenset({"act", "act_refused", "retried", "cancel_asked", "rollback_asked", "erased"})


def _log(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.get("/sagas/{saga}/lines")
    async def lines(
        request: Request, saga: UUID, after: int = -1, kind: str = "", failures: bool = False
    ) -> Response:
        """A piece of the log: a fragment for a script, a page for everybody else."""
        found, behind = await _piece(sagas, saga, after, kind, failures)
        fragment = request.headers.get("hx-request") == "true"
        view = await sagas.show(saga)
        return await frame.page(
            request,
            "lines_piece.html" if fragment else "lines.html",
            view=view,
            lines=found,
            behind=behind,
            after=after,
            kind=kind,
            failures=failures,
            kinds=sorted(FAILURES | {told.line.kind for told in found} | ({kind} if kind else set())),
        )


async def _piece(
    sagas: Orchestrator, saga: UUID, after: int, kind: str, failures: bool
) -> tuple[list[Told], int | None]:
    """The next lines that fit, and the number behind which the piece after them begins (None: it is over)."""
    found: list[HistoryLine] = []
    for _ in range(LAST // LINES):
        read = await sagas.store.history(saga, after=after, limit=LINES)
        found += [
            line
            for line in read
            if (not kind or line.kind == kind) and (not failures or line.kind in FAILURES)
        ]
        if len(read) < LINES:
            return _told(found), None
        after = read[-1].seq
        if len(found) >= LINES or not (kind or failures):
            break
    return _told(found), after


def _told(lines: Sequence[HistoryLine]) -> list[Told]:
    return [Told(line=line, text=tell(line)) for line in lines]


def _flow_of(sagas: Orchestrator, view: SagaView) -> Flow | None:
    """Its flow, if this process knows it in that version: another one would be drawn wrongly."""
    flow = sagas.project.flows.get(view.definition)
    return flow if flow is not None and flow.version == view.version else None


def _runs(record: Record | None) -> tuple[Run, ...]:
    return record.runs if record is not None else ()


async def _queues(sagas: Orchestrator, view: SagaView) -> list[Queue]:
    found = []
    for held in view.locks[:50]:
        places = await sagas.locks(object=held.object)
        mine = next((place for place in places if place.saga == view.id), None)
        if mine is not None:
            found.append(
                Queue(
                    mine=mine,
                    holders=tuple(place for place in places if place.held and place.saga != view.id),
                    waiters=tuple(place for place in places if not place.held and place.saga != view.id),
                )
            )
    return found
