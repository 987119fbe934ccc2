"""Override edges: what is refused of them, how they are drawn, and that they are part of the definition."""

from typing import Any

import pytest

from sagacity import Saga, State, override, step
from sagacity.definition.diagram import drawn
from sagacity.errors import DefinitionError
from tests.unit.definition_cases import SAGAS, Given, SimpleStates, only


def _made(**ways: Any) -> Any:
    """A flow of two steps, one of them in a region; each way is a function of the class body so far."""
    a, z = State(initial=True), State(final=True)

    class work(State.Parallel):
        class left(State.Compound):
            l0 = State(initial=True)
            l1 = State(final=True)

        class right(State.Compound):
            r0 = State(initial=True)
            r1 = State(final=True)

    body: dict[str, Any] = {"a": a, "work": work, "z": z, "begin": a.to(work)}
    body |= {"one": work.left.l0.to(work.left.l1), "two": work.right.r0.to(work.right.r1)}
    body["done_state_work"] = work.to(z)

    def first(self: Any) -> None: ...
    def second(self: Any) -> None: ...
    def third(self: Any) -> None: ...

    body |= {"first": step(body["begin"])(first), "second": step(body["one"])(second)}
    body["third"] = step(body["two"])(third)
    body |= {name: way(SimpleStates(body)) for name, way in ways.items()}
    return SAGAS("Made", (Saga,), {"Input": Given, **body}, version=1)


def test_an_override_edge_is_part_of_the_definition_and_of_its_hash() -> None:
    plain = _made().flow
    flow = _made(by_hand=lambda s: override(s.a, s.z, why="it is done elsewhere")).flow
    [way] = flow.overrides
    assert (way.name, way.source, way.target, way.why) == ("by_hand", "a", "z", "it is done elsewhere")
    assert plain.overrides == ()
    assert flow.hash != plain.hash
    assert flow.edges == plain.edges


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (lambda s: override(s.a, s.z, why=" "), "it does not say what it is for"),
        (lambda s: override("a", s.z, why="so"), "'a' is no state of this class"),
        (lambda s: override(s.a, State(), why="so"), "is no state of this class"),
        (lambda s: override(s.z, s.a, why="so"), "z is an end: nothing leaves it"),
        (lambda s: override(s.a, s.a, why="so"), "a lies in a: it would lead nowhere"),
        (lambda s: override(s.work, s.work.left, why="so"), "left lies in work"),
        (lambda s: override(s.work.left.l0, s.z, why="so"), "it crosses the frame of a region (l0 → z)"),
    ],
)
def test_an_override_edge_leads_from_a_state_to_another_and_says_what_for(way: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match="by_hand") as error:
        _made(by_hand=way)
    assert words in str(error.value)


def test_two_override_edges_between_the_same_states_are_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _made(one_way=lambda s: override(s.a, s.z, why="so"), other=lambda s: override(s.a, s.z, why="so"))
    only(error, "other", "one_way leads from a to z too")


def test_an_override_edge_is_drawn_apart_from_the_others() -> None:
    flow = _made(by_hand=lambda s: override(s.work, s.z, why="it is done elsewhere")).flow
    assert "work --> z: by hand only (by_hand)" in drawn(flow, "mermaid")
    assert 'label="by_hand: by hand only", style=dashed, ltail="cluster_work"' in drawn(flow, "dot")
    assert "by hand only (by_hand: it is done elsewhere) ⇢ z" in drawn(flow, "text")
