"""What is refused of waits."""

from datetime import timedelta
from typing import Any

import pytest

from sagacity import Compensation, Saga, State, awaits, cancel, step
from sagacity.errors import DefinitionError
from tests.unit.definition_cases import (
    SAGAS,
    Given,
    Shop,
    SimpleStates,
    faults,
    has,
    only,
)

DAY = timedelta(days=1)


class Nothing(Compensation):
    """Undoes an advertisement."""

    async def run(self, shop: Shop) -> None: ...


def _waiting(*, pivot: bool = False, **waits: Any) -> Any:
    """A flow that waits in `b`; each wait is a function of the class body so far."""
    a, b, c, z = State(initial=True), State(), State(), State(final=True)
    body: dict[str, Any] = {"a": a, "b": b, "c": c, "z": z, "begin": a.to(b), "go": b.to(c), "end": c.to(z)}

    async def act(self: Any, shop: Shop) -> None: ...
    def close(self: Any) -> None: ...

    said = {"final": True, "pivot": True} if pivot else {"undo": Nothing}
    body |= {"act": step(body["begin"], **said)(act), "close": step(body["end"])(close)}
    body |= {name: wait(SimpleStates(body)) for name, wait in waits.items()}
    return SAGAS("Made", (Saga,), {"Input": Given, **body}, version=1)


def test_a_wait_without_a_deadline_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(told=lambda s: awaits(s.go, signal="told"))
    only(error, "told", "no deadline, so a saga may stay in b for ever")


def test_a_wait_may_lean_on_the_deadline_of_another_in_its_state() -> None:
    flow = _waiting(
        told=lambda s: awaits(s.go, signal="told", within=DAY, otherwise=cancel),
        off=lambda s: awaits(cancel, signal="off", during=(s.b,)),
    ).flow
    assert [wait.name for wait in flow.awaits_at["b"]] == ["told", "off"]
    assert flow.awaits["off"].within > timedelta(days=10_000)
    assert flow.awaits["off"].event is None


def test_a_timer_is_a_deadline_for_its_neighbours() -> None:
    flow = _waiting(told=lambda s: awaits(s.go, signal="told"), pause=lambda s: awaits(s.go, after=DAY)).flow
    assert flow.awaits["pause"].within == DAY
    assert flow.awaits["pause"].otherwise is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"within": DAY, "otherwise": cancel}, "does not say what it waits for"),
        ({"signal": "x", "approval": "y", "within": DAY, "otherwise": cancel}, "several things"),
        ({"signal": "", "within": DAY, "otherwise": cancel}, "no name of a signal"),
        ({"signal": "x", "within": DAY}, "where its deadline leads"),
        ({"signal": "x", "within": timedelta(0), "otherwise": cancel}, "no span of time"),
        ({"signal": "x", "within": 7, "otherwise": cancel}, "no span of time"),
        ({"after": timedelta(days=-1)}, "no span of time"),
        ({"after": DAY, "within": DAY}, "a timer is its own deadline"),
        ({"approval": "x", "within": DAY}, "where a refusal leads"),
        ({"approval": "x", "within": DAY, "otherwise": cancel, "data": Given}, "a field `approved: bool`"),
    ],
)
def test_a_wait_says_what_comes_until_when_and_what_else(said: Any, words: str) -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(told=lambda s: awaits(s.go, **said))
    only(error, "told", words)


def test_otherwise_without_a_deadline_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(
            told=lambda s: awaits(s.go, signal="told", otherwise=cancel),
            pause=lambda s: awaits(s.go, after=DAY),
        )
    only(error, "told", "`otherwise` needs a deadline")


def test_otherwise_must_leave_the_state_of_the_wait() -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(told=lambda s: awaits(s.go, signal="told", within=DAY, otherwise=s.end))
    only(error, "told", "otherwise=end does not leave b")


def test_a_wait_that_cancels_says_when_it_listens() -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(
            told=lambda s: awaits(s.go, signal="told", within=DAY, otherwise=cancel, during=(s.b,)),
            off=lambda s: awaits(cancel, signal="off"),
            late=lambda s: awaits(cancel, signal="late", during=(s.z, "b"), within=DAY, otherwise=cancel),
        )
    has(error, "told", "Drop `during`")
    has(error, "off", "`during=(paid, shipped)`")
    has(error, "late", "nothing is awaited in z")
    has(error, "late", "during='b' is no state of this class")


def test_going_back_from_behind_the_pivot_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(
            pivot=True,
            told=lambda s: awaits(s.go, signal="told", within=DAY, otherwise=cancel),
            off=lambda s: awaits(cancel, signal="off", during=(s.b,)),
        )
    has(error, "told", "from behind the pivot")
    has(error, "off", "from behind the pivot")
    assert len(faults(error)) == 2


def test_one_signal_for_two_waits_of_a_state_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(
            told=lambda s: awaits(s.go, signal="told", within=DAY, otherwise=cancel),
            off=lambda s: awaits(cancel, signal="told", during=(s.b,)),
        )
    only(error, "off", "told waits for 'told' in b too")


def test_a_wait_on_the_event_of_a_step_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        _waiting(
            told=lambda s: awaits(s.go, signal="told", within=DAY, otherwise=cancel),
            late=lambda s: awaits(s.end, signal="late", within=DAY, otherwise=cancel),
        )
    has(error, "late", "'end' has the step 'close'")
