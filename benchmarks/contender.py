"""What every contender's process does: read a task from standard input, run sagas, print what it took.

The starter is inside the one process that also runs the steps, for everybody: a fixed number of sagas is
under way at any time, and each starts the next one when it has ended (a closed loop). Tasks and results
are JSON, one a line, and the process ends when its input does. Standard library only: see `steps`.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from time import perf_counter, process_time, time_ns
from typing import Any

from benchmarks.steps import Order, order

Run = Callable[[Order], Awaitable[bool]]
"""Runs one saga to its end; True: it went through, False: it was rolled back."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to run.

    Attributes:
        seconds: how long sagas are started; those under way then are run to their end and count too.
        at_once: sagas under way at any time.
        refused, hot: see `steps.order`.
        sagas: stop after so many even when there is time left; 0: no bound.
    """

    seconds: float
    at_once: int = 50
    refused: float = 0.0
    hot: float = 0.0
    sagas: int = 0


@dataclass(slots=True)
class Took:
    """What it took; times in seconds."""

    sagas: int = 0
    rolled_back: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def told(self) -> dict[str, float]:
        """The line that is printed."""
        ordered = sorted(self.latencies)
        return {
            "sagas": self.sagas,
            "rolled_back": self.rolled_back,
            "seconds": self.seconds,
            "per_second": self.sagas / self.seconds if self.seconds else 0.0,
            "cpu": self.cpu,
            "p50": quantile(ordered, 0.5),
            "p99": quantile(ordered, 0.99),
        }


def quantile(ordered: list[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the sorted values lie; 0 where there are none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def closed_loop(run: Run, task: Task) -> Took:
    """Keep `task.at_once` sagas under way for `task.seconds`."""
    took, name = Took(), f"{os.getpid():x}-{time_ns() // 1000:x}"
    numbers = iter(range(task.sagas or sys.maxsize))
    began, cpu = perf_counter(), process_time()
    until = began + task.seconds

    async def one_after_the_other() -> None:
        for n in numbers:
            since = perf_counter()
            if since >= until:
                return
            wanted = order(name, n, refused=task.refused, hot=task.hot)
            went_through = await run(wanted)
            if went_through is wanted.refused:
                raise RuntimeError(f"{wanted} ended the wrong way")
            took.latencies.append(perf_counter() - since)
            took.sagas += 1
            took.rolled_back += not went_through

    async with asyncio.TaskGroup() as group:
        for _ in range(task.at_once):
            group.create_task(one_after_the_other())
    took.seconds, took.cpu = perf_counter() - began, process_time() - cpu
    return took


async def tasks(perform: Callable[[dict[str, Any]], Awaitable[Any]], **about: Any) -> None:
    """Say `about` on standard output, then answer each line of standard input by `perform`."""
    # A thread of its own: one of the loop's default executor may be what a contender works with.
    with ThreadPoolExecutor(1) as reader:
        loop = asyncio.get_running_loop()
        print(json.dumps({"ready": True, "pid": os.getpid()} | about), flush=True)
        while line := await loop.run_in_executor(reader, sys.stdin.readline):
            print(json.dumps(await perform(json.loads(line))), flush=True)


async def contend(run: Run, **about: Any) -> None:
    """Run sagas with `run` for as long as somebody hands in tasks."""

    async def perform(given: dict[str, Any]) -> dict[str, float]:
        return (await closed_loop(run, Task(**given))).told()

    await tasks(perform, **about)


def asked(task: Task) -> str:
    """The line that hands in a task."""
    return json.dumps(asdict(task)) + "\n"
