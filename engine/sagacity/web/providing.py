"""The way to an OpenID provider and back. Apart: what it stands on is loaded only where it is used."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from sagacity.web import problems
from sagacity.web.guard.caller import leave
from sagacity.web.guard.oidc import CALLBACK, WITHIN, Provider, ProviderAway, SignInRefused
from sagacity.web.guard.oidc import COOKIE as PENDING
from sagacity.web.guard.pages import local_path
from sagacity.web.guard.sessions import Sessions
from sagacity.web.guard.settings import Oidc, WebSettings


def provider_routes(
    router: APIRouter, oidc: Oidc, settings: WebSettings, sessions: Sessions, *, tenant: str
) -> None:
    """`/sign-in` and its callback."""
    provider = Provider(oidc, settings, tenant=tenant)

    @router.get("/sign-in", include_in_schema=False)
    async def begin(request: Request, next: str = "/") -> Response:
        base = settings.url or str(request.base_url).rstrip("/")
        try:
            url, cookie = await provider.begin(redirect=base + CALLBACK, next=local_path(next))
        except ProviderAway as error:
            return _away(request, error)
        answer = RedirectResponse(url, status_code=303)
        answer.set_cookie(
            PENDING, cookie, int(WITHIN), path=CALLBACK, httponly=True, samesite="lax", secure=settings.secure
        )
        return answer

    @router.get(CALLBACK, include_in_schema=False)
    async def end(request: Request) -> Response:
        """Back from the provider. Whatever session this browser had is over; it gets a new one."""
        try:
            actor, wanted = await provider.end(request.cookies.get(PENDING), request.query_params)
        except SignInRefused as refused:
            answer = problems.problem(
                request, status=401, title="Not signed in", detail=str(refused), kind="signed-out"
            )
        except ProviderAway as error:
            answer = _away(request, error)
        else:
            leave(request, sessions)
            answer = RedirectResponse(wanted, status_code=303)
            answer.headers.append("set-cookie", sessions.header(sessions.begin(actor)))
        answer.delete_cookie(PENDING, path=CALLBACK, httponly=True, samesite="lax", secure=settings.secure)
        return answer


def _away(request: Request, error: Exception) -> Response:
    return problems.problem(
        request,
        status=503,
        title="The provider cannot be reached",
        detail=str(error),
        kind="provider",
        headers={"retry-after": "5"},
    )
