"""Time and the world outside: retries, timers, deadlines, signals, approvals; and no task that waits."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, awaits, cancel, step
from sagacity.errors import InputError, NotFound, PayloadTooLarge, Unavailable
from sagacity.ids import new_id
from sagacity.model.canonical import loaded
from sagacity.model.record import Status, WaitsFor
from sagacity.runtime.worker import Worker
from sagacity.testing import PATIENCE, ManualClock, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Slow
from tests.runtime.outside import BringBack, Depot, Receipt

DAY = timedelta(days=1)


class Named(BaseModel):
    name: str


class Egg(Saga, version=1, key="name"):
    """Waits three minutes."""

    Input = Named
    raw = State(initial=True)
    wet = State()
    done = State(final=True)
    boil = raw.to(wet)
    rest = wet.to(done)

    @step(boil, undo=BringBack)
    async def borrow_pot(self, asked: Named, depot: Depot) -> Receipt:
        return await depot.lend("pot")

    cooked = awaits(rest, after=timedelta(minutes=3))


class Leave(Saga, version=1, key="name"):
    """Somebody has to approve, within two days; a refusal has a way of its own."""

    Input = Named
    asked = State(initial=True)
    lent = State()
    granted = State(final=True)
    declined = State(final=True)
    ask = asked.to(lent)
    grant = lent.to(granted)
    decline = lent.to(declined)

    @step(ask, undo=BringBack)
    async def hold_place(self, asked: Named, depot: Depot) -> Receipt:
        return await depot.lend("place")

    approval = awaits(grant, approval="boss", within=2 * DAY, otherwise=decline)


class Strict(Saga, version=1, key="name"):
    """Somebody has to approve, or it goes back."""

    Input = Named
    asked = State(initial=True)
    lent = State()
    granted = State(final=True)
    ask = asked.to(lent)
    grant = lent.to(granted)

    @step(ask, undo=BringBack)
    async def hold_place(self, asked: Named, depot: Depot) -> Receipt:
        return await depot.lend("place")

    approval = awaits(grant, approval="boss", within=2 * DAY, otherwise=cancel)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def at_work(house: House, clock: ManualClock, **settings: Any) -> Worker:
    """A worker on the hand clock, poked by what comes through the same process."""
    house.app.worker = worker = await house.work(lease=timedelta(days=1000), **settings)
    return worker


async def over(house: House, saga: UUID) -> Status:
    async def status() -> Status | None:
        found = (await house.app.show(saga)).status
        return found if found.final or found is Status.STUCK else None

    return await until(status) or Status.RUNNING


# --- retries ----------------------------------------------------------------------------------------


async def test_a_long_retry_is_a_due_time_in_the_database(house: House, clock: ManualClock) -> None:
    app = await house.open(Slow, clock=clock)
    await at_work(house, clock)
    house.town.meets("depot.lend", Unavailable("closed"), Unavailable("still closed"))
    handle = await app.start(Slow, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.status, view.waits_for, view.owner) == (Status.WAITING, WaitsFor.RETRY, None)
    assert view.due_at == clock.now() + timedelta(seconds=10)
    assert view.next.endswith("it is tried again")
    for seconds, calls in ((9, 1), (1, 2), (9, 2), (1, 3)):
        clock.advance(timedelta(seconds=seconds))
        await until(lambda: house.town.count("depot.lend") == calls)  # noqa: B023
        if calls < 3:
            await settled(app, handle.id)
    assert await over(house, handle.id) is Status.COMMITTED


async def test_a_short_retry_is_held_in_memory(house: House, clock: ManualClock) -> None:
    app = await house.open(Slow, clock=clock)
    worker = await at_work(house, clock)
    house.town.meets("porter.send", Unavailable("busy"))
    handle = await app.start(Slow, {"name": "a"})
    await until(lambda: timedelta(seconds=0.5) in clock.sleepers and worker.active == 1)
    view = await handle.show()
    assert (view.status, view.owner) == (Status.RUNNING, worker.id)
    assert "slept" not in [line.kind for line in await handle.history()]
    clock.advance(timedelta(seconds=0.5))
    assert await over(house, handle.id) is Status.COMMITTED


async def test_the_outsides_own_wish_replaces_the_policys_wait_and_not_its_stop(
    house: House, clock: ManualClock
) -> None:
    app = await house.open(Slow, clock=clock)
    await at_work(house, clock)
    house.town.meets("depot.lend", *[Unavailable("closed", retry_after=timedelta(hours=1))] * 4)
    handle = await app.start(Slow, {"name": "a"})
    for _ in range(3):
        view = await settled(app, handle.id)
        assert view.due_at == clock.now() + timedelta(hours=1)
        clock.advance(timedelta(hours=1))
    assert await over(house, handle.id) is Status.ROLLED_BACK
    assert house.town.count("depot.lend") == 4


# --- timers and deadlines -----------------------------------------------------------------------------


async def test_a_timer_moves_the_saga_on(house: House, clock: ManualClock) -> None:
    app = await house.open(Egg, clock=clock)
    await at_work(house, clock)
    handle = await app.start(Egg, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.waits_for, view.due_at) == (WaitsFor.TIMER, clock.now() + timedelta(minutes=3))
    clock.advance(timedelta(minutes=2, seconds=59))
    assert (await settled(app, handle.id)).state == ("wet",)
    clock.advance(timedelta(seconds=1))
    assert await over(house, handle.id) is Status.COMMITTED


async def test_a_deadline_passes_and_the_saga_goes_back(house: House, clock: ManualClock) -> None:
    app = await house.open(Ask, clock=clock)
    await at_work(house, clock)
    handle = await app.start(Ask, {"name": "a"})
    view = await settled(app, handle.id)
    assert view.why == "waits for signal: answer"
    clock.advance(timedelta(days=3))
    assert await over(house, handle.id) is Status.ROLLED_BACK
    assert (await handle.show()).reason == "answer did not arrive until 2026-03-04T12:00:00+00:00"
    assert house.town.standing == []


async def test_a_signal_after_its_deadline_comes_too_late(house: House, clock: ManualClock) -> None:
    app = await house.open(Ask, clock=clock)
    await at_work(house, clock)
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    clock.advance(timedelta(days=4))
    assert await over(house, handle.id) is Status.ROLLED_BACK
    await handle.signal("answer", {"count": 1})
    view = await settled(app, handle.id)
    assert view.status is Status.ROLLED_BACK
    last = (await handle.history())[-1]
    assert (last.kind, loaded(last.data or "")["why"]) == ("act_refused", "it is rolled_back already")  # type: ignore[arg-type]


# --- approvals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "state"), [(True, "granted"), (False, "declined"), (None, "declined")])
async def test_an_approval_is_granted_or_refused_or_missed(
    house: House, clock: ManualClock, said: bool | None, state: str
) -> None:
    app = await house.open(Leave, clock=clock)
    await at_work(house, clock)
    handle = await app.start(Leave, {"name": "a"})
    assert (await settled(app, handle.id)).waits_for is WaitsFor.APPROVAL
    if said is None:
        clock.advance(timedelta(days=2))
    else:
        await handle.signal("boss", {"approved": said}, actor="kim")
    assert await over(house, handle.id) is Status.COMMITTED
    assert (await handle.show()).state == (state,)


async def test_a_refused_approval_without_a_way_of_its_own_goes_back(house: House) -> None:
    app = await house.open(Strict)
    await house.work()
    handle = await app.start(Strict, {"name": "a"})
    await settled(app, handle.id)
    await handle.signal("boss", {"approved": False, "comment": "not now"}, actor="kim")
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (Status.ROLLED_BACK, "boss was refused: not now")
    [signalled] = [line for line in await handle.history() if line.kind == "signalled"]
    assert loaded(signalled.data or "")["actor"] == "kim"  # type: ignore[arg-type]


# --- signals ------------------------------------------------------------------------------------------


async def test_a_signal_that_comes_before_it_is_awaited_is_kept(house: House) -> None:
    app = await house.open(Ask)
    handle = await app.start(Ask, {"name": "a"})
    await handle.signal("answer", {"count": 3})
    await house.work(sweep=timedelta(milliseconds=20))
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert loaded((await app.object("box:a")).state)["total"] == "3"


async def test_a_signal_while_a_step_runs_is_not_lost(house: House) -> None:
    app = await house.open(Ask)
    gate = house.town.gate("depot.lend")
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await until(lambda: house.town.count("depot.lend"))
    await handle.signal("answer", {"count": 3})
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_the_same_delivery_twice_counts_once_and_a_second_signal_is_refused(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    delivery = new_id()
    first = await app.signal(handle.id, "answer", {"count": 3}, id=delivery)
    again = await app.signal(handle.id, "answer", {"count": 3}, id=delivery)
    assert (first.new, again.new) == (True, False)
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    await handle.signal("answer", {"count": 4})
    await until(lambda: refused(house, handle.id))
    assert loaded((await app.object("box:a")).state)["total"] == "3"
    assert (await handle.show()).status is Status.COMMITTED


async def refused(house: House, saga: UUID) -> list[str]:
    lines = await house.app.history(saga)
    return [loaded(line.data or "")["why"] for line in lines if line.kind == "act_refused"]  # type: ignore[arg-type]


async def test_what_does_not_fit_is_refused_in_the_log_and_the_saga_waits_on(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    await handle.signal("answer", {"count": "many"})
    await handle.signal("anser", {"count": 1})
    await until(lambda: two(house, handle.id))
    whys = sorted(await refused(house, handle.id), reverse=True)
    assert whys[0].startswith("what it carries does not fit 'answer': count:")
    assert whys[1] == "Ask awaits no such signal (it knows: answer)"
    assert (await settled(app, handle.id)).waits_for is WaitsFor.SIGNAL
    await handle.signal("answer", {"count": 2})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def two(house: House, saga: UUID) -> bool:
    return len(await refused(house, saga)) == 2


async def test_signals_that_cannot_be_stored_are_refused_to_their_sender(house: House) -> None:
    app = await house.open(Ask)
    handle = await app.start(Ask, {"name": "a"})
    with pytest.raises(PayloadTooLarge):
        await handle.signal("answer", {"count": "9" * 300_000})
    with pytest.raises(InputError, match="NUL"):
        await handle.signal("answer\x00", {"count": 1})
    with pytest.raises(InputError):
        await handle.signal("answer", {"count": 1}, actor="\udcff")
    with pytest.raises(NotFound):
        await app.signal("nobody", "answer")
    with pytest.raises(NotFound):
        await app.signal(new_id(), "answer")
    assert [message.kind for message in await app.store.messages(handle.id)] == ["start"]


class Hasty(Saga, version=1, key="name"):
    """Waits for a signal, and only for half a second."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    hear = asked.to(done)

    answer = awaits(hear, signal="answer", within=timedelta(seconds=0.5), otherwise=cancel)


async def test_a_signal_just_before_a_near_deadline_counts(house: House, clock: ManualClock) -> None:
    app = await house.open(Hasty, clock=clock)
    await at_work(house, clock)
    handle = await app.start(Hasty, {"name": "a"})
    await settled(app, handle.id)
    clock.advance(timedelta(seconds=0.4))
    await handle.signal("answer")
    clock.advance(timedelta(seconds=0.2))
    assert await over(house, handle.id) is Status.COMMITTED
