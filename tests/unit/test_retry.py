"""Tenacity's strategies are asked as pure functions: an answer is an instant, and nobody sleeps."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import (
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_incrementing,
    wait_none,
)

from sagacity.definition.flow import Retry
from sagacity.retry import retry_at

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def asked(
    retry: Retry, attempt: int, *, after: timedelta = timedelta(0), wish: timedelta | None = None
) -> timedelta | None:
    """How long after now the next attempt is due."""
    now = NOON + after
    due = retry_at(retry, attempt=attempt, since=NOON, now=now, error="down", wish=wish)
    return None if due is None else due - now


def policy(stop: object = stop_never, wait: object = wait_none()) -> Retry:
    return Retry(stop=stop, wait=wait, gives_up=True)


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [
        (wait_fixed(3), [3, 3, 3, 3]),
        (wait_exponential(multiplier=0.1, min=0.1, max=1), [0.1, 0.2, 0.4, 0.8, 1, 1]),
        (wait_incrementing(start=1, increment=2), [1, 3, 5]),
        (wait_chain(wait_fixed(1), wait_fixed(5)), [1, 5, 5]),
        (wait_fixed(1) + wait_fixed(2), [3, 3]),
        (wait_none(), [0, 0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_waits_are_functions_of_the_attempt(wait: object, seconds: list[float]) -> None:
    found = [asked(policy(wait=wait), attempt) for attempt in range(1, len(seconds) + 1)]
    assert found == [timedelta(seconds=s) for s in seconds]


def test_stopping_after_attempts_counts_the_one_that_failed() -> None:
    three = policy(stop=stop_after_attempt(3))
    assert [asked(three, n) is None for n in (1, 2, 3, 4)] == [False, False, True, True]


def test_stopping_after_a_delay_looks_at_when_it_began() -> None:
    minute = policy(stop=stop_after_delay(60))
    assert asked(minute, 1, after=59 * SECOND) is not None
    assert asked(minute, 1, after=60 * SECOND) is None


def test_stopping_before_a_delay_looks_at_when_the_next_would_begin() -> None:
    minute = policy(stop=stop_before_delay(60), wait=wait_fixed(10))
    assert asked(minute, 1, after=49 * SECOND) == 10 * SECOND
    assert asked(minute, 1, after=50 * SECOND) is None


def test_strategies_are_combined_by_their_own_operators() -> None:
    either = policy(stop=stop_after_attempt(2) | stop_after_delay(60))
    both = policy(stop=stop_after_attempt(2) & stop_after_delay(60))
    assert asked(either, 2) is None
    assert asked(both, 2) is not None
    assert asked(both, 2, after=60 * SECOND) is None


def test_a_wish_replaces_the_wait_and_never_the_stop() -> None:
    once = policy(stop=stop_after_attempt(2), wait=wait_fixed(5))
    assert asked(once, 1, wish=3600 * SECOND) == 3600 * SECOND
    assert asked(once, 2, wish=SECOND) is None
    assert asked(once, 1, wish=-SECOND) == timedelta(0)


@given(st.integers(1, 200), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_the_same_question_has_the_same_answer(attempt: int, after: timedelta) -> None:
    retry = policy(stop=stop_after_attempt(100), wait=wait_exponential(multiplier=0.1, min=0.1, max=60))
    first = asked(retry, attempt, after=after)
    assert first == asked(retry, attempt, after=after)
    assert (first is None) == (attempt >= 100)
    assert first is None or timedelta(seconds=0.1) <= first <= timedelta(seconds=60)


def test_a_clock_that_went_back_does_no_harm() -> None:
    assert asked(policy(wait=wait_fixed(5)), 1, after=-3600 * SECOND) == 5 * SECOND
