"""What is counted of a whole store for those who watch it: how many stand where, how old the oldest is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sagacity.model.record import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """One look at one tenant and lane, all of it at one moment.

    Attributes:
        at: the database's instant.
        sagas: (definition, status) → how many; exact, starts that nobody took included as pending.
        lock_waits: sagas that stand in a lock's queue.
        runnable_since: since when the oldest saga that could go on has been waiting for a worker; None: none.
        workers: whose lease holds.
        unsent: notices that no listener has acknowledged.
        unsent_since: when the oldest of them was written; None: there is none.
    """

    at: datetime
    sagas: Mapping[tuple[str, Status], int]
    lock_waits: int
    runnable_since: datetime | None
    workers: int
    unsent: int
    unsent_since: datetime | None

    def of(self, status: Status) -> int:
        """How many stand so, over all definitions."""
        return sum(count for (_, stands), count in self.sagas.items() if stands is status)
