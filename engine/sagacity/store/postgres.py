"""The store for production: PostgreSQL through asyncpg, many workers on many hosts.

Portable functions run on a pool of SQLAlchemy's; batches go as one statement on connections of
their own, whose planner settings would harm everything else; hints travel on a third kind.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, event, func, select, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sagacity.clock import Clock
from sagacity.errors import ConfigError, StoreError, StoreUnavailable
from sagacity.model.record import Record
from sagacity.model.unit import (
    Batch,
    ChainHead,
    Claimed,
    LogRow,
    Message,
    ObjectState,
    OutcomeUnknown,
    Unit,
    Written,
)
from sagacity.store import claims, hot, logreads, migrate, own_rows, schema, taking
from sagacity.store import guard as guards
from sagacity.store.base import OwnRow, OwnTableError, RowImages, RowsBusy, Served
from sagacity.store.connections import Address, HotConnections, check_flush
from sagacity.store.failures import LOCK_TIMED_OUT, MET, again, is_unknown, named, naming, state_of
from sagacity.store.hints import Hints
from sagacity.store.images import Rehearsed
from sagacity.store.portable import PortableStore, Work

Answer = TypeVar("Answer")

_POOL = 5
_OVERFLOW = 10
_POOL_WAIT_SECONDS = 30

_BEAT_SECONDS = 5.0
"""A heartbeat that takes longer says that the link is dead: with it go all connections, to be made anew."""

_YOUNG = 500
"""Lines after which the planner's statistics are looked at; then after eight times as many, each time."""

_GROWING = (schema.saga, schema.log, schema.object, schema.compensation, schema.inbox, schema.outbox)

_NOW = func.statement_timestamp(type_=TIMESTAMP(timezone=True))
"""The server's instant; stable within a statement, so that an index can be searched by it."""


