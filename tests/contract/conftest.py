"""One store of each kind for every test of the contract; the clock stands still unless a test moves it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sagacity.store.base import Store
from sagacity.store.open import open_store
from tests.contract.builders import Bench, HandClock, bench

KINDS = ("sqlite",)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    return f"sqlite:///{tmp_path}/contract.db"


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
