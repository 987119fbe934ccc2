"""Hints between processes on PostgreSQL: there may be something to claim.

A hint travels on connections of its own and outside every transaction of a saga: notifying inside
a commit takes a lock of the whole server. Hints may be lost; polling stands behind them.
"""

import asyncio
from contextlib import suppress
from hashlib import sha256
from typing import Any

import asyncpg

from sagacity.errors import StoreError
from sagacity.store.connections import Address, Driver
from sagacity.store.failures import LOST
from sagacity.store.rows import Scope

_WORTH = 1.0
"""Seconds that a caller whose message is stored already waits for its hint to leave."""

_BACK_OFF = 1.0
"""Seconds without hints after the server could not be reached; polling goes on meanwhile."""


class Hints:
    """Sends and receives hints of one tenant and lane."""

    def __init__(self, address: Address, scope: Scope) -> None:
        self._address = address
        digest = sha256("\x1f".join(scope).encode()).hexdigest()
        self._channel = f"sagacity_{digest[:16]}"
        self._arrived = asyncio.Event()
        self._sender: Driver | None = None
        self._listener: Driver | None = None
        self._sending = asyncio.Lock()
        self._listening = asyncio.Lock()

    async def send(self) -> None:
        """Tell other processes; what fails is not repeated."""
        async with self._sending:
            try:
                async with asyncio.timeout(_WORTH):
                    if self._sender is None or self._sender.is_closed():
                        # A notice is worth no flush of its own.
                        self._sender = await self._address.connect({"synchronous_commit": "off"})
                    await self._sender.execute("SELECT pg_notify($1, '')", self._channel)
            except (StoreError, asyncpg.PostgresError, *LOST):
                self._drop_sender()

    def _drop_sender(self) -> None:
        if self._sender is not None:
            self._sender.terminate()
            self._sender = None

    async def wait(self) -> None:
        """Return when a hint arrived since the last call, or may have been missed."""
        if await self._listens():
            await self._arrived.wait()
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(_BACK_OFF):
                    await self._arrived.wait()
        self._arrived.clear()

    async def _listens(self) -> bool:
        """Whether the line stands. A new one counts as a hint: before it, some may have been missed."""
        async with self._listening:
            if self._listener is not None and not self._listener.is_closed():
                return True
            try:
                self._listener = await self._address.connect()
                await self._listener.add_listener(self._channel, self._heard)
                self._listener.add_termination_listener(self._heard)
            except (StoreError, asyncpg.PostgresError, *LOST):
                return False
            self._arrived.set()
            return True

    def _heard(self, *_: Any) -> None:
        self._arrived.set()

    async def close(self) -> None:
        """Let go of both connections."""
        self._drop_sender()
        if self._listener is not None:
            self._listener.remove_termination_listener(self._heard)
            self._listener.terminate()
            self._listener = None
