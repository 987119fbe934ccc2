# ruff: noqa: D102 - what each method promises is written in store/base.py, once
"""The embedded store: one SQLite file, one connection, one thread.

SQLite has one writer at a time, so the store gives it one: every call is a function that runs
whole, in its own transaction, in the store's thread. The event loop never waits for a disk.
Writes take the file's write lock before they look (`BEGIN IMMEDIATE`), so nothing can change
between a condition's check and the write that depends on it.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, false
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, ResourceClosedError

from sagacity.clock import Clock
from sagacity.errors import StoreError, StoreReadOnly, StoreUnavailable, UnsafeSettings
from sagacity.model.record import Record
from sagacity.model.unit import (
    Batch,
    ChainHead,
    LogRow,
    Message,
    ObjectState,
    OutcomeUnknown,
    Unit,
    Written,
)
from sagacity.store import batch as batches
from sagacity.store import images, logreads, migrate, references, schema
from sagacity.store.base import OwnRow, OwnTableError, RowImages
from sagacity.store.portable import Answer, PortableStore, Work
from sagacity.store.types import instant

BUSY_FOR = timedelta(seconds=30)
"""How long a write waits for another process's write."""

WATCH_EVERY = timedelta(milliseconds=20)
"""How often the file is asked whether another connection committed."""

_JULIAN_1970 = 2440587.5
_DAY_IN_MILLISECONDS = 86_400_000


@dataclass(slots=True)
class _Turn:
    """How the one connection stands; whoever shares the connection shares this too."""

    mode: str = "DEFERRED"
    level: str = "FULL"
    undone: bool = False


