"""An API that lets nobody in by himself: its store, its tokens, and calls as one of them or as nobody."""

import hashlib
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from sagacity.model.operating import Actor, Role
from sagacity.orchestrator import Orchestrator
from sagacity.web.api import create_app
from sagacity.web.guard import tokens
from sagacity.web.guard.routes import routes_of
from sagacity.web.guard.settings import Rate, WebSettings
from tests.edges.moved import MovedClock

BASE = "http://127.0.0.1"
ISSUER = Actor(id="local:test", roles=frozenset({Role.ADMIN}))
NO_ID = "019caefd-6f00-7000-8000-000000000000"
EVERY_ROLE = tuple(Role)


class Guarded:
    """The API of one orchestrator, closed; `clock` is the guard's, and moved by hand."""

    def __init__(self, sagas: Orchestrator, **settings: Any) -> None:
        self.sagas = sagas
        self.clock = MovedClock()
        closed = WebSettings(development=False, clock=self.clock, strangers=Rate(per_second=1e6, burst=10**6))
        self.app: FastAPI = create_app(sagas, settings=replace(closed, **settings))

    async def token(
        self, name: str, *roles: Role, definitions: Iterable[str] | None = None, kind: Any = "service"
    ) -> str:
        _, secret = await tokens.issue(
            self.sagas.store,
            name=name,
            roles=frozenset(roles),
            definitions=frozenset(definitions) if definitions is not None else None,
            kind=kind,
            lasts=timedelta(days=1),
            by=ISSUER,
        )
        return secret

    @asynccontextmanager
    async def caller(
        self, secret: str | None, *, address: str = "10.1.2.3"
    ) -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(app=self.app, client=(address, 40_000), raise_app_exceptions=False)
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
            yield client

    def calls(self) -> list[tuple[str, str]]:
        """Every (method, path) that the application answers."""
        return [(method, path) for method, path in routes_of(self.app.routes) if method != "HEAD"]


def filled(path: str, **values: str) -> str:
    """A route's path with something in place of each parameter."""
    return re.sub(
        r"\{(\w+)(:\w+)?\}",
        lambda found: ({"plan": NO_ID, "run": NO_ID} | values).get(found[1], "nobody"),
        path,
    )


async def called(client: httpx2.AsyncClient, method: str, path: str, **more: Any) -> httpx2.Response:
    """One call, with an empty JSON body where it changes something. A stream is left after its head."""
    if method not in ("GET", "HEAD", "DELETE"):
        more.setdefault("json", {})
    return await client.request(method, path, **more)


def contents(file: Path) -> dict[str, str]:
    """Each table of an SQLite store as one hash; what only says that somebody looked is left out."""
    found = {}
    with sqlite3.connect(file) as conn:
        names = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            cursor = conn.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in cursor.description]
            rows = sorted(
                json.dumps({k: repr(v) for k, v in zip(columns, row, strict=True) if k != "last_used_at"})
                for row in cursor
            )
            found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    conn.close()
    return found
