"""Waiting for the end of a test without hanging: who makes no progress for 30 s is shown, with all stacks."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from sagacity.errors import StoreError
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from tests.chaos.harness.machine import Share
from tests.chaos.harness.world import World

STILL = 30.0
_MOVING = (Status.PENDING, Status.RUNNING, Status.WAITING, Status.COMPENSATING)


async def moving(app: Orchestrator) -> int:
    """Sagas that have not ended."""
    counts = await app.store.counts()
    return sum(counts.get(status, 0) for status in _MOVING)


async def ended(world: World) -> int:
    """Sagas that have ended; -1 where the database cannot tell just now."""
    with suppress(StoreError):
        counts = await world.app.store.counts()
        return sum(count for status, count in counts.items() if status not in _MOVING)
    return -1


@asynccontextmanager
async def watched(world: World, progress: Callable[[], Awaitable[int]]) -> AsyncIterator[None]:
    """Inside the block, where the number does not change for 30 s, the stacks are printed once."""
    task = asyncio.create_task(_watch(world, progress))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(world: World, progress: Callable[[], Awaitable[int]]) -> None:
    last, since = -1, time.monotonic()
    while True:
        await asyncio.sleep(1)
        with suppress(StoreError, OSError):
            now = await progress()
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > STILL:
                world.report.say(f"no progress for {STILL:.0f} s at {now}:\n{await world.stacks()}")
                return


async def all_ended(world: World, *, within: float, poll: float = 0.2) -> float | None:
    """Seconds until every saga has ended or is stuck; None: not within this many (blamed).

    The limit counts the time that other processes left us of the machine (see `machine`), and is never
    more than six times as long by the clock.
    """
    share = Share()
    while share.left < within and share.seconds < 6 * within:
        with suppress(StoreError):
            if await moving(world.app) == 0:
                world.report.figure("taken by others meanwhile, % of the machine", round(share.others * 100))
                return share.seconds
        await asyncio.sleep(poll)
    left = await world.app.store.counts()
    said = {status.value: count for status, count in left.items() if count}
    took = f"{share.seconds:.0f} s by the clock, {share.left:.0f} s of a machine of our own"
    world.report.blame(f"not all sagas ended within {within:.0f} s ({took}): {said}; {await world.stacks()}")
    return None
