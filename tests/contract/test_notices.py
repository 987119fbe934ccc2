"""Notices to listeners, and hints to other processes."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from sagacity.ids import new_id
from sagacity.model.canonical import JsonText, canonical
from sagacity.model.unit import NO_LINE, Notice
from sagacity.store.base import Store
from sagacity.testing import PATIENCE
from tests.contract.builders import Bench, first


def notice(key: str, seq: int) -> Notice:
    return Notice(key=key, saga=new_id(), seq=seq, kind="committed", data=JsonText('{"a":0.1}'))


async def test_per_key_only_the_lowest_unsent_notice_is_given(store: Store, desk: Bench) -> None:
    a1, a2, b5 = notice("a", 1), notice("a", 2), notice("b", 5)
    await desk.send(first(notices=(a2, b5)), first(notices=(a1,)))
    given = await store.notices(limit=10)
    assert sorted((found.key, found.seq) for _, found in given) == [("a", 1), ("b", 5)]
    assert {found for _, found in given} == {a1, b5}
    assert await store.notices(limit=10) == given
    await store.notices_sent([id for id, _ in given])
    assert [found for _, found in await store.notices(limit=10)] == [a2]
    await store.notices_sent([id for id, _ in await store.notices(limit=10)])
    assert await store.notices(limit=10) == []


async def test_notices_come_in_portions(store: Store, desk: Bench) -> None:
    await desk.send(first(notices=tuple(notice(f"k{n}", 1) for n in range(5))))
    assert len(await store.notices(limit=2)) == 2


async def test_an_acknowledged_notice_is_not_sent_again_when_it_is_written_again(
    store: Store, desk: Bench
) -> None:
    told = notice("a", 1)
    await desk.send(first(notices=(told,)))
    ((id, _),) = await store.notices(limit=10)
    await store.notices_sent([id])
    await desk.send(first(notices=(told,)))
    assert await store.notices(limit=10) == []


async def test_a_hint_wakes_who_waits_for_one(store: Store) -> None:
    waiting = asyncio.create_task(store.hinted())
    await asyncio.wait([waiting], timeout=0.1)
    await store.hint()
    await asyncio.wait_for(waiting, PATIENCE.total_seconds())


async def test_without_a_hint_nobody_is_woken(store: Store) -> None:
    await store.hint()
    await asyncio.wait_for(store.hinted(), PATIENCE.total_seconds())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.hinted(), 0.2)


async def test_notices_are_given_by_key_from_behind_a_given_one(store: Store, desk: Bench) -> None:
    await desk.send(first(notices=tuple(notice(f"k{n}", 1) for n in range(5))))
    keys = [found.key for _, found in await store.notices(limit=2, after="k1")]
    assert keys == ["k2", "k3"]
    assert await store.notices(limit=2, after="k4") == []


def matter(kind: str, saga: UUID, *, told_at: str = "2026-01-01T00:00:00Z") -> Notice:
    data = canonical({"attention": kind, "told_at": told_at})
    return Notice(key=f"attention:{kind}:{saga}:", saga=saga, seq=NO_LINE, kind="attention", data=data)


async def given(store: Store) -> list[Notice]:
    """What is to be told now; it is told, too."""
    found = await store.notices(limit=100)
    await store.notices_sent([id for id, _ in found])
    return [notice for _, notice in found]


async def test_what_lasts_is_told_once_and_what_comes_again_is_told_again(store: Store) -> None:
    a, b = matter("paused", new_id()), matter("lock", new_id())
    assert await store.tell_of([a, b]) == 2
    assert await given(store) == sorted([a, b], key=lambda notice: notice.key)
    assert await store.tell_of([a, b]) == 0
    assert await given(store) == []
    assert await store.tell_of([b]) == 0
    assert await store.tell_of([a, b]) == 1
    assert await given(store) == [a]
    assert await store.beside("dry").notices(limit=10) == []


async def test_what_is_over_before_it_was_told_is_told_all_the_same(store: Store) -> None:
    a = matter("paused", new_id())
    await store.tell_of([a])
    assert await store.tell_of([]) == 0
    assert await given(store) == [a]
    await store.tell_of([])
    assert await store.tell_of([a]) == 1


async def test_what_may_pass_is_not_told_yet_and_what_was_not_looked_at_is_not_forgotten(
    store: Store, desk: Bench
) -> None:
    a, b, ended = matter("overdue", new_id()), matter("lock", new_id()), notice("a", 1)
    await desk.send(first(notices=(ended,)))
    assert await store.tell_of([a, b], early={a.key}) == 1
    assert await given(store) == [ended, b]
    assert await store.tell_of([a, b]) == 1
    assert await given(store) == [a]
    assert await store.tell_of([a, b], early={a.key}) == 0
    assert await store.tell_of([], unsure=("attention:lock:",)) == 0
    assert await store.tell_of([a, b]) == 1
    assert await given(store) == [a]


async def test_what_nobody_took_is_as_old_as_when_it_was_to_be_told(store: Store) -> None:
    assert (await store.gauges()).unsent_since is None
    await store.tell_of([matter("lock", new_id()), matter("lock", new_id(), told_at="2025-06-01T00:00:00Z")])
    seen = await store.gauges()
    assert (seen.unsent, seen.unsent_since) == (2, datetime(2025, 6, 1, tzinfo=UTC))
