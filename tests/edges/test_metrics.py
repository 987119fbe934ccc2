"""Metrics in Prometheus' own format: a store's and a worker's, exact, and cheap to ask for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sagacity.cli.watched import watched
from sagacity.errors import ConfigError, SchemaBehind, StoreUnavailable
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing import ManualClock
from sagacity.web.api import create_app
from sagacity.web.port import place
from sagacity.web.watched import Counted
from tests.contract.builders import start_message
from tests.edges.shop import Shop
from tests.edges.test_web import opened

Told = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Told:
    """What Prometheus' own parser makes of it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def label(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


@pytest.fixture
async def sagas(shop: Shop) -> AsyncIterator[Orchestrator]:
    async with opened(shop) as made:
        yield made


async def carry_out(sagas: Orchestrator, worker: Worker, count: int = 3) -> None:
    """Run so many sales to their ends."""
    running = asyncio.create_task(worker.run())
    await worker.ready.wait()
    for n in range(count):
        handle = await sagas.start("Sale", {"sale_id": f"s{n}", "amount": "9.90"})
        await handle.outcome(timeout=timedelta(seconds=20))
    await worker.stop()
    await running


def worker_of(sagas: Orchestrator, **more: Any) -> Worker:
    return Worker(sagas.store, sagas.project.flows, sagas.project.participants, **more)


async def test_the_server_tells_what_the_store_holds(sagas: Orchestrator) -> None:
    await carry_out(sagas, worker_of(sagas))
    await sagas.start("Sale", {"sale_id": "later", "amount": "9.90"})
    async with client(sagas) as web:
        answer = await web.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    told = read(answer.text)
    assert told["sagacity_sagas", label(definition="Sale", status="committed")] == 3
    assert told["sagacity_sagas", label(definition="Sale", status="pending")] == 1
    assert told["sagacity_stuck_sagas", ()] == 0
    assert told["sagacity_lock_waits", ()] == 0
    assert told["sagacity_workers_alive", ()] == 0
    assert told["sagacity_outbox_unsent", ()] == 0
    assert told["sagacity_oldest_runnable_age_seconds", ()] >= 0
    assert "exact" in answer.text
    assert not any("s1" in str(key) for key in told), "no label is a saga's key"


def client(sagas: Orchestrator) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=create_app(sagas))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def test_a_dry_run_is_in_no_metric(sagas: Orchestrator) -> None:
    dry = sagas.store.beside("dry")
    await dry.put([start_message("k", definition="Sale")])
    assert (await dry.gauges()).of(Status.PENDING) == 1
    async with client(sagas) as web:
        assert not [key for key in read((await web.get("/metrics")).text) if key[0] == "sagacity_sagas"]


async def test_a_count_is_kept_for_a_while_so_that_asking_often_costs_nothing(sagas: Orchestrator) -> None:
    clock = ManualClock()
    asked = 0
    counting = sagas.store.gauges

    async def gauges() -> Any:
        nonlocal asked
        asked += 1
        await clock.sleep(0)
        return await counting()

    sagas.store.gauges = gauges  # type: ignore[method-assign]
    counted = Counted(sagas, clock)
    await asyncio.gather(*(counted.text() for _ in range(20)))
    assert asked == 1
    clock.advance(timedelta(seconds=4))
    assert read((await counted.text()).decode())["sagacity_count_age_seconds", ()] == 4
    assert asked == 1
    clock.advance(timedelta(seconds=1))
    await counted.text()
    assert asked == 2


async def test_a_slow_count_is_kept_twenty_times_as_long_as_it_took(sagas: Orchestrator) -> None:
    clock = ManualClock()
    asked = 0
    counting = sagas.store.gauges

    async def gauges() -> Any:
        nonlocal asked
        asked += 1
        clock.advance(timedelta(seconds=2))
        return await counting()

    sagas.store.gauges = gauges  # type: ignore[method-assign]
    counted = Counted(sagas, clock)
    await counted.text()
    clock.advance(timedelta(seconds=39))
    assert read((await counted.text()).decode())["sagacity_count_seconds", ()] == 2
    assert asked == 1
    clock.advance(timedelta(seconds=1))
    await counted.text()
    assert asked == 2


