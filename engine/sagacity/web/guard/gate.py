"""The one way in: every call passes here before a route sees it, and every answer on its way out.

Host, who calls, how often, which role, from which page, how much; in this order. What is refused is refused
before anything of it was read, and each refusal says how to mend it.
"""

import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagacity.cli.failures import failure_of
from sagacity.errors import ConfigError, PayloadTooLarge
from sagacity.model.operating import Actor
from sagacity.web import problems
from sagacity.web.guard import headers, pages
from sagacity.web.guard.caller import DEV, NOBODY, Caller, calling
from sagacity.web.guard.configured import is_loopback
from sagacity.web.guard.limits import Buckets, TooSlow, measured
from sagacity.web.guard.routes import DENIED, Routes, allows
from sagacity.web.guard.sessions import COOKIE, Sessions
from sagacity.web.guard.settings import WebSettings

_PORT = re.compile(r":\d+$")
_PROXIES = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

Bearer = Callable[[str], Awaitable[tuple[Actor, str] | None]]
"""Who a token stands for, and what their calls are counted by; None: it is not known, over, or revoked."""


class Gate:
    """See the module."""

    def __init__(
        self, app: ASGIApp, *, settings: WebSettings, routes: Routes, sessions: Sessions, bearer: Bearer
    ) -> None:
        self._app = app
        self._settings, self._routes, self._sessions, self._bearer = settings, routes, sessions, bearer
        self._rates = Buckets(settings.rate, settings.clock) if settings.rate else None
        self._strangers = Buckets(settings.strangers, settings.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call. Only HTTP is answered; web sockets are closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, begun = Request(scope), False
        caller = Caller(actor=NOBODY, by="nothing", credential=f"address {_address(scope)}")
        scope["state"] = {**scope.get("state", {}), "caller": caller}
        receive = measured(receive, limit=self._settings.body, seconds=self._settings.slow)

        async def sent(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                put = headers.put(message, nonce=caller.nonce, secure=self._settings.secure)
                if caller.greeted and caller.session is not None:
                    put.append("set-cookie", self._sessions.header(caller.session))
            await send(message)

        try:
            refusal, receive = await self._admitted(request, caller, receive)
            answer = self._app if refusal is None else pages.readable(request, refusal)
            with calling(caller):
                await answer(scope, receive, sent)
        except Exception as error:
            if begun:
                raise
            await pages.readable(request, _failed(request, error))(scope, receive, sent)

    async def _admitted(
        self, request: Request, caller: Caller, receive: Receive
    ) -> tuple[Response | None, Receive]:
        """The refusal, or None; and what is still to be read."""
        refusal = (
            self._badly_named(request)
            or _headed(request, self._settings.header)
            or _encoded(request)
            or await self._unknown(request, caller)
            or self._too_fast(request, caller)
            or self._not_allowed(request, caller)
        )
        if refusal is not None or request.method in pages.SAFE or caller.by == "token":
            return refusal, receive
        foreign = pages.foreign(request)
        if foreign is not None:
            return _forbidden(request, f"{foreign}: a page of this server must send it", "foreign"), receive
        unproven, receive = await pages.unproven(request, caller, receive)
        if unproven:
            detail = "the form's token is missing or old: load the page again and send it from there"
            return _forbidden(request, detail, "csrf"), receive
        return None, receive

    # --- one question each ------------------------------------------------------------------------

    def _badly_named(self, request: Request) -> Response | None:
        host = _PORT.sub("", request.headers.get("host", ""))
        if host in self._settings.hosts:
            return None
        names = ", ".join(sorted(self._settings.hosts))
        detail = f"{host!r} is not a name of this server: call {names}, or add it to SAGACITY_WEB_HOSTS"
        return problems.problem(request, status=400, title="Bad host", detail=detail)

    async def _unknown(self, request: Request, caller: Caller) -> Response | None:
        """Find out who calls; the refusal of who must be known and is not."""
        given = request.headers.get("authorization")
        stranger = caller.credential
        if given is None:
            self._by_session(request, caller)
        elif (wait := self._strangers.wait(stranger)) == 0:
            await self._by_token(given, caller)
        else:
            return _too_many(request, wait)
        need = self._routes.need(request.method, request.scope["path"])
        if caller.by != "nothing" or (need is None and given is None):
            return None
        wait = self._strangers.take(stranger)
        return _too_many(request, wait) if wait else self._sign_in(request, given)

    async def _by_token(self, given: str, caller: Caller) -> None:
        scheme, _, token = given.partition(" ")
        found = await self._bearer(token.strip()) if scheme.lower() == "bearer" else None
        if found is not None:
            caller.by, (caller.actor, caller.credential) = "token", found

    def _by_session(self, request: Request, caller: Caller) -> None:
        session = self._sessions.of(request.cookies.get(COOKIE))
        if session is not None:
            caller.by, caller.actor, caller.session = "session", session.actor, session
            caller.credential = f"session {session.name}"
        if self._is_development(request):
            caller.by = "development"
            if session is None:
                caller.actor, caller.credential = DEV, "development"
                if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                    # So that the page's forms have a token that no other page knows.
                    caller.session, caller.greeted = self._sessions.begin(DEV), True

    def _is_development(self, request: Request) -> bool:
        """A call from this very machine, and not one that a proxy passes on."""
        return (
            self._settings.development
            and _from_here(request.scope)
            and not any(name in request.headers for name in _PROXIES)
        )

    def _sign_in(self, request: Request, given: str | None) -> Response:
        if self._settings.oidc and given is None and "text/html" in request.headers.get("accept", ""):
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", status_code=303)
        detail = (
            "nobody is signed in: send `Authorization: Bearer …` with a token of `sagacity token issue`"
            if given is None
            else "this token is not known here, or it is over: ask for another one"
        )
        return problems.problem(
            request,
            status=401,
            title="Not signed in",
            detail=detail,
            kind="signed-out",
            headers={"www-authenticate": 'Bearer realm="sagacity"'},
        )

    def _too_fast(self, request: Request, caller: Caller) -> Response | None:
        if self._rates is None or caller.by == "nothing":
            return None
        wait = self._rates.take(caller.credential)
        return _too_many(request, wait) if wait else None

    def _not_allowed(self, request: Request, caller: Caller) -> Response | None:
        need = self._routes.need(request.method, request.scope["path"])
        if allows(need, caller.actor):
            return None
        if need == DENIED:
            return _forbidden(request, "this call is in no table of roles: it answers nobody", "role")
        named = " or ".join(need) if isinstance(need, tuple) else need
        detail = f"this takes the role {named}; {caller.actor.id} has {_roles(caller.actor)}"
        return _forbidden(request, detail, "role")


def _roles(actor: Actor) -> str:
    return ", ".join(sorted(role.value for role in actor.roles)) or "none"


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _from_here(scope: Scope) -> bool:
    try:
        return is_loopback(_address(scope))
    except ConfigError:
        return False


def _headed(request: Request, limit: int) -> Response | None:
    size = sum(len(name) + len(value) for name, value in request.headers.raw) + len(request.scope["path"])
    if size + len(request.scope.get("query_string", b"")) <= limit:
        return None
    detail = f"address and headers have more than {limit} bytes together: send less"
    return problems.problem(request, status=431, title="Headers too large", detail=detail, kind="too-large")


def _encoded(request: Request) -> Response | None:
    """A compressed body is refused: what it would grow to is not known before it has grown."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    detail = f"the body is encoded ({encoding}): send it as it is"
    return problems.problem(request, status=415, title="Unsupported Media Type", detail=detail)


def _forbidden(request: Request, detail: str, kind: str) -> Response:
    return problems.problem(request, status=403, title="Forbidden", detail=detail, kind=kind)


def _too_many(request: Request, wait: int) -> Response:
    return problems.problem(
        request,
        status=429,
        title="Too many calls",
        detail=f"slower, please: again in {wait} s",
        kind="rate",
        headers={"retry-after": str(wait)},
    )


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, TooSlow):
        detail = "the body did not come in time: send it again, faster"
        return problems.problem(request, status=408, title="Too slow", detail=detail, kind="slow")
    if isinstance(error, PayloadTooLarge):
        return problems.of_failure(request, failure_of(error), str(error))
    return problems.fault_of(request, error)
