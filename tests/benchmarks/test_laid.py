"""What is filled in is what the engine writes: same lines, and the log proves itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.fill import fill
from benchmarks.flow import Measured
from benchmarks.orders import Waits
from benchmarks.ours import runner, worker_at
from benchmarks.steps import order
from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.model.canonical import NULL, loaded
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sagas.db"


async def told(sagas: Orchestrator, key: str) -> list[tuple[str, set[str]]]:
    """A saga's story: kind and fields of each line."""
    return [(line.kind, set(loaded(line.data or NULL) or ())) for line in await sagas.history(key)]


async def test_a_measured_saga_that_is_laid_has_the_lines_of_one_that_ran(url: str) -> None:
    await fill(url, 3, kind="measured", chains=1)
    async with worker_at(url, Measured) as sagas:
        assert await runner(sagas)(order("ran", 0))
        laid = next(one.key for one in await sagas.list(Filter()) if not one.key.startswith("ran"))
        ran = await told(sagas, "ran-0")
        assert ran == await told(sagas, laid)
        assert len(ran) > 8
        verdict = await verify(sagas.store)
    assert verdict.findings == ()


async def test_two_fillings_side_by_side_keep_out_of_each_others_way(url: str) -> None:
    await fill(url, 10, kind="measured", chains=2, first=1)
    await fill(url, 10, kind="measured", chains=2, first=3)
    async with await Orchestrator.open(url, project=Project.of(Measured)) as sagas:
        assert (await sagas.counts())[Status.COMMITTED] == 20
        verdict = await verify(sagas.store)
    assert verdict.findings == ()


async def test_a_waiting_saga_that_is_laid_wakes_up(url: str) -> None:
    await fill(url, 5, kind="waiting", since=datetime.now(UTC) - timedelta(hours=1))
    async with worker_at(url, Waits) as sagas:
        one, *others = await sagas.list(Filter(status=(Status.WAITING,)))
        await sagas.signal(one.id, "go")
        outcome = await sagas.outcome(one.id, timeout=timedelta(seconds=30))
        assert outcome.status is Status.COMMITTED
        assert (await sagas.counts())[Status.WAITING] == len(others) == 4
