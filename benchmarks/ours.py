"""Sagacity as a contender: one worker process with the starter in it, by the calls that a user has.

`Orchestrator.start` hands a saga to the worker of its own process without the way through the inbox, and
`Handle.outcome` tells when it has ended; both are what the documents show. Nothing is tuned: settings are
the defaults, PostgreSQL flushes every commit (`synchronous_commit=on`, `fsync=on`), SQLite is at
`synchronous=FULL`, and `accept_loss` is not given.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from benchmarks.contender import Run, contend
from benchmarks.flow import Measured
from benchmarks.steps import Order
from sagacity import loops
from sagacity.cli.working import work
from sagacity.config import load
from sagacity.definition.project import Project
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.store.migrate import upgrade_at

_LONG = timedelta(minutes=2)
_LOOK = 0.01


@asynccontextmanager
async def worker_on(sagas: Orchestrator, url: str, **settings: Any) -> AsyncIterator[None]:
    """A worker in this process, as `sagacity worker` runs one."""
    stop = asyncio.Event()
    working = asyncio.create_task(work(sagas, load(store=url, log_level="error", **settings), stop))
    while sagas.worker is None or not sagas.worker.ready.is_set():
        if working.done():
            working.result()
        await asyncio.sleep(_LOOK)
    try:
        yield
    finally:
        stop.set()
        await working


@asynccontextmanager
async def worker_at(url: str, *flows: Any, **settings: Any) -> AsyncIterator[Orchestrator]:
    """The store at `url`, tables made where they are missing, with a worker for `flows` in this process."""
    await upgrade_at(url)
    sagas = await Orchestrator.open(url, project=Project.of(*flows))
    async with sagas, worker_on(sagas, url, **settings):
        yield sagas


def runner(sagas: Orchestrator) -> Run:
    """Runs one measured saga to its end."""

    async def run(order: Order) -> bool:
        given = {"name": order.name, "account": order.account, "refused": order.refused}
        handle = await sagas.start(Measured, given)
        return (await handle.outcome(timeout=_LONG)).status is Status.COMMITTED

    return run


async def main(url: str) -> None:
    """Contend until the input ends."""
    async with worker_at(url, Measured) as sagas:
        await contend(runner(sagas))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ours", description=__doc__)
    parser.add_argument("--store", required=True, help="sqlite:///FILE or postgresql://…")
    sys.exit(loops.run(main(parser.parse_args().store)))
