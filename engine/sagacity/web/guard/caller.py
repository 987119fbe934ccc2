"""Who calls, as every route and page sees it: `current_actor(request)`, and nothing of how they signed in."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from sagacity.errors import InputError
from sagacity.ids import new_secret
from sagacity.model.operating import Actor, Role
from sagacity.web.guard.sessions import Session, Sessions

DEV = Actor(id="dev", roles=frozenset({Role.ADMIN}))
SECOND = Actor(id="second", roles=frozenset({Role.ADMIN}))
"""The two people of development: the second one approves what the first one plans."""
NOBODY = Actor(id="nobody", roles=frozenset())
_NONE = Actor(id="nobody", roles=frozenset(), definitions=frozenset())

By = Literal["development", "token", "session", "nothing"]
"""How a caller is known: called from this machine in development, by token, or by a browser's sign-in."""


@dataclass(slots=True, kw_only=True)
class Caller:
    """Who makes one call.

    Attributes:
        by: how they are known.
        credential: one text per credential, never the secret itself: what rates are counted by.
        session: the browser's, if it is one that is signed in.
        greeted: the session was begun by this very call, and its cookie goes out with the answer.
        nonce: for the one inline element that a page may have; see `csp_nonce`.
    """

    actor: Actor
    by: By
    credential: str
    session: Session | None = None
    nonce: str | None = None
    greeted: bool = False


_PRESENT: ContextVar[Caller] = ContextVar("sagacity_caller")


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """For as long as this lasts, in this task, `caller` is who calls."""
    token = _PRESENT.set(caller)
    try:
        yield
    finally:
        _PRESENT.reset(token)


def present() -> Caller:
    """Who makes the call that is under way in this task; `nobody` outside of one, who may see nothing."""
    return _PRESENT.get(Caller(actor=_NONE, by="nothing", credential=""))


def caller_of(request: Request) -> Caller:
    """Who makes this call; set by the gate before any route sees it."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


def current_actor(request: Request) -> Actor:
    """Who acts in this call. Where a route is open to everybody it may be `nobody`, who has no role."""
    return caller_of(request).actor


def csrf_token(request: Request) -> str:
    """What a form of this page must send as field `csrf` (or a script as header `X-CSRF-Token`).

    Empty where the call has no session: then there is nothing that another page could abuse.
    """
    session = caller_of(request).session
    return session.csrf if session is not None else ""


def csp_nonce(request: Request) -> str:
    """The nonce of this answer, for a `<script nonce=…>` or `<style nonce=…>` that must stand in the page."""
    caller = caller_of(request)
    if caller.nonce is None:
        caller.nonce = new_secret(16).hex()
    return caller.nonce


def acting(request: Request, named: str | None) -> str:
    """Who stands in the log. In development a call may name somebody else, as a web hook does.

    Raises:
        InputError: a caller who is known names another: who acts is told by the credential alone.
    """
    caller = caller_of(request)
    if named is None or named == caller.actor.id:
        return caller.actor.id
    if caller.by == "development":
        return named
    raise InputError(f"`actor` cannot be given: this call is made as {caller.actor.id}; leave it out")


def leave(request: Request, sessions: Sessions) -> None:
    """End the session that this call comes with, if it has one."""
    session = caller_of(request).session
    if session is not None:
        sessions.end(session)


def hooking(request: Request, named: str | None) -> str | None:
    """Who stands in the log for a web hook: in development, where nobody signs in, whom it names, or nobody.

    Raises:
        InputError: as `acting`.
    """
    return named if caller_of(request).by == "development" else acting(request, named)
