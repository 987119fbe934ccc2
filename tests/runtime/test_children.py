"""Sagas that start sagas: the parent is done when all its children are, and its way back is theirs."""

import asyncio
from decimal import Decimal
from typing import Literal
from uuid import UUID

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, spawns, step
from sagacity.definition.compile import ChildEnd
from sagacity.errors import Refused
from sagacity.model.canonical import loaded
from sagacity.model.record import Status, WaitsFor
from sagacity.model.unit import Message
from sagacity.store.base import Filter
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Errand
from tests.runtime.outside import Porter, Receipt


class Household(Saga, version=1, key="name"):
    """Has several errands run, then sends word."""

    class Input(BaseModel):
        name: str
        errands: list[str]

    asked = State(initial=True)
    running = State()
    done = State(final=True)
    run_them = asked.to(running)
    carry = running.to(done)

    @spawns(run_them, Errand)
    def all_errands(self, asked: Input) -> list[Errand.Input]:
        return [Errand.Input(name=name, amount=Decimal(3)) for name in asked.errands]

    @step(carry, undo=Porter.call_off, retry=AT_ONCE)
    async def send_word(self, asked: Input, ends: list[ChildEnd], porter: Porter) -> Receipt:
        return await porter.send(f"{asked.name}:{len(ends)}")


async def children_of(house: House) -> dict[str, UUID]:
    rows = await house.app.list(Filter(definition="Errand"))
    return {row.key.rpartition(":")[2]: row.id for row in rows if not row.key.startswith("rollback")}


async def test_it_is_done_when_all_its_children_are(house: House) -> None:
    app = await house.open(Household)
    await house.work()
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b", "c"]})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.COMMITTED
    children = await children_of(house)
    ends = loaded(outcome.results["all_errands"])
    assert [end["status"] for end in ends] == ["committed"] * 3
    assert {end["id"] for end in ends} == {str(id) for id in children.values()}
    assert house.town.story[-1] == "send(h:3)"
    for id in children.values():
        assert (await app.show(id)).parent == handle.id


async def test_without_children_it_goes_straight_on(house: House) -> None:
    app = await house.open(Household)
    await house.work()
    handle = await app.start(Household, {"name": "h", "errands": []})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.story == ["send(h:0)"]


async def test_a_child_fails_and_its_siblings_are_rolled_back_after_their_commit(house: House) -> None:
    app = await house.open(Household)
    gate = house.town.gate("porter.send")
    await house.work()
    house.town.meets("vault.charge", None, Refused("no money"))
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b", "c"]})
    await until(lambda: house.town.count("porter.send") == 2)
    gate.set()
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.ROLLED_BACK
    assert "all_errands: child saga" in (outcome.reason or "")
    assert "is rolled_back" in (outcome.reason or "")
    assert house.town.standing == []
    for name in ("a", "b", "c"):
        assert loaded((await app.store.object(f"box:{name}")).state) in (None, {"total": "0", "notes": []})


async def test_the_parent_fails_after_its_children_committed(house: House) -> None:
    app = await house.open(Household)
    await house.work()
    house.town.meets("porter.send", None, None, Refused("nobody there"))
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b"]})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (Status.ROLLED_BACK, "send_word: nobody there")
    assert house.town.standing == []
    for id in (await children_of(house)).values():
        view = await app.show(id)
        assert view.status is Status.COMMITTED
        assert view.rolled_back_by is not None
        assert (await app.show(view.rolled_back_by)).rolls_back == id


async def test_the_parent_is_cancelled_while_its_children_run(house: House) -> None:
    app = await house.open(Household)
    gate = house.town.gate("vault.charge")
    await house.work()
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b"]})
    await until(lambda: house.town.count("vault.charge") == 2)
    view = await settled(app, handle.id)
    assert (view.status, view.waits_for) == (Status.WAITING, WaitsFor.CHILD)
    await handle.cancel(reason="never mind")
    view = await settled(app, handle.id)
    assert view.status is Status.COMPENSATING
    await until(lambda: rung(house))
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    for id in (await children_of(house)).values():
        child = await app.show(id)
        assert child.status is Status.ROLLED_BACK
        assert child.reason == f"its parent saga {handle.id} goes back: never mind"
    assert house.town.standing == []


