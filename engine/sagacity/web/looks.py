"""Calls that only look: sagas, their stories, objects, locks, counts, health."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from sagacity.cli.narrowing import narrowed, next_cursor
from sagacity.cli.story import tell
from sagacity.model.canonical import Json
from sagacity.model.views import (
    HistoryLine,
    LockView,
    ObjectVersion,
    ObjectView,
    Outcome,
    RollbackPreview,
    SagaSummary,
    SagaView,
)
from sagacity.orchestrator import Orchestrator
from sagacity.web import answers
from sagacity.web.seen import revealed, seen

Secrets = Annotated[
    Literal["show"] | None, Query(description="`show`: what is marked secret too; admins only, and logged")
]
LONGEST_WAIT = 60.0
"""Seconds that one call may wait for a saga's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldLine:
    """One line of a saga's story; `text` says it in plain words."""

    seq: int
    at: datetime
    kind: str
    data: Json | None
    object: str | None
    version: int | None
    chain: int
    position: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sagas per status. `at_least`: statuses of which there are more than were counted."""

    counts: dict[str, int]
    at_least: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`ok`: it answers (health), or its store does too, with the schema that it needs (ready)."""

    ok: bool


Behind = Annotated[int, Query(ge=-1, le=2**31 - 1, description="`next` of the page before")]


def looks(sagas: Orchestrator) -> APIRouter:
    """The routes that look."""
    router = APIRouter(tags=["look"])
    _sagas(router, sagas)
    _one_saga(router, sagas)
    _versions(router, sagas)  # before `/objects/…`, whose id may have slashes in it
    _objects(router, sagas)
    _whole(router, sagas)
    return router


def _sagas(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get("/sagas", summary="List sagas, newest first", responses=answers.described_page(SagaSummary))
    async def listed(
        request: Request,
        *,
        status: Annotated[list[str] | None, Query()] = None,
        definition: str | None = None,
        key: str | None = None,
        cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        filter_ = narrowed(status=status or (), definition=definition, key=key, before=cursor, limit=limit)
        found = await seen(request, sagas).list(filter_)
        return answers.many(found, after=next_cursor(found, limit=limit))


def _one_saga(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get("/sagas/{ref}", summary="One saga, whole", responses=answers.described(SagaView))
    async def show(
        request: Request, ref: str, definition: str | None = None, secrets: Secrets = None
    ) -> Response:
        """`ref` is an id or a business key. What is marked secret is `•••`."""
        mine = revealed(request, sagas, secrets)
        return answers.one(await mine.show(await mine.resolve(ref, definition=definition)))

    @router.get("/sagas/{ref}/history", summary="Its story", responses=answers.described_page(ToldLine))
    async def history(
        request: Request,
        ref: str,
        *,
        definition: str | None = None,
        secrets: Secrets = None,
        cursor: Behind = -1,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 500,
    ) -> Response:
        """The lines of its log, oldest first, with the same in plain words."""
        mine = revealed(request, sagas, secrets)
        saga = await mine.resolve(ref, definition=definition)
        found = await mine.history(saga, after=cursor, limit=limit)
        return answers.many(map(_told, found), after=str(found[-1].seq) if len(found) == limit else None)

    _endings(router, sagas)


def _endings(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get("/sagas/{ref}/outcome", summary="How it ended", responses=answers.described(Outcome))
    async def outcome(
        request: Request,
        ref: str,
        definition: str | None = None,
        secrets: Secrets = None,
        timeout: Annotated[
            float, Query(ge=0, le=LONGEST_WAIT, description="seconds to wait for its end")
        ] = 0,
    ) -> Response:
        """How it ended, or where it stands when `timeout` is over."""
        mine = revealed(request, sagas, secrets)
        saga = await mine.resolve(ref, definition=definition)
        return answers.one(await mine.outcome(saga, timeout=timedelta(seconds=timeout)))

    @router.get(
        "/sagas/{ref}/preview",
        summary="What rolling it back would do",
        responses=answers.described(RollbackPreview),
    )
    async def preview(request: Request, ref: str, definition: str | None = None) -> Response:
        mine = seen(request, sagas)
        return answers.one(await mine.preview(await mine.resolve(ref, definition=definition)))


def _told(line: HistoryLine) -> ToldLine:
    return ToldLine(
        seq=line.seq,
        at=line.at,
        kind=line.kind,
        data=line.data,
        object=line.object,
        version=line.version,
        chain=line.chain,
        position=line.position,
        text=tell(line),
    )


def _versions(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get(
        "/objects/{type}/{id:path}/history",
        summary="Every version of a participant",
        responses=answers.described_page(ObjectVersion),
    )
    async def versions(
        request: Request,
        type: str,
        id: str,
        *,
        secrets: Secrets = None,
        cursor: Behind = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 100,
    ) -> Response:
        """Oldest first."""
        mine = revealed(request, sagas, secrets)
        found, last = await mine.object_history(f"{type}:{id}", after=max(cursor, 0), limit=limit)
        return answers.many(found, after=None if last is None else str(last))


def _objects(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get(
        "/objects/{type}/{id:path}",
        summary="A participant's last committed value",
        responses=answers.described(ObjectView) | {304: {"description": "not changed"}},
    )
    async def one(
        request: Request,
        type: str,
        id: str,
        *,
        at: Annotated[int | None, Query(ge=0, description="as it was at this version")] = None,
        if_none_match: Annotated[str | None, Header()] = None,
        secrets: Secrets = None,
    ) -> Response:
        """`ETag` is its version; `in_transaction` tells whether a saga holds it, and which."""
        view = await revealed(request, sagas, secrets).object(f"{type}:{id}", at=at)
        headers = {"etag": f'"{view.version}"', "cache-control": "no-cache"}
        if _matches(if_none_match, view.version):
            return Response(status_code=304, headers=headers)
        return answers.one(view, headers=headers)


def _matches(if_none_match: str | None, version: int) -> bool:
    """Whether one of the tags that the caller knows is `version` (weak comparison, as RFC 9110 wants)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or f'"{version}"' in tags


def _whole(router: APIRouter, sagas: Orchestrator) -> None:
    @router.get(
        "/locks", summary="Who holds and who waits for what", responses=answers.described_page(LockView)
    )
    async def locks(request: Request, object: str | None = None, saga: str | None = None) -> Response:
        mine = seen(request, sagas)
        of = await mine.resolve(saga) if saga is not None else None
        return answers.many(await mine.locks(object=object, saga=of))

    @router.get("/counts", summary="Sagas per status", responses=answers.described(Counts))
    async def counts(request: Request, definition: str | None = None) -> Response:
        """Each is counted to 20,000, and to 2,000 where rows must be read for it."""
        found = await seen(request, sagas).tally(definition)
        counts = {status.value: count.number for status, count in found.items()}
        at_least = [status.value for status, count in found.items() if not count.exact]
        return answers.one(Counts(counts=counts, at_least=at_least))


def state_of_health(sagas: Orchestrator) -> APIRouter:
    """`/health` and `/ready`, for whoever watches the process; also under `/v1`."""
    router = APIRouter(tags=["health"])

    @router.get("/health", summary="The process answers", responses=answers.described(Health))
    @router.get("/v1/health", include_in_schema=False)
    async def health() -> Response:
        return answers.one(Health(ok=True))

    @router.get("/ready", summary="The store answers too", responses=answers.described(Health))
    @router.get("/v1/ready", include_in_schema=False)
    async def ready(_: Request) -> Response:
        await sagas.store.check()
        return answers.one(Health(ok=True))

    return router
