"""A store that waits: while the database is away, calls that may be repeated are, within a limit.

It protects one idea: a caller outside sees a restart of the database as a slow answer, never as an error.
Only calls are repeated that do no harm twice: reading, and storing a message, which is there once however
often it is stored under its id. What a worker does goes past this: it has its own ways to learn what landed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar, cast

from sagacity.clock import Clock
from sagacity.errors import StoreUnavailable
from sagacity.model.unit import Message
from sagacity.store.base import Receipt, Store

T = TypeVar("T")

_READS: Final = frozenset(
    (
        "counts", "effects_of", "find", "gauges", "history", "locks", "messages", "object", "object_history",
        "objects", "rolled_back_by", "saga", "sagas", "statuses", "tally", "workers",
    )
)  # fmt: skip
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25


def patient(store: Store, *, within: timedelta, clock: Clock) -> Store:
    """`store`, whose repeatable calls wait up to `within` for the database to come back.

    Args:
        store: what is called.
        within: for one call, all its attempts together.
        clock: what is waited by.

    Raises (each call):
        StoreUnavailable: it has not come back in time; whether a message was stored is unknown, and storing
            it again under the same id or key is safe.
    """
    return cast(Store, _Patient(store, within.total_seconds(), clock))


class _Patient:
    """See `patient`. Whatever is not named here is the store's own."""

    def __init__(self, store: Store, seconds: float, clock: Clock) -> None:
        self._store = store
        self._seconds = seconds
        self._clock = clock
        self._returns = 0
        self._asking = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return partial(self._waiting, found) if name in _READS else found

    async def _waiting(self, call: Callable[..., Awaitable[T]], *args: Any, **named: Any) -> T:
        answer, _ = await self._again(lambda: call(*args, **named))
        return answer

    async def put(self, messages: Sequence[Message], *, session: Any = None) -> list[Receipt]:
        """See the contract. In the caller's own transaction nothing is repeated: that is the caller's."""
        if session is not None:
            return await self._store.put(messages, session=session)
        receipts, repeated = await self._again(lambda: self._store.put(messages))
        if not repeated:
            return receipts
        # An attempt whose answer was lost may have stored them: then they are new all the same.
        pairs = zip(receipts, messages, strict=True)
        return [replace(r, new=True) if r.saga == m.saga else r for r, m in pairs]

    async def _again(self, call: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """The call's answer, and whether it took more than one attempt."""
        deadline, repeated = self._clock.monotonic() + self._seconds, False
        lost: StoreUnavailable | None = None
        try:
            while True:
                returns = self._returns
                try:
                    async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                        return await call(), repeated
                except StoreUnavailable as error:
                    lost = error
                async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                    await self._back(since=returns)
                repeated = True
        except TimeoutError as error:
            raise lost or StoreUnavailable(
                f"the database did not answer within {self._seconds:g} s"
            ) from error

    async def _back(self, *, since: int) -> None:
        """Return when the database has answered somebody after its return number `since`.

        One of all that wait asks for it: a crowd at the door keeps a database from getting up.
        """
        async with self._asking:
            pause = _FIRST_PAUSE
            while self._returns == since:
                try:
                    await self._store.workers()
                    self._returns += 1
                except StoreUnavailable:
                    await self._clock.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
