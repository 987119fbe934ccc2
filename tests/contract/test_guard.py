"""The guard on PostgreSQL: a row that a saga has locked is written by that saga, and by nobody else."""

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    NullPool,
    Numeric,
    Table,
    Text,
    create_engine,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.errors import InputError
from sagacity.model.canonical import NULL
from sagacity.model.record import Lock, Record
from sagacity.model.unit import ChainHead, OutcomeUnknown, Unit, Written
from sagacity.store import functions, guard
from sagacity.store.base import OwnRow, OwnTableError, RowImages, RowsBusy, Store
from tests.contract.builders import Bench, bench, change, first, following, lock
from tests.contract.server import session, waiting

pytestmark = [
    pytest.mark.parametrize("url", ["fresh postgresql"], indirect=True),
    pytest.mark.postgres,
]

ACCOUNTS = Table(
    "accounts",
    MetaData(),
    Column("no", Integer, primary_key=True),
    Column("owner", Text),
    Column("balance", Numeric),
    Column("extra", JSON),  # a type that cannot be compared
)


@pytest.fixture
async def own(engine: AsyncEngine) -> AsyncEngine:
    """A guarded table with three rows."""
    async with engine.begin() as conn:
        await conn.run_sync(ACCOUNTS.metadata.create_all)
        await conn.execute(
            insert(ACCOUNTS), [{"no": n, "owner": "somebody", "balance": n, "extra": {}} for n in (1, 2, 3)]
        )
        await conn.run_sync(guard.install, ACCOUNTS, type="account", key="no")
    return engine


def refused(error: DBAPIError) -> asyncpg.PostgresError:
    """What the server said."""
    assert error.orig is not None
    told = error.orig.__cause__
    assert isinstance(told, asyncpg.PostgresError)
    return told


async def written(engine: AsyncEngine, statement: Any, *, saga: Record | None = None) -> None:
    """A foreign program's write; with `saga`, it says for whom."""
    async with engine.begin() as conn:
        if saga is not None:
            await conn.exec_driver_sql(f"SET LOCAL sagacity.saga = '{saga.id}'")
        await conn.execute(statement)


ONE = ACCOUNTS.c.no == 1
WRITES: dict[str, Any] = {
    "update": update(ACCOUNTS).where(ONE).values(owner="thief"),
    "delete": ACCOUNTS.delete().where(ONE),
    "change of the key": update(ACCOUNTS).where(ACCOUNTS.c.no == 2).values(no=1),
    "change of the key away": update(ACCOUNTS).where(ONE).values(no=9),
    "insert": insert(ACCOUNTS).values(no=1, owner="new"),
}


@pytest.mark.parametrize("what", WRITES)
async def test_a_foreign_write_to_a_locked_row_is_refused(desk: Bench, own: AsyncEngine, what: str) -> None:
    saga = await desk.begin(admit=(lock("account:1"),))
    with pytest.raises(DBAPIError) as error:
        await written(own, WRITES[what])
    told = refused(error.value)
    assert told.sqlstate == functions.GUARDED
    assert told.message == f"row 1 of table accounts is locked by saga {saga.id}"
    assert f"sagacity cancel {saga.id}" in str(told.hint)
    async with own.connect() as conn:
        assert (await conn.execute(select(ACCOUNTS.c.owner).where(ONE))).scalar_one() == "somebody"


async def test_other_rows_and_freed_rows_are_anybodys(desk: Bench, own: AsyncEngine) -> None:
    saga = await desk.begin(admit=(lock("account:1"),))
    await written(own, update(ACCOUNTS).where(ACCOUNTS.c.no == 2).values(owner="another"))
    await desk.send(following(saga, free=(lock("account:1"),)))
    await written(own, WRITES["update"])


async def test_a_lock_of_another_type_tenant_or_lane_does_not_matter(desk: Bench, own: AsyncEngine) -> None:
    await desk.begin(admit=(lock("customer:1"),))
    async with own.begin() as conn:
        await conn.run_sync(guard.install, ACCOUNTS, type="customer", key="no", tenant="another")
    await written(own, WRITES["update"])


async def test_the_holder_may_write_and_a_waiter_may_not(desk: Bench, own: AsyncEngine) -> None:
    holder = await desk.begin(admit=(lock("account:1"),))
    waiter = await desk.begin(admit=(lock("account:1"),))
    with pytest.raises(DBAPIError, match=f"locked by saga {holder.id}"):
        await written(own, WRITES["update"], saga=waiter)
    await written(own, WRITES["update"], saga=holder)


async def test_all_who_share_the_lock_hold_it(desk: Bench, own: AsyncEngine) -> None:
    sharers = [await desk.begin(admit=(lock("account:1", shared=True),)) for _ in range(2)]
    for saga in sharers:
        await written(own, WRITES["update"], saga=saga)
    with pytest.raises(DBAPIError):
        await written(own, WRITES["update"])


