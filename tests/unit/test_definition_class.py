"""What is refused of a flow as a whole: its arguments, its input, its names."""

from typing import Any

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, step
from sagacity.errors import DefinitionError
from tests.unit.definition_cases import Given, Shop, faults, has, only, refused


def test_a_flow_without_a_version_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Bare(Saga):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(go)
            def act(self, given: Given) -> None: ...

    only(error, "Bare", "no version")


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0])
def test_a_version_must_be_a_whole_number_from_one(version: Any) -> None:
    with pytest.raises(DefinitionError) as error:

        class Odd(Saga, version=version):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(go)
            def act(self) -> None: ...

    only(error, "Odd", "version=")


def test_several_faults_are_told_at_once_before_the_library_stops_at_its_first() -> None:
    with pytest.raises(DefinitionError) as error:

        class Many(Saga):
            a = State(initial=True)
            lost = State()
            b = State()
            z = State(final=True)
            go = a.to(b)
            back = z.to(a)

            @step(go)
            async def act(self, shop: Shop) -> None: ...

    has(error, "Many", "no version")
    has(error, "Input", "class Input(BaseModel)")
    has(error, "lost", "no transition leads to it")
    has(error, "b", "nothing leads out of it")
    has(error, "z", "final")
    has(error, "back", "neither a step nor a wait")
    has(error, "act", "how that is made good")
    assert all(fault.where.endswith(":Many") for fault in faults(error))
    assert str(error.value).count("Fix:") == len(faults(error))


def test_a_key_must_be_a_field_of_the_input() -> None:
    with pytest.raises(DefinitionError) as error:

        class Keyed(Saga, version=1, key="number"):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(go)
            def act(self) -> None: ...

    only(error, "Keyed", "key='number'")


def test_a_misspelt_class_argument_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Misspelt(Saga, version=1, keys="id"):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(go)
            def act(self) -> None: ...

    only(error, "Misspelt", "no keys")


def test_an_input_without_a_json_form_is_refused() -> None:
    class Opaque(BaseModel, arbitrary_types_allowed=True):
        thing: object
        made: Shop

    with pytest.raises(DefinitionError) as error:

        class Given_(Saga, version=1):
            Input = Opaque
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(go)
            def act(self) -> None: ...

    only(error, "Input", "no JSON form")


def test_a_flow_cannot_inherit_from_a_flow() -> None:
    class Parent(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State(final=True)
        go = a.to(b)

        @step(go)
        def act(self) -> None: ...

    with pytest.raises(DefinitionError) as error:

        class Child(Parent, version=1):
            c = State(initial=True)
            d = State(final=True)
            run = c.to(d)

            @step(run)
            def move(self) -> None: ...

    has(error, "Child", "inherits from the flow Parent")


@pytest.mark.parametrize(
    "name", ["send", "name", "configuration", "add_state", "flow", "cancel", "listeners"]
)
def test_names_that_the_library_uses_are_refused(name: str) -> None:
    a, b = State(initial=True), State(final=True)
    error = refused({"a": a, "b": b, name: a.to(b)}, event=name)
    has(error, name, "reserved")


def test_methods_that_the_library_would_call_by_name_are_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Called(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            def on_enter_b(self) -> None: ...

            @step(go)
            def before_go(self) -> None: ...

    has(error, "on_enter_b", "reserved")
    has(error, "before_go", "reserved")


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Twice(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(go)  # type: ignore[no-redef]
            def go(self) -> None: ...

    has(error, "go", "given twice")


def test_a_transition_may_be_extended_under_its_name() -> None:
    class Extended(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State()
        c = State(final=True)
        go = a.to(b)
        go = go | b.to(c)

        @step(go)
        def act(self) -> None: ...

    assert [edge.target for edge in Extended.flow.edges["go"]] == ["b", "c"]
