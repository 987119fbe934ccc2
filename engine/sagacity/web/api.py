"""The calls of the API. Each is one call of the orchestrator: no rule lives here.

Every answer is JSON, every error a problem document, and only this machine is answered.
"""

import re
from typing import Any

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagacity.orchestrator import Orchestrator
from sagacity.web import problems
from sagacity.web.acts import acts
from sagacity.web.looks import looks, state_of_health
from sagacity.web.rehearsals import rehearsals

HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names under which it answers; another one is a page in a browser that tricks its name server."""

_PORT = re.compile(r":\d+$")


def create_app(orchestrator: Orchestrator) -> FastAPI:
    """The API of one orchestrator, which the caller opens and closes.

    Every answer is JSON; every error an RFC 9457 problem document.
    """
    app = FastAPI(
        title="Sagacity",
        summary="Long-lived business transactions: start, watch, repair.",
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.DOCUMENTED,
    )
    problems.install(app)
    app.include_router(acts(orchestrator), prefix="/v1")
    app.include_router(looks(orchestrator), prefix="/v1")
    app.include_router(rehearsals(orchestrator), prefix="/v1")
    app.include_router(state_of_health(orchestrator))
    app.add_middleware(_Guard)
    _document_problem(app)
    return app


class _Guard:
    """Lets in only who calls this machine by its name, and makes our own faults problems too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, begun = Request(scope), False
        host = _PORT.sub("", request.headers.get("host", ""))
        if host not in HOSTS:
            refusal = problems.problem(
                request, status=400, title="Bad host", detail=f"{host!r} is not this machine: call 127.0.0.1"
            )
            await refusal(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            if begun:
                raise
            await problems.fault_of(request, error)(scope, receive, send)


def _document_problem(app: FastAPI) -> None:
    """Put the shape of a problem among the described ones: every call refers to it."""
    described = app.openapi

    def with_problem() -> dict[str, Any]:
        schema = described()
        known = schema.setdefault("components", {}).setdefault("schemas", {})
        known.setdefault("Problem", problems.Problem.model_json_schema())
        return schema

    app.openapi = with_problem  # type: ignore[method-assign]
