"""Many wait for the ends of sagas: what this process ends it tells, about the rest one asks for all."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from sagacity.errors import StoreUnavailable
from sagacity.model.record import Record, Status
from sagacity.runtime.watch import Watch
from sagacity.testing import ManualClock
from tests.contract.builders import record

LONG = 60.0


class Rows:
    """A store that counts what it is asked."""

    def __init__(self, *records: Record) -> None:
        self.records = {record.id: record for record in records}
        self.asked: list[list[UUID]] = []
        self.read: list[UUID] = []
        self.away = False

    async def statuses(self, sagas: Sequence[UUID]) -> dict[UUID, Any]:
        if self.away:
            raise StoreUnavailable("away")
        self.asked.append(list(sagas))
        return {id: record for id, record in self.records.items() if id in sagas}

    async def saga(self, saga: UUID) -> Any:
        self.read.append(saga)

        class Row:
            record = self.records[saga]

        return Row

    def ends(self, saga: UUID, status: Status = Status.COMMITTED) -> Record:
        self.records[saga] = replace(self.records[saga], status=status)
        return self.records[saga]


def running() -> Record:
    return record(status=Status.RUNNING)


def watching(rows: Any, clock: ManualClock) -> Watch:
    return Watch(rows, clock)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_waits_is_told_of_an_end_in_this_process_and_nobody_asks() -> None:
    one, clock = running(), ManualClock()
    rows = Rows(one)
    watch = watching(rows, clock)
    watch.in_hand = lambda saga: saga == one.id
    waiting = asyncio.create_task(watch.over(one.id, within=LONG))
    await settled()
    ended = rows.ends(one.id)
    watch.told(ended)
    assert await waiting is ended
    assert rows.asked == []
    await watch.close()


async def test_all_who_wait_for_sagas_elsewhere_are_answered_from_one_question() -> None:
    records, clock = [running() for _ in range(5)], ManualClock()
    rows = Rows(*records)
    watch = watching(rows, clock)
    waiting = [asyncio.create_task(watch.over(record.id, within=LONG)) for record in records]
    await settled()
    ended = [rows.ends(record.id, Status.STUCK) for record in records]
    before = len(rows.asked)
    clock.advance(timedelta(milliseconds=1))
    assert await asyncio.gather(*waiting) == ended
    assert [sorted(asked) for asked in rows.asked[before:]] == [sorted(record.id for record in records)]
    await watch.close()


async def test_who_is_due_soon_is_asked_about_with_who_is_due_now() -> None:
    records, clock = [running() for _ in range(20)], ManualClock()
    rows = Rows(*records)
    watch = watching(rows, clock)
    waiting = []
    for one in records:
        waiting.append(asyncio.create_task(watch.over(one.id, within=LONG)))
        await settled()
        clock.advance(timedelta(milliseconds=3))
    for _ in range(500):  # by now each is asked about every 50 ms
        clock.advance(timedelta(milliseconds=1))
        await settled()
    before = len(rows.asked)
    for _ in range(1_000):
        clock.advance(timedelta(milliseconds=1))
        await settled()
    assert len(rows.asked) - before <= 40, "apart, twenty sagas would be 400 questions"
    ended = [rows.ends(record.id) for record in records]
    for _ in range(60):
        clock.advance(timedelta(milliseconds=1))
        await settled()
    assert await asyncio.gather(*waiting) == ended
    await watch.close()


async def test_it_asks_less_and_less_often_but_at_least_every_twentieth_of_a_second() -> None:
    one, clock = running(), ManualClock()
    rows = Rows(one)
    watch = watching(rows, clock)
    waiting = asyncio.create_task(watch.over(one.id, within=LONG))
    for _ in range(2_000):
        await settled()
        clock.advance(timedelta(milliseconds=1))
    assert 40 <= len(rows.asked) <= 60
    rows.ends(one.id)
    for _ in range(60):
        clock.advance(timedelta(milliseconds=1))
        await settled()
    assert (await waiting) is not None
    await watch.close()


async def test_whose_time_is_up_gets_nothing_and_the_others_wait_on() -> None:
    one, clock = running(), ManualClock()
    rows = Rows(one)
    watch = watching(rows, clock)
    short = asyncio.create_task(watch.over(one.id, within=1.0))
    long = asyncio.create_task(watch.over(one.id, within=LONG))
    await settled()
    clock.advance(timedelta(seconds=1))
    assert await short is None
    assert not long.done()
    watch.told(rows.ends(one.id))
    assert (await long) is not None
    await watch.close()


async def test_an_end_of_which_nobody_told_is_found_all_the_same() -> None:
    one, clock = running(), ManualClock()
    rows = Rows(one)
    watch = watching(rows, clock)
    held = {one.id}
    watch.in_hand = held.__contains__
    waiting = asyncio.create_task(watch.over(one.id, within=LONG))
    await settled()
    ended = rows.ends(one.id)
    held.clear()
    clock.advance(timedelta(seconds=1))
    assert await waiting == ended
    await watch.close()


async def test_a_store_that_is_away_is_told_to_who_waits_for_it() -> None:
    one, clock = running(), ManualClock()
    rows = Rows(one)
    rows.away = True
    watch = watching(rows, clock)
    with pytest.raises(StoreUnavailable):
        await watch.over(one.id, within=LONG)
    await watch.close()


async def test_who_waits_when_it_is_closed_is_told_so() -> None:
    one, clock = running(), ManualClock()
    watch = watching(Rows(one), clock)
    waiting = asyncio.create_task(watch.over(one.id, within=LONG))
    await settled()
    await watch.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting


async def test_who_gives_up_waiting_is_forgotten() -> None:
    one, clock = running(), ManualClock()
    rows = Rows(one)
    watch = watching(rows, clock)
    waiting = asyncio.create_task(watch.over(one.id, within=LONG))
    await settled()
    waiting.cancel()
    await settled()
    asked = len(rows.asked)
    clock.advance(timedelta(seconds=5))
    await settled()
    assert len(rows.asked) == asked
    await watch.close()


class Held(ManualClock):
    """Stands still for who asks it, while who sleeps on it wakes up: as under a test that holds time."""

    async def sleep(self, seconds: float) -> None:
        del seconds
        await asyncio.sleep(0)


async def test_ends_are_found_and_waits_run_out_also_while_somebody_holds_the_clock() -> None:
    one, clock = running(), Held()
    rows = Rows(one)
    watch = watching(rows, clock)
    assert await watch.over(one.id, within=0.2) is None
    waiting = asyncio.create_task(watch.over(one.id, within=LONG))
    await settled()
    rows.ends(one.id)
    assert await waiting is not None
    await watch.close()
