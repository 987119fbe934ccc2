"""Calls that act: start, signal, cancel, retry, rollback.

An accepted act is stored before it is answered; a worker carries it out.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sagacity.errors import UnknownDefinition
from sagacity.model.operating import Actor
from sagacity.orchestrator import Orchestrator
from sagacity.web import answers
from sagacity.web.bodies import (
    AddressedSignalBody,
    CancelBody,
    RetryBody,
    RollbackBody,
    SignalBody,
    StartBody,
    documented,
    read,
)
from sagacity.web.guard.caller import acting, current_actor
from sagacity.web.seen import seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A saga that was started, or was there already.

    Attributes:
        new: False where the same key and input had started it before.
        note: what hinders it, e.g. that no worker runs its flow.
    """

    id: UUID
    definition: str
    key: str
    new: bool
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An act was stored. `new`: False where the same message had come before."""

    saga: UUID
    new: bool


def acts(sagas: Orchestrator) -> APIRouter:
    """The routes that act."""
    router = APIRouter(tags=["act"])
    _starts(router, sagas)
    _signals(router, sagas)
    _repairs(router, sagas)
    _rollbacks(router, sagas)
    return router


def _starts(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/sagas",
        summary="Start a saga",
        status_code=201,
        responses=answers.described(Started, 201, "started")
        | answers.described(Started, 200, "it was there"),
        openapi_extra=documented(StartBody),
    )
    async def start(request: Request) -> Response:
        """Idempotent by key: the same key and input answer the same saga, with 200 instead of 201."""
        body = await read(request, StartBody)
        _check_known(body.definition, sagas, current_actor(request))
        handle = await sagas.start(
            body.definition,
            body.input,
            key=body.key,
            ignore_unknown=body.ignore_unknown,
            actor=acting(request, body.actor),
        )
        served = any(handle.definition in worker.definitions for worker in await sagas.store.workers())
        started = Started(
            id=handle.id,
            definition=handle.definition,
            key=handle.key,
            new=handle.new,
            note=None if served else f"no worker runs {handle.definition} now; it is stored and waits",
        )
        return answers.one(
            started, status=201 if handle.new else 200, headers={"location": f"/v1/sagas/{handle.id}"}
        )


def _signals(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/sagas/{ref}/signals",
        summary="Signal a saga",
        status_code=202,
        responses=answers.described(Accepted, 202, "stored"),
        openapi_extra=documented(SignalBody),
    )
    async def signal(request: Request, ref: str, definition: str | None = None) -> Response:
        """`ref` is an id or a business key; a signal that comes early waits until it is awaited."""
        body = await read(request, SignalBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        receipt = await sagas.signal(
            saga, body.name, body.data, id=body.id, actor=acting(request, body.actor)
        )
        return accepted(saga, receipt)

    @router.post(
        "/signals",
        summary="Take a web hook",
        status_code=202,
        responses=answers.described(Accepted, 202, "stored"),
        openapi_extra=documented(AddressedSignalBody),
    )
    async def hook(request: Request) -> Response:
        """A signal whose body names its saga. Sent again with the same `id` it counts once."""
        body = await read(request, AddressedSignalBody)
        if body.definition is not None:
            _check_known(body.definition, sagas, current_actor(request))
        ref: Any = body.saga if body.saga is not None else body.key
        saga = await seen(request, sagas).resolve(ref, definition=body.definition)
        receipt = await sagas.signal(
            saga, body.name, body.data, id=body.id, actor=acting(request, body.actor)
        )
        return accepted(saga, receipt)


def _repairs(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/sagas/{ref}/cancel",
        summary="Ask a saga to go back",
        status_code=202,
        responses=answers.described(Accepted, 202, "stored"),
        openapi_extra=documented(CancelBody),
    )
    async def cancel(request: Request, ref: str, definition: str | None = None) -> Response:
        body = await read(request, CancelBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        return accepted(saga, await sagas.cancel(saga, reason=body.reason, actor=acting(request, body.actor)))

    @router.post(
        "/sagas/{ref}/retry",
        summary="Send a stuck or waiting saga on",
        status_code=202,
        responses=answers.described(Accepted, 202, "stored"),
        openapi_extra=documented(RetryBody),
    )
    async def retry(request: Request, ref: str, definition: str | None = None) -> Response:
        body = await read(request, RetryBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        return accepted(saga, await sagas.retry(saga, reason=body.reason, actor=acting(request, body.actor)))


def _rollbacks(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/sagas/{ref}/rollback",
        summary="Roll a committed saga back",
        status_code=202,
        responses=answers.described(Started, 202, "a saga that does it was started"),
        openapi_extra=documented(RollbackBody),
    )
    async def rollback(request: Request, ref: str, definition: str | None = None) -> Response:
        """By a new saga, linked to it. `GET …/preview` tells before what it would do."""
        body = await read(request, RollbackBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        handle = await sagas.rollback(
            saga,
            reason=body.reason,
            actor=acting(request, body.actor),
            accept_remaining=body.accept_remaining,
        )
        started = Started(id=handle.id, definition=handle.definition, key=handle.key, new=handle.new)
        return answers.one(started, status=202, headers={"location": f"/v1/sagas/{handle.id}"})


def accepted(saga: UUID, receipt: Any) -> Response:
    """202 for an act that is stored."""
    return answers.one(
        Accepted(saga=saga, new=receipt.new), status=202, headers={"location": f"/v1/sagas/{saga}"}
    )


def _check_known(definition: str, sagas: Orchestrator, actor: Actor) -> None:
    """That a flow is known here and is the caller's.

    Raises:
        UnknownDefinition: it is not; both read the same.
    """
    mine = [name for name in sagas.project.flows if actor.definitions is None or name in actor.definitions]
    if definition not in mine:
        known = ", ".join(sorted(mine)) or "none"
        raise UnknownDefinition(f"no flow {definition!r} is known here; known: {known}")
