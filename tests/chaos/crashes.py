"""Reference flows in the simulation, with a worker that dies at one chosen call, and at another in recovery.

Nobody picks the calls by hand: one play without a crash tells which are reached, and each of them is
then a point at which the process dies, right before and right after.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sagacity import Refused
from sagacity.definition.project import Project
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.settings import WorkerSettings
from sagacity.store.memory import MemoryDatabase
from sagacity.testing.chance import decided
from sagacity.testing.loop import Process
from sagacity.testing.simulation import Simulation
from sagas import offboarding, order, transfer
from sagas.outside import Carrier, Clusters
from tests.chaos.judged import JudgedStore

CAP = 40
"""Hits of one call that are looked at; what comes later is the same again."""

HOUR = timedelta(hours=1)
SETTINGS = WorkerSettings(
    lease=timedelta(seconds=15),
    poll=timedelta(seconds=8),
    sweep=timedelta(seconds=8),
    notices=True,
    takeovers=100,
)
Story = Callable[[Simulation, Orchestrator], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way through a reference flow.

    Attributes:
        sagas: the flows that take part.
        story: what people do.
        ends: key → how it ends, whatever dies on the way.
        standing: how many effects stand outside at the end.
        instead: external → what answers in place of its mock.
    """

    name: str
    sagas: tuple[Any, ...]
    story: Story
    ends: Mapping[str, Status]
    standing: int
    instead: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What became of one play: the calls that were reached, in order, and what should not be."""

    reached: list[tuple[str, int]] = field(default_factory=list)
    died: int = 0
    wrong: list[str] = field(default_factory=list)


def played(
    scenario: Scenario,
    database: MemoryDatabase,
    *,
    at: tuple[str, int] | None = None,
    then: int | None = None,
) -> Outcome:
    """Play a scenario with one worker.

    Args:
        scenario: what happens.
        database: used again from play to play.
        at: the worker dies at the n-th hit of this call.
        then: and once more, at so many calls after the first death.
    """
    outcome = Outcome()
    since = 0

    def reached(process: Process, point: str, hit: int) -> timedelta | None:
        nonlocal since
        outcome.reached.append((point, hit))
        if outcome.died:
            since += 1
        if (outcome.died == 0 and (point, hit) == at) or (outcome.died == 1 and since == then):
            outcome.died += 1
            return timedelta(0)
        return None

    project = Project.of(*scenario.sagas)
    sim = Simulation(
        project,
        seed=scenario.name,
        settings=SETTINGS,
        instead=scenario.instead,
        reached=reached,
        database=database,
    )
    with sim:
        _make_tables(database)
        store = JudgedStore(database, tenant="main", clock=sim.clock, flows=project.flows)
        sim.loop.run_until_complete(store.open())
        sim.worker("one", inner=store)
        sim.run(_story(sim, scenario, database))
        outcome.wrong = sim.loop.run_until_complete(_wrong(sim, store, scenario))
    return outcome


def _make_tables(database: MemoryDatabase) -> None:
    with database.connection.begin():
        offboarding.metadata.drop_all(database.connection)
        offboarding.metadata.create_all(database.connection)
    raw = database.raw
    raw.execute("INSERT INTO accounts (id) VALUES ('acme')")
    for table, names in (("clusters", ("c1", "c2")), ("subscriptions", ("s1",)), ("resources", ("r1", "r2"))):
        rows = [(name, "acme") for name in names]
        raw.executemany(f"INSERT INTO {table} (id, account_id) VALUES (?, ?)", rows)


async def _story(sim: Simulation, scenario: Scenario, database: MemoryDatabase) -> None:
    await scenario.story(sim, sim.client(network=False))
    while sim.seconds < HOUR.total_seconds():
        await sim.ended(within=HOUR)
        # A rollback of what is over may still be on its way.
        asked = database.raw.execute("SELECT 1 FROM inbox WHERE NOT done AND kind IN ('start', 'rollback')")
        if asked.fetchone() is None:
            return
        await sim.sleep(timedelta(seconds=5))


async def _wrong(sim: Simulation, store: JudgedStore, scenario: Scenario) -> list[str]:
    ledger = sim.services.ledger
    wrong = [str(broken) for broken in store.found]
    wrong += [str(broken) for broken in await store.judge_whole(ledger.entries)]
    wrong += [f"a process ended with {error!r}" for error in sim.broken]
    wrong += [f"a task was left with {fault}" for fault in sim.loop.faults]
    ends = {row.record.key: row.record.status async for row in store.sagas_whole()}
    for key, status in scenario.ends.items():
        if ends.get(key) is not status:
            wrong.append(f"I38: {key} is {ends.get(key)}, and {status.value} without a crash")
    if len(ledger.standing) != scenario.standing:
        wrong.append(f"I20: {sorted(ledger.standing)} stand, {scenario.standing} should")
    wrong += [f"I16: a second effect under {key}" for key in ledger.doubled]
    wrong += [f"I24: {lock.object} is still locked" for lock in await store.locks()]
    return wrong


def second_deaths(scenario: Scenario, at: tuple[str, int], length: int, number: int) -> list[int]:
    """At which calls after the first death the worker dies again: a sample that is always the same."""
    wanted = {1 + int(decided(scenario.name, *at, n) * max(1, length)) for n in range(number)}
    return sorted(wanted)


def points(outcome: Outcome) -> list[tuple[str, int]]:
    """The calls of a play at which the worker is to die, each once, up to `CAP` hits."""
    seen: Counter[str] = Counter()
    found: list[tuple[str, int]] = []
    for point, hit in outcome.reached:
        seen[point] += 1
        if seen[point] <= CAP:
            found.append((point, hit))
    return found


# --- what is played -----------------------------------------------------------------------------------


async def _order(app: Orchestrator, *signals: str) -> None:
    handle = await app.start(order.Order, {"order_id": "A", "customer_id": "C", "amount": "19.90"})
    for signal in signals:
        await app.signal(handle.id, signal)


async def _delivered(sim: Simulation, app: Orchestrator) -> None:
    del sim
    await _order(app, "payments.approved", "carrier.handed_over", "carrier.delivered")


async def _called_off(sim: Simulation, app: Orchestrator) -> None:
    await _order(app, "payments.approved")
    await sim.sleep(timedelta(seconds=5))
    await app.signal("A", "carrier.called_off")


async def _transfers(sim: Simulation, app: Orchestrator) -> None:
    """Two at once on one account, one that needs an approval, and one that is taken back after its commit."""
    for account in ("a", "b"):
        await app.start(transfer.OpenAccount, {"account_id": account, "balance": "20000"})
    await sim.ended(within=HOUR)
    there = {"source": "a", "target": "b"}
    await app.start(transfer.Transfer, {"transfer_id": "small", "amount": "5", **there})
    await app.start(transfer.Transfer, {"transfer_id": "large", "amount": "15000", **there})
    await sim.sleep(timedelta(seconds=5))
    await app.signal("large", "limit", {"approved": True})
    await sim.ended(within=HOUR)
    await app.rollback("small", reason="a mistake")


async def _overdraft(sim: Simulation, app: Orchestrator) -> None:
    await app.start(transfer.OpenAccount, {"account_id": "a", "balance": "10"})
    await sim.ended(within=HOUR)
    asked = {"transfer_id": "t", "source": "a", "target": "b", "amount": "11"}
    await app.start(transfer.Transfer, asked)


async def _offboard(sim: Simulation, app: Orchestrator) -> None:
    del sim
    parts = {"clusters": ["c1", "c2"], "subscriptions": ["s1"], "resources": ["r1", "r2"]}
    asked = {"account_id": "acme", **parts}
    await app.start(offboarding.Offboarding, asked)


class NoParcels(Carrier.Mock):
    """Fetches nothing any more."""

    async def book(self, order_id: str) -> Any:
        """Refuse."""
        raise Refused("no parcels today")


class OneCluster(Clusters.Mock):
    """Will not take the second cluster down."""

    async def deprovision(self, cluster_id: str) -> Any:
        """Refuse the second."""
        if cluster_id == "c2":
            raise Refused("c2 is in use")
        return await super().deprovision(cluster_id)


_DONE, _BACK = Status.COMMITTED, Status.ROLLED_BACK
SCENARIOS = (
    Scenario(name="order, delivered", sagas=(order.Order,), story=_delivered, ends={"A": _DONE}, standing=3),
    Scenario(
        name="order, called off", sagas=(order.Order,), story=_called_off, ends={"A": _BACK}, standing=0
    ),
    Scenario(
        name="order, refused by the carrier",
        sagas=(order.Order,),
        story=_delivered,
        ends={"A": _BACK},
        standing=0,
        instead={"carrier": NoParcels()},
    ),
    Scenario(
        name="transfers, one taken back",
        sagas=(transfer.OpenAccount, transfer.Transfer),
        story=_transfers,
        ends={"small": _DONE, "large": _DONE, "rollback:small": _DONE},
        standing=1,
    ),
    Scenario(
        name="transfer, overdrawn",
        sagas=(transfer.OpenAccount, transfer.Transfer),
        story=_overdraft,
        ends={"a": _DONE, "t": _BACK},
        standing=0,
    ),
    Scenario(
        name="offboarding, done",
        sagas=(offboarding.Offboarding,),
        story=_offboard,
        ends={"acme": _DONE},
        standing=2,
    ),
    Scenario(
        name="offboarding, one cluster refused",
        sagas=(offboarding.Offboarding,),
        story=_offboard,
        ends={"acme": _BACK},
        standing=0,
        instead={"clusters": OneCluster()},
    ),
)

__all__ = ["CAP", "SCENARIOS", "Outcome", "Scenario", "played", "points", "second_deaths"]
