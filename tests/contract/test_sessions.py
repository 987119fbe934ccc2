"""Messages in the caller's own transaction: there if and only if it commits."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from sagacity.errors import InputError, KeyTaken, NotFound
from sagacity.ids import new_id
from sagacity.model.unit import Message
from sagacity.store import callers
from sagacity.store.base import Receipt, Store
from tests.contract.builders import FLOW, Bench, dump, signal, start_message

Putting = Callable[[Store, AsyncConnection, Sequence[Message]], Awaitable[list[Receipt]]]


async def through_async_session(
    store: Store, conn: AsyncConnection, messages: Sequence[Message]
) -> list[Receipt]:
    async with AsyncSession(conn, join_transaction_mode="rollback_only") as session:
        return await store.put(messages, session=session)


async def through_async_connection(
    store: Store, conn: AsyncConnection, messages: Sequence[Message]
) -> list[Receipt]:
    return await store.put(messages, session=conn)


async def through_session(store: Store, conn: AsyncConnection, messages: Sequence[Message]) -> list[Receipt]:
    def work(sync: Connection) -> list[Receipt]:
        with Session(sync, join_transaction_mode="rollback_only") as session:
            return store.put_sync(messages, session=session)

    return await conn.run_sync(work)


async def through_connection(
    store: Store, conn: AsyncConnection, messages: Sequence[Message]
) -> list[Receipt]:
    return await conn.run_sync(lambda sync: store.put_sync(messages, session=sync))


KINDS = (through_async_session, through_async_connection, through_session, through_connection)
every_kind = pytest.mark.parametrize("put", KINDS, ids=lambda kind: kind.__name__.removeprefix("through_"))


@every_kind
async def test_a_committed_transaction_leaves_its_start(
    store: Store, engine: AsyncEngine, put: Putting
) -> None:
    start = start_message("k")
    async with engine.begin() as conn:
        assert await put(store, conn, [start]) == [Receipt(saga=start.id, new=True)]
    assert await store.find(FLOW, "k") == start.id


@every_kind
async def test_a_rolled_back_transaction_leaves_nothing(
    store: Store, engine: AsyncEngine, put: Putting
) -> None:
    before = await dump(engine)
    async with engine.connect() as conn:
        await put(store, conn, [start_message("k")])
        await conn.rollback()
    assert await dump(engine) == before
    assert await store.find(FLOW, "k") is None


@every_kind
async def test_nothing_of_the_engines_is_locked_and_the_bell_is_rung_later(
    store: Store, desk: Bench, engine: AsyncEngine, put: Putting
) -> None:
    saga = await desk.begin()
    async with engine.begin() as conn:
        await put(store, conn, [signal(saga.id)])
    row = await store.saga(saga.id)
    assert row is not None
    assert row.arrivals == 0
    assert await store.ring() == 1
    rung = await store.saga(saga.id)
    assert rung is not None
    assert rung.arrivals == 1


@every_kind
async def test_a_known_start_is_told_inside_the_transaction(
    store: Store, engine: AsyncEngine, put: Putting
) -> None:
    start = start_message("k")
    await store.put([start])
    async with engine.begin() as conn:
        assert await put(store, conn, [start_message("k")]) == [Receipt(saga=start.id, new=False)]


@every_kind
@pytest.mark.parametrize("bad", ["key", "target"])
async def test_a_refused_call_leaves_the_callers_transaction_usable_and_without_rows_of_it(
    store: Store, engine: AsyncEngine, put: Putting, bad: str
) -> None:
    await store.put([start_message("k")])
    wrong = start_message("k", request_hash="r2") if bad == "key" else signal(new_id())
    async with engine.begin() as conn:
        with pytest.raises(KeyTaken if bad == "key" else NotFound):
            await put(store, conn, [start_message("never"), wrong])
        await put(store, conn, [start_message("after")])
    assert await store.find(FLOW, "never") is None
    assert await store.find(FLOW, "after") is not None


async def test_a_thing_that_is_no_session_is_refused_with_the_kinds_that_are(store: Store) -> None:
    for wrong in (object(), "session", 1):
        with pytest.raises(InputError, match="AsyncSession, AsyncConnection, Session or Connection"):
            await store.put([start_message()], session=wrong)
        with pytest.raises(InputError, match="pass an AsyncSession"):
            store.put_sync([start_message()], session=wrong)


def test_a_session_on_another_kind_of_database_is_refused() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as conn, pytest.raises(InputError, match="on sqlite and the store on postgresql"):
        callers.inside_sync(conn, "postgresql", lambda given: given)
    engine.dispose()
