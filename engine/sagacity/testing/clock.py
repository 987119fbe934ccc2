"""A clock moved by hand: instants pass because a test says so, never because it waited long enough."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from sagacity.clock import aware

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""Where a `ManualClock` begins unless told otherwise."""


class ManualClock:
    """A clock that stands still until `advance`. Give it to the store, the worker and the orchestrator alike.

    It belongs to one event loop: `sleep` and `advance` are called there; `now` from anywhere.

    Args:
        at: its first instant, aware.

    Raises:
        NaiveDatetime: `at` has no zone.
    """

    def __init__(self, at: datetime = NOON) -> None:
        self._start = self._now = aware(at, what="at")
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """The instant that it was moved to, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since its first instant."""
        return (self._now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was moved `seconds` past; 0 or less yields to the loop once."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - yields, and does not wait
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._now + timedelta(seconds=seconds), wake)
        self._sleepers.append(entry)
        try:
            await wake
        finally:
            with contextlib.suppress(ValueError):
                self._sleepers.remove(entry)

    def advance(self, by: timedelta) -> None:
        """Move on by `by`, and wake whoever is due by then, the earliest first.

        Raises:
            ValueError: `by` is negative; time does not go back.
        """
        if by < timedelta(0):
            raise ValueError(f"advance by {by}: time does not go back")
        self._now += by
        due = sorted((entry for entry in self._sleepers if entry[0] <= self._now), key=lambda entry: entry[0])
        for _, wake in due:
            if not wake.done():
                wake.set_result(None)
        for watcher in self._watchers:
            watcher()

    @contextlib.contextmanager
    def watched_by(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Inside the block `watcher` is called after every `advance`.

        Whoever was busy and not asleep when time passed would otherwise go to sleep by the old time.
        """
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    @property
    def sleepers(self) -> tuple[timedelta, ...]:
        """How much longer each sleeper would sleep, shortest first."""
        return tuple(sorted(due - self._now for due, wake in self._sleepers if not wake.done()))
