"""Nothing that is done often reads a whole table, however long the history is."""

from typing import Any

import asyncpg
import pytest

from benchmarks.contender import Task, closed_loop
from benchmarks.fill import fill
from benchmarks.flow import Measured
from benchmarks.looks import looks
from benchmarks.ours import runner, worker_on
from sagacity.definition.project import Project
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter

HISTORY = ("saga", "log", "inbox", "object", "compensation", "outbox")


async def whole_reads(url: str) -> dict[str, int]:
    """How often each table that grows was read from end to end; told when a connection is closed."""
    driver: Any = await asyncpg.connect(url)
    rows = await driver.fetch("SELECT relname, seq_scan FROM pg_stat_user_tables")
    await driver.close()
    return {row["relname"]: row["seq_scan"] for row in rows if row["relname"] in HISTORY}


@pytest.mark.postgres
async def test_running_claiming_listing_and_showing_read_no_table_from_end_to_end(pg_url: str) -> None:
    await fill(pg_url, 3000, kind="measured")
    before = await whole_reads(pg_url)
    sagas = await Orchestrator.open(pg_url, project=Project.of(Measured), accept_loss=True)
    async with sagas, worker_on(sagas, pg_url, lease="1"):
        took = await closed_loop(runner(sagas), Task(seconds=60, at_once=20, sagas=100, refused=0.2))
        assert took.sagas == 100
    async with await Orchestrator.open(pg_url, project=Project.of(Measured), accept_loss=True) as sagas:
        for look in (await looks(sagas, pg_url, 20)).values():
            for n in range(20):
                await look(n)
        [one] = await sagas.list(Filter(status=(Status.COMMITTED,), limit=1))
        assert await sagas.history(one.id)
        assert await sagas.locks(saga=one.id) == []
    after = await whole_reads(pg_url)
    assert len(before) == len(HISTORY)
    assert {name: after[name] - before[name] for name in HISTORY if after[name] != before[name]} == {}
