"""G: how fast sagas can be started by a process that has no worker: nothing runs them meanwhile.

alone    `start`, 50 at once; what comes at the same time shares a transaction
many     `start_many`, 200 a call, one call at a time
joined   `start` in the caller's own transaction, which inserts a row of its own; 50 at once
"""

import argparse
import sys
from typing import Any

from sqlalchemy import Column, MetaData, Table, Text, insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.contender import Run, Task, closed_loop, tasks
from benchmarks.flow import Measured
from benchmarks.steps import Order
from sagacity import loops
from sagacity.definition.project import Project
from sagacity.orchestrator import Orchestrator
from sagacity.store.migrate import upgrade_at

AT_ONCE, MANY = 50, 200
_OWN = Table("own_order", MetaData(), Column("name", Text, primary_key=True))


def _input(order: Order) -> dict[str, Any]:
    return {"name": order.name, "account": order.account}


def runs(sagas: Orchestrator, engine: AsyncEngine) -> dict[str, Run]:
    """The ways by name; each starts one saga (`many`: 200)."""

    async def alone(order: Order) -> bool:
        return (await sagas.start(Measured, _input(order))).new

    async def many(order: Order) -> bool:
        inputs = [{"name": f"{order.name}-{n}", "account": order.account} for n in range(MANY)]
        return len(await sagas.start_many(Measured, [(None, one) for one in inputs])) == MANY

    async def joined(order: Order) -> bool:
        async with engine.begin() as connection:
            await connection.execute(insert(_OWN).values(name=order.name))
            return (await sagas.start(Measured, _input(order), session=connection)).new

    return {"alone": alone, "many": many, "joined": joined}


async def main(url: str) -> None:
    """Take tasks with a `way`."""
    await upgrade_at(url)
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), pool_size=AT_ONCE)
    async with engine.begin() as connection:
        await connection.run_sync(_OWN.metadata.create_all)
    async with await Orchestrator.open(url, project=Project.of(Measured)) as sagas:
        ways = runs(sagas, engine)

        async def perform(given: dict[str, Any]) -> dict[str, float]:
            way = given.pop("way")
            took = await closed_loop(ways[way], Task(**given, at_once=1 if way == "many" else AT_ONCE))
            took.sagas *= MANY if way == "many" else 1
            return took.told()

        await tasks(perform)
    await engine.dispose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__)
    parser.add_argument("--store", required=True, help="postgresql://…")
    sys.exit(loops.run(main(parser.parse_args().store)))
