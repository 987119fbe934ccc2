"""What is refused of states and transitions."""

from datetime import timedelta
from typing import Any

import pytest
from statemachine import Event
from statemachine.state import HistoryState
from statemachine.states import States

from sagacity import Saga, Stage, State, awaits, cancel, step
from sagacity.errors import DefinitionError
from tests.unit.definition_cases import Given, faults, has, only, refused, yes


def test_an_unreachable_state_is_refused() -> None:
    a, b, lost = State(initial=True), State(final=True), State(final=True)
    error = refused({"a": a, "b": b, "lost": lost, "go": a.to(b)}, "go")
    only(error, "lost", "no transition leads to it")


def test_a_dead_end_is_refused() -> None:
    a, b, c = State(initial=True), State(), State(final=True)
    error = refused({"a": a, "b": b, "c": c, "go": a.to(b, cond="yes") | a.to(c), "yes": yes}, "go")
    only(error, "b", "nothing leads out of it")


def test_a_transition_from_a_final_state_is_refused() -> None:
    a, b = State(initial=True), State(final=True)
    error = refused({"a": a, "b": b, "go": a.to(b) | b.to(a)}, "go")
    only(error, "b", "a transition leaves it")


def test_a_circle_without_an_end_is_refused() -> None:
    a, b, c, z = State(initial=True), State(), State(), State(final=True)
    go = a.to(z, cond="yes") | a.to(b) | b.to(c) | c.to(b)
    error = refused({"a": a, "b": b, "c": c, "z": z, "go": go, "yes": yes}, "go")
    assert [fault.name for fault in faults(error)] == ["b", "c"]
    has(error, "b", "no way leads from it to an end")


def test_a_flow_needs_an_end_and_one_beginning() -> None:
    a, b = State(), State()
    error = refused({"a": a, "b": b, "go": a.to(b) | b.to(a)}, "go")
    has(error, "Made", "one initial state (none)")
    has(error, "Made", "it has no end")


def test_a_transition_with_neither_step_nor_wait_is_refused() -> None:
    a, b = State(initial=True), State(final=True)
    error = refused({"a": a, "b": b, "go": a.to(b)})
    only(error, "go", "neither a step nor a wait")


def test_a_step_on_a_transition_of_another_class_is_refused() -> None:
    far, away = State(initial=True), State(final=True)
    foreign = far.to(away)
    with pytest.raises(DefinitionError) as error:

        class Strange(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(foreign)
            def act(self) -> None: ...

            @step(a.to(b))
            def other(self) -> None: ...

    has(error, "act", "no named transition of this class")
    has(error, "other", "no named transition of this class")
    has(error, "a", "no event of this class")


def test_two_steps_on_one_event_are_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Both(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)

            @step(go)
            def one(self) -> None: ...

            @step(go)
            def two(self) -> None: ...

    only(error, "two", "has the step 'one' already")


def test_ambiguous_ways_of_one_event_are_refused() -> None:
    a, b, c = State(initial=True), State(final=True), State(final=True)
    error = refused({"a": a, "b": b, "c": c, "go": a.to(b) | a.to(c)}, "go")
    only(error, "go", "to b always, and to c never")


def test_of_several_steps_that_leave_a_state_all_but_the_last_are_guarded() -> None:
    with pytest.raises(DefinitionError) as error:

        class Split(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            left = a.to(b)
            right = a.to(b)

            @step(left)
            def go_left(self) -> None: ...

            @step(right)
            def go_right(self) -> None: ...

    only(error, "left", "a always takes it, and right never")


def test_a_state_with_steps_and_waits_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Mixed(Saga, version=1):
            Input = Given
            a = State(initial=True)
            b = State(final=True)
            go = a.to(b)
            other = a.to(b)
            told = awaits(other, signal="told", within=timedelta(days=1), otherwise=cancel)

            @step(go)
            def act(self) -> None: ...

    only(error, "a", "steps and waits (act, told)")


@pytest.mark.parametrize(
    ("cond", "words"),
    [
        ("yes and no", "not a method's name"),
        ("missing", "no method of this class"),
        (lambda: True, "not a method's"),
    ],
)
def test_guards_are_methods_named_by_their_names(cond: Any, words: str) -> None:
    a, b = State(initial=True), State(final=True)
    error = refused({"a": a, "b": b, "go": a.to(b, cond=cond), "yes": yes, "no": yes}, "go")
    only(error, "go", words)


def test_an_async_guard_is_refused() -> None:
    async def later(self: Any) -> bool:
        return True

    a, b = State(initial=True), State(final=True)
    error = refused({"a": a, "b": b, "go": a.to(b, unless="later"), "later": later}, "go")
    only(error, "later", "plain function")


def test_a_guard_only_looks() -> None:
    def ask(self: Any, stage: Stage) -> bool:
        return True

    a, b = State(initial=True), State(final=True)
    error = refused({"a": a, "b": b, "go": a.to(b, cond="ask"), "ask": ask}, "go")
    only(error, "ask", "only looks")


def test_callbacks_of_the_library_are_refused_rather_than_never_run() -> None:
    a, b = State(initial=True, exit="_leave"), State(final=True)
    error = refused({"a": a, "b": b, "go": a.to(b, on="_note", validators="_note")}, "go")
    has(error, "a", "callbacks on a state")
    has(error, "go", "callbacks on a transition")


def test_what_hides_states_or_transitions_is_refused() -> None:
    a, b = State(initial=True), State(final=True)
    go = Event(a.to(b), name="Go")
    error = refused({"a": a, "b": b, "go": go, "more": States({"c": State()}), "before": HistoryState()})
    has(error, "go", "`Event` object")
    has(error, "more", "collection of states")
    has(error, "before", "history states")


def test_transitions_lead_to_one_state_of_the_class() -> None:
    away, a, b = State(), State(initial=True), State(final=True)
    to_b: Any = b.from_
    error = refused(
        {"a": a, "b": b, "go": a.to(b), "out": a.to(away), "no": a.to(None), "any": to_b.any()}, "go"
    )
    has(error, "out", "exactly one state of this class")
    has(error, "no", "exactly one state of this class")
    has(error, "any", "AnyState")


def test_internal_transitions_and_values_are_refused() -> None:
    a, b = State(initial=True, value=7), State(final=True)
    go = a.to(a, internal=True, cond="yes") | a.to(b)
    error = refused({"a": a, "b": b, "go": go, "yes": yes}, "go")
    has(error, "a", "stored nowhere")
    has(error, "go", "internal")


def test_one_transition_has_one_event_and_one_state_one_name() -> None:
    a, b = State(initial=True), State(final=True)
    go = a.to(b)
    error = refused({"a": a, "b": b, "again": b, "go": go, "more": go}, "go")
    has(error, "more", "carries the event 'go' too")
    has(error, "again", "is called 'b' too")
