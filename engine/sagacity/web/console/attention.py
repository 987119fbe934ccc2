"""The first page: what nothing will move by itself, in groups that look alike, with what can be done."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sagacity.decide.attention import KINDS
from sagacity.model.operating import AttentionGroup, Role, Verb
from sagacity.web.console.frame import Frame
from sagacity.web.guard.caller import current_actor

ACTS: Mapping[str, tuple[Verb, ...]] = {
    "undo_failed": (Verb.RETRY, Verb.ACK),
    "stuck": (Verb.RETRY, Verb.ACK),
    "retrying": (Verb.RETRY, Verb.PAUSE, Verb.ACK),
    "paused": (Verb.RESUME, Verb.ACK),
    "nothing_scheduled": (Verb.CANCEL, Verb.ACK),
    "overdue": (Verb.ACK,),
    "unserved": (Verb.ACK,),
}
"""What is offered for a whole group of one kind; the rest is offered on a saga's own page."""


def pages(frame: Frame) -> APIRouter:
    """The routes of this module."""
    router = frame.router()

    @router.get("/")
    async def attention(request: Request) -> Response:
        groups = await frame.sagas.attention()
        return await frame.page(
            request,
            "attention.html",
            groups=groups,
            total=sum(group.count for group in groups),
            exact=all(group.exact for group in groups),
            kinds=KINDS,
            acts=ACTS,
            may=current_actor(request).may(Role.OPERATOR),
            query=query_of,
        )

    return router


def query_of(group: AttentionGroup) -> str | None:
    """The words that find the sagas of a group's kind; None where no words do."""
    kinds = {"undo_failed": "status:stuck", "stuck": "status:stuck", "paused": "paused:yes"}
    words = kinds.get(group.kind)
    return f"type:{group.definition} {words}" if words else None
