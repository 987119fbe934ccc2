"""What all pages have in common: the layout, who looks, the theme, and the files that belong to them.

A page is a whole document and works by itself: links and forms only. The scripts beside it add
keys and live rows, and nothing can be done only with them.
"""

import hashlib
import shlex
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException

from sagacity.cli import words
from sagacity.cli.failures import FAULT, failure_of
from sagacity.errors import SagacityError
from sagacity.orchestrator import Orchestrator
from sagacity.web.console import values
from sagacity.web.guard.caller import caller_of, csrf_token
from sagacity.web.seen import UNSEEN
from sagacity.web.signing import whoami

THEMES = ("auto", "light", "dark")
THEME_COOKIE, KEYS_COOKIE = "sagacity_theme", "sagacity_keys"
NAV = (
    ("/", "Attention", "a"),
    ("/sagas", "Sagas", "s"),
    ("/operations", "Operations", "o"),
    ("/locks", "Locks", "l"),
    ("/dry-runs", "Dry runs", "r"),
    ("/definitions", "Definitions", "d"),
    ("/audit", "Audit", "u"),
)
"""Address, name, and the key that follows `g`."""

_KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "LICENSE": "text/plain"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file that pages refer to; `tag` changes with its content."""

    body: bytes
    kind: str
    tag: str


def assets() -> dict[str, Asset]:
    """All of them, by name. They lie in the package: nothing is fetched from elsewhere."""
    found = {}
    for file in resources.files("sagacity.web.console").joinpath("static").iterdir():
        body, kind = file.read_bytes(), _KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            found[file.name] = Asset(body, f"{kind}; charset=utf-8", hashlib.sha256(body).hexdigest()[:12])
    return found


class Frame:
    """Makes pages of templates.

    Args:
        sagas: whose pages.
        store: what to write behind `--store` in commands to paste; None where the default is meant.
    """

    def __init__(self, sagas: Orchestrator, *, store: str | None = None) -> None:
        self.sagas = sagas
        self.assets = assets()
        self._store = store
        self._templates = Environment(
            loader=PackageLoader("sagacity.web.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "static": lambda name: f"/console/static/{name}?v={self.assets[name].tag}",
            "nav": NAV,
            "unseen": str(UNSEEN),
            "themes": THEMES,
            "command": self.command,
            "url": url,
            "chip": values.chip,
            "ago": values.ago,
            "ahead": values.ahead,
        }
        self._templates.filters |= {
            "instant": values.instant,
            "tree": values.tree,
            "sized": values.sized,
            "short": values.short,
            "words": words.name,
            "brief": words.brief,
            "length": words.length,
            "cut": words.cut,
            "leaves": words.state,
        }

    def command(self, *parts: object) -> str:
        """A command line to paste that does, or shows, what stands here."""
        said = ["sagacity", *(str(part) if str(part) == "…" else shlex.quote(str(part)) for part in parts)]
        return " ".join(said + (["--store", shlex.quote(self._store)] if self._store else []))

    async def page(self, request: Request, template: str, *, status: int = 200, **content: Any) -> Response:
        """One page. The instant that ages are counted from is the store's."""
        now = await self.sagas.store.now()
        return HTMLResponse(self.text(request, template, now=now, **content), status)

    def text(self, request: Request, template: str, *, now: datetime | None, **content: Any) -> str:
        """A template, filled."""
        theme = request.cookies.get(THEME_COOKIE, "auto")
        here = request.url.path
        return self._templates.get_template(template).render(
            now=now,
            here=here,
            place=here + (f"?{request.url.query}" if request.url.query else ""),
            theme=theme if theme in THEMES else "auto",
            keys=request.cookies.get(KEYS_COOKIE, "on") != "off",
            tenant=self.sagas.store.tenant,
            who=whoami(request, self.sagas),
            session=caller_of(request).session is not None,
            csrf_field=Markup('<input type="hidden" name="csrf" value="{}">').format(csrf_token(request)),
            **content,
        )

    def router(self) -> APIRouter:
        """A router whose errors are pages. A fault of ours goes on up: the application tells its id."""
        frame = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def told(request: Request) -> Response:
                    try:
                        return await handle(request)
                    except (SagacityError, TimeoutError, RequestValidationError, HTTPException) as error:
                        return await frame.error(request, error)

                return told

        return APIRouter(include_in_schema=False, route_class=PageRoute)

    async def error(self, request: Request, error: Exception) -> Response:
        """The page that tells of an error.

        Raises:
            `error` itself, where it is a fault of ours.
        """
        if isinstance(error, HTTPException):
            status, title, detail = error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail)
        elif isinstance(error, RequestValidationError):
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            status, title, detail = 422, "The request cannot be taken", said
        elif (failure := failure_of(error)) is FAULT:
            raise error
        else:
            status, title, detail = failure.status, failure.title, str(error)
        content = {"title": title, "detail": detail, "status": status}
        return HTMLResponse(self.text(request, "error.html", now=None, **content), status)

    def status_of(self, error: SagacityError | None) -> int:
        """The status of a page that shows an error beside what was asked; 200 where there is none."""
        return 200 if error is None else failure_of(error).status


def url(path: str, params: Mapping[str, Any] | None = None, **more: Any) -> str:
    """An address with its query; empty values are left out."""
    said = [(key, value) for key, value in {**(params or {}), **more}.items() if value not in (None, "", ())]
    return f"{path}?{urlencode(said, doseq=True)}" if said else path
