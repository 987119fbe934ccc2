"""Offboardings on the application's own tables: parallel outside calls, a kill, a resumption, a way back."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from sagacity.model.record import Status
from sagas.offboarding import accounts, clusters, metadata, resources, subscriptions
from sagas.services.ledger import doubled, standing
from tests.shown.world import World, kill, summary_of

FLOW = "sagas/offboarding.py:Offboarding"
DONE = {"accounts": "archived", "clusters": "gone", "subscriptions": "closed", "resources": "archived"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many accounts, and what hangs on each; `slow` is the time of one outside call in seconds."""

    accounts: int
    clusters: int
    subscriptions: int
    resources: int
    slow: float


FULL = Sizes(accounts=20, clusters=4, subscriptions=3, resources=5, slow=2.0)
SMALL = Sizes(accounts=4, clusters=3, subscriptions=2, resources=2, slow=1.0)


async def killed_and_resumed(world: World, sizes: Sizes) -> None:
    """Begin, kill in the middle of the outside calls, resume: each row changed, each cluster gone once."""
    lines = await populate(world, sizes)
    calls = sizes.accounts * sizes.clusters
    with world.services("--slow", str(sizes.slow)):
        file = world.folder / "Offboarding.jsonl"
        file.write_text("".join(_json(line) for line in lines))
        process = world.begin("run", FLOW, "--input", str(file))
        await world.happened(1, process=process)
        kill(process)
        assert len(world.entries()) < calls or sizes.accounts < 3
        began = asyncio.get_running_loop().time()
        summary = summary_of(world.sagacity("run", FLOW, "--input", str(file)))
        took = asyncio.get_running_loop().time() - began
    assert (summary["committed"], summary["stuck"], summary["locks_held"]) == (sizes.accounts, 0, 0)
    assert took < world.lease + 2 + sizes.slow * calls / 2, (
        f"{took:.1f} s for {calls} calls: they do not run side by side"
    )
    assert await states(world) == {name: {state} for name, state in DONE.items()}
    assert doubled(world.entries()) == []
    assert len(standing(world.entries())) == calls
    assert "nothing wrong" in world.sagacity("verify")


async def cancelled(world: World, sizes: Sizes, *, guarded: bool = False) -> None:
    """Cancel one while its clusters go down: its rows stay as they were and its clusters come up again.

    Where the tables are guarded, nobody else can write the locked rows meanwhile.
    """
    [line, *_] = await populate(world, sizes)
    with world.services("--slow", "5"), world.worker("-m", "sagas/offboarding.py"):
        world.sagacity("start", "sagas/offboarding.py:Offboarding", "--input", _json(line))

        async def is_under_way(app: Any) -> bool:
            return bool((await app.counts("Deprovision")).get(Status.RUNNING))

        # The outside calls have left and take their time: none has answered yet.
        await world.until(is_under_way)
        assert await foreign_write(world, line["account_id"]) is not guarded
        world.sagacity("cancel", line["account_id"], "--reason", "the customer stays")

        async def is_over(app: Any) -> bool:
            return bool((await app.show(await app.resolve(line["account_id"]))).status.final)

        await world.until(is_over)
    assert (await world.sagas("Offboarding"))[line["account_id"]].status is Status.ROLLED_BACK
    assert await foreign_write(world, line["account_id"])
    assert await states(world) == {name: {"active"} for name in DONE}
    assert standing(world.entries()) == {}
    assert doubled(world.entries()) == []


async def populate(world: World, sizes: Sizes) -> list[dict[str, Any]]:
    """Make the application's tables in the store's own database, and fill them; the sagas' inputs."""
    lines = list(_lines(sizes))
    # The tables of the application and of Sagacity stand side by side; a file that is there is never
    # migrated without being asked.
    world.sagacity("migrate")
    async with database(world) as connection:
        await connection.run_sync(metadata.create_all)
        for line in lines:
            account = line["account_id"]
            await connection.execute(sa.insert(accounts).values(id=account))
            for table in (clusters, subscriptions, resources):
                rows = [{"id": name, "account_id": account} for name in line[table.name]]
                await connection.execute(sa.insert(table), rows)
    return lines


async def foreign_write(world: World, account: str) -> bool:
    """Write an account's row as any other program would, changing nothing; False when that is refused."""
    try:
        async with database(world) as connection:
            await connection.execute(sa.update(accounts).where(accounts.c.id == account).values(id=account))
    except DBAPIError as refused:
        return "saga" not in str(refused.orig)
    return True


def _lines(sizes: Sizes) -> Iterator[dict[str, Any]]:
    for number in range(sizes.accounts):
        account = f"acme-{number:02d}"
        yield {
            "account_id": account,
            "clusters": [f"{account}-c{n}" for n in range(sizes.clusters)],
            "subscriptions": [f"{account}-s{n}" for n in range(sizes.subscriptions)],
            "resources": [f"{account}-r{n}" for n in range(sizes.resources)],
        }


async def states(world: World) -> dict[str, set[str]]:
    """The states that rows of each table are in."""
    async with database(world) as connection:
        return {
            table.name: set((await connection.execute(sa.select(table.c.state))).scalars())
            for table in (accounts, clusters, subscriptions, resources)
        }


@asynccontextmanager
async def database(world: World) -> AsyncIterator[AsyncConnection]:
    """A connection of the application's own, in a transaction that is committed at the end."""
    url = sa.make_url(world.store)
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite" if url.drivername == "sqlite" else "postgresql+asyncpg")
    )
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


def _json(line: dict[str, Any]) -> str:
    return json.dumps(line) + "\n"
