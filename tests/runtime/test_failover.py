"""A worker that falls silent: another takes over, and nothing is done again or undone by chance."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, step
from sagacity.errors import StoreError, StoreUnavailable
from sagacity.model.record import Status
from sagacity.model.unit import OutcomeUnknown
from sagacity.runtime.worker import Worker
from sagacity.testing import PATIENCE, ManualClock, running, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill
from tests.runtime.outside import BringBack, Depot, Receipt, Vault

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
    other = await house.another()
    dead: list[UUID] = []
    while not dead:
        clock._now += 2 * LEASE  # once more if a beat of its that was under way came through
        dead = await other.store.take_over()
    assert dead == [slow.id]
    gate.set()
    with pytest.raises(StoreError, match=r"taken over|taken for dead"):
        await task
    written = len(await handle.history())
    house.town.gates.clear()
    await house.work(other, lease=timedelta(days=1))
    await until(lambda: over(house, handle.id))
    assert (await handle.show()).status is Status.COMMITTED
    assert [line.kind for line in await handle.history()][written : written + 2] == ["interrupted", "failed"]
    assert len(house.town.landed) == 3


@pytest.mark.parametrize("taken", [True, False])
async def test_who_was_frozen_between_intent_and_call_calls_only_if_it_still_has_the_saga(
    house: House, taken: bool
) -> None:
    clock = ManualClock()
    app = await house.open(Errand, clock=clock)
    heir = await house.another()
    frozen = house.worker(app, lease=LEASE)
    write = app.store.write

    async def freezes(batch: Any) -> Any:
        written = await write(batch)
        if any(line.kind == "intent" for line in batch.units[0].lines):
            clock._now += 2 * LEASE  # nobody is woken: this process does not run
            while taken and not await heir.store.take_over():
                clock._now += 2 * LEASE  # a beat of its that was under way came through
        return written

    task = asyncio.create_task(frozen.run())
    await frozen.ready.wait()
    app.store.write = freezes  # type: ignore[method-assign]
    handle = await app.start(Errand, {"name": "a"})
    frozen.poke()

    def noticed() -> bool:
        clock.advance(timedelta(seconds=1))
        return task.done()

    if taken:
        await until(noticed)
        with pytest.raises(StoreError, match=r"taken over|taken for dead"):
            await task
        assert house.town.story == []
        await house.work(heir, lease=timedelta(days=1))
    await until(lambda: over(house, handle.id))
    assert (await handle.show()).status is Status.COMMITTED
    assert len(house.town.calls) == len(house.town.landed) == 3
    if not taken:
        await frozen.stop()
        await task


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


class Deadly(Saga, version=1, key="name"):
    """Whatever is on the list kills the process that does it."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    weighed = State()
    lent = State()
    done = State(final=True)
    weigh = asked.to(weighed)
    lend = weighed.to(lent)
    pay = lent.to(done)

    @step(weigh)
    async def weigh_it(self, asked: Input) -> None:
        await _deadly("weigh", asked.name)

    @step(lend, undo=BringBack)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        await _deadly("lend", asked.name)
        return await depot.lend(asked.name)

    @step(pay, undo=Vault.refund)
    async def pay_for_it(self, asked: Input, vault: Vault) -> Receipt:
        return await vault.charge(asked.name)


KILLS: list[tuple[str, str]] = []
"""What kills; a test fills it."""
_struck = asyncio.Event()


async def _deadly(what: str, name: str) -> None:
    if (what, name) in KILLS:
        _struck.set()
        await asyncio.Event().wait()


async def killed(house: House, clock: ManualClock, **settings: Any) -> None:
    """One worker after the other takes up what is there, until one of them is killed by it."""
    _struck.clear()
    clock.advance(2 * LEASE)
    worker, task = await begun(house, await house.another(), **settings)
    try:
        await until(_struck.is_set)
    finally:
        await struck_dead(task)
    assert worker.active == 0


@pytest.mark.parametrize("what", ["weigh", "lend"])
async def test_a_saga_that_kills_every_worker_is_stuck_after_a_few(house: House, what: str) -> None:
    clock = ManualClock()
    app = await house.open(Deadly, clock=clock)
    KILLS[:] = [(what, "bad")]
    bad = await app.start(Deadly, {"name": "bad"})
    for _ in range(3):
        await killed(house, clock, takeovers=3)
    clock.advance(2 * LEASE)
    await house.work(await house.another(), lease=timedelta(days=9), takeovers=3)
    view = await settled(app, bad.id)
    where = "in asked" if what == "weigh" else "at lend_it"
    assert (view.status, view.why) == (
        Status.STUCK,
        f"3 workers in a row fell silent with it in hand ({where}): it may be what kills them",
    )
    KILLS.clear()
    await app.retry(bad.id)
    clock.advance(timedelta(seconds=1))
    await until(lambda: over(house, bad.id))
    assert (await bad.show()).status is Status.COMMITTED
    assert len(house.town.landed) == 2


async def test_those_that_went_down_with_a_deadly_one_are_not_held_guilty(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Deadly, clock=clock)
    KILLS[:] = [("lend", "bad")]
    house.town.gate("vault.charge")
    good = [await app.start(Deadly, {"name": f"good {n}"}) for n in range(3)]
    bad = await app.start(Deadly, {"name": "bad"})
    for _ in range(2):
        await killed(house, clock, takeovers=3)
    house.town.gates.clear()
    await killed(house, clock, takeovers=3)
    clock.advance(2 * LEASE)
    await house.work(await house.another(), lease=timedelta(days=9), takeovers=3)
    assert (await settled(app, bad.id)).status is Status.STUCK
    for handle in good:
        await until(lambda: over(house, handle.id))  # noqa: B023
        assert (await handle.show()).status is Status.COMMITTED


async def test_after_the_database_was_away_for_longer_than_a_lease_nobody_is_taken_for_dead(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    apps = [await house.open(Errand, Fill, clock=clock), await house.another()]
    away: set[int] = set()
    for number, app in enumerate(apps):
        for name in ("heartbeat", "take_over", "ring", "claim", "claim_starts"):
            call = _unless(getattr(app.store, name), away, number)
            monkeypatch.setattr(app.store, name, call)
    early = await house.work(apps[0], lease=LEASE)
    late = await house.work(apps[1], lease=LEASE)
    away |= {0, 1}
    await _pass(clock, LEASE * 2)
    away.discard(0)  # it is back for one a moment before it is back for the other
    await _pass(clock, LEASE / 4)
    away.discard(1)
    await _pass(clock, LEASE * 2)
    assert {worker.id for worker in await apps[0].store.workers()} == {early.id, late.id}
    assert not early.stopping
    assert not late.stopping


def _unless(call: Any, away: set[int], number: int) -> Any:
    async def guarded(*args: Any, **named: Any) -> Any:
        if number in away:
            raise StoreUnavailable("away")
        return await call(*args, **named)

    return guarded


async def _pass(clock: ManualClock, time: timedelta) -> None:
    """Let time pass in small steps, and everybody who wakes up do what they can."""
    for _ in range(32):
        clock.advance(time / 32)
        for _ in range(20):
            await asyncio.sleep(0.001)
