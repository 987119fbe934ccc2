# ruff: noqa: D102 - what each method promises is written in store/base.py, once
"""SQLite in memory for many stores of one process: the simulated processes' one database.

It is the file store's own code on another connection: each call is one transaction, run whole in
the caller's thread, so it needs no thread and no time. Nothing survives the process.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from sagacity.clock import Clock
from sagacity.errors import StoreUnavailable
from sagacity.store import migrate
from sagacity.store.portable import Answer
from sagacity.store.sqlite import SqliteStore

_URL = make_url("sqlite:///:memory:")


class MemoryDatabase:
    """One database in memory. Emptied, it can be used again, which costs a thousandth of making it."""

    def __init__(self) -> None:
        self._maker = SqliteStore(_URL, tenant="", lane="live", accept_loss=True)
        self.connection: Connection = self._maker._engine().connect()
        self._empty: sqlite3.Connection | None = None

    def empty(self) -> None:
        """Forget all rows, and make the tables where there are none yet."""
        raw = self.raw
        if self._empty is None:
            with self.connection.begin():
                migrate.upgrade(self.connection)
            self._empty = sqlite3.connect(":memory:", check_same_thread=False)
            raw.backup(self._empty)
        else:
            self._empty.backup(raw)

    @property
    def raw(self) -> Any:
        """The driver's connection."""
        return self.connection.connection.driver_connection

    def close(self) -> None:
        """Let go of it; everything in it is gone."""
        self.connection.close()
        if self._empty is not None:
            self._empty.close()


class MemoryStore(SqliteStore):
    """A store on a `MemoryDatabase`; no call of it ever waits, but for `hinted`.

    Args:
        database: made ready by `empty`.
        clock: the database's.
    """

    def __init__(
        self, database: MemoryDatabase, *, tenant: str, lane: str, clock: Clock | None = None
    ) -> None:
        super().__init__(_URL, tenant=tenant, lane=lane, clock=clock, accept_loss=True)
        self._database = database

    async def open(self) -> None:
        self._conn = self._database.connection

    async def close(self) -> None:
        self._conn = None
        self._hint.set()

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        if self._conn is None:
            raise StoreUnavailable("the store is not open")
        return work()
