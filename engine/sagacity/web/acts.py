"""Calls that act: start, signal, cancel, retry, rollback.

An accepted act is stored before it is answered; a worker carries it out.
"""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sagacity.errors import UnknownDefinition
from sagacity.ids import derived_id
from sagacity.model.canonical import canonical
from sagacity.model.operating import Action, Actor, Plan, Verb
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.rollbacks import rollback_id
from sagacity.web import answers
from sagacity.web.bodies import (
    ActBody,
    AddressedSignalBody,
    CancelBody,
    RetryBody,
    RollbackBody,
    SignalBody,
    StartBody,
    documented,
    key_of,
    read,
)
from sagacity.web.guard.caller import acting, current_actor, hooking
from sagacity.web.office import planned
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
    """An act was stored. `new`: False where the same message had come before; `plan`: what it went by."""

    saga: UUID
    new: bool
    plan: UUID | None = None


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
        check_known(body.definition, sagas, current_actor(request))
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
        openapi_extra=documented(SignalBody, idempotent=True),
    )
    async def signal(request: Request, ref: str, definition: str | None = None) -> Response:
        """`ref` is an id or a business key; a signal that comes early waits until it is awaited."""
        body = await read(request, SignalBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        receipt = await sagas.signal(
            saga, body.name, body.data, id=_once(request, body.id), actor=acting(request, body.actor)
        )
        return accepted(saga, receipt)

    @router.post(
        "/signals",
        summary="Take a web hook",
        status_code=202,
        responses=answers.described(Accepted, 202, "stored"),
        openapi_extra=documented(AddressedSignalBody, idempotent=True),
    )
    async def hook(request: Request) -> Response:
        """A signal whose body names its saga. Sent again with the same `id` it counts once."""
        body = await read(request, AddressedSignalBody)
        if body.definition is not None:
            check_known(body.definition, sagas, current_actor(request))
        ref: Any = body.saga if body.saga is not None else body.key
        saga = await seen(request, sagas).resolve(ref, definition=body.definition)
        receipt = await sagas.signal(
            saga, body.name, body.data, id=_once(request, body.id), actor=hooking(request, body.actor)
        )
        return accepted(saga, receipt)


def _once(request: Request, given: UUID | None) -> UUID | None:
    """The message's id: as given, else from the `Idempotency-Key`, so that it counts once."""
    key = key_of(request)
    if given is not None or key is None:
        return given
    return derived_id("signal", current_actor(request).id, key)


def _repairs(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/sagas/{ref}/cancel",
        summary="Ask a saga to go back",
        status_code=202,
        responses=answers.described(Accepted, 202, "stored"),
        openapi_extra=documented(CancelBody, idempotent=True),
    )
    async def cancel(request: Request, ref: str, definition: str | None = None) -> Response:
        """A plan of this one saga, made and applied in one call: 428 where its tier asks for more."""
        body = await read(request, CancelBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        return await _acted(request, sagas, Verb.CANCEL, saga, body)

    @router.post(
        "/sagas/{ref}/retry",
        summary="Send a stuck or waiting saga on",
        status_code=202,
        responses=answers.described(Accepted, 202, "stored"),
        openapi_extra=documented(RetryBody, idempotent=True),
    )
    async def retry(request: Request, ref: str, definition: str | None = None) -> Response:
        """A plan of this one saga, made and applied in one call."""
        body = await read(request, RetryBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        return await _acted(request, sagas, Verb.RETRY, saga, body)


def _rollbacks(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/sagas/{ref}/rollback",
        summary="Roll a committed saga back",
        status_code=202,
        responses=answers.described(Started, 202, "a saga that does it was started"),
        openapi_extra=documented(RollbackBody, idempotent=True),
    )
    async def rollback(request: Request, ref: str, definition: str | None = None) -> Response:
        """By a new saga, linked to it. `GET …/preview` tells before what it would do.

        It is of tier 3: without `confirm` and the second person it is refused with 428, and the plan that was
        made waits for both; `break_glass` does without the second person, and somebody must look at it later.
        """
        body = await read(request, RollbackBody)
        saga = await seen(request, sagas).resolve(ref, definition=definition)
        plan = await _applied(
            request, sagas, Verb.ROLLBACK, saga, body, accept_remaining=body.accept_remaining
        )
        [item] = plan.items
        id, name, key = rollback_id(saga), item.definition, f"rollback:{item.key}"
        started = Started(id=id, definition=name, key=key, new=True)
        return answers.one(started, status=202, headers={"location": f"/v1/sagas/{id}"})


async def _acted(request: Request, sagas: Orchestrator, verb: Verb, saga: UUID, body: ActBody) -> Response:
    """The answer to an act on one saga that was planned and applied."""
    plan = await _applied(request, sagas, verb, saga, body)
    answer = Accepted(saga=saga, new=True, plan=plan.id)
    return answers.one(answer, status=202, headers={"location": f"/v1/sagas/{saga}"})


async def _applied(
    request: Request, sagas: Orchestrator, verb: Verb, saga: UUID, body: ActBody, **args: Any
) -> Plan:
    """A plan of one saga, made and applied by the caller. The plan stays where it cannot be applied yet.

    Raises:
        As `Orchestrator.plan` and `Orchestrator.apply`; and InputError: the call names another actor.
    """
    actor = replace(current_actor(request), id=acting(request, body.actor))
    action = Action(verb=verb, sagas=(saga,), args=canonical(args))
    plan, _ = await planned(sagas, action, actor, key=key_of(request))
    return await sagas.apply(
        plan.id,
        actor,
        reason=body.reason,
        ticket=body.ticket,
        confirm=body.confirm,
        break_glass=body.break_glass,
    )


def accepted(saga: UUID, receipt: Any) -> Response:
    """202 for an act that is stored."""
    return answers.one(
        Accepted(saga=saga, new=receipt.new), status=202, headers={"location": f"/v1/sagas/{saga}"}
    )


def check_known(definition: str, sagas: Orchestrator, actor: Actor) -> None:
    """That a flow is known here and is the caller's.

    Raises:
        UnknownDefinition: it is not; both read the same.
    """
    mine = [name for name in sagas.project.flows if actor.definitions is None or name in actor.definitions]
    if definition not in mine:
        known = ", ".join(sorted(mine)) or "none"
        raise UnknownDefinition(f"no flow {definition!r} is known here; known: {known}")
