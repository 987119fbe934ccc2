"""A process that does nothing but commit in groups and note each acknowledgement, until it kills itself.

`python -m tests.chaos.harness.batcher URL ACKS ROUNDS SEED` forks one child per round; each child commits
units through the real committer and dies by SIGKILL at a point of its round: before a batch is sent, while
the server has it, when its answer is here and nobody is told yet, or after some were told.
"""

import asyncio
import os
import random
import signal
import sys
from dataclasses import dataclass
from typing import Any

from sagacity.clock import SystemClock
from sagacity.model.unit import Batch, Written
from sagacity.runtime.committer import Committer
from sagacity.store.base import Store
from sagacity.store.open import open_store
from tests.chaos.harness.work import die_with_parent
from tests.contract.builders import bench, first

POINTS = ("before it is sent", "while the server has it", "answered, nobody told", "some told", "never")


@dataclass(slots=True)
class Dying:
    """A store whose `write` kills the process at a point, the `left`-th time it is called."""

    store: Store
    point: str
    left: int
    chance: random.Random

    async def write(self, batch: Batch) -> Written:
        self.left -= 1
        due = self.left <= 0
        if due and self.point == POINTS[0]:
            _die()
        if due and self.point == POINTS[1]:
            asyncio.get_running_loop().call_later(self.chance.uniform(0.0, 0.006), _die)
        written = await self.store.write(batch)
        if due and self.point == POINTS[2]:
            _die()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def commit(url: str, acks: int, *, point: str, seed: int, units: int = 60) -> None:
    """Commit `units` units, as many at once as chance will; each acknowledgement is one line."""
    chance = random.Random(seed)
    store = open_store(url, accept_loss=False)
    await store.open()
    desk = await bench(store)
    dying: Any = Dying(store, point, chance.randint(1, 4), chance)
    committer = Committer(
        dying, worker=desk.worker, head=desk.head, clock=SystemClock(), batch=256, freed=lambda _: None
    )
    writing = asyncio.create_task(committer.run())
    told = 0

    async def one() -> None:
        nonlocal told
        unit = first()
        os.write(acks, f"sent {unit.saga}\n".encode())
        await committer.submit(unit)
        os.write(acks, f"acked {unit.saga}\n".encode())
        told += 1
        if point == POINTS[3] and dying.left <= 0 and told % 7 == 3:
            _die()

    left = units
    while left > 0:
        size = min(left, chance.choice([1, 2, 5, 20, 60]))
        left -= size
        await asyncio.gather(*(one() for _ in range(size)))
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await store.unregister(desk.worker)
    await store.close()


def main(url: str, path: str, rounds: int, seed: int) -> None:
    die_with_parent()
    acks = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in range(rounds):
        point = POINTS[number % len(POINTS)]
        pid = os.fork()
        if pid == 0:
            os.environ["CHAOS_PARENT"] = str(os.getppid())
            die_with_parent()
            asyncio.run(commit(url, acks, point=point, seed=seed * 1_000 + number))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(f"{point}: {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
