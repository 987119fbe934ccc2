"""A worker that falls silent: another takes over, and nothing is done again or undone by chance."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from sagacity.errors import StoreError
from sagacity.model.record import Status
from sagacity.model.unit import OutcomeUnknown
from sagacity.runtime.worker import Worker
from sagacity.testing import PATIENCE, ManualClock, running, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill

LEASE = timedelta(seconds=10)


class Silent(Worker):
    """A worker that can be struck dead: its tasks end, and it says goodbye to nobody."""

    async def _leave(self, tasks: Any) -> None:
        for task in (*tasks, *self._drives.values()):
            task.cancel()
        await asyncio.gather(*tasks, *self._drives.values(), return_exceptions=True)

    async def release(self, saga: UUID) -> None:
        """The dead hand nothing back."""


async def begun(house: House, app: Any, **settings: Any) -> tuple[Worker, "asyncio.Task[None]"]:
    worker = house.worker(app, lease=LEASE, **settings)
    worker.__class__ = Silent
    task = asyncio.create_task(worker.run())
    await worker.ready.wait()
    return worker, task


async def struck_dead(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


async def over(house: House, saga: UUID) -> bool:
    return (await house.app.show(saga)).status.final


async def test_another_worker_takes_over_when_the_lease_has_run_out(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Errand, Fill, clock=clock)
    dying, task = await begun(house, app)
    house.town.gate("vault.charge")
    handle = await app.start(Errand, {"name": "a"})
    clock.advance(timedelta(seconds=1))
    dying.poke()
    await until(lambda: house.town.count("vault.charge"))
    await struck_dead(task)
    assert (await handle.show()).owner == dying.id

    house.town.gates.clear()
    heir = await house.work(await house.another(), lease=timedelta(days=1))
    clock.advance(LEASE / 2)
    waiting = await app.start(Fill, {"name": "b", "box": "b"})
    heir.poke()
    await until(lambda: over(house, waiting.id))
    assert (await handle.show()).owner == dying.id, "its lease still holds"
    clock.advance(LEASE)
    await until(lambda: over(house, handle.id))
    assert (await handle.show()).status is Status.COMMITTED
    assert house.town.count("depot.lend") == 1
    assert len(set(house.town.keys("vault.charge"))) == 1
    assert len(house.town.landed) == 3
    assert await house.lines(handle.id, "failed") == [
        {
            "attempt": 1,
            "counts": False,
            "error": "its worker was lost before the answer was recorded",
            "landed": "unknown",
            "retry_at": (await house.lines(handle.id, "failed"))[0]["retry_at"],
            "signal": None,
            "step": "pay_for_it",
            "visit": 1,
        }
    ]


async def test_a_straggler_that_was_taken_for_dead_can_write_nothing_any_more(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Errand, clock=clock)
    slow = house.worker(lease=LEASE)
    task = asyncio.create_task(slow.run())
    await slow.ready.wait()
    gate = house.town.gate("vault.charge")
    handle = await app.start(Errand, {"name": "a"})
    slow.poke()
    await until(lambda: house.town.count("vault.charge"))
    # It does not get to its heartbeat: the time it thinks it has is over before it looks again.
    clock._now += 2 * LEASE
    other = await house.another()
    assert await other.store.take_over() == [slow.id]
    gate.set()
    with pytest.raises(StoreError, match=r"taken over|taken for dead"):
        await task
    written = len(await handle.history())
    house.town.gates.clear()
    await house.work(other, lease=timedelta(days=1))
    await until(lambda: over(house, handle.id))
    assert (await handle.show()).status is Status.COMMITTED
    assert (await handle.history())[written].kind == "failed"
    assert len(house.town.landed) == 3


async def test_starts_that_a_dead_worker_had_taken_are_free_again(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Fill, clock=clock)
    dying, task = await begun(house, app)
    handle = await app.start(Fill, {"name": "a", "box": "b"})
    write = app.store.write

    async def never(batch: Any) -> Any:
        await asyncio.Event().wait()

    app.store.write = never  # type: ignore[method-assign]
    dying.poke()
    await until(lambda: dying.active)
    await struck_dead(task)
    app.store.write = write  # type: ignore[method-assign]
    clock.advance(2 * LEASE)
    await house.work(await house.another(), lease=timedelta(days=1))
    clock.advance(timedelta(seconds=1))
    await until(lambda: over(house, handle.id))
    assert (await handle.show()).status is Status.COMMITTED


@pytest.mark.parametrize("landed", [True, False])
async def test_a_batch_whose_answer_was_lost_is_written_exactly_once(house: House, landed: bool) -> None:
    app = await house.open(Errand)
    await house.work()
    write, broken = app.store.write, [1]

    async def breaks(batch: Any) -> Any:
        if broken and batch.units[0].effects:
            broken.clear()
            if landed:
                await write(batch)
            raise OutcomeUnknown("the line broke")
        return await write(batch)

    app.store.write = breaks  # type: ignore[method-assign]
    handles = [await app.start(Errand, {"name": f"n{n}"}) for n in range(3)]
    for handle in handles:
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert not broken
    assert len(house.town.landed) == 9
    assert len(house.town.calls) == 9


async def test_a_signal_is_heard_by_whoever_comes_after_a_restart(house: House) -> None:
    app = await house.open(Ask)
    async with running(house.worker()):
        handle = await app.start(Ask, {"name": "a"})
        await until(lambda: waits(house, handle.id))
    await handle.signal("answer", {"count": 2})
    await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def waits(house: House, saga: UUID) -> bool:
    row = await house.app.store.saga(saga)
    return row is not None and row.record.status is Status.WAITING and row.owner is None
