"""Waiting: what a worker costs when 100,000 sagas wait, and how fast one of them wakes up when it is told."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.contender import quantile, tasks
from benchmarks.fill import fill
from benchmarks.orders import Waits
from benchmarks.ours import worker_at
from benchmarks.place import Place
from benchmarks.rounds import Length, tell
from sagacity import loops
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter

_LONG = timedelta(minutes=1)
_AGO = timedelta(days=3)


async def waiting(place: Place, length: Length) -> dict[str, float]:
    """Memory (MiB) and processor time of an idle worker, and times to wake up (seconds)."""
    with place.database() as url:
        await fill(url, length.waiting, kind="waiting", since=datetime.now(UTC) - _AGO)
        async with place.program("waiting", "--store", url) as running:
            found = await running.do(idle=length.case, signals=length.looks)
    found["waiting"] = length.waiting
    awake = f"awake p50 {found['wake_p50'] * 1000:.1f} ms, p99 {found['wake_p99'] * 1000:.1f} ms"
    tell(f"waiting  {length.waiting:<8} {found['memory']:.0f} MiB, {awake}")
    return found


def memory() -> float:
    """What this process holds just now, in MiB (Linux only; elsewhere 0)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def awake(sagas: Orchestrator, count: int) -> list[float]:
    """Tell so many of the sagas that wait, one after the other; how long each took until it had ended."""
    times: list[float] = []
    for one in await sagas.list(Filter(status=(Status.WAITING,), limit=count)):
        since = perf_counter()
        await sagas.signal(one.id, "go")
        outcome = await sagas.outcome(one.id, timeout=_LONG)
        if outcome.status is not Status.COMMITTED:
            raise RuntimeError(f"{one.id} did not wake up: {outcome}")
        times.append(perf_counter() - since)
    return sorted(times)


async def main(url: str) -> None:
    """Take tasks with `idle` seconds and a number of `signals`."""
    async with worker_at(url, Waits) as sagas:

        async def perform(given: dict[str, Any]) -> dict[str, float]:
            cpu = process_time()
            await asyncio.sleep(given["idle"])
            idle = (process_time() - cpu) / given["idle"]
            held, times = memory(), await awake(sagas, given["signals"])
            wake = {"wake_p50": quantile(times, 0.5), "wake_p99": quantile(times, 0.99)}
            return {"memory": held, "idle_cpu": idle, "woken": len(times)} | wake

        await tasks(perform)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--store", required=True, help="postgresql://… with sagas that wait")
    sys.exit(loops.run(main(parser.parse_args().store)))
