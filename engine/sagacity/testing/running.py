"""A worker in a block, and waiting for facts: a test goes on because a fact is there."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, overload
from uuid import UUID

from sagacity.clock import SystemClock
from sagacity.model.record import Status
from sagacity.model.views import SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing.clock import ManualClock

T = TypeVar("T")

PATIENCE = timedelta(seconds=30)
"""Real time after which a fact that has not come is taken for a fault."""

_REAL = SystemClock()


@contextlib.asynccontextmanager
async def running(worker: Worker, *, grace: timedelta = timedelta(seconds=5)) -> AsyncIterator[Worker]:
    """`worker` at work inside the block, ready when it is entered, stopped when it is left.

    On a `ManualClock` it looks for what has become due after every `advance`.

    Args:
        worker: not run yet.
        grace: as for `Worker.stop`.

    Raises:
        Whatever `Worker.run` raises: at once if it cannot begin, else when the block is left.
    """
    task = asyncio.create_task(worker.run(), name="worker")
    ready = asyncio.create_task(worker.ready.wait())
    try:
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
    if task.done():
        task.result()
    clock = worker.clock
    watched = clock.watched_by(worker.poke) if isinstance(clock, ManualClock) else contextlib.nullcontext()
    try:
        with watched:
            yield worker
    finally:
        if not task.done():
            await worker.stop(grace=grace)
        await task


@overload
async def until(condition: Callable[[], Awaitable[T]], *, within: timedelta = PATIENCE) -> T: ...
@overload
async def until(condition: Callable[[], T], *, within: timedelta = PATIENCE) -> T: ...
async def until(condition: Callable[[], Any], *, within: timedelta = PATIENCE) -> Any:
    """Ask again and again until `condition` answers something true, and return that.

    Args:
        condition: plain or async; cheap, for it is asked up to a thousand times a second.
        within: real time, whatever clock the engine has.

    Raises:
        TimeoutError: it did not come true; the message has its last answer.
    """
    deadline = _REAL.monotonic() + within.total_seconds()
    pause = 0.001
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if _REAL.monotonic() > deadline:
            name = getattr(condition, "__qualname__", repr(condition))
            raise TimeoutError(f"{name} did not come true within {within}; it answers {answer!r}")
        await _REAL.sleep(pause)
        pause = min(pause * 1.5, 0.02)


async def settled(app: Orchestrator, saga: str | UUID, *, within: timedelta = PATIENCE) -> SagaView:
    """The saga once nothing moves it for now: it is over, stuck, paused, or asleep with all its mail read.

    Args:
        app: where to look.
        saga: id or business key.
        within: real time.

    Raises:
        NotFound: no such saga. TimeoutError: it still moves; the message says where it stands.
    """
    id = await app.resolve(saga)

    async def rests() -> bool:
        row = await app.store.saga(id)
        if row is None or row.owner is not None or row.arrivals != row.heard:
            return False
        record = row.record
        if record.status.final or record.status is Status.STUCK or record.paused:
            return True
        if record.due_at is not None:
            return record.due_at > await app.store.now()
        return record.status is Status.WAITING or (
            record.backward and any(e.children for e in record.effects)
        )

    try:
        await until(rests, within=within)
    except TimeoutError:
        view = await app.show(id)
        raise TimeoutError(
            f"{view.definition} {view.key!r} still moves: it is {view.status.value}, {view.why}"
        ) from None
    return await app.show(id)
