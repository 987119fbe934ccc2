"""One store of each kind for every test of the contract; the clock stands still unless a test moves it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sagacity.store import migrate, schema
from sagacity.store.base import Store
from sagacity.store.open import open_store
from sagacity.store.private import PrivatePostgres
from tests.contract.builders import Bench, HandClock, bench

KINDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


@pytest.fixture(scope="session")
def pg_template(pg_server: PrivatePostgres) -> str:
    """A migrated database: copying it is quicker than migrating one for each test."""
    name = "contract"
    address = pg_server.create_database(name)
    # In a thread, for this one may belong to a loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate.upgrade_at(address)).result()
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, for the same reason."""
    path = tmp_path_factory.mktemp("template") / "contract.db"

    async def make() -> None:
        store = open_store(f"sqlite:///{path}")
        await store.open()
        await store.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result()
    return path


@pytest.fixture(scope="session")
def pg_shared(pg_server: PrivatePostgres, pg_template: str) -> str:
    """A database that tests use one after the other: emptying it is quicker than copying one for each."""
    return pg_server.create_database("shared", template=pg_template)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store; `fresh postgresql` is one that nobody used before."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path)
        return f"sqlite:///{tmp_path}/contract.db"
    fresh = request.param == "fresh postgresql"
    address: str = request.getfixturevalue("pg_url" if fresh else "pg_shared")
    if not fresh:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _emptied(address)).result()
    return address


async def _emptied(address: str) -> None:
    """Delete every row of ours, past the log's trigger, and every table of a test's."""
    driver = await asyncpg.connect(address)
    try:
        await driver.execute("SET lock_timeout = '20s'; SET session_replication_role = replica")
        found = await driver.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for name in sorted(row["tablename"] for row in found):
            if name in schema.metadata.tables:
                await driver.execute(f"DELETE FROM {name}")
            elif name != migrate.VERSION_TABLE:
                await driver.execute(f'DROP TABLE "{name}" CASCADE')
    finally:
        await driver.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def store(url: str, clock: HandClock) -> AsyncIterator[Store]:
    """An open store on the hand clock."""
    opened = open_store(url, clock=clock, accept_loss=True)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def other(store: Store, url: str, clock: HandClock) -> AsyncIterator[Store]:
    """A second process's store on the same database."""
    opened = open_store(url, clock=clock, accept_loss=True)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def desk(store: Store) -> Bench:
    """A worker of the first store."""
    return await bench(store)


@pytest.fixture
async def engine(store: Store, url: str) -> AsyncIterator[AsyncEngine]:
    """The caller's own way into the same database."""
    parsed = make_url(url)
    made = create_async_engine(parsed.set(drivername=_DRIVERS[parsed.drivername]))
    yield made
    await made.dispose()
