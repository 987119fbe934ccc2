"""Ends are told: to every listener, at least once, per saga in order."""

import asyncio
import contextlib

import pytest

from sagacity.errors import Refused
from sagacity.model.canonical import loaded
from sagacity.model.unit import Notice
from sagacity.runtime.relay import Relay
from sagacity.testing import PATIENCE, running, until
from tests.runtime.conftest import House
from tests.runtime.flows import Errand, Fill


async def test_committed_stuck_and_rolled_back_are_told_with_what_a_listener_needs(house: House) -> None:
    app = await house.open(Errand)
    told: list[Notice] = []
    await house.work(listeners=(told.append,))
    house.town.meets("depot.lend", None, Refused("no"), None)
    house.town.meets("porter.send", None, Refused("no van"))
    house.town.meets("vault.refund", Refused("closed"))
    handles = [await app.start(Errand, {"name": name}) for name in ("a", "b", "c")]
    for handle in handles:
        await handle.outcome(timeout=PATIENCE)
    await until(lambda: len(told) == 3)
    by_key = {loaded(notice.data)["key"]: notice for notice in told}
    assert sorted(notice.kind for notice in told) == ["committed", "rolled_back", "stuck"]
    for handle in handles:
        outcome = await handle.outcome()
        data = loaded(by_key[handle.key].data)
        assert (data["definition"], data["status"], data["reason"]) == (
            "Errand",
            outcome.status,
            outcome.reason,
        )


async def test_a_listener_that_fails_is_told_again_and_in_order(house: House) -> None:
    app = await house.open(Errand)
    heard: list[tuple[int, str]] = []
    failures = [1, 1]

    async def listen(notice: Notice) -> None:
        heard.append((notice.seq, notice.kind))
        if failures:
            failures.pop()
            raise ConnectionError("the mail server is away")
        await asyncio.sleep(0)

    await house.work(listeners=(listen,))
    house.town.meets("porter.send", Refused("no van"))
    house.town.meets("vault.refund", Refused("closed"))
    handle = await app.start(Errand, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    await app.retry(handle.id)
    await until(lambda: any(kind == "rolled_back" for _, kind in heard))
    assert [kind for _, kind in heard] == ["stuck", "stuck", "stuck", "rolled_back"]
    assert heard == sorted(heard)


async def test_what_was_not_told_before_a_stop_is_told_by_the_next_worker(house: House) -> None:
    app = await house.open(Fill)
    async with running(house.worker(notices=True)):
        handle = await app.start(Fill, {"name": "a", "box": "b"})
        await handle.outcome(timeout=PATIENCE)
    told: list[Notice] = []
    await house.work(listeners=(told.append,))
    await until(lambda: told)
    assert [(notice.saga, notice.kind) for notice in told] == [(handle.id, "committed")]
    await until(lambda: none_left(house))


async def test_listeners_that_always_fail_for_some_keep_nobody_else_waiting(house: House) -> None:
    app = await house.open(Fill)
    async with running(house.worker(notices=True)):
        handles = [await app.start(Fill, {"name": f"n{n}", "box": "b"}) for n in range(7)]
        for handle in handles:
            await handle.outcome(timeout=PATIENCE)
    told: list[str] = []
    bad = set(sorted(str(handle.id) for handle in handles)[:4])

    def listen(notice: Notice) -> None:
        if notice.key in bad:
            raise ConnectionError("not to this one")
        told.append(notice.key)

    relay = Relay(app.store, [listen], limit=2)
    for _ in range(4):
        await relay()
    assert set(told) == {str(handle.id) for handle in handles} - bad


async def test_a_listener_that_never_returns_does_not_keep_a_worker_from_ending(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sagacity.runtime.ending.AT_THE_END", 2.0)  # as long as a farewell may take here
    app = await house.open(Fill)
    called = asyncio.Event()

    async def deaf(notice: Notice) -> None:
        called.set()
        while not done.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    done = asyncio.Event()
    async with running(house.worker(listeners=(deaf,))):
        handle = await app.start(Fill, {"name": "a", "box": "b"})
        await handle.outcome(timeout=PATIENCE)
        await called.wait()
    done.set()
    for task in asyncio.all_tasks():
        if task.get_name() == "relay":
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.01)
    assert await app.store.workers() == []


async def none_left(house: House) -> bool:
    return not await house.app.store.notices(limit=1)


async def test_without_listeners_nothing_is_put_by(house: House) -> None:
    app = await house.open(Fill)
    await house.work()
    handle = await app.start(Fill, {"name": "a", "box": "b"})
    await handle.outcome(timeout=PATIENCE)
    assert await app.store.notices(limit=1) == []
