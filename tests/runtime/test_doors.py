"""Steps reach the world through one door, once, under one key; what they raise says only why."""

import asyncio
import threading
from datetime import timedelta

from pydantic import BaseModel
from tenacity import stop_after_attempt

from sagacity import About, Saga, State, step
from sagacity.errors import Later
from sagacity.model.record import Status, WaitsFor
from sagacity.testing import PATIENCE, ManualClock, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Errand
from tests.runtime.outside import BringBack, Depot, Porter, Receipt, Vault

ONCE = stop_after_attempt(1)
LATE = threading.Event()


class Named(BaseModel):
    name: str


class Twice(Saga, version=1, key="name"):
    """Its first step tries two effects."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    carry = asked.to(done)

    @step(carry, undo=Porter.call_off, retry=ONCE)
    async def send_twice(self, asked: Named, porter: Porter) -> Receipt:
        await porter.send(f"{asked.name}1")
        return await porter.send(f"{asked.name}2")


class Polls(Saga, version=1, key="name"):
    """Makes its effect, and then asks to come again."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    lend = asked.to(done)

    @step(lend, undo=BringBack, retry=ONCE)
    async def lend_it(self, asked: Named, depot: Depot, about: About) -> Receipt:
        receipt = await depot.lend(asked.name)
        if about.attempt < 3:
            raise Later("not there yet", until=SOON[0], signal="there")
        return receipt


SOON = [ManualClock().now() + timedelta(hours=1)]


class Dawdles(Saga, version=1, key="name"):
    """A plain function that outlives its time limit and only then calls out."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    lend = asked.to(done)

    @step(lend, undo=BringBack, retry=ONCE, timeout=timedelta(milliseconds=30))
    def lend_it(self, asked: Named, depot: Depot) -> Receipt:
        LATE.wait(PATIENCE.total_seconds())
        try:
            return depot.lend(asked.name)  # type: ignore[return-value]
        finally:
            TOLD.set()


TOLD = threading.Event()


class Swallows(Saga, version=1, key="name"):
    """Goes on although the effect's answer never came."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    pay = asked.to(done)

    @step(pay, undo=Vault.refund, retry=AT_ONCE)
    async def pay_for_it(self, asked: Named, vault: Vault) -> Receipt:
        try:
            return await vault.charge(asked.name)
        except TimeoutError:
            return Receipt(number="never mind")


class Mumbles(Saga, version=1, key="name"):
    """Fails with what cannot be stored as it is."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    say = asked.to(done)

    @step(say, retry=ONCE)
    async def say_it(self, asked: Named) -> None:
        raise ValueError("\x00 and \udcff")


class Plain(Saga, version=1, key="name"):
    """A plain function with a read and an effect."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    lend = asked.to(done)

    @step(lend, undo=BringBack)
    def lend_it(self, asked: Named, depot: Depot) -> Receipt:
        for _ in range(3):
            assert depot.stock() == 7  # type: ignore[comparison-overlap]
        return depot.lend(asked.name)  # type: ignore[return-value]


async def test_a_second_effect_is_refused_before_it_leaves(house: House) -> None:
    app = await house.open(Twice)
    await house.work()
    handle = await app.start(Twice, {"name": "a"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.ROLLED_BACK
    assert "send_twice tried a second effect, porter.send" in (outcome.reason or "")
    assert house.town.story == ["send(a1)", "call_off(?)"]
    assert house.town.standing == []


async def test_the_key_is_the_same_on_every_attempt_and_another_for_every_step(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("depot.lend", TimeoutError(), TimeoutError())
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.keys("depot.lend") == [f"{house.tenant}:live:{handle.id}:lend_it"] * 3
    assert house.town.keys("porter.send") == [f"{house.tenant}:live:{handle.id}:send_it"]


async def test_a_plain_function_runs_in_a_thread_and_calls_through_the_same_door(house: House) -> None:
    app = await house.open(Plain)
    await house.work()
    handle = await app.start(Plain, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.story == ["lend(a)"]


async def test_a_step_that_asks_to_come_again_keeps_what_it_did(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Polls, clock=clock)
    app.worker = await house.work(lease=timedelta(days=1))
    handle = await app.start(Polls, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.waits_for, view.due_at) == (WaitsFor.RETRY, SOON[0])
    await handle.signal("there")
    await until(lambda: house.town.count("depot.lend") == 2)
    await settled(app, handle.id)
    clock.advance(timedelta(hours=2))
    assert (await until_over(house, handle.id)) is Status.COMMITTED
    assert len(set(house.town.keys("depot.lend"))) == 1


async def test_a_cancel_does_not_forget_what_a_step_did_before_it_asked_to_come_again(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Polls, clock=clock)
    app.worker = await house.work(lease=timedelta(days=1))
    handle = await app.start(Polls, {"name": "a"})
    await settled(app, handle.id)
    await handle.cancel(reason="enough")
    await settled(app, handle.id)
    for _ in range(3):
        clock.advance(timedelta(hours=2))
        await settled(app, handle.id)
    assert (await handle.show()).status is Status.ROLLED_BACK
    assert house.town.standing == []


async def until_over(house: House, saga: object) -> Status:
    async def over() -> Status | None:
        status = (await house.app.show(str(saga))).status
        return status if status.final else None

    found = await until(over)
    assert found is not None
    return found


async def test_a_function_that_outlives_its_time_limit_can_do_nothing_any_more(house: House) -> None:
    LATE.clear()
    TOLD.clear()
    app = await house.open(Dawdles)
    await house.work()
    handle = await app.start(Dawdles, {"name": "a"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.reason == "lend_it: TimeoutError: took longer than its time-out"
    LATE.set()
    assert await asyncio.to_thread(TOLD.wait, PATIENCE.total_seconds())
    assert house.town.calls == []


async def test_a_step_that_swallows_a_lost_answer_does_not_count_as_done(house: House) -> None:
    app = await house.open(Swallows)
    await house.work()
    house.town.meets("vault.charge", TimeoutError())
    handle = await app.start(Swallows, {"name": "a"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.results["pay_for_it"]) == (Status.COMMITTED, '{"number":"charge-a"}')


async def test_an_error_that_cannot_be_stored_as_it_is_does_not_stop_the_worker(house: House) -> None:
    app = await house.open(Mumbles, Errand)
    await house.work()
    handle = await app.start(Mumbles, {"name": "a"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.ROLLED_BACK
    assert (outcome.reason or "").startswith("say_it: ValueError:")
    other = await app.start(Errand, {"name": "b"})
    assert (await other.outcome(timeout=PATIENCE)).status is Status.COMMITTED


class Quits(Saga, version=1, key="name"):
    """Its code ends in a way that is meant for whole tasks and programs."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    go = asked.to(done)

    @step(go, retry=ONCE)
    async def leave(self, asked: Named) -> None:
        raise {"cancelled": asyncio.CancelledError("a task of its own"), "exit": SystemExit(3)}[asked.name]


class Exits(Saga, version=1, key="name"):
    """As `Quits`, in a thread."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    go = asked.to(done)

    @step(go, retry=ONCE)
    def leave(self, asked: Named) -> None:
        raise SystemExit(3)


async def test_code_that_cancels_itself_or_exits_fails_its_step_and_nothing_else(house: House) -> None:
    app = await house.open(Quits, Exits)
    await house.work()
    for flow, name in ((Quits, "cancelled"), (Quits, "exit"), (Exits, "thread")):
        outcome = await (await app.start(flow, {"name": name})).outcome(timeout=PATIENCE)
        assert outcome.status is Status.ROLLED_BACK
        assert str(outcome.reason).startswith("leave: ")
