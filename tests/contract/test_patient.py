"""A patient store: a database that is away for a while is a slow answer, and nothing is stored twice."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sagacity.clock import SystemClock
from sagacity.errors import KeyTaken, StoreUnavailable
from sagacity.store.base import Filter, Receipt, Store
from sagacity.store.patient import patient
from tests.contract.builders import start_message

SHORT = timedelta(milliseconds=200)
LONG = timedelta(seconds=10)


class Away:
    """A store whose database is away for the next calls: before they are done, or after."""

    def __init__(self, store: Store, *, calls: int, after: bool = False) -> None:
        self._store = store
        self.left = calls
        self._after = after

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left >= 0 and not self._after:
                raise StoreUnavailable("away")
            answer = await getattr(self._store, name)(*args, **named)
            if self.left >= 0:
                raise StoreUnavailable("the answer is lost")
            return answer

        return call


def waiting(store: Store, *, calls: int, after: bool = False, within: timedelta = LONG) -> Store:
    away: Any = Away(store, calls=calls, after=after)
    return patient(away, within=within, clock=SystemClock())


async def test_a_message_is_stored_once_the_database_is_back(store: Store) -> None:
    start = start_message()
    assert await waiting(store, calls=3).put([start]) == [Receipt(saga=start.saga, new=True)]
    assert [saga.id for saga in await store.sagas(Filter())] == [start.saga]


async def test_a_message_whose_answer_was_lost_is_new_and_there_once(store: Store) -> None:
    start = start_message()
    assert await waiting(store, calls=2, after=True).put([start]) == [Receipt(saga=start.saga, new=True)]
    assert [saga.id for saga in await store.sagas(Filter())] == [start.saga]


async def test_a_key_that_another_had_before_is_not_new_after_a_lost_answer(store: Store) -> None:
    first, second = start_message(key="k"), start_message(key="k")
    await store.put([first])
    assert await waiting(store, calls=1, after=True).put([second]) == [Receipt(saga=first.saga, new=False)]


async def test_reading_waits_too(store: Store) -> None:
    start = start_message()
    await store.put([start])
    assert start.saga in await waiting(store, calls=3).statuses([start.saga])


async def test_of_many_that_wait_one_asks_whether_the_database_is_back(store: Store) -> None:
    away: Any = Away(store, calls=30)
    store_of_many = patient(away, within=LONG, clock=SystemClock())
    starts = [start_message() for _ in range(25)]
    answers = await asyncio.gather(*(store_of_many.put([start]) for start in starts))
    assert [receipt.new for [receipt] in answers] == [True] * 25
    # Each was refused once; the rest of the refusals, and the first yes, met one who asked for all.
    assert away.left == 30 - (25 + 5 + 1 + 25)


async def test_what_stays_away_is_told_within_the_time(store: Store) -> None:
    clock = SystemClock()
    began = clock.monotonic()
    with pytest.raises(StoreUnavailable):
        await waiting(store, calls=10_000, within=SHORT).put([start_message()])
    assert clock.monotonic() - began < LONG.total_seconds()


async def test_a_refusal_is_told_at_once(store: Store) -> None:
    await store.put([start_message(key="k", request_hash="one")])
    refused: Any = Away(store, calls=0)
    with pytest.raises(KeyTaken):
        await patient(refused, within=LONG, clock=SystemClock()).put(
            [start_message(key="k", request_hash="two")]
        )
    assert refused.left == -1


async def test_what_a_worker_does_is_not_repeated(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await waiting(store, calls=1).take_over()
