"""H: the measured saga rehearsed, beside the same saga run for real, one at a time on both sides.

A dry run is played in a process of its own on a store in memory, reads live objects and locks, and is kept
with its report; the real one writes its lines and flushes each commit. Both read and write one PostgreSQL.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from time import perf_counter, process_time
from typing import Any

from benchmarks.contender import Took, tasks
from benchmarks.measure import Numbers, cpu_of
from benchmarks.place import Place
from benchmarks.rounds import Length, tell, told
from benchmarks.steps import order
from sagacity.dry import orders
from sagacity.dry.apart import Apart
from sagacity.store.migrate import upgrade_at

_FLOW = "benchmarks.flow:Measured"


async def rehearsing(place: Place, length: Length) -> dict[str, Numbers]:
    """What one saga takes for real and dry."""
    found: dict[str, Numbers] = {}
    with place.database() as url:
        async with place.ours(url) as running:
            await running.do(seconds=length.warm, at_once=1)
            found["real"] = await running.do(seconds=length.case, at_once=1)
        async with place.program("rehearsed", "--store", url) as running:
            await running.do(seconds=length.warm)
            found["dry"] = await running.do(seconds=length.case)
    for how, took in found.items():
        tell(f"H        {how:<16} {told(took)}")
    return found


def asked(seconds: float, name: str) -> Iterator[orders.Asked]:
    """Orders for this long."""
    until, n = perf_counter() + seconds, 0
    while perf_counter() < until:
        wanted = order(name, n)
        given = {"name": wanted.name, "account": wanted.account, "refused": False}
        yield orders.Asked(flow=_FLOW, input=given, text=False)
        n += 1


async def rehearse(stage: Apart, seconds: float, name: str) -> Took:
    """Dry runs for this long, one after the other; the processor time is that of both processes.

    Raises:
        RuntimeError: one of them would not be committed.
    """
    took = Took()
    began, cpu = perf_counter(), process_time() + (cpu_of(stage.pid) or 0.0)
    last = began
    async for answer in stage.ask_all(asked(seconds, name)):
        if not answer.ok:
            raise RuntimeError(answer.message or answer.said)
        took.latencies.append(perf_counter() - last)
        last = perf_counter()
        took.sagas += 1
    took.seconds = perf_counter() - began
    took.cpu = process_time() + (cpu_of(stage.pid) or 0.0) - cpu
    return took


async def main(url: str) -> None:
    """Take tasks: `seconds`."""
    await upgrade_at(url)
    async with Apart.started(orders.Place(url=url)) as stage:
        numbers = iter(range(sys.maxsize))

        async def perform(given: dict[str, Any]) -> dict[str, float]:
            return (await rehearse(stage, given["seconds"], f"dry-{next(numbers)}")).told()

        await tasks(perform)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rehearsed", description=__doc__)
    parser.add_argument("--store", required=True, help="postgresql://…")
    sys.exit(asyncio.run(main(parser.parse_args().store)))
