"""T28 of the tests of reliability: what a dry run predicts is what happens, and it changes nothing (I40).

`python -m tests.chaos T28` does it with 1,000 sagas.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.orchestrator import Orchestrator
from sagacity.store.migrate import upgrade_at
from sagas.order import Order
from tests.dry.predicted import live, path, predictions, scrubbed

pytestmark = pytest.mark.simulation

NUMBERS = range(int(os.environ.get("T28_SAGAS", "60")))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Orchestrator, Orchestrator]]:
    """Two stores: one in which orders are rehearsed while they run, one in which they only run."""
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("rehearsed", "plain")]
    if request.param == "postgresql":
        server = request.getfixturevalue("pg_server")
        urls = [server.create_database(f"i40_{os.getpid()}_{name}") for name in ("rehearsed", "plain")]
        for url in urls:
            await upgrade_at(url)
    project = Project.of(Order)
    async with (
        await Orchestrator.open(urls[0], project=project, accept_loss=True) as one,
        await Orchestrator.open(urls[1], project=project, accept_loss=True) as other,
    ):
        yield one, other


async def test_rehearsed_while_they_run_orders_run_the_same_and_as_predicted(
    stores: tuple[Orchestrator, Orchestrator],
) -> None:
    rehearsed, plain = stores
    reports, _ = await asyncio.gather(predictions(rehearsed, NUMBERS), live(rehearsed, NUMBERS))
    await live(plain, NUMBERS)
    with_runs, without = await scrubbed(rehearsed), await scrubbed(plain)
    assert with_runs == without
    predicted = {report.key: path(report) for report in reports}
    assert predicted == {key: moves for key, (_, moves) in with_runs["sagas"].items()}
    ends = {report.verdict for report in reports}
    assert ends == {"would commit", "would roll back"}
    assert all(not report.standing and not report.refusals for report in reports)
    for store in (rehearsed.store, rehearsed.store.beside("dry")):
        verdict = await verify(store)
        assert (verdict.sagas, verdict.findings) == (len(NUMBERS), ())
