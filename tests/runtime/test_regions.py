"""Parallel regions: their steps run side by side, and stand or fall together."""

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from sagacity import Saga, Stage, State, exclusive, step
from sagacity.errors import Refused, Unavailable
from sagacity.model.record import Lock, Status
from sagacity.testing import PATIENCE, running, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Box
from tests.runtime.outside import BringBack, Depot, Porter, Receipt, Vault


class Party(Saga, version=1, key="name"):
    """Three things at once, then one more."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)

    class work(State.Parallel):
        class lending(State.Compound):
            out = State(initial=True)
            lent = State(final=True)

        class paying(State.Compound):
            owed = State(initial=True)
            paid = State(final=True)

        class sending(State.Compound):
            here = State(initial=True)
            gone = State()
            there = State(final=True)

    done = State(final=True)

    begin = asked.to(work)
    lend = work.lending.out.to(work.lending.lent)
    pay = work.paying.owed.to(work.paying.paid)
    carry = work.sending.here.to(work.sending.gone)
    land = work.sending.gone.to(work.sending.there)
    done_state_work = work.to(done)

    def participants(self, asked: Input) -> list[Lock]:
        return [exclusive("box", asked.name)]

    @step(begin)
    def note_down(self, asked: Input, stage: Stage) -> None:
        stage(Box, asked.name).note("party")

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(pay, undo=Vault.refund, retry=AT_ONCE)
    async def pay_for_it(self, asked: Input, vault: Vault) -> Receipt:
        return await vault.charge(asked.name)

    @step(carry, undo=Porter.call_off, retry=AT_ONCE)
    async def send_it(self, asked: Input, porter: Porter) -> Receipt:
        return await porter.send(asked.name)

    @step(land)
    def note_landing(self, asked: Input, stage: Stage) -> None:
        stage(Box, asked.name).note("landed")


async def test_effects_of_all_regions_leave_before_any_has_answered(house: House) -> None:
    app = await house.open(Party)
    gates = [house.town.gate(call) for call in ("depot.lend", "vault.charge", "porter.send")]
    await house.work()
    handle = await app.start(Party, {"name": "a"})
    await until(lambda: len(house.town.calls) == 3)
    for gate in gates:
        gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert sum(len(batch.units) for batch in house.batches) <= 1 + 1 + 3
    assert (await app.object("box:a")).version == 1


async def test_what_one_region_did_is_durable_while_another_is_still_at_it(house: House) -> None:
    app = await house.open(Party)
    gate = house.town.gate("vault.charge")
    await house.work()
    handle = await app.start(Party, {"name": "a"})

    async def two_done() -> bool:
        return {"lend_it", "send_it", "note_landing"} <= set((await handle.show()).results)

    await until(two_done)
    assert "work" not in (await handle.show()).state
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_one_fails_and_all_are_undone_once_every_outcome_is_known(house: House) -> None:
    app = await house.open(Party)
    gate = house.town.gate("depot.lend")
    await house.work()
    house.town.meets("vault.charge", Refused("no money"))
    handle = await app.start(Party, {"name": "a"})

    async def failed() -> bool:
        return "failed" in [line.kind for line in await handle.history()]

    await until(failed)
    assert house.town.count("porter.call_off") == 0, "what is in flight is waited for first"
    gate.set()
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (Status.ROLLED_BACK, "pay_for_it: no money")
    assert house.town.standing == []
    assert house.town.count("vault.refund") == 0


async def test_one_waits_to_try_again_while_the_others_go_on(house: House) -> None:
    app = await house.open(Party)
    await house.work()
    house.town.meets("vault.charge", Unavailable("busy", retry_after=timedelta(milliseconds=50)))
    handle = await app.start(Party, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.count("vault.charge") == 2
    assert house.town.count("depot.lend") == house.town.count("porter.send") == 1


async def test_while_stopping_one_region_is_waited_for_and_no_other_begins_anything(house: House) -> None:
    app = await house.open(Party)
    lends, pays = house.town.gate("depot.lend"), house.town.gate("vault.charge")
    house.town.meets("depot.lend", Unavailable("busy", retry_after=timedelta(0)))
    worker = house.worker()
    async with running(worker):
        handle = await app.start(Party, {"name": "a"})
        await until(lambda: len(house.town.calls) == 3)
        stopping = asyncio.create_task(worker.stop())
        await until(lambda: worker.stopping)
        lends.set()

        async def failed() -> bool:
            return bool(await house.lines(handle.id, "failed"))

        await until(failed)
        await asyncio.sleep(0.1)
        pays.set()
        await stopping
    view = await handle.show()
    assert (view.owner, "pay_for_it" in view.results) == (None, True)
    assert await house.lines(handle.id, "not_tried") == []
    await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.count("vault.charge") == 1


async def test_killed_midway_only_what_was_open_is_driven_on(house: House) -> None:
    app = await house.open(Party)
    house.town.gate("vault.charge")
    async with running(house.worker(), grace=timedelta(milliseconds=20)):
        handle = await app.start(Party, {"name": "a"})

        async def lent() -> bool:
            return {"lend_it", "send_it"} <= set((await handle.show()).results)

        await until(lent)
    house.town.gates.clear()
    await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.count("depot.lend") == house.town.count("porter.send") == 1
    assert len(set(house.town.keys("vault.charge"))) == 1