class PostgresStore(PortableStore):
    """The contract on PostgreSQL.

    Args:
        url: `postgresql+asyncpg://…`; the query may carry what asyncpg's own URLs may (`sslmode`, …).
        clock: stands in for the server's instant everywhere.
        accept_loss: open also where the server's flush settings are unsafe.
    """

    dialect = "postgresql"

    def __init__(
        self, url: URL, *, tenant: str, lane: str, clock: Clock | None = None, accept_loss: bool = False
    ) -> None:
        super().__init__(tenant=tenant, lane=lane, clock=clock)
        self._accept_loss = accept_loss
        self._address = Address(url)
        self._hot = HotConnections(self._address)
        self._hints = Hints(self._address, self._scope)
        self._engine: AsyncEngine | None = None
        self._pulse: AsyncEngine | None = None
        self._leasing: AsyncEngine | None = None
        self._lines = 0
        self._next_look = _YOUNG

    # --- life -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """See the contract."""
        if self._engine is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._engine = self._pool(_POOL, _OVERFLOW)
        self._pulse = self._pool(1, 1)
        self._leasing = self._pool(1, _OVERFLOW, {"synchronous_commit": "off"})
        try:
            async with self._hot.one() as driver:
                if not self._accept_loss:
                    await check_flush(driver)
            await self._read(migrate.check)
        except BaseException:
            await self.close()
            raise

    def _pool(self, size: int, overflow: int, settings: Mapping[str, str] | None = None) -> AsyncEngine:
        made = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(self._address.connect, settings),
            pool_size=size,
            max_overflow=overflow,
            pool_timeout=_POOL_WAIT_SECONDS,
            pool_use_lifo=True,
        )
        event.listen(made.sync_engine, "checkout", _check_out)
        return made

    async def close(self) -> None:
        """See the contract."""
        engines = (self._engine, self._pulse, self._leasing)
        self._engine = self._pulse = self._leasing = None
        await self._hints.close()
        await self._hot.close()
        for engine in engines:
            if engine is not None:
                await engine.dispose()

    async def now(self) -> datetime:
        """See the contract. Never behind the sagas' own queries: a worker tells its lease by it."""
        if self._clock is not None:
            return self._clock.now()
        with naming():
            async with self._beating.connect() as conn:
                with self._address.cut_unless_answered(_BEAT_SECONDS):
                    await conn.execution_options(isolation_level="AUTOCOMMIT")
                    return (await conn.execute(select(_NOW))).scalar_one()

    async def heartbeat(self, worker: UUID, lease: timedelta) -> bool:
        """See the contract. Never behind the sagas' own queries: a busy worker must not be taken for dead."""
        with naming():
            async for attempt in again():
                with attempt:
                    async with self._beating.connect() as conn:
                        with self._address.cut_unless_answered(_BEAT_SECONDS):
                            async with conn.begin():
                                return await conn.run_sync(partial(self._beat, worker=worker, lease=lease))
        raise AssertionError("the last attempt either returns or raises")

    def _beat(self, conn: Connection, *, worker: UUID, lease: timedelta) -> bool:
        return claims.heartbeat(conn, self._scope, worker, lease, now=self._instant(conn))

    async def guard(self, rows: Sequence[OwnRow]) -> None:
        """See the contract."""
        for row in rows:
            try:
                await self._write(partial(guards.ensure, row=row, tenant=self.tenant, lane=self.lane))
            except (DBAPIError, StoreError) as error:
                # Two workers at once: whoever was first has done it.
                if not await self._read(partial(guards.is_guarded, table=row.table)):
                    raise ConfigError(
                        f"table {row.table.name} cannot be guarded: make it, or let its owner start a worker "
                        f"({error})"
                    ) from error

    # --- transactions ---------------------------------------------------------------------------

    @property
    def _connected(self) -> AsyncEngine:
        if self._engine is None:
            raise StoreUnavailable("the store is not open")
        return self._engine

    @property
    def _beating(self) -> AsyncEngine:
        if self._pulse is None:
            raise StoreUnavailable("the store is not open")
        return self._pulse

    @property
    def _unflushed(self) -> AsyncEngine:
        if self._leasing is None:
            raise StoreUnavailable("the store is not open")
        return self._leasing

    async def _read(self, work: Work[Answer]) -> Answer:
        # No transaction: each query sees what is committed, and there is nothing to end.
        return await self._at("AUTOCOMMIT", work)

    async def _snapshot(self, work: Work[Answer]) -> Answer:
        return await self._at("REPEATABLE READ", work)

    async def _at(self, isolation: str, work: Work[Answer]) -> Answer:
        with naming():
            async with self._connected.connect() as conn:
                await conn.execution_options(isolation_level=isolation)
                return await conn.run_sync(work)

    async def _write(self, work: Work[Answer]) -> Answer:
        return await self._begin(self._connected, work)

    async def _lease(self, work: Work[Answer]) -> Answer:
        # Not flushed, but each flushed commit after it flushes it too: no intent is without its lease. Where
        # the server dies in between, the saga is free for anybody again, and who drives it is refused; and
        # what was given back in vain is found as what its owner has not in hand (`runtime/owed.py`).
        return await self._begin(self._unflushed, work)

    async def _each(self, work: Work[Answer]) -> Answer:
        """As `_lease`, but each statement is a transaction of its own."""
        with naming():
            async for attempt in again():
                with attempt:
                    async with self._unflushed.connect() as conn:
                        await conn.execution_options(isolation_level="AUTOCOMMIT")
                        return await conn.run_sync(work)
        raise AssertionError("the last attempt either returns or raises")

    async def _begin(self, engine: AsyncEngine, work: Work[Answer]) -> Answer:
        with naming():
            async for attempt in again():
                with attempt:
                    async with engine.begin() as conn:
                        return await conn.run_sync(work)
        raise AssertionError("the last attempt either returns or raises")

    def _instant(self, conn: Connection) -> claims.Now:
        return _NOW if self._clock is None else self._clock.now()

    async def claim(self, worker: UUID, definitions: Served, *, limit: int) -> list[Claimed]:
        """See the contract."""
        if self._lines >= self._next_look:
            self._next_look = self._lines * 8
            with suppress(StoreError):  # it is only about speed
                await self._read(partial(_learn, lines=self._lines))
        now = self._instant
        return await self._each(
            lambda conn: taking.claim(conn, self._scope, worker, definitions, limit=limit, now=now(conn))
        )

    async def claim_starts(self, worker: UUID, definitions: Served, *, limit: int) -> list[Message]:
        """See the contract."""
        return await self._each(
            lambda conn: taking.claim_starts(conn, self._scope, worker, definitions, limit=limit)
        )

    # --- the batch ------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> Written:
        """See the contract."""
        with _outcome():
            async for attempt in again():
                with attempt:
                    async with self._hot.one() as driver:
                        written = await hot.write(driver, self._scope, batch)
                        self._lines += len(batch.rows)
                        return written
        raise AssertionError("the last attempt either returns or raises")

    async def write_with_rows(
        self,
        *,
        head: ChainHead,
        worker: UUID,
        saga: UUID,
        rows: Sequence[OwnRow],
        compose: Callable[[Mapping[str, RowImages]], Unit],
    ) -> tuple[Written, ChainHead]:
        """See the contract."""

        async def work(conn: AsyncConnection) -> tuple[Written, ChainHead]:
            images = await own_rows.run(conn, saga, rows)
            batch = self._batch_of(head, compose(images), worker)
            return await own_rows.write(conn, self._scope, batch), batch.new_head

        return await self._write_known(work)

    async def rehearse(self, statements: Sequence[tuple[UUID, Sequence[OwnRow]]]) -> Mapping[str, RowImages]:
        """See the contract."""

        async def work(conn: AsyncConnection) -> None:
            found: Mapping[str, RowImages] = {}
            for saga, rows in statements:
                found = await own_rows.run(conn, saga, rows)
            raise Rehearsed(found)

        try:
            await self._write_known(work)
        except Rehearsed as done:
            return done.images
        return {}

    async def erase(
        self, saga: UUID, seqs: Sequence[int], unit: Unit, head: ChainHead, worker: UUID
    ) -> ChainHead:
        """See the contract."""
        batch = self._batch_of(head, unit, worker)

        async def work(conn: AsyncConnection) -> ChainHead:
            await own_rows.write(conn, self._scope, batch)
            await conn.run_sync(logreads.erase_lines, self._scope, saga, seqs)
            return batch.new_head

        return await self._write_known(work)

    async def _write_known(self, work: Callable[[AsyncConnection], Awaitable[Answer]]) -> Answer:
        """Like `_write`, and tells a refusal from a commit whose outcome nobody knows."""
        with _outcome():
            async for attempt in again():
                with attempt:
                    async with self._connected.begin() as conn:
                        return await work(conn)
        raise AssertionError("the last attempt either returns or raises")

    async def load(
        self,
        rows: AsyncIterator[Sequence[LogRow]],
        sagas: Sequence[Record],
        objects: Sequence[ObjectState],
        heads: Sequence[ChainHead],
        starts: Sequence[Message],
    ) -> None:
        """See the contract."""
        with naming():
            async with self._connected.begin() as conn:
                await conn.run_sync(logreads.check_empty, self._scope)
                tickets: Counter[str] = Counter()
                async for page in rows:
                    await conn.run_sync(logreads.load_lines, self._scope, page, tickets)
                folded = logreads.Folded(sagas=sagas, objects=objects, heads=heads, starts=starts)
                await conn.run_sync(logreads.load_tables, self._scope, folded, tickets)

    # --- waking ---------------------------------------------------------------------------------

    async def hint(self) -> None:
        """See the contract."""
        await self._hints.send()

    async def hinted(self) -> None:
        """See the contract."""
        await self._hints.wait()


