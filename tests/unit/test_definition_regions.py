"""What is refused of parallel regions."""

from typing import Any

import pytest

from sagacity import Saga, State, step
from sagacity.errors import DefinitionError
from tests.unit.definition_cases import SAGAS, Given, SimpleStates, has, only, yes


def test_a_parallel_state_without_a_join_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Open(Saga, version=1):
            Input = Given
            a = State(initial=True)

            class work(State.Parallel):
                class one(State.Compound):
                    one0 = State(initial=True)
                    one1 = State(final=True)

                class two(State.Compound):
                    two0 = State(initial=True)
                    two1 = State(final=True)

            z = State(final=True)
            go = a.to(work, cond="yes") | a.to(z)
            first = work.one.one0.to(work.one.one1)
            second = work.two.two0.to(work.two.two1)

            def yes(self) -> bool:
                return True

            @step(go)
            def act(self) -> None: ...

            @step(first)
            def act_one(self) -> None: ...

            @step(second)
            def act_two(self) -> None: ...

    has(error, "one1", "done_state_work = work.to(…)")
    has(error, "two1", "when work is done nothing follows")


def _parallel(events: Any, **extra: Any) -> Any:
    """A flow with two regions; `events` gets the states and gives the region's transitions."""
    nested: Any = type(State.Compound)
    a, z = State(initial=True), State(final=True)
    names = {f"{r}{n}": State(initial=n == 0, final=n == 1) for r in "xy" for n in (0, 1)}
    x = nested("x", (State.Compound,), {"x0": names["x0"], "x1": names["x1"]})
    y = nested("y", (State.Compound,), {"y0": names["y0"], "y1": names["y1"]})
    work = nested("work", (State.Parallel,), {"x": x, "y": y})
    body: dict[str, Any] = {"a": a, "work": work, "z": z, "begin": a.to(work), "done_state_work": work.to(z)}
    body |= events(SimpleStates(names | {"a": a, "z": z, "work": work, "x": x}))

    def begin_it(self: Any) -> None: ...

    body["begin_it"] = step(body["begin"])(begin_it)
    for name, value in list(body.items()):
        if name.startswith("go"):

            def act(self: Any) -> None: ...

            body[f"act_{name}"] = step(value, **extra)(act)
    return SAGAS("Made", (Saga,), {"Input": Given, **body}, version=1)


def test_parallel_regions_with_a_join_are_taken() -> None:
    flow = _parallel(lambda s: {"go": s.x0.to(s.x1), "go2": s.y0.to(s.y1)}).flow
    assert flow.joins["work"][0].target == "z"


def test_regions_that_share_an_event_are_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _parallel(lambda s: {"go": s.x0.to(s.x1) | s.y0.to(s.y1)})
    only(error, "go", "two regions of work share it")


def test_a_transition_across_the_frame_of_a_region_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _parallel(lambda s: {"go": s.x0.to(s.x1), "go2": s.y0.to(s.y1), "go3": s.a.to(s.x0)})
    has(error, "go3", "crosses the frame of a region (a → x0)")


def test_only_being_done_leaves_a_parallel_state() -> None:
    with pytest.raises(DefinitionError) as error:
        _parallel(lambda s: {"go": s.x0.to(s.x1), "go2": s.y0.to(s.y1), "go3": s.work.to(s.z)})
    has(error, "go3", "only being done leaves the parallel state work")


def test_a_join_of_one_region_alone_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _parallel(lambda s: {"go": s.x0.to(s.x1), "go2": s.y0.to(s.y1), "done_state_x": s.x.to(s.z)})
    has(error, "x", "one region alone cannot move on")


def test_a_join_must_leave_the_state_that_it_names() -> None:
    with pytest.raises(DefinitionError) as error:
        _parallel(lambda s: {"go": s.x0.to(s.x1), "go2": s.y0.to(s.y1), "done_state_a": s.work.to(s.z)})
    has(error, "done_state_a", "leaves 'work'")


def test_a_join_whose_ways_are_all_guarded_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _parallel(
            lambda s: {
                "go": s.x0.to(s.x1),
                "go2": s.y0.to(s.y1),
                "done_state_work": s.work.to(s.z, cond="yes"),
                "yes": yes,
            }
        )
    has(error, "done_state_work", "Leave the last one without a guard")


def test_a_pivot_in_a_region_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _parallel(lambda s: {"go": s.x0.to(s.x1), "go2": s.y0.to(s.y1)}, pivot=True)
    has(error, "act_go", "a pivot in a region")


def test_a_region_without_an_end_is_refused_and_so_are_names_used_twice() -> None:
    with pytest.raises(DefinitionError) as error:

        class Endless(Saga, version=1):
            Input = Given
            a = State(initial=True)

            class work(State.Parallel):
                class one(State.Compound):
                    s = State(initial=True)
                    t = State()

                class two(State.Compound):
                    s = State(initial=True)
                    u = State(final=True)

            z = State(final=True)
            go = a.to(work)
            done_state_work = work.to(z)

            @step(go)
            def act(self) -> None: ...

    has(error, "one", "a region of work without an end")
    has(error, "s", "two states have this name")


def test_transitions_and_methods_inside_a_region_are_refused() -> None:
    with pytest.raises(DefinitionError) as error:

        class Inside(Saga, version=1):
            Input = Given
            a = State(initial=True)

            class box(State.Compound):
                b = State(initial=True)
                c = State(final=True)
                hop = b.to(c)

                def helper(self) -> None: ...

            z = State(final=True)
            go = a.to(box)
            done_state_box = box.to(z)

            @step(go)
            def act(self) -> None: ...

    has(error, "b", "in a region `go = work.one.a.to(work.one.b)`")
    has(error, "box", "callbacks on a state")