async def test_where_the_store_is_away_no_old_count_is_shown(
    sagas: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Any:
        raise StoreUnavailable("the database is away")

    async with client(sagas) as web:
        monkeypatch.setattr(sagas.store, "gauges", away)
        assert (await web.get("/metrics")).status_code == 503


async def test_ready_asks_the_store_and_its_schema_and_health_asks_nobody(
    sagas: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def behind() -> None:
        raise SchemaBehind("the schema is at 0001, this version needs 0002: run `sagacity migrate`")

    async with client(sagas) as web:
        assert (await web.get("/ready")).status_code == 200
        monkeypatch.setattr(sagas.store, "check", behind)
        answer = await web.get("/ready")
        assert answer.status_code >= 500
        assert "sagacity migrate" in answer.json()["detail"]
        assert (await web.get("/health")).status_code == 200


async def test_a_worker_tells_of_its_own_work_on_a_port_of_its_own(sagas: Orchestrator) -> None:
    with watched("0", lambda meter: worker_of(sagas, meter=meter)) as (worker, url):
        assert url.startswith("http://127.0.0.1:")
        async with httpx2.AsyncClient(base_url=url) as web:
            assert (await web.get("/ready")).status_code == 503, "it has not begun"
            assert (await web.get("/health")).json() == {"ok": True}
            running = asyncio.create_task(worker.run())
            await worker.ready.wait()
            assert (await web.get("/ready")).json() == {"ok": True}
            handle = await sagas.start("Sale", {"sale_id": "a", "amount": "9.90"})
            await handle.outcome(timeout=timedelta(seconds=20))
            told = read((await web.get("/metrics")).text)
            assert (await web.get("/nowhere")).status_code == 404
            head = await web.head("/metrics")
            assert (head.status_code, head.content) == (200, b"")
            await worker.stop()
            await running
    assert told["sagacity_sagas_started_total", label(definition="Sale")] == 1
    assert told["sagacity_sagas_ended_total", label(definition="Sale", status="committed")] == 1
    assert told["sagacity_lease_holds", ()] == 1
    batches = told["sagacity_batch_units_count", ()]
    assert batches >= 1
    assert told["sagacity_batch_units_sum", ()] >= batches
    assert told["sagacity_batch_seconds_count", ()] == batches
    attempts = {key: value for key, value in told.items() if key[0] == "sagacity_attempts_total"}
    assert (
        sum(attempts.values())
        == told["sagacity_attempt_seconds_count", label(definition="Sale", kind="step")]
    )
    assert all(dict(labels)["outcome"] == "completed" for _, labels in attempts)


async def test_how_long_a_saga_queued_for_its_locks_is_measured(sagas: Orchestrator) -> None:
    with watched("0", lambda meter: worker_of(sagas, meter=meter)) as (worker, url):
        running = asyncio.create_task(worker.run())
        await worker.ready.wait()
        handles = [await sagas.start("Sale", {"sale_id": f"q{n}", "amount": "9.90"}) for n in range(2)]
        for handle in handles:
            await handle.outcome(timeout=timedelta(seconds=20))
        async with httpx2.AsyncClient(base_url=url) as web:
            text = (await web.get("/metrics")).text
        await worker.stop()
        await running
    assert "# TYPE sagacity_lock_wait_seconds histogram" in text


@pytest.mark.parametrize("said", ["", "nine", "70000", "127.0.0.1:", "-1"])
def test_what_is_no_port_is_refused_with_an_example(said: str) -> None:
    with pytest.raises(ConfigError, match="write 9100"):
        place(said)


def test_a_port_alone_is_this_machine_only() -> None:
    assert place("9100") == ("127.0.0.1", 9100)
    assert place("0.0.0.0:9100") == ("0.0.0.0", 9100)
    assert place("[::1]:9100") == ("::1", 9100)
