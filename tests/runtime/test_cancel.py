"""Turning back on request, or because nothing leads on: in every phase, and never behind the pivot."""

from datetime import timedelta

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, step
from sagacity.errors import NotFound, Refused, RefusedAct, Unavailable
from sagacity.model.record import EffectStatus, Status
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Ask, Errand, Fill, Onward
from tests.runtime.outside import BringBack, Depot, Porter, Receipt


class Branches(Saga, version=1, key="name"):
    """Guards choose the way; where none lets it pass, there is no way."""

    class Input(BaseModel):
        name: str
        size: int

    asked = State(initial=True)
    small = State(final=True)
    large = State()
    done = State(final=True)
    take = asked.to(small, cond="fits") | asked.to(large, cond="is_large")
    ship = large.to(done)

    def fits(self, asked: Input) -> bool:
        return 0 < asked.size < 10

    def is_large(self, asked: Input, receipt: Receipt) -> bool:
        return asked.size >= 10 and receipt.number.startswith("lend")

    @step(take, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(ship, undo=Porter.call_off, retry=AT_ONCE)
    async def send_it(self, asked: Input, porter: Porter) -> Receipt:
        return await porter.send(asked.name)


async def test_before_anybody_has_looked_at_it(house: House) -> None:
    app = await house.open(Errand)
    handle = await app.start(Errand, {"name": "a"})
    view = await handle.show()
    assert (view.status, view.allowed) == (Status.PENDING, ("cancel",))
    assert view.next == "NOTHING: no worker runs Errand; start one with `sagacity worker`"
    await handle.cancel(reason="never mind", actor="kim")
    await house.work(sweep=timedelta(milliseconds=20))
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (Status.ROLLED_BACK, "never mind")
    assert house.town.standing == []


async def test_while_it_waits_for_a_signal(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    await handle.cancel(reason="never mind")
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert house.town.story == ["lend(a)", "take_back(lend-a)"]
    with pytest.raises(RefusedAct, match="cannot be cancelled: went back: never mind"):
        await handle.cancel(reason="again")


async def test_while_an_effect_is_under_way(house: House) -> None:
    app = await house.open(Errand)
    gate = house.town.gate("vault.charge")
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("vault.charge"))
    await handle.cancel(reason="never mind")
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert house.town.story == ["lend(a)", "charge(a)", "refund(charge-a)", "take_back(lend-a)"]


async def test_seen_before_the_call_nothing_is_made_and_nothing_undone(house: House) -> None:
    app = await house.open(Errand)
    gate = house.town.gate("vault.charge")
    await house.work()
    house.town.meets("vault.charge", Unavailable("busy"))
    handle = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("vault.charge"))
    await handle.cancel(reason="never mind")
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert house.town.story == ["lend(a)", "charge(a)", "take_back(lend-a)"]
    assert (await handle.show()).effects[1].status is EffectStatus.VOID


async def test_while_it_queues_for_a_lock(house: House) -> None:
    app = await house.open(Errand, Fill)
    gate = house.town.gate("depot.lend")
    await house.work()
    first = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("depot.lend"))
    second = await app.start(Fill, {"name": "b", "box": "a"})
    third = await app.start(Fill, {"name": "c", "box": "a"})
    await settled(app, third.id)
    await second.cancel(reason="never mind")
    assert (await second.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert [lock.saga for lock in await app.locks()] == [first.id, third.id]
    gate.set()
    for handle in (first, third):
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_while_it_goes_back_a_cancel_is_refused(house: House) -> None:
    app = await house.open(Errand)
    gate = house.town.gate("vault.refund")
    await house.work()
    house.town.meets("porter.send", Refused("no"))
    handle = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("vault.refund"))
    with pytest.raises(RefusedAct, match="going back: send_it: no"):
        await handle.cancel(reason="too late")
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).reason == "send_it: no"


async def test_of_no_saga(house: House) -> None:
    app = await house.open(Errand)
    with pytest.raises(NotFound):
        await app.cancel("nothing", reason="why not")


async def test_behind_the_pivot_there_is_only_forward(house: House) -> None:
    app = await house.open(Onward)
    gate = house.town.gate("post.write")
    await house.work()
    handle = await app.start(Onward, {"name": "a"})
    await until(lambda: house.town.count("post.write"))
    with pytest.raises(RefusedAct, match="cannot be cancelled"):
        await handle.cancel(reason="too late")
    house.town.meets("post.write", Unavailable("busy"), TimeoutError(), Unavailable("busy"))
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.count("post.write") == 4


async def test_a_refusal_behind_the_pivot_is_stuck_and_a_retry_leads_on(house: House) -> None:
    app = await house.open(Onward)
    await house.work()
    house.town.meets("post.write", Refused("no such address"))
    handle = await app.start(Onward, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.status, view.reason) == (
        Status.STUCK,
        "tell_it: no such address (behind the point of no return there is only forward)",
    )
    assert house.town.standing == ["depot.lend(a)", "vault.charge(a)"]
    await app.retry(handle.id)
    await until(lambda: committed(house, handle.id))


async def committed(house: House, saga: object) -> bool:
    return (await house.app.show(str(saga))).status is Status.COMMITTED


async def test_the_pivots_own_refusal_still_goes_back(house: House) -> None:
    app = await house.open(Onward)
    await house.work()
    house.town.meets("vault.charge", Refused("no money"))
    handle = await app.start(Onward, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert house.town.standing == []


@pytest.mark.parametrize(("size", "state"), [(5, ("small",)), (50, ("done",))])
async def test_guards_choose_the_way(house: House, size: int, state: tuple[str, ...]) -> None:
    app = await house.open(Branches)
    await house.work()
    handle = await app.start(Branches, {"name": "a", "size": size})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert (await handle.show()).state == state


async def test_where_no_guard_lets_it_pass_it_goes_back(house: House) -> None:
    app = await house.open(Branches)
    await house.work()
    handle = await app.start(Branches, {"name": "a", "size": -1})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (
        Status.ROLLED_BACK,
        "lend_it: no guard of 'take' lets it pass",
    )
    assert house.town.story == ["lend(a)", "take_back(lend-a)"]
