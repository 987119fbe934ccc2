"""What comes in at the same time is stored together: one transaction, one flush, many callers.

A flush costs the same for one message as for a hundred. While one is under way, whoever comes waits and
goes with the next; nobody waits for more to come. Each caller is answered only when its own message is
safe on disk, and a message that cannot be taken harms nobody but its sender.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sagacity.errors import KeyTaken, NotFound
from sagacity.model.unit import Message
from sagacity.store.base import Receipt, Store

MOST = 200
"""Messages in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """Somebody who waits for the receipt of a message."""

    message: Message
    receipt: asyncio.Future[Receipt]


class Intake:
    """The way into one store's inbox for messages that come one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._callers: deque[_Caller] = deque()
        self._storing: asyncio.Task[None] | None = None

    async def put(self, message: Message) -> Receipt:
        """Store one message; on return it is durable.

        A caller that goes away before its message's turn has come stores nothing.

        Raises:
            KeyTaken, NotFound, StoreError: as `Store.put`; this message was not stored.
        """
        caller = _Caller(message=message, receipt=asyncio.get_running_loop().create_future())
        self._callers.append(caller)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store_all(), name="sagacity-intake")
        return await caller.receipt

    async def close(self) -> None:
        """Return when nothing is under way any more."""
        if self._storing is not None:
            await asyncio.gather(self._storing, return_exceptions=True)

    async def _store_all(self) -> None:
        batch: list[_Caller] = []
        try:
            while self._callers:
                batch = [self._callers.popleft() for _ in range(min(MOST, len(self._callers)))]
                await self._store_together([caller for caller in batch if not caller.receipt.done()])
        finally:
            # Only when this task itself is cancelled is anybody still waiting here.
            for caller in (*batch, *self._callers):
                caller.receipt.cancel()
            self._callers.clear()

    async def _store_together(self, callers: Sequence[_Caller]) -> None:
        """One transaction for all; where one message is refused, halves are tried, down to that one."""
        if not callers:
            return
        try:
            receipts = await self._store.put([caller.message for caller in callers])
        except (KeyTaken, NotFound) as error:
            if len(callers) == 1:
                _fail(callers, error)
                return
            middle = len(callers) // 2
            await self._store_together(callers[:middle])
            await self._store_together(callers[middle:])
        except Exception as error:
            _fail(callers, error)
        else:
            for caller, receipt in zip(callers, receipts, strict=True):
                if not caller.receipt.done():
                    caller.receipt.set_result(receipt)


def _fail(callers: Sequence[_Caller], error: Exception) -> None:
    for caller in callers:
        if not caller.receipt.done():
            caller.receipt.set_exception(error)
