"""The worker as one saga's drive sees it: what it may use there, and nothing else of it."""

import asyncio
from typing import Protocol
from uuid import UUID

from sagacity.clock import Clock
from sagacity.model.record import Record
from sagacity.runtime.apart import Apart
from sagacity.runtime.committer import Committer
from sagacity.runtime.executor import Executor
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.timekeeper import Timekeeper
from sagacity.store.base import Store


class Bench(Protocol):
    """What a drive needs of the worker it runs in. `alone`: held by whoever may be what kills workers."""

    id: UUID
    store: Store
    clock: Clock
    time: Timekeeper
    committer: Committer
    apart: Apart
    executor: Executor
    settings: WorkerSettings
    alone: asyncio.Lock

    @property
    def stopping(self) -> bool:
        """No new step is to be begun."""

    async def sure(self) -> bool:
        """Its lease holds; one that may have run out was prolonged first."""

    def poke(self) -> None:
        """There may be something to claim."""

    def posted(self) -> None:
        """Sagas were started or written to: somebody is to look, and bells to be rung."""

    def told(self, record: Record) -> None:
        """So a saga stands now, and that is durable."""

    async def release(self, saga: UUID) -> None:
        """Give a saga back unchanged, for anybody to claim."""
