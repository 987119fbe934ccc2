"""T12 in the gate, and users' freezegun around a running worker."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from sagacity.definition.project import Project
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.runtime import drive
from sagacity.runtime.worker import Worker
from sagacity.store.memory import MemoryDatabase
from sagacity.testing import mocked, running
from sagas.order import Order
from sagas.outside import Carrier, Payments, Warehouse
from tests.chaos.clocks import CLOCKS, Clocks, timed

FAST = next(clocks for clocks in CLOCKS if clocks.name == "all ten times too fast")


@pytest.fixture(scope="module")
def database() -> Iterator[MemoryDatabase]:
    database = MemoryDatabase()
    yield database
    database.close()


@pytest.mark.parametrize("clocks", CLOCKS, ids=lambda clocks: clocks.name)
def test_nothing_is_early_missing_or_extra(clocks: Clocks, database: MemoryDatabase) -> None:
    fired, wrong = timed(clocks, database, sagas=10)
    assert wrong == []
    assert sum(fired.timed_out.values()) > 5


def test_a_worker_that_believes_its_own_clock_is_found(
    database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "seems_due", lambda record, now: False)
    fired, wrong = timed(FAST, database, sagas=12)
    assert fired.early
    assert any(what.startswith("I35: early") for what in wrong)


@pytest.mark.parametrize("ticks", [False, True], ids=["standing", "ticking"])
async def test_a_worker_works_while_a_test_holds_time_by_freezegun(tmp_path: Path, ticks: bool) -> None:
    project = Project.of(Order)
    url = f"sqlite:///{tmp_path}/frozen.db"
    with freeze_time("2020-02-29 23:59:59", real_asyncio=True, tick=ticks):
        async with await Orchestrator.open(url, project=project, accept_loss=True) as app:
            outside = mocked(Warehouse, Payments, Carrier)
            worker = Worker(app.store, project.flows, project.participants, externals=outside)
            async with running(worker):
                order = {"order_id": "A", "customer_id": "C", "amount": "19.90"}
                handle = await app.start(Order, order)
                for signal in ("payments.approved", "carrier.handed_over", "carrier.delivered"):
                    await app.signal(handle.id, signal)
                outcome = await handle.outcome(timeout=timedelta(seconds=60))
    assert outcome.status is Status.COMMITTED
