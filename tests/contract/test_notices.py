"""Notices to listeners, and hints to other processes."""

import asyncio

import pytest

from sagacity.ids import new_id
from sagacity.model.canonical import JsonText
from sagacity.model.unit import Notice
from sagacity.store.base import Store
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
    await asyncio.wait_for(waiting, 5)


async def test_without_a_hint_nobody_is_woken(store: Store) -> None:
    await store.hint()
    await asyncio.wait_for(store.hinted(), 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.hinted(), 0.2)


async def test_notices_are_given_by_key_from_behind_a_given_one(store: Store, desk: Bench) -> None:
    await desk.send(first(notices=tuple(notice(f"k{n}", 1) for n in range(5))))
    keys = [found.key for _, found in await store.notices(limit=2, after="k1")]
    assert keys == ["k2", "k3"]
    assert await store.notices(limit=2, after="k4") == []
