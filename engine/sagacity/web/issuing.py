"""API tokens over HTTP: issue, list, revoke."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from sagacity.cli.narrowing import id_of
from sagacity.model.operating import Role
from sagacity.orchestrator import Orchestrator
from sagacity.store.office import TokenFilter
from sagacity.web import answers
from sagacity.web.bodies import Body, Name, documented, read
from sagacity.web.guard import tokens
from sagacity.web.guard.caller import current_actor


class TokenBody(Body):
    """A new API token."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    roles: Annotated[list[Role], Field(min_length=1)]
    definitions: list[Name] | None = Field(default=None, description="only for these flows; null: all")
    days: Annotated[float, Field(gt=0, le=366)] = 90
    person: bool = Field(default=False, description="a person's: may approve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new token. `token` is its secret: it is shown this once."""

    id: UUID
    name: str
    token: str
    expires_at: datetime


def token_routes(sagas: Orchestrator) -> APIRouter:
    """The routes of tokens; admins only."""
    router = APIRouter(tags=["let in"])

    @router.get("/tokens", summary="List tokens", responses=answers.described_page(tokens.TokenView))
    async def listed(
        cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Response:
        """All that were ever issued, newest first; the secrets are not known."""
        now = await sagas.store.now()
        before = id_of(cursor, what="cursor") if cursor is not None else None
        found = await sagas.store.tokens(TokenFilter(before=before, limit=limit))
        after = str(found[-1].id) if len(found) == limit else None
        return answers.many((tokens.viewed(one, now) for one in found), after=after)

    _changes(router, sagas)
    return router


def _changes(router: APIRouter, sagas: Orchestrator) -> None:
    @router.post(
        "/tokens",
        summary="Issue a token",
        status_code=201,
        responses=answers.described(Issued, 201, "issued"),
        openapi_extra=documented(TokenBody),
    )
    async def issue(request: Request) -> Response:
        """The secret is in the answer, this once. The same name again is 409 until it is revoked or over."""
        body = await read(request, TokenBody)
        token, secret = await tokens.issue(
            sagas.store,
            name=body.name,
            roles=frozenset(body.roles),
            definitions=None if body.definitions is None else frozenset(body.definitions),
            kind="person" if body.person else "service",
            lasts=timedelta(days=body.days),
            by=current_actor(request),
        )
        issued = Issued(id=token.id, name=token.name, token=secret, expires_at=token.expires_at)
        return answers.one(issued, status=201)

    @router.delete("/tokens/{ref}", summary="Revoke a token", responses=answers.described(tokens.TokenView))
    async def revoke(ref: str) -> Response:
        """By name or id; every server refuses it within two seconds."""
        token = await tokens.revoke(sagas.store, ref)
        now = await sagas.store.now()
        return answers.one(tokens.viewed(replace(token, revoked_at=now), now))
