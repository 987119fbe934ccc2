"""What Sagacity gives to tests of flows does what it says."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sagacity import External, effect, read
from sagacity.definition.project import Project
from sagacity.errors import MissingExternal, NaiveDatetime
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing import NOON, Called, ManualClock, mocked, running, settled, until
from sagas.order import Order
from sagas.outside import Carrier, Payments, Warehouse


class Kiosk(External):
    """Sells papers."""

    @effect(inverse="take_back")
    async def sell(self, paper: str, *, key: str) -> str:
        raise AssertionError("the mock answers")

    @effect
    async def take_back(self, sold: str, *, key: str, undoes: str) -> None:
        raise AssertionError("the mock answers")

    @read
    async def left(self) -> int:
        raise AssertionError("the mock answers")

    class Mock:
        async def sell(self, paper: str) -> str:
            return f"one {paper}"

        def take_back(self, sold: str, undoes: str) -> None:
            self.undone = undoes

        async def left(self) -> int:
            return 3


# --- time -------------------------------------------------------------------------------------------


async def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    assert (clock.now(), clock.monotonic()) == (NOON, 0.0)
    clock.advance(timedelta(days=40))
    assert (clock.now(), clock.monotonic()) == (NOON + timedelta(days=40), 40 * 86_400.0)


async def test_sleepers_wake_in_the_order_in_which_they_are_due() -> None:
    clock, woken = ManualClock(), []

    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(nap(seconds)) for seconds in (3.0, 1.0, 2.0, 9.0)]
    await until(lambda: len(clock.sleepers) == 4)
    clock.advance(timedelta(seconds=2))
    await until(lambda: len(woken) == 2)
    assert woken == [1.0, 2.0]
    assert clock.sleepers == (timedelta(seconds=1), timedelta(seconds=7))
    clock.advance(timedelta(seconds=7))
    await asyncio.gather(*tasks)
    assert woken == [1.0, 2.0, 3.0, 9.0]


async def test_a_sleeper_that_is_cancelled_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(5))
    await until(lambda: clock.sleepers)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.sleepers == ()
    await clock.sleep(0)


def test_time_neither_goes_back_nor_is_without_a_zone() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(timedelta(seconds=-1))
    with pytest.raises(NaiveDatetime):
        ManualClock(datetime(2026, 1, 1))
    assert ManualClock(datetime(2026, 1, 1, tzinfo=UTC)).now().year == 2026


# --- the outside ------------------------------------------------------------------------------------


async def test_mocks_answer_get_what_they_take_and_are_recorded() -> None:
    externals = mocked(Kiosk)
    kiosk: Any = externals["kiosk"]
    assert isinstance(kiosk, Kiosk)
    assert await kiosk.sell("Times", key="k1") == "one Times"
    await kiosk.take_back("one Times", key="k1/undo", undoes="k1")
    assert await kiosk.left() == 3
    assert await kiosk.probe("k1") is None
    await kiosk.close()
    assert externals.calls == [
        Called(external="kiosk", call="sell", args=("Times",), key="k1"),
        Called(external="kiosk", call="take_back", args=("one Times",), key="k1/undo"),
        Called(external="kiosk", call="left", args=(), key=None),
    ]


async def test_something_else_can_answer_in_a_mocks_place() -> None:
    class Other:
        async def sell(self, paper: str, *, key: str) -> str:
            return f"{paper} for {key}"

        take_back = left = Kiosk.Mock.left

    kiosk: Any = mocked(Kiosk, instead={Kiosk: Other()})["kiosk"]
    assert await kiosk.sell("Times", key="k1") == "Times for k1"


def test_what_cannot_answer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"object cannot answer Kiosk\.sell: give it that method"):
        mocked(Kiosk, instead={Kiosk: object()})

    class Mute(External):
        """Declares nothing, and so needs no mock."""

    with pytest.raises(TypeError, match="Mute has no mock"):
        mocked(Mute)


# --- a worker in a block ----------------------------------------------------------------------------


async def test_a_reference_flow_is_tested_in_a_few_lines(tmp_path: Path) -> None:
    project, clock = Project.of(Order), ManualClock()
    url = f"sqlite:///{tmp_path}/test.db"
    async with await Orchestrator.open(url, project=project, clock=clock, accept_loss=True) as app:
        outside = mocked(Warehouse, Payments, Carrier)
        worker = Worker(app.store, project.flows, project.participants, externals=outside, clock=clock)
        async with running(worker):
            app.worker = worker
            handle = await app.start(Order, {"order_id": "1", "customer_id": "c", "amount": "9.90"})
            view = await settled(app, handle.id)
            assert view.why == "waits for signal: payments.approved"
            clock.advance(timedelta(days=31))
            await until(lambda: over(app, "1"))
            assert (await app.show("1")).status is Status.ROLLED_BACK
    assert [call.call for call in outside.calls] == ["reserve", "charge", "refund", "release"]


async def over(app: Orchestrator, key: str) -> bool:
    return (await app.show(key)).status.final


async def test_a_worker_that_cannot_begin_says_so_at_once(tmp_path: Path) -> None:
    project = Project.of(Order)
    url = f"sqlite:///{tmp_path}/test.db"
    async with await Orchestrator.open(url, project=project, accept_loss=True) as app:
        with pytest.raises(MissingExternal, match="has no address"):
            async with running(Worker(app.store, project.flows, project.participants)):
                raise AssertionError("not reached")


async def test_a_fact_that_does_not_come_is_named() -> None:
    def dinner() -> int:
        return 0

    with pytest.raises(TimeoutError, match=r"dinner did not come true within .*; it answers 0"):
        await until(dinner, within=timedelta(milliseconds=20))


async def test_a_saga_that_does_not_settle_is_named(tmp_path: Path) -> None:
    project = Project.of(Order)
    url = f"sqlite:///{tmp_path}/test.db"
    async with await Orchestrator.open(url, project=project, accept_loss=True) as app:
        await app.start(Order, {"order_id": "7", "customer_id": "c", "amount": 1})
        with pytest.raises(TimeoutError, match="Order '7' still moves: it is pending"):
            await settled(app, "7", within=timedelta(milliseconds=20))