def _learn(conn: Connection, *, lines: int) -> None:
    """Give the planner statistics of tables that grew since it last looked.

    Autovacuum comes by once a minute. Until then a new table's planner takes tenant and lane to single
    out a few rows, and reads all there are to find one.
    """
    known = conn.execute(text("SELECT reltuples FROM pg_class WHERE oid = to_regclass('log')")).scalar_one()
    if known < lines / 4:
        tables = ", ".join(conn.dialect.identifier_preparer.format_table(table) for table in _GROWING)
        conn.exec_driver_sql(f"ANALYZE {tables}")


def _check_out(adapted: Any, *_: Any) -> None:
    """Keep a connection that the server has closed meanwhile from being used; the pool makes a new one."""
    if adapted.driver_connection.is_closed():
        raise DisconnectionError


@contextmanager
def _outcome() -> Iterator[None]:
    """Errors of a write leave the block as refused (nothing happened) or as unknown.

    Raises:
        OutcomeUnknown: the line died. StoreError: the server refused.
    """
    try:
        yield
    except MET as error:
        if is_unknown(error):
            raise OutcomeUnknown(f"the connection broke under a write: {error}") from error
        raise named(error) from error
    except OwnTableError as error:
        if error.__cause__ is not None and is_unknown(error.__cause__):
            raise OutcomeUnknown(f"the connection broke under a write: {error}") from error
        if state_of(error.__cause__) == LOCK_TIMED_OUT:
            raise RowsBusy(f"somebody else holds a row for longer than the lock time-out: {error}") from error
        raise