class SqliteStore(PortableStore):
    """A store in one SQLite file.

    Args:
        url: SQLAlchemy's URL, driver `sqlite`.
        accept_loss: write without waiting for the disk, and allow a database in memory.
    """

    dialect = "sqlite"

    def __init__(
        self, url: URL, *, tenant: str, lane: str, clock: Clock | None = None, accept_loss: bool = False
    ) -> None:
        super().__init__(tenant=tenant, lane=lane, clock=clock)
        self._url = url
        self._accept_loss = accept_loss
        self._thread: ThreadPoolExecutor | None = None
        self._conn: Connection | None = None
        self._turn = _Turn()
        self._hint = asyncio.Event()
        self._seen_version = 0

    # --- life ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        if self._conn is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sagacity-store")
        try:
            await self._in_thread(self._connect)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
        thread.shutdown()
        self._hint.set()

    async def now(self) -> datetime:
        return await self._read(self._instant)

    def _connect(self) -> None:
        """In the thread: open, check, and make the tables where the file is new."""
        path = _file(self._url)
        if path is None and not self._accept_loss:
            raise UnsafeSettings("a database in memory loses everything: give a file, sqlite:///NAME.db")
        if path is not None:
            _check_path(path)
        with naming(self._url):
            self._conn = self._engine().connect()
            self._check_flush(self._conn)
            self._transact("IMMEDIATE", _make_ready)
            self._seen_version = self._version()

    def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()

    def _engine(self) -> Engine:
        engine = create_engine(
            self._url,
            poolclass=NullPool,
            connect_args={
                "isolation_level": None,
                "timeout": BUSY_FOR.total_seconds(),
                "check_same_thread": False,
            },
        )
        event.listen(engine, "connect", self._set_up)
        event.listen(engine, "begin", lambda conn: conn.exec_driver_sql(f"BEGIN {self._turn.mode}"))
        return engine

    def _set_up(self, raw: Any, _record: Any) -> None:
        """Settings of the file's connection, before SQLAlchemy uses it."""
        self._turn.level = "FULL"
        for setting in (
            "journal_mode = WAL",
            f"synchronous = {'OFF' if self._accept_loss else 'FULL'}",
            "foreign_keys = ON",
            "cache_size = -65536",
        ):
            raw.execute(f"PRAGMA {setting}")

    def _check_flush(self, conn: Connection) -> None:
        raw = conn.connection.driver_connection
        assert raw is not None  # a connection that was just made has its driver's
        journal, flush = (
            raw.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        )
        if not self._accept_loss and (journal != "wal" or flush < 2):
            raise UnsafeSettings(
                f"SQLite answers journal_mode={journal}, synchronous={flush} here: acknowledged commits "
                "could be lost; use a local disk"
            )

    # --- transactions -------------------------------------------------------------------------------

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        if self._thread is None:
            raise StoreUnavailable("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _transact(self, mode: str, work: Work[Answer], *, flush: bool = True) -> Answer:
        """In the thread: run `work` in a transaction of its own; `flush`: its commit waits for the disk."""
        if self._conn is None:
            raise StoreUnavailable("the store is not open")
        self._turn.mode = mode
        with naming(self._url):
            self._flush_as("FULL" if flush else "NORMAL")
            try:
                with self._conn.begin():
                    return work(self._conn)
            finally:
                self._undo_rest(self._conn)

    def _flush_as(self, level: str) -> None:
        raw = None if self._conn is None else self._conn.connection.driver_connection
        if raw is not None and level != self._turn.level and not self._accept_loss:
            raw.execute(f"PRAGMA synchronous = {level}")
            self._turn.level = level

    def _undo_rest(self, conn: Connection) -> None:
        """SQLite leaves a transaction open whose commit it refused; nothing of it stays."""
        raw = conn.connection.driver_connection
        self._turn.undone = raw is not None and raw.in_transaction
        if raw is not None and self._turn.undone:
            raw.rollback()

    async def _read(self, work: Work[Answer]) -> Answer:
        return await self._in_thread(lambda: self._transact("DEFERRED", work))

    async def _write(self, work: Work[Answer]) -> Answer:
        return await self._in_thread(lambda: self._transact("IMMEDIATE", work))

    async def _lease(self, work: Work[Answer]) -> Answer:
        # What the machine's own end would take of this, it takes of the workers too; and the next
        # flushed commit flushes all that lies before it in the file: no intent is without its lease.
        return await self._in_thread(lambda: self._transact("IMMEDIATE", work, flush=False))

    async def _snapshot(self, work: Work[Answer]) -> Answer:
        return await self._read(work)

    async def _write_known(self, work: Work[Answer]) -> Answer:
        """Like `_write`, and tells a failed commit from one whose outcome nobody knows.

        Raises:
            OutcomeUnknown: the commit broke, and whether it landed cannot be seen from here.
            OwnTableError, StoreError: refused.
        """
        return await self._in_thread(lambda: self._commit_known(work))

    def _commit_known(self, work: Work[Answer]) -> Answer:
        reached_end = False

        def whole(conn: Connection) -> Answer:
            nonlocal reached_end
            answer = work(conn)
            reached_end = True
            return answer

        try:
            return self._transact("IMMEDIATE", whole)
        except (IntegrityError, sqlite3.IntegrityError) as error:
            said = getattr(error, "orig", error)
            if reached_end:  # only the user's own tables have constraints that wait for the commit
                raise OwnTableError(f"a constraint of the user's own tables failed: {said}") from error
            raise StoreError(f"the database refused the batch: {said}") from error
        except StoreError as error:
            if reached_end and not self._turn.undone:
                raise OutcomeUnknown(f"the commit broke: {error}") from error
            raise

    def _instant(self, conn: Connection) -> datetime:
        if self._clock is not None:
            return self._clock.now()
        days: float = conn.exec_driver_sql("SELECT julianday('now')").scalar_one()
        return instant(round((days - _JULIAN_1970) * _DAY_IN_MILLISECONDS) * 1000)

    # --- the batch ----------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> Written:
        return await self._write_known(lambda conn: batches.write(conn, self._scope, batch))

    async def write_with_rows(
        self,
        *,
        head: ChainHead,
        worker: UUID,
        saga: UUID,
        rows: Sequence[OwnRow],
        compose: Callable[[Mapping[str, RowImages]], Unit],
    ) -> tuple[Written, ChainHead]:
        def work(conn: Connection) -> tuple[Written, ChainHead]:
            batch = self._batch_of(head, compose(images.run_statements(conn, rows)), worker)
            return batches.write(conn, self._scope, batch), batch.new_head

        return await self._write_known(work)

    async def rehearse(self, statements: Sequence[tuple[UUID, Sequence[OwnRow]]]) -> Mapping[str, RowImages]:
        def work(conn: Connection) -> None:
            found: Mapping[str, RowImages] = {}
            for _, rows in statements:
                found = references.checked(conn, partial(images.run_statements, conn, rows))
            raise images.Rehearsed(found)

        try:
            await self._write(work)
        except images.Rehearsed as done:
            return done.images
        return {}

    async def erase(
        self, saga: UUID, seqs: Sequence[int], unit: Unit, head: ChainHead, worker: UUID
    ) -> ChainHead:
        batch = self._batch_of(head, unit, worker)

        def work(conn: Connection) -> ChainHead:
            batches.write(conn, self._scope, batch)
            logreads.erase_lines(conn, self._scope, saga, seqs)
            return batch.new_head

        return await self._write_known(work)

    async def load(
        self,
        rows: AsyncIterator[Sequence[LogRow]],
        sagas: Sequence[Record],
        objects: Sequence[ObjectState],
        heads: Sequence[ChainHead],
        starts: Sequence[Message],
    ) -> None:
        loop = asyncio.get_running_loop()

        async def following() -> Sequence[LogRow] | None:
            return await anext(rows, None)

        def work(conn: Connection) -> None:
            logreads.check_empty(conn, self._scope)
            tickets: Counter[str] = Counter()
            # The store's thread waits for the loop: nothing else can come into this transaction.
            while piece := asyncio.run_coroutine_threadsafe(following(), loop).result():
                logreads.load_lines(conn, self._scope, piece, tickets)
            folded = logreads.Folded(sagas=sagas, objects=objects, heads=heads, starts=starts)
            logreads.load_tables(conn, self._scope, folded, tickets)

        await self._write_known(work)

    # --- waking -------------------------------------------------------------------------------------

    async def hint(self) -> None:
        self._hint.set()

    async def hinted(self) -> None:
        """By this process at once, by other connections within `WATCH_EVERY` (under a given clock: never)."""
        while not self._hint.is_set():
            if self._clock is not None:
                await self._hint.wait()
                break
            seen, self._seen_version = self._seen_version, await self._in_thread(self._version)
            if seen != self._seen_version:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_EVERY.total_seconds()):
                    await self._hint.wait()
        self._hint.clear()

    def _version(self) -> int:
        """A number that changes when another connection commits; needs no transaction."""
        raw = None if self._conn is None else self._conn.connection.driver_connection
        return self._seen_version if raw is None else int(raw.execute("PRAGMA data_version").fetchone()[0])


