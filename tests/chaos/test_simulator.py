"""The simulator itself: one seed is one history, the dead are silent, and the frozen notice nothing."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.errors import StoreUnavailable
from sagacity.model.record import Status
from sagacity.runtime.settings import WorkerSettings
from sagacity.store.memory import MemoryDatabase
from sagacity.testing.chance import Chance
from sagacity.testing.faults import Faults
from sagacity.testing.loop import Killed, Process, SimulatedLoop, Stalled
from sagacity.testing.simulation import Simulation
from sagas.order import Order

HOUR = timedelta(hours=1)
SETTINGS = WorkerSettings(poll=timedelta(seconds=5), sweep=timedelta(seconds=5))


@pytest.fixture(scope="module")
def database() -> Iterator[MemoryDatabase]:
    database = MemoryDatabase()
    yield database
    database.close()


def orders_in(sim: Simulation, number: int = 4) -> list[Status]:
    """Sell `number` orders, each told everything in advance; returns how they ended."""

    async def story() -> list[Status]:
        app = sim.client(network=False)
        handles = []
        for n in range(number):
            order = {"order_id": f"A-{n}", "customer_id": "C", "amount": "19.90"}
            handles.append(await app.start(Order, order))
            for signal in ("payments.approved", "carrier.handed_over", "carrier.delivered"):
                await app.signal(handles[-1].id, signal)
        assert await sim.ended(within=HOUR)
        assert (await verify(sim.store)).findings == ()
        return [(await handle.show()).status for handle in handles]

    return sim.run(story())


def simulated(database: MemoryDatabase, seed: int, **options: object) -> Simulation:
    options = {"settings": SETTINGS} | options
    sim = Simulation(Project.of(Order), seed=seed, database=database, **options)  # type: ignore[arg-type]
    sim.worker("one")
    sim.worker("two")
    return sim


def hash_of(database: MemoryDatabase, seed: int) -> str:
    faults = Faults(seed=seed, calm=600.0)
    with simulated(database, seed, faults=faults) as sim:
        orders_in(sim)
        return f"{sim.log_hash()} {sim.loop.turns} {len(faults.fired)}"


# --- one seed is one history ------------------------------------------------------------------------


def test_a_flow_runs_in_the_simulation_as_it_does_in_life(database: MemoryDatabase) -> None:
    with simulated(database, 7) as sim:
        assert orders_in(sim) == [Status.COMMITTED] * 4
        assert len(sim.services.ledger.standing) == 12
        assert sim.broken == []


def test_the_same_seed_gives_the_same_history_and_another_seed_another(database: MemoryDatabase) -> None:
    once, again, other = (hash_of(database, seed) for seed in (11, 11, 12))
    assert once == again
    assert once.split()[0] != other.split()[0]


def test_the_history_is_the_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "from sagacity.store.memory import MemoryDatabase\n"
        "from tests.chaos.test_simulator import hash_of\n"
        "print(hash_of(MemoryDatabase(), 11))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4242")
    }
    assert len(said) == 1


# --- processes ----------------------------------------------------------------------------------------


def test_a_killed_process_runs_no_cleanup() -> None:
    loop = SimulatedLoop(Chance(1))
    process = Process(loop, "doomed")
    said: list[str] = []

    async def doomed() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            said.append("cleaned up")

    async def story() -> None:
        process.begin(doomed(), name="doomed")
        await asyncio.sleep(5)
        process.kill()
        await asyncio.sleep(60)

    loop.run_until_complete(story())
    assert said == []
    with pytest.raises(Killed):
        process.check()
    loop.bury()
    loop.close()


def test_a_frozen_process_goes_on_where_it_was_and_time_has_passed() -> None:
    loop = SimulatedLoop(Chance(1))
    process = Process(loop, "frozen")
    seen: list[float] = []

    async def ticking() -> None:
        for _ in range(4):
            seen.append(loop.time())
            await asyncio.sleep(1)

    async def story() -> None:
        task = process.begin(ticking(), name="ticking")
        await asyncio.sleep(1.5)
        process.freeze()
        await asyncio.sleep(100)
        process.thaw()
        await task

    loop.run_until_complete(story())
    assert seen == [0.0, 1.0, 101.5, 102.5]
    loop.close()


def test_a_simulation_that_waits_for_what_never_comes_says_so() -> None:
    loop = SimulatedLoop(Chance(1))

    async def story() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        loop.run_until_complete(story())
    loop.bury()
    loop.close()


def test_a_plain_function_runs_in_the_loop_and_may_not_wait_for_it() -> None:
    loop = SimulatedLoop(Chance(1))

    async def nothing() -> None:
        return None

    def waits() -> None:
        work = nothing()
        try:
            asyncio.run_coroutine_threadsafe(work, loop).result()
        finally:
            work.close()

    assert loop.run_until_complete(loop.run_in_executor(None, lambda: 7)) == 7
    with pytest.raises(RuntimeError, match="one thread only"):
        loop.run_until_complete(loop.run_in_executor(None, waits))
    loop.close()


def test_a_worker_that_dies_at_any_call_is_made_anew_and_its_sagas_end(database: MemoryDatabase) -> None:
    def reached(process: Process, point: str, hit: int) -> timedelta | None:
        return timedelta(0) if point == "store.write.after" and hit in (3, 9) else None

    with simulated(database, 7, reached=reached) as sim:
        assert orders_in(sim) == [Status.COMMITTED] * 4
        assert sum(machine.lives for machine in sim.machines.values()) == 4
        assert sim.services.ledger.doubled == []


# --- faults -------------------------------------------------------------------------------------------


def test_leaving_a_fault_out_does_not_move_the_others() -> None:
    def fired(*off: str) -> list[str]:
        faults = Faults(seed=5, armed=1.0, off=off)
        for _ in range(40):
            faults.at("store.write", ("refused", "late"), 0.0)
            faults.at("store.claim", ("refused",), 0.0)
        return [str(fault) for fault in faults.fired]

    whole = fired()
    assert any(name.startswith("store.write:refused") for name in whole)
    claims = [name for name in whole if name.startswith("store.claim")]
    assert [name for name in fired("store.write:refused") if name.startswith("store.claim")] == claims
    assert claims[0] not in fired(claims[0])


def test_an_unanswered_call_was_done_and_a_lost_one_was_not(database: MemoryDatabase) -> None:
    for kind, stored in (("unanswered", 1), ("lost", 0), ("refused", 0)):
        faults = Faults(seed=1, armed=1.0, odds=1.0)
        faults.off = {
            f"store.put:{other}"
            for other in ("refused", "lost", "late", "unanswered", "slow")
            if other != kind
        }
        with Simulation(Project.of(Order), seed=1, database=database, faults=faults) as sim:

            async def story(sim: Simulation = sim) -> int:
                with pytest.raises(StoreUnavailable):
                    await sim.client().start(Order, {"order_id": "A", "customer_id": "C", "amount": "1"})
                await sim.sleep(HOUR)
                return sum((await sim.store.counts()).values())

            assert sim.run(story()) == stored, kind
