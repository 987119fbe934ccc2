"""Ending in bounded time: code of the user's may swallow its cancellation, and must not hold up a stop.

What does not end is left behind and told of. Nothing it does later counts: the worker's leave
fences its sagas and its chains.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

from sagacity.errors import StoreError
from sagacity.telemetry import tell

AT_THE_END = 10.0
"""Seconds that anything may still take once everything is to end."""


async def ended(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Cancel these and wait for them, but not for ever."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, left = await asyncio.wait(tasks, timeout=AT_THE_END)
    for task in left:
        tell("worker.left_behind", task=task.get_name())


async def in_time(work: Coroutine[Any, Any, None], *, name: str) -> None:
    """Do `work` as far as the time goes; trouble with the store ends it, too."""
    task = asyncio.create_task(work, name=name)
    await asyncio.wait([task], timeout=AT_THE_END)
    await ended([task])
    if task.done() and not task.cancelled():
        with contextlib.suppress(StoreError):
            task.result()
