"""API tokens: 256 random bits, shown once; the store keeps the hash, which opens nothing.

A token is looked up by its hash, so how long that takes tells nothing about a token that exists.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sagacity.clock import Clock
from sagacity.ids import new_secret
from sagacity.model.operating import Actor, Token
from sagacity.store.base import Store

PREFIX = "sgc_"
"""How every token begins, so that one that got into a log or a repository can be found there."""
REMEMBERED = 2.0
"""Seconds that a token which was found good is not looked up again: so long may a revoked one still open."""
_LENGTH = len(PREFIX) + 64
_USED_EVERY = timedelta(minutes=1)
_MOST = 10_000


def new_token() -> str:
    """A fresh secret, to be shown once."""
    return PREFIX + new_secret(32).hex()


def hash_of(token: str) -> str:
    """What the store knows a token by: SHA-256, in hex."""
    return sha256(token.encode()).hexdigest()


def actor_of(token: Token) -> Actor:
    """Who acts with this token."""
    return Actor(id=f"token:{token.name}", roles=token.roles, definitions=token.definitions, kind=token.kind)


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
        if token is None or token.revoked_at is not None or token.expires_at <= now:
            return None
        if token.last_used_at is None or now - token.last_used_at > _USED_EVERY:
            await self._store.token_used(token.id)
        left = (token.expires_at - now).total_seconds()
        until = self._clock.monotonic() + min(REMEMBERED, left)
        good = self._good[hash] = _Good(actor=actor_of(token), id=token.id, until=until)
        while len(self._good) > _MOST:
            self._good.popitem(last=False)
        return good
