"""T28: random sagas rehearsed, then run for real: nothing of the live lane moved, and each went as predicted.

A dry process has no socket but the store's; what it is asked to play decides by the order's id alone, so the
real run meets the same outside. First on SQLite, then on PostgreSQL.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.dry import Report as DryReport
from sagacity.orchestrator import Orchestrator
from sagacity.store.migrate import upgrade_at
from sagacity.store.private import PrivatePostgres
from sagas.order import Order
from tests.chaos.__main__ import Options
from tests.chaos.harness.report import Report, played
from tests.dry.predicted import live, path, predictions, scrubbed

_BEFORE = 20
"""Orders that have run for real before any is rehearsed, so that there is something to leave alone."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T28", options, _test)


async def _test(report: Report) -> None:
    count = report.size(1_000, 1_000)
    first = report.seed * 1_000_000
    numbers = range(first, first + count)
    with _places() as places:
        for name, url in places:
            await upgrade_at(url)
            async with await Orchestrator.open(url, project=Project.of(Order), accept_loss=True) as app:
                await live(app, range(first - _BEFORE, first))
                await _rehearsed_then_run(app, numbers, report, name)


@contextmanager
def _places() -> Iterator[list[tuple[str, str]]]:
    """A store of each sort."""
    folder = Path(tempfile.mkdtemp(prefix="t28-"))
    server = PrivatePostgres.ensure(folder / "pg")
    try:
        yield [("SQLite", f"sqlite:///{folder}/live.db"), ("PostgreSQL", server.create_database("t28"))]
    finally:
        server.stop()
        for made in (folder, server.home):
            shutil.rmtree(made, ignore_errors=True)


async def _rehearsed_then_run(app: Orchestrator, numbers: Sequence[int], report: Report, name: str) -> None:
    before = await _dump(app)
    began, cpu = time.perf_counter(), os.times()
    reports = await predictions(app, numbers)
    report.figure(f"{name}: rehearsed, s", time.perf_counter() - began)
    report.figure(f"{name}: processor time a dry run, ms", _spent(cpu) * 1000 / len(numbers))
    report.holds(await _dump(app) == before, f"{name}: the live lane moved")
    _judge(reports, report, name)
    began = time.perf_counter()
    await live(app, numbers)
    report.figure(f"{name}: run for real, s", time.perf_counter() - began)
    really = (await scrubbed(app))["sagas"]
    same = sum(path(one) == really[one.key][1] for one in reports)
    report.figure(f"{name}: predicted as it went", f"{same} of {len(numbers)}")
    for one in reports:
        if path(one) != really[one.key][1]:
            report.blame(f"{name}: {one.key}: predicted {path(one)}, went {really[one.key][1]}")
    for store, sagas in ((app.store, len(numbers) + _BEFORE), (app.store.beside("dry"), len(numbers))):
        verdict = await verify(store)
        report.holds(verdict.sagas == sagas, f"{name}: lane {store.lane} has {verdict.sagas} sagas")
        for finding in verdict.findings:
            report.blame(f"{name}: {finding.check}: {finding.where}: {finding.what}")


def _judge(reports: Sequence[DryReport], report: Report, name: str) -> None:
    ends = {one.verdict for one in reports}
    report.holds(ends == {"would commit", "would roll back"}, f"{name}: {sorted(ends)}: not both ways out")
    refused = [one.key for one in reports if one.refusals or one.standing]
    report.holds(not refused, f"{name}: {len(refused)} were refused something, or leave something standing")


async def _dump(app: Orchestrator) -> list[Any]:
    """Every row of the live lane."""
    store = app.store
    heads = await store.heads()
    return [
        heads,
        [row async for row in store.rows_by_saga(heads)],
        [row async for row in store.sagas_whole()],
        [state async for state in store.objects_whole()],
        [effect async for effect in store.effects_whole()],
        await store.notices(limit=100_000),
        await store.workers(),
    ]


def _spent(since: os.times_result) -> float:
    """Processor seconds of this process and of those that it started, since then."""
    now = os.times()
    return sum(now[:4]) - sum(since[:4])
