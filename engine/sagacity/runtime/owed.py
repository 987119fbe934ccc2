"""What a worker owns in the store and has not in hand: it must be given back, or nobody ever moves it again.

It comes about when the database goes away between a claim and its answer, or before a saga could be put down.
"""

from collections.abc import Collection
from uuid import UUID

from sagacity.errors import StoreUnavailable
from sagacity.store.base import Store


class Owed:
    """Sagas and starts that one worker has to give back.

    Args:
        store, worker: where, and whose.
        in_hand: what the worker is at; it is asked anew each time.

    Attributes:
        unsure: a claim's answer was lost: what is held is to be looked at.
    """

    def __init__(self, store: Store, worker: UUID, in_hand: Collection[UUID]) -> None:
        self.unsure = False
        self._store = store
        self._worker = worker
        self._in_hand = in_hand
        self._sagas: set[UUID] = set()
        self._idle: frozenset[UUID] = frozenset()

    def add(self, *sagas: UUID) -> None:
        """Give them back as soon as the database is there."""
        self._sagas.update(sagas)

    async def release(self, saga: UUID) -> None:
        """Give a saga back now, unchanged, for anybody to claim; while the database is away, later."""
        try:
            await self._give([saga])
        except StoreUnavailable:
            self._sagas.add(saga)

    async def release_all(self) -> None:
        """Give back all that is owed."""
        if self.unsure:
            self._sagas |= await self._out_of_hand()
            self.unsure = False
        owed = sorted(self._sagas - set(self._in_hand))
        if owed:
            await self._give(owed)
            self._sagas.difference_update(owed)

    async def find_forgotten(self) -> bool:
        """Whether anything is owed, with what is owned and was not in hand at two looks in a row.

        Such comes from a claim that was done after its answer had been given up.
        """
        idle = await self._out_of_hand()
        self._sagas |= idle & self._idle
        self._idle = idle - self._sagas
        return bool(self._sagas)

    async def _out_of_hand(self) -> frozenset[UUID]:
        return frozenset(await self._store.held(self._worker)) - set(self._in_hand)

    async def _give(self, sagas: list[UUID]) -> None:
        await self._store.hand_back(self._worker, sagas)
        await self._store.give_back_starts(self._worker, sagas)
