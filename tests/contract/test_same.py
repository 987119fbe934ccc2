"""Both databases are one store: whatever is done to them, they answer and hold the same.

A seeded hand does random things to a SQLite and a PostgreSQL store side by side. After each, the answers
are compared, and in the end every row of every table. `python -m tests.chaos stores` plays 10,000 batches.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sagacity.errors import StoreError
from sagacity.model.unit import (
    BatchRefused,
    HeadMoved,
    Written,
)
from sagacity.store.open import open_store
from tests.contract.builders import HandClock, dump
from tests.contract.hand import WRITING, Hand, Pair

pytestmark = pytest.mark.postgres

STEPS = 120
SEEDS = range(5)
BATCHES = 500
"""Of the writing hand; the rest of the 10,000 is played by `python -m tests.chaos stores`."""


@pytest.fixture
async def engines(tmp_path: Path, pg_url: str) -> AsyncIterator[list[AsyncEngine]]:
    """The caller's own way into both databases."""
    served = make_url(pg_url).set(drivername="postgresql+asyncpg")
    made = [create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/same.db"), create_async_engine(served)]
    yield made
    for engine in made:
        await engine.dispose()


@pytest.fixture
async def pair(tmp_path: Path, pg_url: str, clock: HandClock) -> AsyncIterator[Pair]:
    stores = [
        open_store(address, clock=clock, accept_loss=True)
        for address in (f"sqlite:///{tmp_path}/same.db", pg_url)
    ]
    for store in stores:
        await store.open()
    yield Pair(*stores)
    for store in stores:
        await store.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_both_databases_answer_and_hold_the_same(
    pair: Pair, engines: list[AsyncEngine], clock: HandClock, seed: int
) -> None:
    hand = Hand(pair, clock, seed)
    for _ in range(STEPS):
        await hand.step()
    assert hand.said[Written] > STEPS / 10
    assert hand.said[BatchRefused] > STEPS / 10
    one, other = [await dump(engine) for engine in engines]
    for table in one:
        assert one[table] == other[table], table


@pytest.mark.timeout(600)
async def test_random_batches_with_bad_members_anywhere_leave_the_same_behind(
    pair: Pair, engines: list[AsyncEngine], clock: HandClock
) -> None:
    hand = Hand(pair, clock, 1, weights=WRITING, keys=300)
    while hand.batches < BATCHES:
        await hand.step()
    assert hand.said[Written] > BATCHES / 4
    assert hand.said[BatchRefused] > BATCHES / 10
    assert hand.said[HeadMoved] > 0
    assert hand.said[StoreError] > 0
    one, other = [await dump(engine) for engine in engines]
    for table in one:
        assert one[table] == other[table], table
