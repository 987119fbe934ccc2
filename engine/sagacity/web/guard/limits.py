"""How fast one caller may call, and how large and how slow one request may be."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from starlette.types import Message, Receive

from sagacity.clock import Clock
from sagacity.errors import PayloadTooLarge
from sagacity.web.guard.settings import Rate

_MOST = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """One token bucket per name; at most 10,000, the least used give way."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def _of(self, name: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(name, _Bucket(self._rate.burst, now))
        bucket.left = min(self._rate.burst, bucket.left + (now - bucket.at) * self._rate.per_second)
        bucket.at = now
        self._buckets.move_to_end(name)
        while len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return bucket

    def wait(self, name: str) -> int:
        """Whole seconds until `name` may call; 0: now."""
        left = self._of(name).left
        return 0 if left >= 1 else max(1, ceil((1 - left) / self._rate.per_second))

    def take(self, name: str) -> int:
        """As `wait`, and a call that may go is counted."""
        wait = self.wait(name)
        if wait == 0:
            self._of(name).left -= 1
        return wait


class TooSlow(Exception):
    """The body did not come in time."""


def measured(receive: Receive, *, limit: int, seconds: float) -> Receive:
    """`receive`, which counts the body's bytes and its time.

    Raises (when called):
        PayloadTooLarge: more than `limit` bytes came. TooSlow: the body was not whole in `seconds`.
    """
    seen, whole = 0, False
    deadline: float | None = None

    async def counted() -> Message:
        nonlocal seen, whole, deadline
        if whole:
            return await receive()
        loop = asyncio.get_running_loop()
        deadline = deadline if deadline is not None else loop.time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise TooSlow from None
        seen += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if seen > limit:
            raise PayloadTooLarge(seen, limit)
        return message

    return counted
