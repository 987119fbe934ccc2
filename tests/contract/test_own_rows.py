"""A unit together with statements on the user's own tables: both, or neither."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    TypeDecorator,
    Uuid,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.chain import extend
from sagacity.ids import new_id
from sagacity.model.canonical import loaded
from sagacity.model.unit import Batch, BatchRefused, HeadMoved, Loss, Unit
from sagacity.store.base import OwnRow, OwnTableError, RowImages, Store
from tests.contract.builders import Bench, dump, first, following, record, worker_info


class _Unbounded(TypeDecorator[Decimal]):
    """A user's type whose values are beyond what the log takes."""

    impl = Numeric
    cache_ok = True

    def process_result_value(self, value: object, dialect: object) -> Decimal:
        return Decimal("1e5000")


OWN = MetaData()
CUSTOMER = Table(
    "customer",
    OWN,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("balance", Numeric(12, 2), nullable=False),
    Column("seen_at", DateTime),
    Column("token", LargeBinary),
    Column("rating", Float),
    CheckConstraint("balance >= 0", name="not_negative"),
)
DEVICE = Table("device", OWN, Column("id", Uuid, primary_key=True), Column("label", String))
HUGE = Table("customer", MetaData(), Column("id", Integer), Column("balance", _Unbounded))
VISIT = Table(
    "visit",
    OWN,
    Column("id", Integer, primary_key=True),
    Column("customer", ForeignKey(CUSTOMER.c.id, deferrable=True, initially="DEFERRED")),
)
ZOE = OwnRow(object="customer:1", table=CUSTOMER, key="id")


@pytest.fixture
async def own(engine: AsyncEngine) -> AsyncEngine:
    """The user's tables, with two customers."""
    async with engine.begin() as conn:
        await conn.run_sync(OWN.create_all)
        await conn.execute(insert(CUSTOMER), [{"id": 1, "name": "Zoë", "balance": Decimal("10.50")}])
        await conn.execute(insert(CUSTOMER), [{"id": 2, "name": "Max", "balance": Decimal("0.00")}])
    return engine


def debit(row: OwnRow, amount: str) -> OwnRow:
    statement = (
        update(CUSTOMER)
        .where(CUSTOMER.c.id == int(row.object.partition(":")[2]))
        .values(balance=CUSTOMER.c.balance - Decimal(amount))
    )
    return replace(row, statements=(*row.statements, statement))


async def balances(engine: AsyncEngine) -> list[Decimal]:
    async with engine.connect() as conn:
        return list((await conn.execute(select(CUSTOMER.c.balance).order_by(CUSTOMER.c.id))).scalars())


