"""What is refused of steps: effects without a way back, pivots, retries."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tenacity import (
    stop_after_attempt,
    stop_never,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_random,
    wait_random_exponential,
)

from sagacity import Compensation, Saga, State, step
from sagacity.errors import DefinitionError
from tests.unit.definition_cases import (
    GiveBack,
    Given,
    Post,
    Receipt,
    Shop,
    faults,
    has,
    one_step,
    only,
    yes,
)


async def _sell(self: Any, given: Given, shop: Shop) -> Receipt:
    return await shop.sell(given.id)


def _fresh(function: Any) -> Any:
    """A copy, since a step's function carries its marks."""
    copy = type(function)(function.__code__, function.__globals__, function.__name__)
    copy.__annotations__ = function.__annotations__
    return copy


def test_an_effect_that_is_neither_undone_nor_final_is_refused() -> None:
    async def act(self: Any, given: Given, shop: Shop) -> Receipt:
        return await shop.sell(given.id)

    with pytest.raises(DefinitionError) as error:
        one_step(act)
    only(error, "act", "does not say how that is made good")


def test_an_effect_that_is_both_undone_and_final_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(_fresh(_sell), undo=GiveBack, final=True, pivot=True)
    only(error, "act", "both `undo` and `final`")


def test_a_final_effect_before_the_pivot_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(_fresh(_sell), final=True)
    only(error, "act", "has no way back")
    assert one_step(_fresh(_sell), final=True, pivot=True).flow.steps["act"].pivot


def test_a_step_without_an_effect_has_nothing_to_undo() -> None:
    def quiet(self: Any) -> None: ...

    with pytest.raises(DefinitionError) as error:
        one_step(quiet, final=True, pivot=True)
    only(error, "act", "nothing to undo")


@pytest.mark.parametrize("undo", ["GiveBack", Shop, Shop.Mock.sell, Post.price, 7])
def test_an_undo_is_a_compensation_or_an_inverse(undo: Any) -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(_fresh(_sell), undo=undo)
    assert len(faults(error)) == 1
    assert faults(error)[0].name == "act"


def test_an_inverse_of_another_external_is_refused() -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(_fresh(_sell), undo=Post.send)
    only(error, "act", "belongs to another external")


def test_an_effect_that_no_other_names_as_its_inverse_is_no_undo() -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(_fresh(_sell), undo=Shop.advertise)
    only(error, "act", '@effect(inverse="advertise")')


def test_an_inverse_takes_what_the_step_returns() -> None:
    async def act(self: Any, shop: Shop) -> None: ...

    with pytest.raises(DefinitionError) as error:
        one_step(act, undo=Shop.give_back)
    only(error, "act: Shop.give_back", "takes what its step returns")


def test_a_compensation_takes_the_input_the_result_and_externals_only() -> None:
    class Wrong(Compensation):
        async def run(self, given: Given, other: Given, words: str, shop: Shop) -> None: ...

    with pytest.raises(DefinitionError) as error:
        one_step(_fresh(_sell), undo=Wrong)
    has(error, "act: Wrong", "nothing gives `other: Given`")
    has(error, "act: Wrong", "nothing gives `words: str`")


def test_a_compensation_that_is_safe_on_nothing_may_get_no_result() -> None:
    class Eager(Compensation, safe_on_nothing=True):
        async def run(self, given: Given, receipt: Receipt, shop: Shop) -> None: ...

    with pytest.raises(DefinitionError) as error:
        one_step(_fresh(_sell), undo=Eager)
    only(error, "act: Eager", "Write `receipt: Receipt | None`")


def test_a_step_takes_one_external_with_effects() -> None:
    async def act(self: Any, shop: Shop, post: Post) -> None: ...

    with pytest.raises(DefinitionError) as error:
        one_step(act, final=True, pivot=True)
    only(error, "act", "2 externals with effects (Shop, Post)")


def _behind(**said: Any) -> Any:
    """A flow whose second step is behind a pivot."""

    class Made(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State()
        c = State(final=True)
        first = a.to(b)
        second = b.to(c)

        @step(first, final=True, pivot=True)
        async def sell(self, given: Given, shop: Shop) -> Receipt:
            return await shop.sell(given.id)

        @step(second, **said)
        async def mail(self, given: Given, post: Post) -> None:
            await post.send(given.id)

    return Made


def test_behind_the_pivot_a_step_may_not_give_up() -> None:
    with pytest.raises(DefinitionError) as error:
        _behind(final=True, retry=stop_after_attempt(5))
    only(error, "mail", "behind the pivot, where there is only forward, and may give up")


def test_behind_the_pivot_a_step_is_tried_without_end_by_default() -> None:
    flow = _behind(final=True).flow
    assert not flow.steps["mail"].retry.gives_up
    assert flow.steps["sell"].retry.gives_up
    assert flow.pivots_behind == {"b", "c"}


@pytest.mark.parametrize(
    "retry", [wait_random(0, 1), wait_random_exponential(), wait_fixed(1) + wait_random(0, 1)]
)
def test_retries_by_chance_are_refused(retry: Any) -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(lambda self: None, retry=retry)
    only(error, "act", "wait_exponential")


@pytest.mark.parametrize("retry", [3, (stop_never, 3), {"stop": stop_never, "sleep": 1}, lambda state: True])
def test_retries_are_strategies_of_tenacity(retry: Any) -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(lambda self: None, retry=retry)
    assert {fault.name for fault in faults(error)} == {"act"}


def test_retries_take_a_stop_a_wait_or_both() -> None:
    stop, wait = stop_after_attempt(2), wait_chain(wait_fixed(1), wait_exponential())
    for said in (stop, wait, (stop, wait), {"stop": stop, "wait": wait}):
        retry = one_step(lambda self: None, retry=said).flow.steps["act"].retry
        assert retry.gives_up
        assert retry.stop is stop or said is wait
        assert retry.wait is wait or said is stop


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1), 30, None])
def test_a_timeout_is_a_span_above_zero(timeout: Any) -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(lambda self: None, timeout=timeout)
    only(error, "act", "no span of time")


def test_a_step_is_one_method_that_returns() -> None:
    async def many(self: Any) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(DefinitionError) as error:
        one_step(many)
    has(error, "act", "it yields")

    with pytest.raises(DefinitionError) as error:
        one_step(staticmethod(step(State().to(State()))(yes)))
    has(error, "act", "one plain method for one transition")


def test_late_locks_are_a_plain_method() -> None:
    with pytest.raises(DefinitionError) as error:
        one_step(lambda self: None, locks="missing")
    only(error, "act", "locks='missing'")
