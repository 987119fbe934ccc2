"""A flow drawn: every state and transition is there, and where a saga stands is marked."""

import re
from datetime import timedelta

import pytest

from sagacity import Saga, State, awaits, cancel, step
from sagacity.definition.diagram import FORMS, Form, drawn
from tests.unit.definition_cases import GiveBack, Given, Post, Receipt, Shop

DAY = timedelta(days=1)


class Drawn(Saga, version=2):
    """Everything that can be drawn."""

    Input = Given
    placed = State(initial=True)

    class work(State.Parallel):
        class left(State.Compound):
            left_open = State(initial=True)
            left_done = State(final=True)

        class right(State.Compound):
            right_open = State(initial=True)
            right_done = State(final=True)

    told = State()
    rested = State()
    closed = State(final=True)

    sell = placed.to(work, cond="is_open") | placed.to(told)
    one = work.left.left_open.to(work.left.left_done)
    two = work.right.right_open.to(work.right.right_done)
    done_state_work = work.to(told)
    agree = told.to(rested)
    give_up = told.to(closed)
    rest = rested.to(closed)

    def is_open(self, receipt: Receipt) -> bool:
        return bool(receipt.number)

    @step(sell, undo=GiveBack)
    async def take(self, given: Given, shop: Shop) -> Receipt:
        return await shop.sell(given.id, key="")

    @step(one)
    def count(self) -> None: ...

    @step(two, undo=GiveBack)
    async def sell_more(self, given: Given, shop: Shop) -> Receipt:
        return await shop.sell(given.id, key="")

    agreed = awaits(agree, approval="limit", within=2 * DAY, otherwise=give_up)
    off = awaits(cancel, signal="called.off", during=(told,))
    pause = awaits(rest, after=timedelta(minutes=90))


class Sent(Saga, version=1):
    """Ends with a pivot."""

    Input = Given
    a = State(initial=True)
    b = State(final=True)
    go = a.to(b)

    @step(go, final=True, pivot=True)
    async def mail(self, given: Given, post: Post) -> None:
        await post.send(given.id)


@pytest.mark.parametrize("form", FORMS)
def test_every_state_and_step_is_drawn(form: Form) -> None:
    text = drawn(Drawn.flow, form)
    for name in [*Drawn.flow.nodes, *Drawn.flow.steps]:
        assert re.search(rf"\b{name}\b", text), name
    assert "undo GiveBack" in text
    assert "[is_open]" in text


def test_mermaid_nests_regions_and_marks_where_the_saga_is() -> None:
    lines = drawn(
        Drawn.flow, "mermaid", state=["left_done", "right_open"], path=["placed", "left_done"]
    ).splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    state work {" in lines
    assert "        --" in lines
    assert "            left_open --> left_done: count" in lines
    assert "    [*] --> placed" in lines
    assert "    closed --> [*]" in lines
    assert "    work --> told: all done" in lines
    assert "    told --> rested: approval limit" in lines
    assert "    told --> closed: if agreed does not come" in lines
    assert "    rested --> closed: after 90 minutes" in lines
    assert "    note right of told: goes back on signal called.off" in lines
    assert "    class left_done,right_open here" in lines
    assert "    class placed been" in lines
    assert sum(line.count("{") - line.count("}") for line in lines) == 0


def test_dot_frames_regions_and_is_balanced() -> None:
    text = drawn(Drawn.flow, "dot", state=["told"])
    assert text.startswith('digraph "Drawn" {')
    assert text.count("{") == text.count("}")
    assert '"told" [fillcolor="#f6c344"];' in text
    assert '"placed" -> "left_open" [label="take (undo GiveBack) [is_open]", lhead="cluster_work"];' in text
    assert 'ltail="cluster_work"' in text


def test_the_outline_can_be_read_aloud() -> None:
    assert drawn(Sent.flow, "text", state=["b"], path=["a", "b"]) == (
        "Sent, version 1\n"
        "  Ends with a pivot.\n"
        "\n"
        "✓ a (start)\n"
        "    mail (pivot) → b\n"
        "● b (end, the saga is here)\n"
    )