async def test_a_role_that_sees_nothing_of_the_engine_is_guarded_too(desk: Bench, own: AsyncEngine) -> None:
    await desk.begin(admit=(lock("account:1"),))
    async with own.begin() as conn:
        await conn.exec_driver_sql("CREATE ROLE clerk")
        await conn.exec_driver_sql("GRANT SELECT, UPDATE ON accounts TO clerk")
    try:
        async with own.begin() as conn:
            await conn.exec_driver_sql("SET LOCAL ROLE clerk")
            # Its own table of that name is not the engine's.
            await conn.exec_driver_sql("SET LOCAL search_path = pg_temp, public")
            await conn.execute(update(ACCOUNTS).where(ACCOUNTS.c.no == 2).values(owner="clerk"))
            with pytest.raises(DBAPIError) as error:
                await conn.execute(WRITES["update"])
            assert refused(error.value).sqlstate == functions.GUARDED
            await conn.rollback()
    finally:
        async with own.begin() as conn:
            await conn.exec_driver_sql("DROP OWNED BY clerk")
            await conn.exec_driver_sql("DROP ROLE clerk")


# --- installing --------------------------------------------------------------------------------------


async def test_a_removed_guard_guards_no_more_and_removing_twice_is_harmless(
    desk: Bench, own: AsyncEngine
) -> None:
    await desk.begin(admit=(lock("account:1"),))
    for _ in range(2):
        async with own.begin() as conn:
            await conn.run_sync(guard.remove, ACCOUNTS)
    await written(own, WRITES["update"])


async def test_odd_names_are_guarded_like_any_other(desk: Bench, engine: AsyncEngine) -> None:
    odd = Table("od\"d na'me", MetaData(), Column("the 'key'", Text, primary_key=True), schema='my "schema"')
    async with engine.begin() as conn:
        await conn.exec_driver_sql('CREATE SCHEMA "my ""schema"""')
        await conn.run_sync(odd.metadata.create_all)
        await conn.run_sync(guard.install, odd, type="it's", key="the 'key'")
    await desk.begin(admit=(lock("it's:a:b'c"),))
    await written(engine, insert(odd).values({"the 'key'": "free"}))
    with pytest.raises(DBAPIError, match="row a:b'c of table"):
        await written(engine, insert(odd).values({"the 'key'": "a:b'c"}))


async def test_a_column_that_is_not_there_is_named(own: AsyncEngine) -> None:
    async with own.begin() as conn:
        with pytest.raises(InputError, match="table accounts has no column 'number'"):
            await conn.run_sync(guard.install, ACCOUNTS, type="account", key="number")


async def test_on_sqlite_it_is_refused_in_a_sentence(url: str) -> None:
    engine = create_engine("sqlite://", poolclass=NullPool)
    refusal = pytest.raises(InputError, match="a guard needs PostgreSQL, this is sqlite")
    with engine.connect() as conn, refusal:
        guard.install(conn, ACCOUNTS, type="account", key="no")


GUARDED = OwnRow(object="account:", table=ACCOUNTS, key="no")


async def test_workers_see_to_it_that_a_table_is_guarded_also_two_at_once(
    store: Store, other: Store, desk: Bench, own: AsyncEngine
) -> None:
    async with own.begin() as conn:
        await conn.run_sync(guard.remove, ACCOUNTS)
    await asyncio.gather(store.guard([GUARDED]), other.guard([GUARDED]))
    await store.guard([GUARDED])
    await desk.begin(admit=(lock("account:1"),))
    with pytest.raises(DBAPIError, match="is locked by saga"):
        await written(own, WRITES["update"])


async def test_a_table_that_is_not_there_is_left_out_and_guarded_once_it_is(
    own: AsyncEngine, store: Store, desk: Bench
) -> None:
    async with own.begin() as conn:
        await conn.run_sync(ACCOUNTS.drop)
    await store.guard([GUARDED])
    async with own.begin() as conn:
        await conn.run_sync(ACCOUNTS.create)
        await conn.execute(ACCOUNTS.insert().values(no=1, owner="ann", balance=0))
    await store.guard([GUARDED])
    await desk.begin(admit=(lock("account:1"),))
    with pytest.raises(DBAPIError, match="is locked by saga"):
        await written(own, WRITES["update"])


# --- with the engine's own writes --------------------------------------------------------------------


async def committed(desk: Bench, saga: Record, *rows: OwnRow, **fields: Any) -> tuple[Written, ChainHead]:
    """One unit with the user's rows, on a chain of its own."""

    def compose(_: Mapping[str, RowImages]) -> Unit:
        return following(saga, **fields)

    head = await desk.store.open_chain(desk.worker)
    return await desk.store.write_with_rows(
        head=head, worker=desk.worker, saga=saga.id, rows=rows, compose=compose
    )


def row(no: int, *statements: Any) -> OwnRow:
    return OwnRow(object=f"account:{no}", table=ACCOUNTS, key="no", statements=statements)


