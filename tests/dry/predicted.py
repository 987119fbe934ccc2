"""Random orders, rehearsed and run for real: what the one predicts beside what the other does."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sagacity.dry import Arrival, Report, Script
from sagacity.dry.apart import Apart
from sagacity.dry.orders import Asked, Place
from sagacity.dry.report import moves_of, read_report
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing import mocked, running
from sagacity.testing.running import until
from sagas.order import Order
from sagas.outside import Carrier, Payments, Warehouse
from tests.dry import minds

AT_ONCE = 20
PATIENCE = timedelta(minutes=5)
Move = tuple[str, str, tuple[str, ...]]


def order(n: int) -> dict[str, str]:
    """The n-th order; all that happens to it follows from its id."""
    return {"order_id": f"o{n}", "customer_id": f"c{n % 7}", "amount": f"{n}.50"}


def called_off(n: int) -> bool:
    """Whether the carrier calls it off."""
    return minds.says(f"o{n}", "called off") < 0.3


def script(n: int) -> Script:
    """What comes from outside to this order, at once."""
    names = ("approved", "called_off") if called_off(n) else ("approved", "handed_over", "delivery")
    return Script(signals={name: Arrival(after="PT0.001S") for name in names})  # type: ignore[arg-type]


async def live(app: Orchestrator, numbers: Sequence[int]) -> None:
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
        for begin in range(0, len(numbers), AT_ONCE):
            some = numbers[begin : begin + AT_ONCE]
            handles = await app.start_many(Order, [(None, order(n)) for n in some])
            await asyncio.gather(*(_lives(app, handle, n) for n, handle in zip(some, handles, strict=True)))


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

    await until(over, within=PATIENCE)


async def predictions(app: Orchestrator, numbers: Sequence[int]) -> list[Report]:
    """All orders, dry, one after the other, in a process of their own."""
    assert app.opened is not None
    place = Place(url=app.opened[0], accept_loss=True)
    async with Apart.started(place) as stage:
        return [read_report(answer.said or "") async for answer in stage.ask_all(map(asked, numbers))]


def asked(n: int) -> Asked:
    """What is asked of the process that plays."""
    return Asked(
        flow="sagas.order:Order", input=order(n), script=script(n), mocks="tests.dry.minds", text=False
    )


def path(report: Report) -> list[Move]:
    """The path that a report predicts."""
    return [(m.kind, m.name, m.state) for m in report.path]


async def scrubbed(app: Orchestrator) -> dict[str, Any]:
    """The live lane without ids, times, positions and hashes: per saga its story, per object its states."""
    store = app.store
    sagas = {}
    async for row in store.sagas_whole():
        history = await store.history(row.record.id)
        sagas[row.record.key] = (row.record.status, [(m.kind, m.name, m.state) for m in moves_of(history)])
    states = {state.object: (state.version, state.state) async for state in store.objects_whole()}
    return {"sagas": sagas, "objects": states, "counts": await store.counts()}
