"""The console's routes in one router, and the few that belong to no page: files, settings, finding."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from sagacity.errors import NotFound
from sagacity.orchestrator import Orchestrator
from sagacity.web.console import acting, attention, live, planned, sagas, shelves
from sagacity.web.console.forms import read_form
from sagacity.web.console.frame import KEYS_COOKIE, THEME_COOKIE, THEMES, Frame
from sagacity.web.guard.pages import local_path

_YEAR = 31_536_000


def console(orchestrator: Orchestrator, *, store: str | None = None) -> APIRouter:
    """All pages of one orchestrator.

    Args:
        orchestrator: opened and closed by the caller.
        store: what commands to paste say behind `--store`; None where the default is meant.
    """
    frame = Frame(orchestrator, store=store)
    router = APIRouter(include_in_schema=False)
    for part in (attention, sagas, acting, planned, shelves, live):
        router.include_router(part.pages(frame))
    router.include_router(_own(frame))
    return router


def _own(frame: Frame) -> APIRouter:
    router = frame.router()

    @router.get("/console/static/{name}")
    async def static(name: str, v: str = "") -> Response:
        """A file of the pages; where its address changes with its content (`v`), it is kept for good."""
        asset = frame.assets.get(name)
        if asset is None:
            raise NotFound(f"no file {name!r}")
        kept = "public, max-age=31536000, immutable" if v == asset.tag else "no-cache"
        headers = {"cache-control": kept, "etag": f'"{asset.tag}"'}
        return Response(asset.body, media_type=asset.kind, headers=headers)

    @router.get("/find")
    async def find(ref: str) -> Response:
        """Go to the saga with this id or business key."""
        return RedirectResponse(f"/sagas/{await frame.sagas.resolve(ref.strip())}", 303)

    @router.post("/console/settings")
    async def settings(request: Request) -> Response:
        """Colours and keys, kept in cookies of this browser alone."""
        form = await read_form(request)
        answer = RedirectResponse(local_path(form.text("back")), 303)
        theme, keys = form.text("theme"), form.text("keys")
        if theme in THEMES:
            answer.set_cookie(THEME_COOKIE, theme, max_age=_YEAR, samesite="lax", httponly=True)
        if keys in ("on", "off"):
            answer.set_cookie(KEYS_COOKIE, keys, max_age=_YEAR, samesite="lax", httponly=True)
        return answer

    return router
