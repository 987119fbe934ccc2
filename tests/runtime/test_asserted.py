"""The engine refuses to write what no saga may say: that saga is stuck and says why; others go on.

Each test puts a wrong part where the right one was, as a fault of ours would.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity.decide import backward, outcomes
from sagacity.decide.draft import Draft
from sagacity.errors import Refused
from sagacity.invariants import Violated
from sagacity.invariants.asserted import assert_change
from sagacity.model import lines as L
from sagacity.model.canonical import NULL
from sagacity.model.record import EffectStatus, Status
from sagacity.model.unit import ObjectChange
from sagacity.runtime import drive, footing
from sagacity.testing import PATIENCE, until
from tests.runtime.conftest import House
from tests.runtime.flows import Errand

GUILTY = "guilty"


async def stuck_with(house: House, number: str, *, fails: bool = False) -> None:
    """The guilty errand stops because of `number`; an innocent one at the same worker ends."""
    app = await house.open(Errand)
    await house.work()
    if fails:
        house.town.meets("porter.send", Refused("no van today"))
    bad = await app.start(Errand, {"name": GUILTY})
    outcome = await bad.outcome(timeout=PATIENCE)
    assert outcome.status is Status.STUCK
    assert outcome.reason is not None
    assert outcome.reason.startswith(f"{number}: ")
    good = await app.start(Errand, {"name": "innocent"})
    assert (await good.outcome(timeout=PATIENCE)).status is Status.COMMITTED


def wrong(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, part: Callable[..., Any]) -> None:
    """`part` gets what was right as its first argument."""
    right = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given, **named: part(right, *given, **named))


async def test_an_outcome_that_is_told_twice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(right: Any, draft: Draft, *given: Any, **named: Any) -> None:
        right(draft, *given, **named)
        if draft.record.key == GUILTY:
            right(draft, *given, **named)

    wrong(monkeypatch, drive, "settle", twice)
    await stuck_with(house, "I4")


async def test_a_move_that_the_flow_does_not_have(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(right: Any, flow: Any, state: Any, event: str, facts: Any) -> Any:
        return ("sent",) if facts.input.name == GUILTY else right(flow, state, event, facts)

    wrong(monkeypatch, outcomes, "fire", elsewhere)
    await stuck_with(house, "I10")


async def test_an_undo_in_the_wrong_order(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_one(right: Any, draft: Draft, *given: Any, **named: Any) -> Any:
        moves = right(draft, *given, **named)
        if draft.record.key != GUILTY or moves.undo is None:
            return moves
        effect = next(e for e in draft.record.effects if e.status is EffectStatus.LANDED)
        undo = backward.undo_of(draft, effect)
        assert undo is not None
        return replace(moves, undo=replace(moves.undo, effect=effect, undo=undo))

    wrong(monkeypatch, backward, "advance", first_one)
    await stuck_with(house, "I15", fails=True)


async def test_a_step_that_is_accepted_after_the_turn(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def then_forward(right: Any, draft: Draft, *given: Any, **named: Any) -> Any:
        if draft.record.key == GUILTY and draft.record.backward:
            visit = draft.record.visits.get("fill_box", 0) + 1
            done = L.Completed(
                step="fill_box",
                visit=visit,
                attempt=1,
                result=NULL,
                state=("done",),
                at=draft.record.updated_at,
            )
            draft.add(done)
        return right(draft, *given, **named)

    wrong(monkeypatch, backward, "advance", then_forward)
    await stuck_with(house, "I17", fails=True)


async def test_a_lock_that_somebody_else_holds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await house.open(Errand)
    await house.work()
    gate = house.town.gate("depot.lend")
    holder = await app.start(Errand, {"name": "same"})
    await until(lambda: bool(house.town.calls))
    monkeypatch.setattr(footing, "first_in_all", lambda record, states: True)
    other = await app.start(Errand, {"name": "same", "amount": 7}, key="rival")
    outcome = await other.outcome(timeout=PATIENCE)
    assert outcome.status is Status.STUCK
    assert (outcome.reason or "").startswith("I21: box:same")
    gate.set()
    assert (await holder.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_change_without_its_lock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(right: Any, draft: Draft, line: L.Line) -> None:
        if isinstance(line, L.Applied) and draft.record.key == GUILTY:
            line = replace(line, object="box:another")
        right(draft, line)

    wrong(monkeypatch, Draft, "add", another)
    await stuck_with(house, "I23")


def test_a_change_that_no_line_tells_of() -> None:
    with pytest.raises(Violated, match=r"I23: box:1 would become version 2"):
        assert_change([], ObjectChange(object="box:1", version=2, state=NULL))
