"""Looking into the PostgreSQL server beside the store: who waits there, who is at work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Any]:
    """A connection of somebody else's."""
    driver = await asyncpg.connect(url)
    try:
        yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def held_back(url: str, table: str) -> AsyncIterator[None]:
    """For as long as this lasts, every write to `table` waits."""
    async with session(url) as driver, driver.transaction():
        await driver.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield


_WAITING = "wait_event_type = 'Lock'"
_AT_WORK = "state = 'active' AND query LIKE '%gate AS%' AND pid <> pg_backend_pid()"


async def processes(url: str, which: str, *, count: int) -> list[int]:
    """Once `count` of the server's processes are such, their numbers."""
    query = f"SELECT pid FROM pg_stat_activity WHERE {which} AND datname = current_database()"
    async with session(url) as driver, asyncio.timeout(20):
        while len(rows := await driver.fetch(query)) != count:  # noqa: ASYNC110 - the server rings no bell
            await asyncio.sleep(0.01)
    return [row["pid"] for row in rows]


async def waiting(url: str) -> int:
    """Once a statement waits for a lock, the process in which it does."""
    [pid] = await processes(url, _WAITING, count=1)
    return pid


async def over(url: str) -> None:
    """Once no batch is at work in the server any more."""
    await processes(url, _AT_WORK, count=0)
