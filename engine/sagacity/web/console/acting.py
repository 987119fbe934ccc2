"""From a verb to a plan: what each verb asks for, as a form, and what the form says, as an action.

Nothing is done here. A form makes a plan, and the plan's page shows what it would do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from sagacity.cli.narrowing import id_of
from sagacity.decide import operating as engine
from sagacity.decide.attention import KINDS
from sagacity.decide.targets import leaves
from sagacity.definition.flow import Flow
from sagacity.errors import InputError, NotFound, RefusedAct, SagacityError
from sagacity.model.canonical import canonical, parsed
from sagacity.model.operating import TIER, Action, Actor, Role, Verb
from sagacity.model.record import Record
from sagacity.operating.rules import asked_for
from sagacity.web.console.forms import Form, read_form
from sagacity.web.console.frame import Frame
from sagacity.web.guard.caller import current_actor

BULK = (Verb.RETRY, Verb.PAUSE, Verb.RESUME, Verb.CANCEL, Verb.ABANDON)
"""What can be planned for many at once: what needs no word about each of them."""

SAYS: Mapping[Verb, str] = {
    Verb.RETRY: "Try the step, or the compensation, again; attempts count anew.",
    Verb.PAUSE: "No new step is taken; what is in flight is recorded. Its locks stay.",
    Verb.RESUME: "Let it go on where it was paused.",
    Verb.CANCEL: "Stop going forward and make good what was done, the last first.",
    Verb.SIGNAL: "Tell it what it waits for.",
    Verb.SKIP: "Count a step, or an undo, as done: you say what came of it.",
    Verb.FORCE: "Move it to another state, along an edge that its flow declares for that.",
    Verb.ABANDON: "Stop, and leave what was done outside as it is. Its locks are freed.",
    Verb.RELEASE_LOCK: "Take one lock away from it.",
    Verb.ROLLBACK: "Bring back what it has changed, by a new saga.",
    Verb.ACK: "Take it off the attention page until something moves. The saga is not changed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One verb for one saga. `rule`: why it is refused now; None: it is not."""

    verb: Verb
    tier: int
    says: str
    rule: str | None
    asked: tuple[str, ...]


def offers(record: Record, flow: Flow | None, actor: Actor) -> list[Offer]:
    """Every verb, those that are possible first; each other one with the rule that is in the way."""
    found = []
    possible = engine.allowed(record, flow)
    may = actor.may(Role.OPERATOR, record.definition)
    for verb in Verb:
        rule = None if verb in possible else engine.refusal(record, flow, verb, {})
        if verb not in possible and rule is None:
            rule = "nothing is to be acknowledged" if verb is Verb.ACK else "not possible now"
        if rule is None and not may:
            rule = f"{actor.id} has not the role operator for {record.definition}"
        tier = TIER[verb]
        found.append(Offer(verb=verb, tier=tier, says=SAYS[verb], rule=rule, asked=asked_for(tier)))
    return sorted(found, key=lambda offer: offer.rule is not None)


def pages(frame: Frame) -> APIRouter:
    """The routes of this module."""
    router = frame.router()
    _form(router, frame)
    _many(router, frame)
    return router


async def _asked(
    frame: Frame,
    request: Request,
    saga: UUID,
    verb: Verb,
    *,
    form: Form | None = None,
    error: SagacityError | None = None,
) -> Response:
    sagas = frame.sagas
    row = await sagas.store.saga(saga)
    view = await sagas.show(saga)
    record = row.record if row is not None else None
    flow = sagas.project.flows.get(view.definition)
    return await frame.page(
        request,
        "act.html",
        status=frame.status_of(error),
        error=error,
        view=view,
        verb=verb,
        says=SAYS[verb],
        tier=TIER[verb],
        asked=asked_for(TIER[verb]),
        said=form or Form(()),
        record=record,
        queue=await sagas.locks(saga=saga) if verb is Verb.RELEASE_LOCK else [],
        states=leaves(flow) if flow is not None else [],
        edges=flow.overrides if flow is not None else (),
        kinds=KINDS,
    )


def _form(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.get("/sagas/{saga}/acts/{verb}")
    async def ask(request: Request, saga: UUID, verb: str) -> Response:
        return await _asked(frame, request, saga, verb_of(verb))

    @router.post("/sagas/{saga}/acts/{verb}")
    async def plan(request: Request, saga: UUID, verb: str) -> Response:
        form, wanted = await read_form(request), verb_of(verb)
        try:
            args = canonical(ARGS[wanted](form, saga)) if wanted in ARGS else canonical({})
            made = await sagas.plan(Action(verb=wanted, sagas=(saga,), args=args), current_actor(request))
        except (InputError, RefusedAct) as error:
            return await _asked(frame, request, saga, wanted, form=form, error=error)
        return RedirectResponse(f"/plans/{made.id}", 303)


def _many(router: APIRouter, frame: Frame) -> None:
    sagas = frame.sagas

    @router.post("/plans")
    async def plan(request: Request) -> Response:
        """A plan for the sagas that were ticked, or for all that a filter means now: those, and no others."""
        form, actor = await read_form(request), current_actor(request)
        verb = verb_of(form.text("verb"))
        args = canonical({"kind": form.text("kind")}) if verb is Verb.ACK else canonical({})
        if form.text("of") == "all":
            chosen = await sagas.select(form.text("q"), actor)
            action = Action(verb=verb, selection=chosen.id, args=args)
        else:
            ids = tuple(id_of(one, what="saga") for one in form.all("saga"))
            action = Action(verb=verb, sagas=ids, args=args)
        made = await sagas.plan(action, actor)
        return RedirectResponse(f"/plans/{made.id}", 303)


def verb_of(text: str) -> Verb:
    """The verb of that name.

    Raises:
        NotFound: there is none.
    """
    try:
        return Verb(text)
    except ValueError:
        raise NotFound(f"no act {text!r}: there are {', '.join(Verb)}") from None


def _signal(form: Form, saga: UUID) -> dict[str, Any]:
    return {"name": form.text("name"), "data": parsed(form.text("data") or "null")}


def _skip(form: Form, saga: UUID) -> dict[str, Any]:
    said: dict[str, Any] = {"result": parsed(form.text("result") or "null")}
    if form.text("landed"):
        said["landed"] = form.text("landed")
    if form.text("step"):
        said["step"] = form.text("step")
    return said


def _force(form: Form, saga: UUID) -> dict[str, Any]:
    said: dict[str, Any] = {"to": form.text("to")}
    if form.text("landed"):
        said["landed"] = form.text("landed")
    if form.ticked("break_edge"):
        said["break_edge"] = True
    return said


def _release(form: Form, saga: UUID) -> dict[str, Any]:
    object, _, fence = form.text("lock").rpartition("#")
    if not object or not fence.isdecimal():
        raise InputError("choose which lock")
    return {"object": object, "fence": int(fence), "holder": str(saga)}


def _rollback(form: Form, saga: UUID) -> dict[str, Any]:
    return {"accept_remaining": True} if form.ticked("accept_remaining") else {}


def _ack(form: Form, saga: UUID) -> dict[str, Any]:
    return {"kind": form.text("kind")}


ARGS: Mapping[Verb, Callable[[Form, UUID], dict[str, Any]]] = {
    Verb.SIGNAL: _signal,
    Verb.SKIP: _skip,
    Verb.FORCE: _force,
    Verb.RELEASE_LOCK: _release,
    Verb.ROLLBACK: _rollback,
    Verb.ACK: _ack,
}
"""What each verb's form says, as the verb's arguments."""
