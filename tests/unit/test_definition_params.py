"""What is refused of what functions take, and of steps that start sagas."""

from collections.abc import Iterable
from typing import Any

import pytest

from sagacity import Saga, State, exclusive, spawns, step
from sagacity.errors import DefinitionError
from sagacity.model.record import Lock
from tests.unit.definition_cases import Given, Receipt, Shop, faults, has, one_step, only, told


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({}, "it has no annotation"),
        ({"thing": "Unheard"}, "cannot be resolved"),
        ({"thing": str}, "Plain values are not given by type"),
        ({"thing": Receipt}, "nothing gives `thing: Receipt`"),
    ],
)
def test_what_a_step_takes_is_told_by_its_type(annotations: Any, words: str) -> None:
    def act(self: Any, thing: Any) -> None: ...

    act.__annotations__ = annotations
    with pytest.raises(DefinitionError) as error:
        one_step(act)
    assert words in told(error)[0]


def test_parameters_are_named_one_by_one() -> None:
    def act(self: Any, *args: Any, **more: Any) -> None: ...

    with pytest.raises(DefinitionError) as error:
        one_step(act)
    has(error, "act(args)", "Name each parameter")
    has(error, "act(more)", "Name each parameter")


def test_a_result_that_only_comes_later_or_on_one_way_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Early(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State()
            c = State()
            z = State(final=True)
            go = a.to(b, cond="yes") | a.to(c)
            pack = b.to(c)
            close = c.to(z)

            def yes(self, given: Given) -> bool:
                return bool(given.id)

            @step(go)
            def too_early(self, receipt: Receipt) -> None: ...

            @step(pack)
            def packed(self) -> Receipt:
                return Receipt(number="1")

            @step(close)
            def on_one_way(self, receipt: Receipt) -> None: ...

    has(error, "too_early", "only later")
    has(error, "on_one_way", "Write `receipt: Receipt | None`")
    assert len(faults(error)) == 2


def test_participants_take_the_input_and_nothing_else() -> None:
    with pytest.raises(DefinitionError) as error:

        class Locks(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            def participants(self, given: Given, shop: Shop) -> Iterable[Lock]:
                yield exclusive("thing", given.id)

            @step(go)
            def act(self) -> None: ...

    only(error, "participants", "the input and nothing else")


def test_what_starts_sagas_names_a_flow_and_returns_its_inputs() -> None:
    class Child(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State(final=True)
        go = a.to(b)

        @step(go)
        def act(self) -> None: ...

    with pytest.raises(DefinitionError) as error:

        class Parent(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State()
            c = State(final=True)
            go = a.to(b)
            on = b.to(c)

            @spawns(go, Child)
            def each(self) -> list[str]:
                return []

            @spawns(on, Given)
            def none(self) -> Given:
                return Given(id="1")

    has(error, "each", "`-> Child.Input` or `-> list[Child.Input]`")
    has(error, "none", "is no flow")
