"""API tokens: 256 random bits, shown once; the store keeps the hash, which opens nothing.

A token is looked up by its hash, so how long that takes tells nothing about a token that exists.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal
from uuid import UUID

from sagacity.clock import Clock
from sagacity.errors import Conflict, InputError, NotFound
from sagacity.ids import new_id, new_secret
from sagacity.model.operating import Actor, Role, Token
from sagacity.store.base import Store
from sagacity.store.office import TokenFilter

PREFIX = "sgc_"
"""How every token begins, so that one that got into a log or a repository can be found there."""
REMEMBERED = 2.0
"""Seconds that a token which was found good is not looked up again: so long may a revoked one still open."""
LONGEST = timedelta(days=366)
"""A token lives no longer than this."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LENGTH = len(PREFIX) + 64
_USED_EVERY = timedelta(minutes=1)
_MOST = 10_000


def hash_of(token: str) -> str:
    """What the store knows a token by: SHA-256, in hex."""
    return sha256(token.encode()).hexdigest()


def actor_of(token: Token) -> Actor:
    """Who acts with this token."""
    return Actor(id=f"token:{token.name}", roles=token.roles, definitions=token.definitions, kind=token.kind)


async def issue(
    store: Store,
    *,
    name: str,
    roles: frozenset[Role],
    definitions: frozenset[str] | None,
    kind: Literal["person", "service", "agent"],
    lasts: timedelta,
    by: Actor,
) -> tuple[Token, str]:
    """A new token and its secret, which is nowhere else.

    Raises:
        InputError: a name or a life that cannot be, or more than its issuer may.
        Conflict: the name has a token.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"name {name!r}: letters, digits, `.`, `_` and `-`, at most 64")
    if not roles:
        raise InputError("a token without a role opens nothing: give it one")
    if not timedelta(0) < lasts <= LONGEST:
        raise InputError(f"a token lasts between a second and {LONGEST.days} days")
    if by.definitions is not None and not (definitions is not None and definitions <= by.definitions):
        raise InputError(f"{by.id} may only issue tokens for: {', '.join(sorted(by.definitions))}")
    now = await store.now()
    if any(is_good(one, now) for one in await store.tokens(TokenFilter(name=name))):
        raise Conflict(f"{name} has a token already: revoke it first, or choose another name")
    secret = PREFIX + new_secret(32).hex()
    token = Token(
        id=new_id(),
        name=name,
        hash=hash_of(secret),
        roles=roles,
        definitions=definitions,
        kind=kind,
        made_by=by.id,
        made_at=now,
        expires_at=now + lasts,
    )
    await store.put_token(token)
    return token, secret


async def revoke(store: Store, ref: str) -> Token:
    """Refuse a token, named by its id or its name, from now on (a running server: within two seconds).

    Raises:
        NotFound: no token of that name is good; the message lists the newest that are.
    """
    now = await store.now()
    named = await store.tokens(TokenFilter(name=ref))
    if (id := _id(ref)) is not None:
        named += await store.tokens(TokenFilter(id=id))
    found = next((one for one in named if is_good(one, now)), None)
    if found is None or not await store.revoke_token(found.id):
        good = sorted(one.name for one in await store.tokens(TokenFilter()) if is_good(one, now))
        raise NotFound(f"no token {ref!r} is good: {', '.join(good) or 'none is'}")
    return found


def _id(ref: str) -> UUID | None:
    try:
        return UUID(ref)
    except ValueError:
        return None


def is_good(token: Token, now: datetime) -> bool:
    """Whether it opens anything at `now`."""
    return token.revoked_at is None and token.expires_at > now


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A token as it is shown; neither the secret nor its hash is in it.

    Attributes:
        good: it opens something now: neither revoked nor over.
    """

    id: UUID
    name: str
    roles: tuple[str, ...]
    definitions: tuple[str, ...] | None
    kind: str
    made_by: str
    made_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    good: bool


def viewed(token: Token, now: datetime) -> TokenView:
    """`token` as it is shown."""
    return TokenView(
        id=token.id,
        name=token.name,
        roles=tuple(sorted(token.roles)),
        definitions=None if token.definitions is None else tuple(sorted(token.definitions)),
        kind=token.kind,
        made_by=token.made_by,
        made_at=token.made_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        last_used_at=token.last_used_at,
        good=is_good(token, now),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Good:
    actor: Actor
    id: UUID
    until: float


class Tokens:
    """Those of one store, as the gate asks for them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._good: OrderedDict[str, _Good] = OrderedDict()

    async def bearer(self, secret: str) -> tuple[Actor, str] | None:
        """Who `secret` stands for, and what their calls are counted by; None: unknown, over, or revoked."""
        if len(secret) != _LENGTH or not secret.startswith(PREFIX):
            return None
        hash = hash_of(secret)
        good = self._good.get(hash)
        if good is None or good.until < self._clock.monotonic():
            good = await self._looked_up(hash)
        return None if good is None else (good.actor, f"token {good.id}")

    async def _looked_up(self, hash: str) -> _Good | None:
        self._good.pop(hash, None)
        token = await self._store.token_by_hash(hash)
        now = await self._store.now()
        if token is None or not is_good(token, now):
            return None
        if token.last_used_at is None or now - token.last_used_at > _USED_EVERY:
            await self._store.token_used(token.id)
        left = (token.expires_at - now).total_seconds()
        until = self._clock.monotonic() + min(REMEMBERED, left)
        good = self._good[hash] = _Good(actor=actor_of(token), id=token.id, until=until)
        while len(self._good) > _MOST:
            self._good.popitem(last=False)
        return good