def _make_ready(conn: Connection) -> None:
    """Migrate a new file; any other must be ready.

    New is what has no tables, seen under the write lock: another process may make the same file now.

    Raises:
        SchemaBehind, SchemaAhead, StoreReadOnly: it is not; the message names the fix.
    """
    if conn.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one() == 0:
        migrate.upgrade(conn)
    migrate.check(conn)
    # BEGIN IMMEDIATE on a file that is not writable is quietly a read; only a write tells.
    conn.execute(schema.worker.delete().where(false()))


# --- the file and what it answers ---------------------------------------------------------------------


def _file(url: URL) -> Path | None:
    """The file that a URL names; None for a database in memory."""
    name = (url.database or "").removeprefix("file:").partition("?")[0]
    return None if name in {"", ":memory:"} else Path(name)


def _check_path(path: Path) -> None:
    """Say what is wrong with the place before SQLite says only that it cannot open it.

    Raises:
        StoreUnavailable, StoreReadOnly: the message names the fix.
    """
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise StoreUnavailable(f"the folder {path.parent} does not exist: create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StoreReadOnly(f"{path} cannot be written: give this process write permission")


@contextlib.contextmanager
def naming(url: URL) -> Iterator[None]:
    """The driver's errors as the engine's, by their codes; collisions pass as they are.

    Raises:
        StoreReadOnly, StoreUnavailable, StoreError: by SQLite's result code.
    """
    try:
        yield
    except (IntegrityError, sqlite3.IntegrityError):
        raise
    except ResourceClosedError as error:
        raise StoreUnavailable(f"{url.database}: the connection is closed") from error
    except DBAPIError as error:
        raise _classified(url, error.orig) from error
    except sqlite3.Error as error:
        raise _classified(url, error) from error


def _classified(url: URL, error: BaseException | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_READONLY:
            return StoreReadOnly(f"{url.database} cannot be written: give this process write permission")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(
                f"{url.database}: another process has held the write lock for {BUSY_FOR.seconds} s: "
                "end its transaction"
            )
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(f"{url.database} cannot be opened: check the path and its permissions")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return StoreError(f"{url.database} is not a sound SQLite database: restore it from a backup")
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable(f"{url.database}: the disk is full: make room, and all goes on")
    return StoreError(f"{url.database}: {error}")
