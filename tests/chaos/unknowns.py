"""Sagas whose calls get no answer in one case of five: half of those were done, and half were not."""

from datetime import timedelta
from functools import partial

from sagacity.definition.project import Project
from sagacity.model.record import Status
from sagacity.runtime.settings import WorkerSettings
from sagacity.store.memory import MemoryDatabase
from sagacity.testing.faults import Faults
from sagacity.testing.simulation import Simulation
from tests.chaos.family import Trip
from tests.chaos.judged import JudgedStore

ODDS = 0.1
SETTINGS = WorkerSettings(
    lease=timedelta(minutes=2), poll=timedelta(seconds=20), sweep=timedelta(seconds=30), takeovers=100
)
_CALLS = ("store.write", "chaos_mint.strike", "chaos_mint.melt", "chaos_rider.send", "chaos_rider.call_off")
RATES = {f"{call}:{kind}": ODDS for call in _CALLS for kind in ("unanswered", "lost")}


def unanswered(database: MemoryDatabase, *, sagas: int, seed: int) -> tuple[list[str], dict[str, int]]:
    """Play `sagas` trips; returns what should not be, and figures."""
    faults = Faults(seed=seed, armed=1.0, odds=0.0, rates=RATES)
    project = Project.of(Trip)
    sim = Simulation(project, seed=seed, faults=faults, settings=SETTINGS, database=database)
    with sim:
        store = JudgedStore(database, tenant="main", clock=sim.clock, flows=project.flows)
        sim.loop.run_until_complete(store.open())
        for name in ("one", "two"):
            sim.worker(name, inner=store)
        sim.run(_story(sim, sagas))
        ledger = sim.services.ledger
        found = sim.loop.run_until_complete(store.judge_whole(ledger.entries))
        wrong = [str(broken) for broken in [*store.found, *found]]
        wrong += [f"I16: a second effect under {key}" for key in ledger.doubled]
        records = store.judge.records.values()
        wrong += [
            f"I12: {record.key} is {record.status.value}" for record in records if not record.status.final
        ]
        committed = sum(record.status is Status.COMMITTED for record in records)
        if len(ledger.standing) != 3 * committed:
            wrong.append(
                f"I20: {len(ledger.standing)} effects stand for {committed} committed sagas of three each"
            )
        if len(records) != sagas:
            wrong.append(f"I7: {len(records)} of {sagas} sagas are there")
        figures = {"sagas": len(records), "committed": committed, "repeats": ledger.repeats}
        figures |= {"unknown writes": _count(faults, "store.write"), "unknown calls": _count(faults, "chaos")}
        return wrong, figures


def _count(faults: Faults, start: str) -> int:
    return sum(fault.point.startswith(start) for fault in faults.fired)


async def _story(sim: Simulation, sagas: int) -> None:
    app = sim.client(network=False)
    for n in range(sagas):
        await app.start(Trip, {"name": f"s{n}", "pot": f"pot-{n}", "other": "none", "amount": 1})
    while not await sim.ended(within=timedelta(minutes=5)):
        async for row in sim.store.sagas_whole():
            if row.record.status is Status.STUCK:
                await sim.insist(partial(app.retry, row.record.id, reason="again"))
        assert sim.seconds < 24 * 3600, "not everything has ended"
