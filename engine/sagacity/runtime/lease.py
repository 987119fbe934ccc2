"""A worker's lease: how long it is surely its own, and from when on it may say that another's is over.

It protects one idea: who could not reach the database says nothing about who could. After the database was
away, or this very process asleep, the others get half a lease to come back before anybody is called dead.
"""

from datetime import timedelta
from uuid import UUID

from sagacity.clock import Clock
from sagacity.errors import StoreUnavailable
from sagacity.store.base import Store


class Lease:
    """The lease of one worker.

    Args:
        store: where it is prolonged.
        worker: whose it is.
        length: how long it holds from each heartbeat on.
        clock: measures here; what decides is the database's.
    """

    def __init__(self, store: Store, worker: UUID, length: timedelta, clock: Clock) -> None:
        self._store = store
        self._worker = worker
        self._length = length
        self._clock = clock
        self._ends = 0.0
        self._judges_from = 0.0

    @property
    def holds(self) -> bool:
        """It has not run out by our own measure."""
        return self._clock.monotonic() < self._ends

    def begin(self, since: float) -> None:
        """The worker was entered; `since`: our clock's reading before it was."""
        self._ends = since + self._length.total_seconds()

    async def prolonged(self) -> bool:
        """Beat. False: somebody has taken this worker's place.

        Raises:
            StoreUnavailable: nobody knows.
        """
        # From before it was asked: the database counts from later on, so the lease is never over before this.
        since = self._clock.monotonic()
        if not await self._store.heartbeat(self._worker, self._length):
            return False
        self.begin(since)
        return True

    async def sure(self) -> bool:
        """It holds; one that may have run out was prolonged first. False: nobody knows."""
        try:
            return self.holds or await self.prolonged()
        except StoreUnavailable:
            return False

    def judge_nobody(self) -> None:
        """The database was away, or this process asleep: others could not beat either, and come first."""
        self._judges_from = self._clock.monotonic() + self._length.total_seconds() / 2

    @property
    def judges(self) -> bool:
        """It may say of others that they are dead."""
        return self._clock.monotonic() >= self._judges_from
