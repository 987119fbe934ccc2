"""The calls of the API. Each is one call of the orchestrator: no rule lives here.

Every answer is JSON, every error a problem document, and every call passes the gate first.
"""

from typing import Any

from fastapi import FastAPI

from sagacity.orchestrator import Orchestrator
from sagacity.web import problems
from sagacity.web.acts import acts
from sagacity.web.console.pages import console
from sagacity.web.events import events
from sagacity.web.guard.gate import Gate
from sagacity.web.guard.routes import Routes
from sagacity.web.guard.sessions import Sessions
from sagacity.web.guard.settings import WebSettings
from sagacity.web.guard.tokens import Tokens
from sagacity.web.issuing import token_routes
from sagacity.web.looks import looks, state_of_health
from sagacity.web.office import office
from sagacity.web.rehearsals import rehearsals
from sagacity.web.roles import ROLES
from sagacity.web.shown import shown
from sagacity.web.signing import signing
from sagacity.web.watched import metrics


def create_app(orchestrator: Orchestrator, *, settings: WebSettings | None = None) -> FastAPI:
    """The API of one orchestrator, which the caller opens and closes.

    Every answer is JSON; every error an RFC 9457 problem document.

    Args:
        orchestrator: whose sagas.
        settings: who is let in, and how; by default who calls from this machine is `dev`, and nobody else is.
    """
    settings = settings or WebSettings()
    sessions = Sessions(settings)
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
    app.state.settings = settings
    problems.install(app)
    app.include_router(acts(orchestrator), prefix="/v1")
    app.include_router(looks(orchestrator), prefix="/v1")
    app.include_router(office(orchestrator), prefix="/v1")
    app.include_router(token_routes(orchestrator), prefix="/v1")
    app.include_router(events(orchestrator, settings.clock), prefix="/v1")
    app.include_router(rehearsals(orchestrator, notices=settings.dry_outlet), prefix="/v1")
    app.include_router(state_of_health(orchestrator))
    app.include_router(signing(orchestrator, settings, sessions))
    app.include_router(console(shown(orchestrator)))
    app.include_router(metrics(orchestrator))
    app.add_middleware(
        Gate,
        settings=settings,
        routes=Routes(lambda: app.routes, ROLES),
        sessions=sessions,
        bearer=Tokens(orchestrator.store, settings.clock).bearer,
    )
    _document_problem(app)
    return app


def _document_problem(app: FastAPI) -> None:
    """Put the shape of a problem among the described ones: every call refers to it."""
    described = app.openapi

    def with_problem() -> dict[str, Any]:
        schema = described()
        known = schema.setdefault("components", {}).setdefault("schemas", {})
        known.setdefault("Problem", problems.Problem.model_json_schema())
        return schema

    app.openapi = with_problem  # type: ignore[method-assign]
