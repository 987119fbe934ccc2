"""Who one is, and signing in and out."""

from dataclasses import dataclass
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from sagacity.errors import InputError, NotFound
from sagacity.orchestrator import Orchestrator
from sagacity.web import answers
from sagacity.web.guard.caller import DEV, SECOND, caller_of, csrf_token, leave
from sagacity.web.guard.pages import local_path
from sagacity.web.guard.sessions import Sessions
from sagacity.web.guard.settings import WebSettings

PEOPLE = {actor.id: actor for actor in (DEV, SECOND)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI:
    """Who this call is made as.

    Attributes:
        by: how they are known: `development` (no sign-in: whoever calls from this machine is let in),
            `token` or `session`.
        definitions: what their roles are narrowed to; None: all.
        csrf: what a browser's call that changes something must carry as `X-CSRF-Token`; None: no session.
        note: a sentence for people, where there is something to know.
    """

    actor: str
    kind: str
    roles: tuple[str, ...]
    definitions: tuple[str, ...] | None
    by: str
    tenant: str
    lane: str
    csrf: str | None
    note: str | None


def whoami(request: Request, sagas: Orchestrator) -> WhoAmI:
    """Who makes this call; the same for the API and for every page's header."""
    caller = caller_of(request)
    actor = caller.actor
    note = None
    if caller.by == "development":
        note = f"development: nobody signs in, this machine is let in as {actor.id}"
    return WhoAmI(
        actor=actor.id,
        kind=actor.kind,
        roles=tuple(sorted(role.value for role in actor.roles)),
        definitions=None if actor.definitions is None else tuple(sorted(actor.definitions)),
        by=caller.by,
        tenant=sagas.store.tenant,
        lane=sagas.store.lane,
        csrf=csrf_token(request) or None,
        note=note,
    )


def signing(sagas: Orchestrator, settings: WebSettings, sessions: Sessions) -> APIRouter:
    """`/v1/whoami`, and the ways in and out."""
    router = APIRouter(tags=["sign in"])
    if settings.oidc is not None:
        from sagacity.web.providing import provider_routes

        provider_routes(router, settings.oidc, settings, sessions, tenant=sagas.store.tenant)

    @router.get("/v1/whoami", summary="Who one is", responses=answers.described(WhoAmI))
    async def who(request: Request) -> Response:
        return answers.one(whoami(request, sagas))

    @router.post("/sign-in/dev", include_in_schema=False)
    async def switch(request: Request) -> Response:
        """In development: become `dev` or `second`. Form fields: `as`, and `next`, the page to go to."""
        if caller_of(request).by != "development":
            raise NotFound(f"there is nothing at {request.url.path}")
        fields = parse_qs((await request.body()).decode("latin-1"))
        wanted = PEOPLE.get(fields.get("as", [""])[0])
        if wanted is None:
            raise InputError(f"`as` must be one of: {', '.join(PEOPLE)}")
        leave(request, sessions)
        answer = RedirectResponse(local_path(fields.get("next", ["/"])[0]), status_code=303)
        answer.headers.append("set-cookie", sessions.header(sessions.begin(wanted)))
        return answer

    @router.post("/sign-out", include_in_schema=False)
    async def out(request: Request) -> Response:
        """End the browser's session, for good."""
        leave(request, sessions)
        answer = RedirectResponse("/", status_code=303)
        answer.headers.append("set-cookie", sessions.header(None))
        return answer

    return router
