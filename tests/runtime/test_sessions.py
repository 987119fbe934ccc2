"""Starting in the caller's own transaction, and from synchronous code."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sagacity.client import BlockingHandle, Client
from sagacity.errors import InputError, KeyTaken, RefusedAct
from sagacity.handle import Handle
from sagacity.model.record import Status
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill

PICKED_UP = 5.0
"""Seconds; generous, for what is measured is that it does not wait for a sweep or for somebody else."""


def async_url(url: str) -> sa.URL:
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+asyncpg"
    return sa.make_url(url).set(drivername=driver)


async def started(house: House, commit: bool) -> Handle:
    engine = create_async_engine(async_url(house.url))
    try:
        async with AsyncSession(engine) as session:
            handle = await house.app.start(Errand, {"name": "a"}, session=session)
            await (session.commit() if commit else session.rollback())
            return handle
    finally:
        await engine.dispose()


async def test_a_rollback_of_the_callers_transaction_leaves_nothing(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await started(house, commit=False)
    assert await app.counts() == {}
    assert await app.store.messages(handle.id) == []
    again = await started(house, commit=True)
    assert again.new
    assert (await again.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_commit_of_the_callers_transaction_is_picked_up_at_once(house: House) -> None:
    app = await house.open(Errand)
    await house.work(poll=timedelta(seconds=60))
    engine = create_async_engine(async_url(house.url))
    loop = asyncio.get_running_loop()
    async with AsyncSession(engine) as session:
        handle = await app.start(Errand, {"name": "a"}, session=session)
        assert house.town.calls == []
        await session.commit()
        committed = loop.time()
    await until(lambda: house.town.calls)
    assert loop.time() - committed < PICKED_UP
    await engine.dispose()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_connection_will_do_too_and_the_callers_own_rows_go_along(house: House) -> None:
    app = await house.open(Errand)
    engine = create_async_engine(async_url(house.url))
    async with engine.begin() as conn:
        handle = await app.start(Errand, {"name": "a"}, session=conn)
        again = await app.start(Errand, {"name": "a"}, session=conn)
        assert (again.id, again.new) == (handle.id, False)
        with pytest.raises(KeyTaken):
            await app.start(Errand, {"name": "a", "amount": 1}, session=conn)
    await engine.dispose()
    await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_signal_in_the_callers_transaction_is_heard_after_its_commit(house: House) -> None:
    app = await house.open(Ask)
    await house.work(poll=timedelta(seconds=60), sweep=timedelta(seconds=60))
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    engine = create_async_engine(async_url(house.url))
    async with AsyncSession(engine) as session:
        await app.signal(handle.id, "answer", {"count": 2}, session=session)
        await session.commit()
    await engine.dispose()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_what_is_no_session_is_refused(house: House) -> None:
    app = await house.open(Errand)
    with pytest.raises(InputError, match="session is str: pass an AsyncSession"):
        await app.start(Errand, {"name": "a"}, session="mine")
    other = sa.create_engine("sqlite://")
    if not house.url.startswith("sqlite"):
        with Session(other) as session, pytest.raises(InputError, match="the session is on sqlite"):
            await app.start(Errand, {"name": "a"}, session=session)
    other.dispose()


# --- synchronous callers ------------------------------------------------------------------------------


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


async def test_the_blocking_client_makes_the_same_calls(house: House) -> None:
    await house.open(Ask, Fill)
    await house.work()

    def calls() -> None:
        with Client(house.url, project=house.project, tenant=house.tenant, accept_loss=True) as client:
            handle = client.start(Ask, {"name": "a"})
            assert client.start(Ask, {"name": "a"}).new is False
            client.signal(handle.id, "answer", {"count": 3})
            assert client.outcome(handle.id, timeout=PATIENCE).status is Status.COMMITTED
            assert client.show("a").id == handle.id
            assert [line.seq for line in client.history(handle.id)][:2] == [0, 1]
            assert client.object("box:a").version == 1
            assert client.locks() == []
            assert client.preview("a").possible
            rollback = client.rollback("a", reason="a mistake")
            assert client.outcome(rollback.id, timeout=PATIENCE).status is Status.COMMITTED
            waiting = client.start(Ask, {"name": "b"})
            client.cancel(waiting.id, reason="never mind")
            assert client.outcome(waiting.id, timeout=PATIENCE).status is Status.ROLLED_BACK
            client.start(Fill, {"name": "x", "box": "y"}, key="k")
            with pytest.raises(KeyTaken):
                client.start(Fill, {"name": "x", "box": "z"}, key="k")
        client.close()

    await in_thread(calls)
    assert "sagacity-client" not in [thread.name for thread in threading.enumerate()]


async def test_what_the_blocking_client_hands_out_blocks_too(house: House) -> None:
    await house.open(Ask)
    await house.work()

    def calls() -> None:
        with Client(house.url, project=house.project, tenant=house.tenant, accept_loss=True) as client:
            saga = client.start(Ask, {"name": "a"})
            assert (saga.definition, saga.key, saga.new) == ("Ask", "a", True)
            assert saga.signal("answer", {"count": 3}).saga == saga.id
            assert saga.outcome(timeout=PATIENCE).status is Status.COMMITTED
            assert saga.show().id == saga.id
            assert saga.history()[0].kind == "started"
            with pytest.raises(RefusedAct):
                saga.cancel(reason="too late")
            undone = client.rollback(saga.id, reason="a mistake")
            assert undone.outcome(timeout=PATIENCE).status is Status.COMMITTED
            waiting = client.start(Ask, {"name": "b"})
            waiting.cancel(reason="never mind")
            assert waiting.outcome(timeout=PATIENCE).status is Status.ROLLED_BACK
            assert "BlockingHandle" in repr(waiting)

    await in_thread(calls)


@pytest.mark.parametrize("commit", [True, False])
async def test_a_start_in_a_synchronous_session(house: House, commit: bool) -> None:
    await house.open(Errand)
    await house.work(poll=timedelta(seconds=60))
    client = await in_thread(
        lambda: Client(house.url, project=house.project, tenant=house.tenant, accept_loss=True)
    )

    def start(session: Session) -> BlockingHandle:
        handle: BlockingHandle = client.start(Errand, {"name": "a"}, session=session)
        (session.commit if commit else session.rollback)()
        return handle

    if house.url.startswith("sqlite"):
        with Session(engine := sa.create_engine(house.url)) as session:
            handle = await in_thread(lambda: start(session))
        engine.dispose()
    else:
        # A synchronous session as it stands on an asynchronous driver: the calls in it are the same.
        driver = create_async_engine(async_url(house.url))
        async with AsyncSession(driver) as outer:
            handle = await outer.run_sync(start)
        await driver.dispose()
    if commit:
        outcome = await in_thread(lambda: client.outcome(handle.id, timeout=PATIENCE))
        assert outcome.status is Status.COMMITTED
    else:
        assert await house.app.store.messages(handle.id) == []
    await in_thread(client.close)


async def test_a_client_that_cannot_connect_leaves_no_thread_behind(house: House) -> None:
    await house.open(Errand)
    with pytest.raises(Exception, match="does not exist"):
        await in_thread(lambda: Client("sqlite:////nowhere/at/all.db"))
    assert "sagacity-client" not in [thread.name for thread in threading.enumerate()]


async def test_a_savepoint_is_no_commit_and_many_starts_are_one_hint(house: House) -> None:
    app = await house.open(Fill)
    hints: list[int] = []

    async def hinted() -> None:
        hints.append(1)

    app.store.hint = hinted  # type: ignore[method-assign]
    engine = create_async_engine(async_url(house.url))
    async with AsyncSession(engine) as session:
        for n in range(3):
            await app.start(Fill, {"name": f"n{n}", "box": "b"}, session=session)
        async with session.begin_nested():
            await app.start(Fill, {"name": "in", "box": "b"}, session=session)
        await app.store.now()
        assert hints == []
        await session.commit()
        await until(lambda: hints)
        await session.commit()
    await engine.dispose()
    assert hints == [1]
    assert await app.counts() == {Status.PENDING: 4}
