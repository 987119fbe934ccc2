"""Effects whose answer was lost: nothing is done twice, and nothing is undone on a guess."""

from datetime import timedelta

import pytest
from pydantic import BaseModel
from tenacity import stop_after_attempt

from sagacity import Saga, State, step
from sagacity.errors import Refused, Unavailable
from sagacity.model.record import EffectStatus, Status
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Errand
from tests.runtime.outside import BringBack, Depot, LostAnswer, Porter, Receipt, Vault

ONCE = stop_after_attempt(1)


class Lending(Saga, version=1, key="name"):
    """One effect without a probe, whose undo needs its result, tried once; then one that may refuse."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    lent = State()
    done = State(final=True)
    lend = asked.to(lent)
    pay = lent.to(done)

    @step(lend, undo=BringBack, retry=ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(pay, undo=Vault.refund, retry=ONCE)
    async def pay_for_it(self, asked: Input, vault: Vault) -> Receipt:
        return await vault.charge(asked.name)


class Sending(Saga, version=1, key="name"):
    """One effect whose undo is safe on nothing, tried once."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    done = State(final=True)
    carry = asked.to(done)

    @step(carry, undo=Porter.call_off, retry=ONCE)
    async def send_it(self, asked: Input, porter: Porter) -> Receipt:
        return await porter.send(asked.name)


class Wary(Saga, version=1, key="name"):
    """Looks before it leaps: the second look refuses, although the first leap may have landed."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    done = State(final=True)
    lend = asked.to(done)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        if depot._external.town.calls:  # type: ignore[attr-defined]
            raise Refused("thought better of it")
        return await depot.lend(asked.name)


async def test_without_a_probe_it_is_driven_forward_under_the_same_key(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("depot.lend", LostAnswer("the line broke"), ConnectionError("again"))
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.count("depot.lend") == 3
    assert len(set(house.town.keys("depot.lend"))) == 1


async def test_a_probe_that_finds_it_settles_it_without_a_second_call(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("vault.charge", LostAnswer("the line broke"))
    handle = await app.start(Errand, {"name": "a"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.COMMITTED
    assert house.town.count("vault.charge") == 1
    assert outcome.results["pay_for_it"] == '{"number":"charge-a"}'


async def test_a_probe_that_finds_nothing_lets_it_be_made(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("vault.charge", TimeoutError())
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert (house.town.count("vault.charge"), len(house.town.probed)) == (2, 1)


async def test_a_definite_no_speaks_for_earlier_attempts_under_the_same_key(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("depot.lend", TimeoutError(), Refused("we never lent it"))
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert house.town.count("depot.take_back") == 0


class Resigning(Saga, version=1, key="name"):
    """Takes a "not now" for a "no"."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    done = State(final=True)
    lend = asked.to(done)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        try:
            return await depot.lend(asked.name)
        except Unavailable:
            raise Refused("it is no use") from None


async def test_a_no_of_the_step_itself_does_not_speak_for_an_earlier_attempt(house: House) -> None:
    app = await house.open(Resigning)
    await house.work()
    house.town.meets("depot.lend", LostAnswer("the line broke"), Unavailable("busy"))
    handle = await app.start(Resigning, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.status, len(house.town.standing)) == (Status.STUCK, 1)


async def test_unknown_for_good_is_stuck_where_the_undo_needs_to_know(house: House) -> None:
    app = await house.open(Lending)
    await house.work()
    house.town.meets("depot.lend", LostAnswer("the line broke"))
    handle = await app.start(Lending, {"name": "a"})
    view = await settled(app, handle.id)
    assert view.status is Status.STUCK
    assert view.why == "lend_it: whether it happened outside is unknown (LostAnswer: the line broke)"
    assert house.town.count("depot.take_back") == 0
    await app.retry(handle.id)
    await until(lambda: ended(house, handle.id))
    assert (await handle.show()).status is Status.COMMITTED
    assert len(set(house.town.keys("depot.lend"))) == 1


async def test_a_retry_keeps_the_cancel_that_was_asked_for_before_it_was_stuck(house: House) -> None:
    app = await house.open(Lending)
    await house.work()
    gate = house.town.gate("depot.lend")
    house.town.meets("depot.lend", LostAnswer("the line broke"))
    handle = await app.start(Lending, {"name": "a"})
    await until(lambda: house.town.count("depot.lend"))
    await handle.cancel(reason="never mind")
    gate.set()
    assert (await settled(app, handle.id)).status is Status.STUCK
    await app.retry(handle.id)
    await until(lambda: ended(house, handle.id))
    view = await handle.show()
    assert (view.status, view.reason) == (Status.ROLLED_BACK, "never mind")
    assert house.town.standing == []


async def ended(house: House, saga: object) -> bool:
    return (await house.app.show(str(saga))).status.final


@pytest.mark.parametrize("landed", [True, False])
async def test_an_undo_that_is_safe_on_nothing_runs_although_nobody_knows(house: House, landed: bool) -> None:
    app = await house.open(Sending)
    await house.work()
    house.town.meets("porter.send", LostAnswer("gone") if landed else TimeoutError("gone"))
    handle = await app.start(Sending, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert house.town.story == ["send(a)", "call_off(?)"]
    assert house.town.standing == []


@pytest.mark.parametrize("landed", [True, False])
async def test_going_back_a_probe_settles_what_is_unknown(house: House, landed: bool) -> None:
    app = await house.open(Lending)
    await house.work()
    house.town.meets("vault.charge", LostAnswer("gone") if landed else TimeoutError("gone"))
    handle = await app.start(Lending, {"name": "a"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.ROLLED_BACK
    assert house.town.count("vault.charge") == 1, "going back, nothing is made that would have to be undone"
    assert house.town.count("vault.refund") == (1 if landed else 0)
    assert house.town.standing == []
    statuses = [effect.status for effect in (await handle.show()).effects]
    assert statuses == [EffectStatus.UNDONE, EffectStatus.UNDONE if landed else EffectStatus.VOID]


async def test_a_probe_that_does_not_know_leaves_it_stuck(house: House) -> None:
    app = await house.open(Lending)
    await house.work()
    house.town.knows = False
    house.town.meets("vault.charge", LostAnswer("gone"))
    handle = await app.start(Lending, {"name": "a"})
    view = await settled(app, handle.id)
    assert view.status is Status.STUCK
    assert house.town.standing == ["depot.lend(a)", "vault.charge(a)"]


async def test_a_refusal_of_the_steps_own_does_not_speak_for_an_effect_that_may_have_landed(
    house: House,
) -> None:
    app = await house.open(Wary)
    await house.work()
    house.town.meets("depot.lend", LostAnswer("gone"))
    handle = await app.start(Wary, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.status, house.town.standing) == (Status.STUCK, ["depot.lend(a)"])
    assert view.effects[0].status is EffectStatus.ARMED


async def test_a_cancel_while_it_is_unknown_first_finds_out(house: House) -> None:
    app = await house.open(Errand)
    await house.work(short_sleep=timedelta(0))
    gate = house.town.gate("depot.lend")
    house.town.meets("depot.lend", LostAnswer("gone"))
    handle = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("depot.lend"))
    await handle.cancel(reason="changed my mind")
    gate.set()
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (Status.ROLLED_BACK, "changed my mind")
    assert house.town.story == ["lend(a)", "lend(a)", "take_back(lend-a)"]
    assert house.town.standing == []
