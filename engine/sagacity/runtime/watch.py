"""Waiting for the ends of sagas: many wait, and one asks for all of them together.

A worker in the same process tells of each end as soon as it is durable, so nobody asks about a saga that is
in its hands; about all others one query after the other asks, less and less often.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from sagacity.clock import Clock
from sagacity.errors import StoreError, StoreUnavailable
from sagacity.model.record import Record, Status
from sagacity.store.base import Store

_FIRST, _MORE, _LAST = 0.001, 1.5, 0.05
"""Seconds until a saga is asked about again at first, how much longer each time, and at most."""

_IN_HAND = 0.5
"""Seconds until one is asked about that this process will tell of itself, should that be lost."""


@dataclass(slots=True)
class _Watched:
    """One saga. `due`: when it is asked about next; `waiters`: who waits, and until when."""

    due: float
    pause: float = _FIRST
    waiters: dict["asyncio.Future[Record | None]", float] = field(default_factory=dict)


def is_over(status: Status) -> bool:
    """Nothing moves it any more but an operator."""
    return status.final or status is Status.STUCK


class Watch:
    """See the module.

    Attributes:
        in_hand: whether this process will tell of the end of a saga.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self.in_hand: Callable[[UUID], bool] = lambda saga: False
        self._store = store
        self._clock = clock
        self._watched: dict[UUID, _Watched] = {}
        self._asking: asyncio.Task[None] | None = None
        self._sooner = asyncio.Event()
        self._next = self._reached = 0.0

    async def over(self, saga: UUID, *, within: float) -> Record | None:
        """The record of a saga that is over or stuck; None: it was not, for `within` seconds.

        Raises:
            StoreError: the store could not be asked.
        """
        now = self._time()
        watched = self._watched.get(saga)
        if watched is None:
            watched = self._watched[saga] = _Watched(due=now + _IN_HAND if self.in_hand(saga) else now)
        waiter: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()
        watched.waiters[waiter] = now + within
        self._ask_until(min(watched.due, now + within))
        try:
            return await waiter
        finally:
            del watched.waiters[waiter]
            if not watched.waiters and self._watched.get(saga) is watched:
                del self._watched[saga]

    def told(self, record: Record) -> None:
        """It is over or stuck, and that is durable."""
        watched = self._watched.get(record.id)
        if watched is not None:
            _answer(watched, record)

    async def close(self) -> None:
        """Nobody waits any more."""
        for watched in self._watched.values():
            _fail(watched, StoreUnavailable("the store was closed"))
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    def _time(self) -> float:
        """The clock's, or what was slept through where somebody holds the clock."""
        return max(self._clock.monotonic(), self._reached)

    def _ask_until(self, due: float) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="watch")
        elif due < self._next:
            self._sooner.set()

    async def _ask(self) -> None:
        while self._watched:
            self._sooner.clear()
            now = self._time()
            due = self._due(now)
            wanted = [saga for saga in due if not self.in_hand(saga)]
            if wanted:
                await self._look(wanted)
            for saga in due:
                self._defer(saga)
            self._give_up()
            await self._nap()

    def _due(self, now: float) -> list[UUID]:
        """Whom to ask about: where anybody is due, also those who soon will be; one query asks for all."""
        if all(watched.due > now for watched in self._watched.values()):
            return []
        return [saga for saga, watched in self._watched.items() if watched.due - watched.pause / 2 <= now]

    async def _look(self, sagas: list[UUID]) -> None:
        """Answer those who wait for what is over."""
        try:
            found = await self._store.statuses(sagas)
            for saga in sagas:
                if saga in found and is_over(found[saga].status):
                    row = await self._store.saga(saga)
                    if row is not None and saga in self._watched:
                        _answer(self._watched[saga], row.record)
        except StoreError as error:
            for saga in sagas:
                if saga in self._watched:
                    _fail(self._watched[saga], error)

    def _defer(self, saga: UUID) -> None:
        watched = self._watched.get(saga)
        if watched is None:
            return
        held = self.in_hand(saga)
        watched.due = self._time() + (_IN_HAND if held else watched.pause)
        watched.pause = _FIRST if held else min(watched.pause * _MORE, _LAST)

    def _give_up(self) -> None:
        """Answer those whose time is up."""
        now = self._time()
        for watched in self._watched.values():
            for waiter, until in watched.waiters.items():
                if until <= now and not waiter.done():
                    waiter.set_result(None)

    async def _nap(self) -> None:
        """Until somebody is due, or comes who is due sooner."""
        await self._clock.sleep(0)  # whoever was answered is gone now
        times = (time for w in self._watched.values() for time in (w.due, *w.waiters.values()))
        self._next = min(times, default=0.0)
        left = self._next - self._time()
        if left <= 0 or self._sooner.is_set():
            return
        nap = asyncio.create_task(self._clock.sleep(left))
        sooner = asyncio.create_task(self._sooner.wait())
        try:
            done, _ = await asyncio.wait([nap, sooner], return_when=asyncio.FIRST_COMPLETED)
            if nap in done:
                self._reached = self._next
        finally:
            for task in (nap, sooner):
                task.cancel()


def _answer(watched: _Watched, record: Record) -> None:
    for waiter in watched.waiters:
        if not waiter.done():
            waiter.set_result(record)


def _fail(watched: _Watched, error: StoreError) -> None:
    for waiter in watched.waiters:
        if not waiter.done():
            waiter.set_exception(error)
