"""The two stores side by side: random batches, bad members anywhere, one after the other through both.

SQLite writes them by the portable statements, PostgreSQL by its one hot statement. Each answer must be the
same (who lost and why, bells, objects), and in the end every row of every table. Each seed is a tenant of its
own; `--seeds N` plays N batches instead of the form's 10,000.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sagacity.model.unit import BatchRefused, HeadMoved, Written
from sagacity.store import schema
from sagacity.store.migrate import upgrade_at
from sagacity.store.open import open_store
from sagacity.store.private import PrivatePostgres
from tests.chaos.__main__ import Options
from tests.chaos.harness.report import Report, played
from tests.contract.builders import HandClock
from tests.contract.hand import WRITING, Differs, Hand, Pair

BATCHES = 10_000
PER_SEED = 500
"""Batches of one tenant; then the next seed begins with empty tables."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("stores", options, _test)


async def _test(report: Report) -> None:
    wanted = report.size(BATCHES, 5 * BATCHES)
    told: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="sagacity-stores-"))
    try:
        with PrivatePostgres(folder / "pg", durable=False) as server:
            urls = [f"sqlite:///{folder}/same.db", server.create_database("same")]
            for url in urls:
                await upgrade_at(url)
            seed = report.seed
            while told["batches"] < wanted and not report.violations:
                async with _pair(urls, f"seed-{seed}") as (pair, clock, engines):
                    hand = Hand(pair, clock, seed, weights=WRITING, keys=300)
                    await _played(hand, min(PER_SEED, wanted - told["batches"]), report)
                    await _compared(engines, pair.one.tenant, report)
                    told.update(
                        {"batches": hand.batches, "lines": sum(h.position for h in hand.heads.values())}
                    )
                    told.update({kind.__name__: count for kind, count in hand.said.items()})
                seed += 1
                report.say(f"{told['batches']} batches")
    finally:
        shutil.rmtree(folder)
    for kind in ("batches", "Written", "BatchRefused", "HeadMoved", "StoreError", "lines"):
        report.figure(kind, told[kind])
    for answer in (Written, BatchRefused, HeadMoved):
        report.holds(told[answer.__name__] > 0, f"no batch ended as {answer.__name__}: it proves little")


async def _played(hand: Hand, batches: int, report: Report) -> None:
    try:
        while hand.batches < batches:
            await hand.step()
    except Differs as differs:
        report.blame(f"tenant {hand.pair.one.tenant}, batch {hand.batches}: {differs}")


@asynccontextmanager
async def _pair(urls: list[str], tenant: str) -> AsyncIterator[tuple[Pair, HandClock, list[AsyncEngine]]]:
    clock = HandClock()
    stores = [open_store(url, tenant=tenant, clock=clock, accept_loss=True) for url in urls]
    drivers = ("sqlite+aiosqlite", "postgresql+asyncpg")
    engines = [create_async_engine(make_url(u).set(drivername=d)) for u, d in zip(urls, drivers, strict=True)]
    for store in stores:
        await store.open()
    try:
        yield Pair(stores[0], stores[1]), clock, engines
    finally:
        for store in stores:
            await store.close()
        for engine in engines:
            await engine.dispose()


async def _compared(engines: list[AsyncEngine], tenant: str, report: Report) -> int:
    """Every row of every table of one tenant; returns how many lines its log has."""
    one, other = [await _rows(engine, tenant) for engine in engines]
    for table in one:
        report.holds(one[table] == other[table], f"tenant {tenant}: table {table} is not the same")
    return len(one["log"])


async def _rows(engine: AsyncEngine, tenant: str) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    async with engine.connect() as conn:
        for table in schema.metadata.sorted_tables:
            query = select(table).where(table.c.tenant == tenant).order_by(*table.primary_key)
            found[table.name] = [tuple(row) for row in await conn.execute(query)]
    return found