async def test_a_saga_writes_what_it_has_locked(desk: Bench, own: AsyncEngine) -> None:
    saga = await desk.begin(admit=(lock("account:1"),))
    await committed(
        desk,
        saga,
        row(1, WRITES["update"]),
        changes=(change("account:1", 1, NULL),),
        free=(lock("account:1"),),
    )
    async with own.connect() as conn:
        assert (await conn.execute(select(ACCOUNTS.c.owner).where(ONE))).scalar_one() == "thief"


async def test_a_saga_cannot_write_what_another_has_locked(desk: Bench, own: AsyncEngine) -> None:
    await desk.begin(admit=(lock("account:1"),))
    saga = await desk.begin()
    with pytest.raises(OwnTableError, match="locked by saga"):
        await committed(desk, saga, row(1, WRITES["update"]))
    assert len(await desk.store.history(saga.id)) == 1


async def admitted(desk: Bench, *locks: Lock, optimistic: bool = True) -> Record:
    """A new saga that asks for rows of the guarded table."""
    unit = first(admit=locks, optimistic=optimistic)
    head = await desk.store.open_chain(desk.worker)
    rows = [OwnRow(object=asked.object, table=ACCOUNTS, key="no") for asked in locks]
    await desk.store.write_with_rows(
        head=head, worker=desk.worker, saga=unit.saga, rows=rows, compose=lambda images: unit
    )
    return unit.record


async def test_admission_leaves_the_row_as_it_is(desk: Bench, own: AsyncEngine) -> None:
    async with own.connect() as conn:
        before = (await conn.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.no))).all()
    await admitted(desk, lock("account:1"), lock("account:3"))
    async with own.connect() as conn:
        assert (await conn.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.no))).all() == before


async def test_one_can_queue_for_a_row_that_another_holds(desk: Bench, own: AsyncEngine) -> None:
    holder = await admitted(desk, lock("account:1"))
    waiter = await admitted(desk, lock("account:1"), optimistic=False)
    queue = (await desk.store.objects(["account:1"]))["account:1"].queue
    assert [place.saga for place in queue] == [holder.id, waiter.id]


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
async def test_a_writer_in_flight_when_the_lock_is_taken_does_not_get_through(
    desk: Bench, own: AsyncEngine, isolation: str
) -> None:
    async with own.connect() as writer:
        await writer.execution_options(isolation_level=isolation)
        await writer.execute(select(ACCOUNTS))  # it has its snapshot, and has written nothing yet
        await admitted(desk, lock("account:1"))
        with pytest.raises(DBAPIError) as error:
            await writer.execute(WRITES["update"])
        expected = functions.GUARDED if isolation == "READ COMMITTED" else "40001"
        assert refused(error.value).sqlstate == expected


async def test_admission_waits_for_a_writer_that_has_the_row(desk: Bench, own: AsyncEngine) -> None:
    async with own.connect() as writer:
        await writer.execute(WRITES["update"])
        asking = asyncio.create_task(admitted(desk, lock("account:1")))
        await asyncio.wait([asking], timeout=0.3)
        assert not asking.done()
        await writer.commit()
    await asking


async def test_a_row_that_is_not_let_go_in_time_is_to_be_asked_for_again(
    desk: Bench, own: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sagacity.store.own_rows.LOCK_SECONDS", 1)
    async with own.connect() as writer:
        await writer.execute(WRITES["update"])
        with pytest.raises(RowsBusy):
            await admitted(desk, lock("account:1"))
        await writer.rollback()
    await admitted(desk, lock("account:1"))


async def test_a_line_that_breaks_under_a_users_statement_leaves_the_outcome_to_the_fence(
    desk: Bench, own: AsyncEngine, url: str
) -> None:
    saga = await desk.begin(admit=(lock("account:1"),))
    async with own.connect() as rival, session(url) as operator:
        await rival.execute(select(ACCOUNTS).where(ONE).with_for_update())
        asking = asyncio.create_task(committed(desk, saga, row(1, WRITES["update"])))
        await operator.execute("SELECT pg_terminate_backend($1)", await waiting(url))
        with pytest.raises(OutcomeUnknown):
            await asking
    assert len(await desk.store.history(saga.id)) == 1


async def test_two_sagas_that_meet_on_rows_in_opposite_order_both_commit(
    store: Store, other: Store, own: AsyncEngine
) -> None:
    desks = [await bench(store), await bench(other)]

    async def through(desk: Bench, *numbers: int) -> None:
        for _ in range(10):
            await committed(desk, await desk.begin(), *(row(no, _add(no)) for no in numbers))

    await asyncio.gather(through(desks[0], 1, 2), through(desks[1], 2, 1))
    async with own.connect() as conn:
        balances = (await conn.execute(select(ACCOUNTS.c.balance).order_by(ACCOUNTS.c.no))).scalars().all()
    assert [int(balance) for balance in balances] == [21, 22, 3]


def _add(no: int) -> Any:
    return update(ACCOUNTS).where(ACCOUNTS.c.no == no).values(balance=ACCOUNTS.c.balance + 1)
