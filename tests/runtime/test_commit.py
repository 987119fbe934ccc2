"""A flow that goes well: everything happens, once, and at the very end."""

from decimal import Decimal

import pytest

from sagacity.errors import InputError, KeyTaken, UnknownDefinition
from sagacity.model.canonical import loaded
from sagacity.model.record import Status
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Errand, Fill


async def test_a_flow_commits_and_applies_its_objects_once(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "a", "amount": "2.50"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.COMMITTED
    assert house.town.story == ["lend(a)", "charge(a)", "send(a)"]
    box = await app.object("box:a")
    assert (box.version, loaded(box.state), box.in_transaction) == (
        1,
        {"total": "2.50", "notes": ["filled"]},
        False,
    )
    applied = [line for line in await handle.history() if line.kind == "applied"]
    assert [(line.object, line.version) for line in applied] == [("box:a", 1)]
    assert await app.locks() == []


async def test_three_effects_cost_four_commits(house: House) -> None:
    app = await house.open(Errand)
    app.worker = await house.work()
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert [len(batch.units) for batch in house.batches] == [1, 1, 1, 1]
    kinds = [line.kind for line in await handle.history()]
    assert kinds == [
        *("started", "locked", "intent"),
        *("completed", "intent"),
        *("completed", "intent"),
        *("completed", "completed", "applied", "committed"),
    ]


async def test_a_flow_without_effects_costs_two_commits_through_the_inbox(house: House) -> None:
    app = await house.open(Fill)
    await house.work()
    handle = await app.start(Fill, {"name": "a", "box": "b"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert len(house.batches) == 2


async def test_the_intent_is_durable_before_the_effect_leaves(house: House) -> None:
    app = await house.open(Errand)
    gate = house.town.gate("depot.lend")
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("depot.lend"))
    kinds = [line.kind for line in await handle.history()]
    assert kinds == ["started", "locked", "intent"]
    [effect] = await app.store.effects_of(handle.id)
    assert (effect.undo, effect.key) == ("BringBack", f"{house.tenant}:live:{handle.id}:lend_it")
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


@pytest.mark.parametrize("direct", [True, False], ids=["in this process", "through the inbox"])
async def test_the_same_key_and_input_give_the_same_saga(house: House, direct: bool) -> None:
    app = await house.open(Errand)
    worker = await house.work()
    app.worker = worker if direct else None
    first = await app.start(Errand, {"name": "a"})
    again = await app.start(Errand, {"name": "a"})
    await settled(app, first.id)
    late = await app.start(Errand, {"name": "a"})
    assert (first.new, again.new, late.new) == (True, False, False)
    assert first.id == again.id == late.id
    assert house.town.count("depot.lend") == 1


@pytest.mark.parametrize("direct", [True, False], ids=["in this process", "through the inbox"])
async def test_the_same_key_with_another_input_is_refused(house: House, direct: bool) -> None:
    app = await house.open(Errand)
    worker = await house.work()
    app.worker = worker if direct else None
    first = await app.start(Errand, {"name": "a", "amount": 1})
    with pytest.raises(KeyTaken, match=str(first.id)):
        await app.start(Errand, {"name": "a", "amount": 2})
    assert (await first.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_many_starts_tell_of_each_what_became_of_it(house: House) -> None:
    app = await house.open(Fill)
    await house.work()
    inputs = [(None, {"name": f"n{n}", "box": "b", "amount": 1}) for n in range(5)]
    inputs += [(None, {"name": "n0", "box": "other"}), (None, {"name": 3}), (None, inputs[1][1])]
    results = await app.start_many(Fill, inputs)
    assert [type(result).__name__ for result in results] == [
        *["Handle"] * 5,
        "KeyTaken",
        "InputError",
        "Handle",
    ]
    assert results[-1].id == results[1].id  # type: ignore[union-attr]
    for result in results[:5]:
        assert (await result.outcome(timeout=PATIENCE)).status is Status.COMMITTED  # type: ignore[union-attr]
    assert loaded((await app.object("box:b")).state)["total"] == "5"


async def test_what_cannot_be_taken_is_refused_before_it_is_stored(house: House) -> None:
    app = await house.open(Errand)
    with pytest.raises(InputError, match="colour: unknown field"):
        await app.start(Errand, {"name": "a", "colour": "red"})
    with pytest.raises(UnknownDefinition, match="Errand"):
        await app.start("Erand", {"name": "a"})
    assert await app.counts() == {}
    taken = await app.start("Errand", {"name": "a", "colour": "red"}, ignore_unknown=True)
    assert (await taken.show()).status is Status.PENDING
    assert Decimal(loaded((await taken.show()).input)["amount"]) == 5
