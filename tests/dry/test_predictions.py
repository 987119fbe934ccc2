"""T28 of the tests of reliability: what a dry run predicts is what happens, and it changes nothing (I40)."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.dry import Arrival, Report, Script
from sagacity.dry.apart import Apart
from sagacity.dry.orders import Asked, Place
from sagacity.dry.report import moves_of, read_report
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.store.migrate import upgrade_at
from sagacity.testing import mocked, running
from sagacity.testing.running import until
from sagas.order import Order
from sagas.outside import Carrier, Payments, Warehouse
from tests.dry import minds

pytestmark = pytest.mark.simulation

AT_ONCE = 20
SAGAS = int(os.environ.get("T28_SAGAS", "60"))


def order(n: int) -> dict[str, str]:
    return {"order_id": f"o{n}", "customer_id": f"c{n % 7}", "amount": f"{n}.50"}


def called_off(n: int) -> bool:
    return minds.says(f"o{n}", "called off") < 0.3


def script(n: int) -> Script:
    """What comes from outside to this order, at once."""
    names = ("approved", "called_off") if called_off(n) else ("approved", "handed_over", "delivery")
    return Script(signals={name: Arrival(after="PT0.001S") for name in names})  # type: ignore[arg-type]


async def live(app: Orchestrator) -> None:
    """All orders, really; each is told what its script has as soon as it waits for it."""
    worker = Worker(
        app.store,
        app.project.flows,
        app.project.participants,
        externals=mocked(
            Warehouse, Payments, Carrier, instead={Payments: minds.Payments(), Carrier: minds.Carrier()}
        ),
    )
    async with running(worker):
        for begin in range(0, SAGAS, AT_ONCE):
            numbers = range(begin, min(begin + AT_ONCE, SAGAS))
            handles = await app.start_many(Order, [(None, order(n)) for n in numbers])
            await asyncio.gather(
                *(_lives(app, handle, n) for n, handle in zip(numbers, handles, strict=True))
            )


async def _lives(app: Orchestrator, handle: Any, n: int) -> None:
    told: set[str] = set()

    async def over() -> bool:
        row = await app.store.saga(handle.id)
        if row is None:
            return False
        waits = {wait.name: wait.signal for wait in row.record.waits}
        for name in script(n).signals:
            if name in waits and name not in told:
                told.add(name)
                await app.signal(handle.id, waits[name] or "")
        return row.record.status.final

    await until(over)


async def predictions(app: Orchestrator) -> list[Report]:
    """All orders, dry, one after the other, in a process of their own."""
    assert app.opened is not None
    place = Place(url=app.opened[0], accept_loss=True)
    async with Apart.started(place) as stage:
        return [
            read_report(
                (
                    await stage.ask(
                        Asked(
                            flow="sagas.order:Order",
                            input=order(n),
                            script=script(n),
                            mocks="tests.dry.minds",
                        )
                    )
                ).said
                or ""
            )
            for n in range(SAGAS)
        ]


async def scrubbed(app: Orchestrator) -> dict[str, Any]:
    """The live lane without ids, times, positions and hashes: per saga its story, per object its states."""
    store = app.store
    sagas = {}
    async for row in store.sagas_whole():
        history = await store.history(row.record.id)
        sagas[row.record.key] = (row.record.status, [(m.kind, m.name, m.state) for m in moves_of(history)])
    states = {state.object: (state.version, state.state) async for state in store.objects_whole()}
    return {"sagas": sagas, "objects": states, "counts": await store.counts()}


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
    reports, _ = await asyncio.gather(predictions(rehearsed), live(rehearsed))
    await live(plain)
    with_runs, without = await scrubbed(rehearsed), await scrubbed(plain)
    assert with_runs == without
    predicted = {report.key: [(m.kind, m.name, m.state) for m in report.path] for report in reports}
    assert predicted == {key: moves for key, (_, moves) in with_runs["sagas"].items()}
    ends = {report.verdict for report in reports}
    assert ends == {"would commit", "would roll back"}
    assert all(not report.standing and not report.refusals for report in reports)
    for store in (rehearsed.store, rehearsed.store.beside("dry")):
        verdict = await verify(store)
        assert (verdict.sagas, verdict.findings) == (SAGAS, ())
