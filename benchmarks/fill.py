"""Fill a store with sagas, in bulk: `python -m benchmarks.fill --store URL --sagas N`.

The rows are those that the engine would have written (see `benchmarks.laid`); only the way into the tables
is shorter: COPY on PostgreSQL, `executemany` on SQLite. `sagacity verify` passes on the result. Filling a
store again adds to it; nobody else may write to it meanwhile, but another filling with `--first-chain`.
"""

import argparse
import asyncio
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from time import perf_counter
from typing import Any, Protocol

import asyncpg
from sqlalchemy import Table, insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url

from benchmarks.laid import START, Filled, batches
from benchmarks.orders import KINDS
from sagacity.ids import new_id
from sagacity.model.lines import SCHEMA_VERSION
from sagacity.model.unit import ChainHead, LogRow
from sagacity.store import schema
from sagacity.store.migrate import upgrade_at
from sagacity.store.rows import effect_values, log_values, message_values, record_values
from sagacity.store.types import PLAIN

SIDE_BY_SIDE = 200
"""Sagas that run at once on one chain."""

Row = dict[str, Any]

_SQLITE = sqlite.dialect(paramstyle="qmark")


class Target(Protocol):
    """Where the rows go."""

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Put rows into a table; all have the same columns."""

    async def one(self, query: str) -> int:
        """The one number that a query answers."""

    async def close(self) -> None:
        """Make it durable."""


class Sqlite:
    """One connection, one transaction per call of `insert`."""

    def __init__(self, path: str) -> None:
        self._conn = sqlite3.connect(path)
        self._conn.execute("PRAGMA synchronous = OFF")
        self._conn.execute("PRAGMA cache_size = -262144")

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """See `Target`."""
        if not rows:
            return
        names = [column.name for column in table.columns if column.name in rows[0]]
        plain = [PLAIN.get(type(table.c[name].type), _same) for name in names]
        into = str(insert(table).prefix_with("OR IGNORE").compile(dialect=_SQLITE, column_keys=names))
        values = (
            [None if (v := row[n]) is None else to(v) for n, to in zip(names, plain, strict=True)]
            for row in rows
        )
        with self._conn:
            self._conn.executemany(into, values)

    async def one(self, query: str) -> int:
        """See `Target`."""
        return int(self._conn.execute(query).fetchone()[0])

    async def close(self) -> None:
        """See `Target`."""
        self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._conn.execute("ANALYZE")
        self._conn.close()


class Postgres:
    """COPY into the tables."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """See `Target`."""
        if rows:
            names = list(rows[0])
            records = [tuple(row[name] for name in names) for row in rows]
            await self._driver.copy_records_to_table(table.name, columns=names, records=records)

    async def one(self, query: str) -> int:
        """See `Target`."""
        return int(await self._driver.fetchval(query))

    async def close(self) -> None:
        """See `Target`."""
        await self._driver.execute("ANALYZE")
        await self._driver.close()


def _same(value: Any) -> Any:
    return value


async def target_of(url: str) -> Target:
    """The open database at `url`, its tables made where they are missing."""
    await upgrade_at(url)
    parsed = make_url(url)
    if parsed.drivername.startswith("sqlite"):
        return Sqlite(parsed.database or "")
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    # What a crash takes from history that is only just being laid can be laid again.
    return Postgres(await asyncpg.connect(plain, server_settings={"synchronous_commit": "off"}))


async def fill(
    url: str,
    sagas: int,
    *,
    chains: int = 4,
    tenant: str = "main",
    kind: str = "order",
    first: int | None = None,
    since: datetime = START,
) -> int:
    """Put `sagas` sagas into the store at `url`; returns how many lines that made.

    Args:
        url: of the store.
        sagas: how many.
        chains: on how many chains they lie, as if so many workers had run them.
        tenant: whose they are.
        kind: see `benchmarks.orders.KINDS`.
        first: number of the first chain; by default behind those that are there.
        since: when the first one is started.
    """
    target = await target_of(url)
    first = first or await target.one("SELECT coalesce(max(id), 0) + 1 FROM chain")
    run = new_id().hex[-12:]
    lines = done = 0
    seen: set[str] = set()
    scope_values = {"tenant": tenant, "lane": "live"}
    laid = KINDS[kind]
    scope = laid.scope(tenant)
    per_chain = -(-sagas // chains)
    for chain in range(chains):
        head = ChainHead(id=first + chain, epoch=1, position=0, hash=b"")
        while done < min(sagas, per_chain * (chain + 1)):
            count = min(SIDE_BY_SIDE, per_chain * (chain + 1) - done, sagas - done)
            orders = [laid(scope, new_id(), f"{run}-{n}", n, since=since) for n in range(done, done + count)]
            rows: list[LogRow] = []
            for batch, behind in batches(orders, head, tenant=tenant):
                rows += batch
                head = behind
            done, lines = done + count, lines + len(rows)
            await target.insert(schema.log, [scope_values | log_values(row) for row in rows])
            for table, values in _tables([order.filled() for order in orders], seen):
                await target.insert(table, [scope_values | row for row in values])
        await target.insert(schema.chain, [scope_values | _chain(head)])
    await target.close()
    return lines


def _tables(filled: Sequence[Filled], seen: set[str]) -> Iterator[tuple[Table, list[Row]]]:
    """Rows of everything but the log; an object that several share is put in once."""
    starts = [message_values(one.start, done=True, rung=True) for one in filled]
    signals = [message_values(signal, done=True, rung=True) for one in filled for signal in one.signals]
    yield schema.inbox, starts + signals
    yield schema.saga, [record_values(one.record) | _lease(one) for one in filled]
    effects = ((one.record.id, effect) for one in filled for effect in one.record.effects)
    yield schema.compensation, [effect_values(saga, effect) for saga, effect in effects]
    yield schema.object, list(_objects(filled, seen))


def _lease(one: Filled) -> Row:
    """Nobody has it in hand; one that is not over is woken when it is due."""
    heard = len(one.signals)
    wake_at = None if one.record.status.final else one.record.due_at
    return {"owner": None, "epoch": 1, "arrivals": heard, "heard": heard, "wake_at": wake_at}


def _objects(filled: Iterable[Filled], seen: set[str]) -> Iterator[Row]:
    for one in filled:
        for state in one.objects:
            if state.object not in seen:
                seen.add(state.object)
                yield {
                    "object": state.object,
                    "version": state.version,
                    "state": state.state,
                    "queue": (),
                    "tickets": 1,
                    "schema_version": SCHEMA_VERSION,
                }


def _chain(head: ChainHead) -> Row:
    return {"id": head.id, "owner": None, "epoch": 1, "position": head.position, "hash": head.hash}


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fill", description=__doc__)
    parser.add_argument("--store", required=True, help="sqlite:///FILE or postgresql://…")
    parser.add_argument("--sagas", type=int, required=True, help="how many")
    parser.add_argument(
        "--kind", choices=sorted(KINDS), default="order", help="of which kind; default: order"
    )
    parser.add_argument(
        "--first-chain", type=int, help="number of the first chain; default: the next free one"
    )
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--tenant", default="main")
    given = parser.parse_args(argv)
    began = perf_counter()
    lines = asyncio.run(
        fill(
            given.store,
            given.sagas,
            chains=given.chains,
            tenant=given.tenant,
            kind=given.kind,
            first=given.first_chain,
        )
    )
    took = perf_counter() - began
    print(f"{given.sagas} sagas, {lines} lines in {took:.1f} s ({lines / took:.0f} lines/s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