async def test_a_child_that_an_operator_rolled_back_before_does_not_hold_up_the_rest(house: House) -> None:
    app = await house.open(Household)
    await house.work()
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b"]})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    first = await app.rollback((await children_of(house))["0"], reason="an operator's wish")
    assert (await first.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    whole = await app.rollback(handle.id, reason="all of it")
    assert (await whole.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.standing == []
    assert (await app.object("box:a")).state == "null", "as it was before"


class FromTheThird(asyncio.Event):
    """A gate that the errands' own calls pass."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self._house = house

    async def wait(self) -> Literal[True]:
        return True if self._house.town.count("porter.send") < 3 else await super().wait()


@pytest.mark.parametrize("begun", [True, False])
async def test_a_childs_rollback_that_an_operator_has_started_is_waited_for(
    house: House, begun: bool
) -> None:
    app = await house.open(Household)
    worker = await house.work()
    house.town.gates["porter.send"] = word = FromTheThird(house)
    house.town.meets("porter.send", None, None, Refused("nobody there"))
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b"]})
    await until(lambda: house.town.count("porter.send") == 3)
    gate = house.town.gate("porter.call_off")
    child = (await children_of(house))["0"]
    claim = worker.store.claim_starts
    if not begun:

        async def nothing(*args: object, **named: object) -> list[Message]:
            return []

        worker.store.claim_starts = nothing  # type: ignore[method-assign]
    operators = await app.rollback(child, reason="an operator's wish")
    if begun:
        await until(lambda: house.town.count("porter.call_off"))
    word.set()

    async def asked() -> bool:
        return len(await house.lines(child, "rollback_asked")) == 2

    await until(asked)
    worker.store.claim_starts = claim  # type: ignore[method-assign]
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert (await operators.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.standing == []


async def test_a_childs_rollback_that_parent_and_operator_ask_for_at_once_is_told_to_the_parent(
    house: House,
) -> None:
    app = await house.open(Household)
    await house.work()
    house.town.gates["porter.send"] = word = FromTheThird(house)
    house.town.meets("porter.send", None, None, Refused("nobody there"))
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b"]})
    await until(lambda: house.town.count("porter.send") == 3)
    child, ring = (await children_of(house))["0"], app.store.ring

    async def nobody(*, limit: int = 500) -> int:
        return 0

    async def asked() -> bool:
        return any(message.kind == "rollback" for message in await app.store.messages(child))

    app.store.ring = nobody  # type: ignore[method-assign]
    word.set()
    await until(asked)
    operators = await app.rollback(child, reason="an operator's wish")
    assert (await operators.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    app.store.ring = ring  # type: ignore[method-assign]
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert len(await house.lines(child, "rollback_asked")) == 2
    assert house.town.standing == []


async def test_a_whole_household_is_rolled_back_after_commit(house: House) -> None:
    app = await house.open(Household)
    await house.work()
    handle = await app.start(Household, {"name": "h", "errands": ["a", "b"]})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    preview = await app.preview(handle.id)
    assert [(item.what, item.how) for item in preview.items] == [
        ("send_word", "counter-action"),
        ("all_errands", "counter-action"),
    ]
    rollback = await app.rollback(handle.id, reason="a mistake", actor="kim")
    assert (await rollback.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.standing == []
    assert (await app.object("box:a")).state == "null", "as it was before"


async def rung(house: House) -> bool:
    """The parent's cancel has rung at both children."""
    rows = [await house.app.store.saga(id) for id in (await children_of(house)).values()]
    return all(row is not None and row.arrivals > 0 for row in rows)
