"""The table of roles: every route of the application stands in it, and nothing else does."""

from pathlib import Path

import pytest

from sagacity.definition.project import Project
from sagacity.orchestrator import Orchestrator
from sagacity.web.api import create_app
from sagacity.web.guard.routes import DENIED, Routes, routes_of
from sagacity.web.guard.settings import Oidc, WebSettings
from sagacity.web.roles import ROLES


@pytest.fixture
async def called(tmp_path: Path) -> set[str]:
    """Every call that the application answers, as the table names it."""
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/roles.db", project=Project.of(), accept_loss=True
    ) as sagas:
        provider = Oidc(issuer="http://127.0.0.1:9", client_id="sagacity")
        routes = create_app(sagas, settings=WebSettings(development=False, oidc=provider)).routes
        return {f"{method} {path}" for method, path in routes_of(routes) if method != "HEAD"}


async def test_every_route_stands_in_the_table_of_roles_and_every_line_has_its_route(
    called: set[str],
) -> None:
    assert len(called) > 20
    assert called - set(ROLES) == set(), "give each route a line in web/roles.py: without, it answers nobody"
    assert set(ROLES) - called == set(), "a line without a route: take it out of web/roles.py"


async def test_a_route_that_is_in_no_table_is_denied_to_everybody(tmp_path: Path) -> None:
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/roles.db", project=Project.of(), accept_loss=True
    ) as sagas:
        app = create_app(sagas)

        @app.get("/v1/forgotten")
        async def forgotten() -> None: ...

        routes = Routes(lambda: app.routes, ROLES)
        assert routes.need("GET", "/v1/forgotten") == DENIED
        assert routes.need("GET", "/v1/sagas/x/history") == ROLES["GET /v1/sagas/{ref}/history"]
        assert routes.need("GET", "/health") is None
