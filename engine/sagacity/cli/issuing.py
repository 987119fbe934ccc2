"""API tokens on the command line: issue, list, revoke."""

from typing import TYPE_CHECKING, Annotated

import typer

from sagacity.cli.call import Call
from sagacity.cli.layout import Column

if TYPE_CHECKING:
    from sagacity.model.operating import Actor, Role
    from sagacity.web.guard.tokens import TokenView


async def issue(
    call: Call,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who it is for; stands in the log as token:NAME.")
    ],
    *,
    role: Annotated[
        list[str],
        typer.Option("--role", metavar="ROLE", help="viewer, operator, senior, approver or admin."),
    ],
    definition: Annotated[
        list[str] | None,
        typer.Option("--definition", metavar="FLOW", help="Only for this flow; may be repeated."),
    ] = None,
    days: Annotated[
        float, typer.Option("--days", metavar="N", min=0.001, max=366, help="It ends after so many days.")
    ] = 90,
    person: Annotated[
        bool, typer.Option("--person", help="A person's: may approve. Without: a program's.")
    ] = False,
) -> None:
    """Issue an API token. It is shown this once and stored nowhere; the store keeps its hash.

    Once there is a token, `serve` lets nobody in without one, on loopback too.
    """
    from datetime import timedelta

    from sagacity.cli import shapes
    from sagacity.web.guard import tokens

    async with call.orchestrator() as sagas:
        token, secret = await tokens.issue(
            sagas.store,
            name=name,
            roles=frozenset(_role(name) for name in role),
            definitions=frozenset(definition) if definition else None,
            kind="person" if person else "service",
            lasts=timedelta(days=days),
            by=_here(call),
        )
    call.say(f"token {token.name} is good until {shapes.instant(token.expires_at)}; it is not shown again")
    facts = {"id": token.id, "name": token.name, "token": secret, "expires_at": token.expires_at}
    call.one(facts, text=secret, id_=token.id)


def _role(name: str) -> "Role":
    from sagacity.errors import InputError
    from sagacity.model.operating import Role

    try:
        return Role(name)
    except ValueError:
        raise InputError(f"role {name!r} does not exist: choose from {', '.join(Role)}") from None


async def list_(call: Call) -> None:
    """List the tokens: who has which roles, and until when. The secrets are not known here."""
    from sagacity.store.office import TokenFilter
    from sagacity.web.guard.tokens import TokenView, viewed

    found: list[TokenView] = []
    async with call.orchestrator() as sagas:
        now = await sagas.store.now()
        page = await sagas.store.tokens(TokenFilter())
        while page:
            found += [viewed(token, now) for token in page]
            page = await sagas.store.tokens(TokenFilter(before=page[-1].id))
    columns = [
        Column(title="NAME", text=lambda one: one.name),
        Column(title="ROLES", text=lambda one: ", ".join(one.roles)),
        Column(title="FLOWS", text=lambda one: ", ".join(one.definitions or ()) or "all"),
        Column(title="IS GOOD", text=_until),
        Column(title="BY", text=lambda one: one.made_by),
    ]
    call.many(found, columns=columns, id_=lambda one: one.name, empty="no token was ever issued")


def _until(one: "TokenView") -> str:
    from sagacity.cli.words import clock

    if one.revoked_at is not None:
        return f"no, revoked {clock(one.revoked_at)}"
    return f"{'until' if one.good else 'no, over since'} {clock(one.expires_at)}"


async def revoke(
    call: Call, name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its id.")]
) -> None:
    """Revoke a token: a running server refuses it within two seconds."""
    from sagacity.web.guard import tokens

    async with call.orchestrator() as sagas:
        token = await tokens.revoke(sagas.store, name)
    call.one({"id": token.id, "name": token.name}, text=f"{token.name} is revoked", id_=token.id)


def _here(call: Call) -> "Actor":
    """Who works on the store itself: the account's name, as admin."""
    from sagacity.cli.planned import actor_of

    return actor_of(call)
