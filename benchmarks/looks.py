"""What it takes to look at a store with a long history: a page of the list, one saga, a worker's claim."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from benchmarks.contender import quantile, tasks
from benchmarks.flow import Measured
from sagacity.definition.project import Project
from sagacity.ids import new_id
from sagacity.model.unit import WorkerInfo
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.settings import WorkerSettings
from sagacity.store.base import Filter

_ROOM = 200
Look = Callable[[int], Awaitable[float]]
"""Looks once, for the n-th time, and says how many seconds it took."""


async def _timed(call: Awaitable[Any]) -> float:
    since = perf_counter()
    await call
    return perf_counter() - since


async def some_sagas(url: str, count: int) -> list[Any]:
    """Ids of sagas from all over the history."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    driver: Any = await asyncpg.connect(plain)
    whole = await driver.fetchval("SELECT reltuples FROM pg_class WHERE oid = 'saga'::regclass")
    share = min(100.0, 100.0 * 20 * count / max(1, whole))
    rows = await driver.fetch(f"SELECT id FROM saga TABLESAMPLE SYSTEM ({share}) LIMIT {count}")  # noqa: S608
    await driver.close()
    return [row["id"] for row in rows]


async def looks(sagas: Orchestrator, url: str, count: int) -> dict[str, Look]:
    """Each way to look, by name."""
    known = await some_sagas(url, count)
    worker = await _register(sagas)
    served = {Measured.flow.name: Measured.flow.version}

    async def page(n: int) -> float:
        return await _timed(sagas.list(Filter(before=known[n % len(known)])))

    async def show(n: int) -> float:
        return await _timed(sagas.show(known[n % len(known)]))

    async def claim(n: int) -> float:
        await sagas.start(Measured, {"name": f"{worker}-{n}", "account": f"{worker}-{n}"})
        since = perf_counter()
        claimed = await sagas.store.claim(worker, served, limit=_ROOM)
        starts = await sagas.store.claim_starts(worker, served, limit=_ROOM)
        took = perf_counter() - since
        if claimed or len(starts) != 1:
            raise RuntimeError(f"claimed {len(claimed)} sagas and {len(starts)} starts instead of one start")
        return took

    return {"list": page, "show": show, "claim": claim}


async def _register(sagas: Orchestrator) -> Any:
    """A worker's row, so that something can be claimed; its id."""
    now, worker = await sagas.store.now(), new_id()
    await sagas.store.register(
        WorkerInfo(
            id=worker,
            name="looks",
            definitions={Measured.flow.name: (Measured.flow.version, Measured.flow.hash)},
            started_at=now,
            lease_until=now + WorkerSettings().lease,
        )
    )
    return worker


async def main(url: str) -> None:
    """Take tasks with a `count`."""
    async with await Orchestrator.open(url, project=Project.of(Measured)) as sagas:

        async def perform(given: dict[str, int]) -> dict[str, float]:
            found: dict[str, float] = {}
            for name, look in (await looks(sagas, url, given["count"])).items():
                times = sorted([await look(n) for n in range(given["count"])])
                found |= {f"{name}_p50": quantile(times, 0.5), f"{name}_p99": quantile(times, 0.99)}
            return found

        await tasks(perform)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.looks", description=__doc__)
    parser.add_argument("--store", required=True, help="postgresql://…")
    sys.exit(asyncio.run(main(parser.parse_args().store)))
