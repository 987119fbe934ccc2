"""Rows of the user's own tables as participants: changed at commit, with everything else, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sagacity import Participant, Saga, Stage, State, exclusive, operation, spawns, step
from sagacity.model.record import Lock, Status
from sagacity.testing import PATIENCE, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Box
from tests.runtime.outside import BringBack, Depot, Receipt

metadata = sa.MetaData()
purses = sa.Table(
    "runtime_purses",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("coins", sa.Integer, sa.CheckConstraint("coins >= 0"), nullable=False),
)


class Purse(Participant, type="purse", table=purses, key="id"):
    """A row with coins."""

    @operation(inverse="spend")
    def earn(self, id: str, coins: int) -> sa.Executable:
        return sa.update(purses).where(purses.c.id == id).values(coins=purses.c.coins + coins)

    @operation(inverse="earn")
    def spend(self, id: str, coins: int) -> sa.Executable:
        return sa.update(purses).where(purses.c.id == id).values(coins=purses.c.coins - coins)

    @operation()
    def empty(self, id: str) -> sa.Executable:
        return sa.update(purses).where(purses.c.id == id).values(coins=0)


class Buy(Saga, version=1, key="name"):
    """Coins go from one purse to another, and a box is filled, when a thing was lent."""

    class Input(BaseModel):
        name: str
        source: str
        target: str
        coins: int
        clear: bool = False

    asked = State(initial=True)
    lent = State()
    done = State(final=True)
    lend = asked.to(lent)
    pay = lent.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("purse", asked.source)
        yield exclusive("purse", asked.target)
        yield exclusive("box", asked.name)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(pay)
    def move_coins(self, asked: Input, stage: Stage) -> None:
        if asked.clear:
            stage(Purse, asked.source).empty()
        else:
            stage(Purse, asked.source).spend(asked.coins)
        stage(Purse, asked.target).earn(asked.coins)
        stage(Box, asked.name).note(f"{asked.coins} coins")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """The user's own connection to the store's database, with two purses in it."""
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+asyncpg"
    engine = create_async_engine(sa.make_url(url).set(drivername=driver))
    async with engine.begin() as conn:
        await conn.run_sync(metadata.drop_all)
        await conn.run_sync(metadata.create_all)
        await conn.execute(sa.insert(purses), [{"id": "a", "coins": 10}, {"id": "b", "coins": 0}])
    yield engine
    await engine.dispose()


async def coins(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as conn:
        return {row.id: row.coins for row in await conn.execute(sa.select(purses))}


BUY: dict[str, Any] = {"name": "n", "source": "a", "target": "b", "coins": 4}


async def test_rows_and_objects_change_together_with_their_images_in_the_log(
    house: House, engine: AsyncEngine
) -> None:
    app = await house.open(Buy)
    gate = house.town.gate("depot.lend")
    await house.work()
    handle = await app.start(Buy, BUY)
    await until(lambda: house.town.count("depot.lend"))
    assert await coins(engine) == {"a": 10, "b": 0}
    gate.set()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert await coins(engine) == {"a": 6, "b": 4}
    applied = {line["operations"][0]["object"]: line for line in await house.lines(handle.id, "applied")}
    assert (applied["purse:a"]["before"], applied["purse:a"]["after"]) == (
        {"id": "a", "coins": 10},
        {"id": "a", "coins": 6},
    )
    assert applied["box:n"]["own_table"] is False
    view = await app.object("purse:a")
    assert (view.version, view.in_transaction) == (1, False)


async def test_the_commit_goes_to_a_chain_of_its_own(house: House, engine: AsyncEngine) -> None:
    app = await house.open(Buy)
    await house.work()
    handle = await app.start(Buy, BUY)
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    lines = await handle.history()
    assert lines[0].chain != lines[-1].chain
    assert {line.chain for line in lines if line.kind in ("applied", "committed")} == {lines[-1].chain}


async def test_a_failing_statement_makes_the_saga_go_back_and_changes_nothing(
    house: House, engine: AsyncEngine
) -> None:
    app = await house.open(Buy)
    await house.work()
    handle = await app.start(Buy, {**BUY, "coins": 11})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.ROLLED_BACK
    assert (outcome.reason or "").startswith("commit: a statement on the user's own tables failed")
    assert await coins(engine) == {"a": 10, "b": 0}
    assert (house.town.standing, await app.locks()) == ([], [])
    good = await app.start(Buy, {**BUY, "name": "again"})
    assert (await good.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_rollback_runs_the_inverse_on_what_is_there_now(house: House, engine: AsyncEngine) -> None:
    app = await house.open(Buy)
    await house.work()
    handle = await app.start(Buy, BUY)
    await handle.outcome(timeout=PATIENCE)
    async with engine.begin() as conn:
        await conn.execute(sa.update(purses).where(purses.c.id == "a").values(coins=100))
    preview = await app.preview(handle.id)
    assert [(item.what, item.how, item.detail) for item in preview.items[1:]] == [
        ("box:n", "exact", "nobody changed it since"),
        ("purse:a", "exact", "by earn"),
        ("purse:b", "exact", "by spend"),
    ]
    rollback = await app.rollback(handle.id, reason="a mistake")
    assert (await rollback.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert await coins(engine) == {"a": 104, "b": 0}


async def test_an_operation_without_an_inverse_cannot_be_rolled_back(
    house: House, engine: AsyncEngine
) -> None:
    app = await house.open(Buy)
    await house.work()
    handle = await app.start(Buy, {**BUY, "clear": True})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert await coins(engine) == {"a": 0, "b": 4}
    preview = await app.preview(handle.id)
    assert [item.how for item in preview.items] == ["counter-action", "exact", "impossible", "exact"]
    assert not preview.possible


async def test_many_on_the_same_rows_come_one_after_the_other(house: House, engine: AsyncEngine) -> None:
    app = await house.open(Buy)
    await house.work()
    handles = await asyncio.gather(
        *(app.start(Buy, {**BUY, "name": f"n{n}", "coins": 1}) for n in range(8)),
        *(app.start(Buy, {"name": f"m{n}", "source": "b", "target": "a", "coins": 0}) for n in range(8)),
    )
    for handle in handles:
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert await coins(engine) == {"a": 2, "b": 8}


class Spree(Saga, version=1, key="name"):
    """Has one thing bought by a saga of its own."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    done = State(final=True)
    buy = asked.to(done)

    @spawns(buy, Buy)
    def one_thing(self, asked: Input) -> list[Buy.Input]:
        return [Buy.Input(name=asked.name, source="a", target="b", coins=4)]


async def test_a_parent_is_told_at_once_of_a_child_that_changed_rows_of_the_users(
    house: House, engine: AsyncEngine
) -> None:
    app = await house.open(Spree)
    await house.work(sweep=timedelta(hours=1))
    handle = await app.start(Spree, {"name": "n"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