class Composer:
    """Makes the unit, and remembers which images it was shown."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.shown: Mapping[str, RowImages] = {}

    def __call__(self, images: Mapping[str, RowImages]) -> Unit:
        self.shown = images
        return self.unit


async def written(desk: Bench, unit: Unit, *rows: OwnRow) -> Composer:
    composer = Composer(unit)
    result, desk.head = await desk.store.write_with_rows(
        head=desk.head, worker=desk.worker, saga=unit.saga, rows=rows, compose=composer
    )
    assert set(result.arrivals) == {unit.saga}
    return composer


async def test_the_statements_and_the_unit_are_written_together(
    store: Store, desk: Bench, own: AsyncEngine
) -> None:
    saga = await desk.begin()
    unit = following(saga)
    composer = await written(desk, unit, debit(ZOE, "0.25"))
    assert await balances(own) == [Decimal("10.25"), Decimal("0.00")]
    row = await store.saga(saga.id)
    assert row is not None
    assert row.record == unit.record
    assert (await store.heads()) == [desk.head]
    images = composer.shown["customer:1"]
    assert loaded(images.before)["balance"] == "10.50"
    assert loaded(images.after)["balance"] == "10.25"
    assert loaded(images.after)["name"] == "Zoë"
    await desk.begin()


async def test_a_row_without_statements_is_only_looked_at(desk: Bench, own: AsyncEngine) -> None:
    composer = await written(desk, first(), ZOE)
    images = composer.shown["customer:1"]
    assert images.before == images.after
    assert await balances(own) == [Decimal("10.50"), Decimal("0.00")]


async def test_a_row_that_is_not_there_is_json_null(desk: Bench, own: AsyncEngine) -> None:
    born = insert(CUSTOMER).values(id=3, name="Kim", balance=Decimal("1.00"))
    row = OwnRow(object="customer:3", table=CUSTOMER, key="id", statements=(born,))
    composer = await written(desk, first(), row)
    images = composer.shown["customer:3"]
    assert images.before == "null"
    assert loaded(images.after)["name"] == "Kim"
    gone = CUSTOMER.delete().where(CUSTOMER.c.id == 3)
    composer = await written(desk, first(), replace(row, statements=(gone,)))
    assert composer.shown["customer:3"].after == "null"


async def test_statements_of_a_row_run_in_order_and_rows_in_key_order(desk: Bench, own: AsyncEngine) -> None:
    rename = update(CUSTOMER).where(CUSTOMER.c.id == 1)
    row = replace(ZOE, statements=(rename.values(name="A"), rename.values(name="B")))
    max_row = OwnRow(object="customer:2", table=CUSTOMER, key="id")
    composer = await written(desk, first(), max_row, row)
    assert list(composer.shown) == ["customer:1", "customer:2"]
    assert loaded(composer.shown["customer:1"].after)["name"] == "B"


async def test_values_that_are_not_json_are_shown_in_a_plain_form(desk: Bench, own: AsyncEngine) -> None:
    seen = datetime(2026, 3, 1, 12, 0, 0, 5)
    async with own.begin() as conn:
        await conn.execute(update(CUSTOMER).values(seen_at=seen, token=b"\x00\xff", rating=float("inf")))
    composer = await written(desk, first(), ZOE)
    shown = loaded(composer.shown["customer:1"].before)
    assert shown["seen_at"] == "2026-03-01T12:00:00.000005"
    assert (shown["token"], shown["rating"]) == ("00ff", "inf")


async def test_a_value_that_no_log_can_hold_is_told(desk: Bench, own: AsyncEngine) -> None:
    huge = replace(ZOE, statements=(update(CUSTOMER).values(balance=Decimal(1)),), table=HUGE)
    with pytest.raises(OwnTableError, match="cannot be stored in the log"):
        await written(desk, first(), huge)


async def test_keys_of_other_types_are_compared_as_such(desk: Bench, own: AsyncEngine) -> None:
    id = new_id()
    async with own.begin() as conn:
        await conn.execute(insert(DEVICE).values(id=id, label="x"))
    composer = await written(desk, first(), OwnRow(object=f"device:{id}", table=DEVICE, key="id"))
    assert loaded(composer.shown[f"device:{id}"].before) == {"id": str(id), "label": "x"}


@pytest.mark.parametrize(
    "row",
    [
        debit(ZOE, "99.00"),
        replace(ZOE, statements=(insert(CUSTOMER).values(id=1, name="again", balance=Decimal(1)),)),
        OwnRow(
            object="visit:1",
            table=VISIT,
            key="id",
            statements=(insert(VISIT).values(id=1, customer=99),),
        ),
        OwnRow(object="customer:no-number", table=CUSTOMER, key="id"),
        OwnRow(object="missing:1", table=Table("missing", MetaData(), Column("id", Integer)), key="id"),
    ],
    ids=[
        "a check fails",
        "a key is taken",
        "a check at the end fails",
        "no key of the table",
        "no such table",
    ],
)
async def test_a_failing_statement_leaves_neither_rows_nor_lines(
    desk: Bench, own: AsyncEngine, row: OwnRow
) -> None:
    saga = await desk.begin()
    before = await dump(own)
    other = debit(OwnRow(object="customer:0", table=CUSTOMER, key="id"), "0.00")
    with pytest.raises(OwnTableError):
        await written(desk, following(saga), other, debit(ZOE, "1.00"), row)
    assert await dump(own) == before
    assert await balances(own) == [Decimal("10.50"), Decimal("0.00")]
    await written(desk, following(saga), debit(ZOE, "1.00"))


async def test_a_refused_unit_takes_the_users_rows_back_with_it(desk: Bench, own: AsyncEngine) -> None:
    before = await dump(own)
    unit = following(record())
    with pytest.raises(BatchRefused) as refused:
        await written(desk, unit, debit(ZOE, "1.00"))
    assert refused.value.losers == {unit.saga: Loss.STALE}
    fenced = desk.head
    desk.head = replace(fenced, epoch=9)
    with pytest.raises(HeadMoved):
        await written(desk, first(), debit(ZOE, "1.00"))
    assert await dump(own) == before
    assert await balances(own) == [Decimal("10.50"), Decimal("0.00")]


async def test_what_compose_raises_takes_everything_back(desk: Bench, own: AsyncEngine) -> None:
    before = await dump(own)

    def compose(images: Mapping[str, RowImages]) -> Unit:
        raise RuntimeError(f"no unit from {sorted(images)}")

    with pytest.raises(RuntimeError, match="customer:1"):
        await desk.store.write_with_rows(
            head=desk.head, worker=desk.worker, saga=UUID(int=1), rows=[debit(ZOE, "1.00")], compose=compose
        )
    assert await dump(own) == before
    assert await balances(own) == [Decimal("10.50"), Decimal("0.00")]


async def test_without_rows_the_unit_goes_alone(desk: Bench) -> None:
    unit = first()
    composer = await written(desk, unit)
    assert composer.shown == {}
    assert await desk.store.saga(unit.saga) is not None


async def test_statements_that_are_rehearsed_see_each_other_and_nothing_of_them_stays(
    store: Store, own: AsyncEngine
) -> None:
    before = await dump(own)
    images = await store.rehearse([(new_id(), [debit(ZOE, "4.00")]), (new_id(), [debit(ZOE, "5.00")])])
    assert [Decimal(loaded(i)["balance"]) for i in (images[ZOE.object].before, images[ZOE.object].after)] == [
        Decimal("6.50"),
        Decimal("1.50"),
    ]
    assert await balances(own) == [Decimal("10.50"), Decimal("0.00")]
    assert await dump(own) == before


async def test_what_a_statement_may_not_do_is_refused_in_a_rehearsal_too(
    store: Store, own: AsyncEngine
) -> None:
    with pytest.raises(OwnTableError):
        await store.rehearse([(new_id(), [debit(ZOE, "4.00")]), (new_id(), [debit(ZOE, "7.00")])])
    assert await balances(own) == [Decimal("10.50"), Decimal("0.00")]
    assert await store.rehearse([]) == {}


def visits(*statements: Any) -> OwnRow:
    return OwnRow(object="visit:1", table=VISIT, key="id", statements=statements)


async def _met(engine: AsyncEngine, *customers: int) -> None:
    """Visits by these customers, whether they are there or not."""
    async with engine.begin() as conn:
        if conn.dialect.name == "postgresql":  # on SQLite this connection looks at no reference
            await conn.execute(text("SET LOCAL session_replication_role = replica"))
        await conn.execute(insert(VISIT), [{"id": 10 + n, "customer": n} for n in customers])


@pytest.mark.parametrize(
    "row",
    [
        visits(insert(VISIT).values(id=1, customer=99)),
        OwnRow(
            object="customer:2",
            table=CUSTOMER,
            key="id",
            statements=(delete(CUSTOMER).where(CUSTOMER.c.id == 2),),
        ),
    ],
    ids=["a child without a parent", "a parent whose child stays"],
)
async def test_what_only_a_commit_would_refuse_is_refused_in_a_rehearsal_too(
    store: Store, own: AsyncEngine, row: OwnRow
) -> None:
    async with own.begin() as conn:
        await conn.execute(insert(VISIT), [{"id": 7, "customer": 2}])
    before = await dump(own)
    with pytest.raises(OwnTableError, match=r"(?i)foreign key"):
        await store.rehearse([(new_id(), [row])])
    repaired = visits(insert(CUSTOMER).values(id=99, name="Late", balance=0))
    with pytest.raises(OwnTableError, match=r"(?i)foreign key"):
        await store.rehearse([(new_id(), [row]), (new_id(), [repaired])])
    assert await dump(own) == before


async def test_a_deferred_reference_that_is_whole_at_the_end_is_rehearsed(
    store: Store, own: AsyncEngine
) -> None:
    """The child comes first, its parent after it; and what was broken before is nobody's fault here."""
    await _met(own, 1, 98)
    row = visits(
        insert(VISIT).values(id=1, customer=99),
        insert(CUSTOMER).values(id=99, name="Late", balance=0),
    )
    images = await store.rehearse([(new_id(), [row])])
    assert loaded(images["visit:1"].after) == {"id": 1, "customer": 99}
    with pytest.raises(OwnTableError, match=r"(?i)foreign key"):
        await store.rehearse([(new_id(), [visits(insert(VISIT).values(id=1, customer=97))])])


async def test_a_store_seen_in_another_lane_shares_nothing_but_its_connections(store: Store) -> None:
    beside = store.beside("dry")
    info = await beside.register(worker_info(await store.now()))
    assert [head.id for head in await beside.heads()] == [info.id]
    assert await store.heads() == []
    assert (store.lane, beside.lane, beside.tenant) == ("live", "dry", store.tenant)


async def test_what_is_written_beside_takes_the_write_lock_before_it_looks(store: Store) -> None:
    beside = store.beside("dry")
    for other in (beside, store, beside):
        head = await other.register(worker_info(await other.now()))
        unit = first(record())
        rows = extend(head, [unit], tenant=other.tenant, lane=other.lane)
        written = await other.write(Batch(head=head, rows=rows, units=(unit,), worker=new_id()))
        assert written.arrivals == {unit.saga: 0}
        assert await store.now() <= await beside.now()
    assert len(await beside.heads()) == 2
