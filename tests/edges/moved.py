"""The machine's clock, moved by hand: real time goes on below, so what waits for the network still does."""

from datetime import datetime, timedelta

from sagacity.clock import SystemClock


class MovedClock(SystemClock):
    """A clock that stands `moved` ahead."""

    def __init__(self) -> None:
        self.moved = timedelta(0)

    def move(self, **by: float) -> None:
        """Let time pass at once."""
        self.moved += timedelta(**by)

    def now(self) -> datetime:
        return super().now() + self.moved

    def monotonic(self) -> float:
        return super().monotonic() + self.moved.total_seconds()
