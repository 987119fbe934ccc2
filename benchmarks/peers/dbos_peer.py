"""DBOS as a contender: the same steps as a durable workflow, with compensations written by hand.

Set up for speed as its documents say: async workflows and steps on one loop; the workflow is called
directly (no queue, so no polling; `start_workflow_async` was no faster); PostgreSQL reached by psycopg,
with the default pool of 20 connections (10 and 50 were no faster); logging at WARNING; no tracing, no
Conductor. Its database flushes as ours does. It has no locks over several objects and no compensations: the
undo is a list in the workflow, and the two locked objects of the measured saga are left out, in its favour.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import uvloop
from dbos import DBOS, DBOSConfig

from benchmarks import steps
from benchmarks.contender import contend
from benchmarks.steps import Order, Refusal


@DBOS.step()
async def reserve(name: str) -> dict[str, str]:
    """The first step."""
    return await steps.reserve(name)


@DBOS.step()
async def charge(name: str) -> dict[str, str]:
    """The second step."""
    return await steps.charge(name)


@DBOS.step()
async def book(name: str, refused: bool) -> dict[str, str]:
    """The third step."""
    return await steps.book(name, refused=refused)


@DBOS.step()
async def release(name: str) -> None:
    """Takes the first back."""
    await steps.release(name)


@DBOS.step()
async def refund(name: str) -> None:
    """Takes the second back."""
    await steps.refund(name)


@DBOS.workflow()
async def measured(name: str, refused: bool) -> bool:
    """The saga; False where it was rolled back."""
    undo: list[Callable[[str], Awaitable[None]]] = []
    try:
        await reserve(name)
        undo.append(release)
        await charge(name)
        undo.append(refund)
        await book(name, refused)
    except Refusal:
        for back in reversed(undo):
            await back(name)
        return False
    return True


async def main(url: str) -> None:
    """Contend until the input ends."""
    config: DBOSConfig = {
        "name": "benchmark",
        "system_database_url": url,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()

    async def run(order: Order) -> bool:
        went_through: bool = await measured(order.name, order.refused)
        return went_through

    try:
        await contend(run, version=version("dbos"))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.dbos_peer", description=__doc__)
    parser.add_argument("--store", required=True, help="sqlite:///FILE or postgresql://…")
    sys.exit(uvloop.run(main(parser.parse_args().store)))
