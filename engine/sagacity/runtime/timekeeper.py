"""The database's time without asking the database each time.

One reading plus the process's monotonic clock since then. The reading is taken to belong to
the moment when the answer arrived, so this time is never ahead of the database's: a deadline
is never seen early.
"""

import asyncio
from datetime import datetime, timedelta

from sagacity.clock import Clock
from sagacity.store.base import Store

_NEARLY = timedelta(seconds=10)
"""A deadline that is no further off may have come already, by the database's clock."""


class Timekeeper:
    """What time it is at the database, from this process's point of view."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._read: datetime | None = None
        self._at = 0.0
        self._reading = asyncio.Lock()
        self._readings = 0

    async def sync(self) -> datetime:
        """Read the database's clock again; who asks while somebody is reading shares the answer."""
        asked = self._readings
        async with self._reading:
            if self._readings == asked or self._read is None:
                read = await self._store.now()
                self._read, self._at = read, self._clock.monotonic()
                self._readings += 1
        return self._read

    def now(self) -> datetime:
        """The database's instant, from the last reading on."""
        if self._read is None:
            raise RuntimeError("Timekeeper.sync() has not been called")
        return self._read + timedelta(seconds=self._clock.monotonic() - self._at)

    async def lags_behind(self, due_at: datetime | None) -> bool:
        """Whether what was claimed as due, and seems not to be, is due after all."""
        if due_at is None or due_at - self.now() > _NEARLY:
            return False
        return await self.sync() >= due_at
