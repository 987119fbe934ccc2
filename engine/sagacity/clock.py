"""Time, and waiting, as one port.

Nothing else in the engine asks what time it is or goes to sleep, so a test can move
time by hand and a simulator can own it. Leases and timers are judged by the database's
clock (`Store.now`); this clock only measures how long to wait for the next look.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

from sagacity.errors import NaiveDatetime


class Clock(Protocol):
    """Where a process gets its time from."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC, microsecond precision."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` (0 yields once). Cancellation passes through."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The machine's instant."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Really wait."""
        await asyncio.sleep(seconds)


def aware(instant: datetime, *, what: str) -> datetime:
    """`instant` in UTC.

    Raises:
        NaiveDatetime: `instant` has no zone; `what` names it in the message.
    """
    if instant.tzinfo is None:
        raise NaiveDatetime(f"{what} {instant.isoformat()} has no time zone: pass an aware datetime")
    return instant.astimezone(UTC)
