"""A worker among faults: of the database, of a flow's code, of its own pace. None of them loses a saga."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, step
from sagacity.errors import ConfigError, StoreError, StoreUnavailable
from sagacity.model.record import Lock, Status
from sagacity.model.unit import Batch, HeadMoved, Written
from sagacity.testing import PATIENCE, ManualClock, running, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill


class Named(BaseModel):
    name: str


class Faulty(Saga, version=1, key="name"):
    """Its guard has a fault of its own."""

    Input = Named
    asked = State(initial=True)
    one = State(final=True)
    two = State(final=True)
    go = asked.to(one, cond="is_odd") | asked.to(two)

    def is_odd(self, asked: Named) -> bool:
        if asked.name == "bad":
            raise ZeroDivisionError("in the guard")
        return True

    @step(go)
    def move(self, asked: Named) -> None:
        return None


class Unlockable(Saga, version=1, key="name"):
    """Cannot tell what it locks."""

    Input = Named
    asked = State(initial=True)
    done = State(final=True)
    go = asked.to(done)

    def participants(self, asked: Named) -> Iterable[Lock]:
        raise LookupError(f"who is {asked.name}?")

    @step(go)
    def move(self, asked: Named) -> None:
        return None


async def test_a_fault_in_a_guard_makes_that_saga_stuck_and_not_the_worker(house: House) -> None:
    app = await house.open(Faulty)
    await house.work()
    bad = await app.start(Faulty, {"name": "bad"})
    good = await app.start(Faulty, {"name": "good"})
    assert (await good.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    outcome = await bad.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (
        Status.STUCK,
        "fault: ZeroDivisionError: in the guard",
    )


async def test_a_saga_that_cannot_tell_its_participants_goes_back_before_it_began(house: House) -> None:
    app = await house.open(Unlockable)
    await house.work()
    handle = await app.start(Unlockable, {"name": "kim"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (
        Status.ROLLED_BACK,
        "participants: LookupError: who is kim?",
    )


async def test_a_saga_claimed_before_its_last_commit_was_acknowledged_is_not_lost(house: House) -> None:
    app = await house.open(Ask)
    claims: list[UUID] = []
    claim, write = app.store.claim, app.store.write

    async def told(worker: UUID, names: Sequence[str], *, limit: int) -> Any:
        found = await claim(worker, names, limit=limit)
        claims.extend(saga.record.id for saga in found)
        return found

    async def late(batch: Batch) -> Written:
        written = await write(batch)
        if any(unit.release and unit.record.status is Status.WAITING for unit in batch.units) and not claims:
            await app.signal(batch.units[0].saga, "answer", {"count": 3})
            await until(lambda: claims)
        return written

    app.store.claim, app.store.write = told, late  # type: ignore[assignment]
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_saga_let_go_while_the_database_was_away_is_claimed_again(house: House) -> None:
    app = await house.open(Ask)
    objects, hand_back = app.store.objects, app.store.hand_back
    away = {"objects": 0, "hand_back": 0}

    async def lost(name: str) -> None:
        if away[name]:
            away[name] -= 1
            raise StoreUnavailable("gone for a moment")

    async def read(names: Sequence[str]) -> Any:
        await lost("objects")
        return await objects(names)

    async def give(worker: UUID, sagas: Sequence[UUID]) -> None:
        await lost("hand_back")
        await hand_back(worker, sagas)

    app.store.objects, app.store.hand_back = read, give  # type: ignore[assignment]
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    away |= {"objects": 1, "hand_back": 2}
    await handle.signal("answer", {"count": 3})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert away == {"objects": 0, "hand_back": 0}


@pytest.mark.parametrize("call", ["claim", "claim_starts", "mail"])
async def test_what_was_claimed_and_whose_answer_was_lost_is_not_left_lying(house: House, call: str) -> None:
    app = await house.open(Ask)
    lost: list[object] = []

    async def breaks(*args: Any, **named: Any) -> Any:
        found = await real(*args, **named)
        if not lost and (found or call == "mail"):
            lost.append(found)
            raise StoreUnavailable("the answer was lost")
        return found

    worker = await house.work(await house.another())
    real = getattr(worker.store, call)
    setattr(worker.store, call, breaks)
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    await handle.signal("answer", {"count": 3})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert lost


async def test_a_fault_that_cannot_be_stored_at_once_is_stored_later(house: House) -> None:
    app = await house.open(Faulty)
    worker = await house.work(await house.another())
    write, broken = worker.store.write, [1]

    async def full(batch: Batch) -> Written:
        if broken and any(unit.record.status is Status.STUCK for unit in batch.units):
            broken.clear()
            raise StoreError("the disk is full")
        return await write(batch)

    worker.store.write = full  # type: ignore[method-assign]
    handle = await app.start(Faulty, {"name": "bad"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.STUCK
    assert not broken


async def test_a_start_whose_worker_dies_goes_through_the_inbox(house: House) -> None:
    app = await house.open(Fill)
    write = app.store.write
    worker = house.worker()

    async def moved(batch: Batch) -> Written:
        raise HeadMoved("somebody fenced it")

    work = asyncio.create_task(worker.run())
    await worker.ready.wait()
    app.worker = worker
    app.store.write = moved  # type: ignore[method-assign]
    handle = await app.start(Fill, {"name": "a", "box": "b"})
    assert (await handle.show()).status is Status.PENDING
    with pytest.raises(StoreUnavailable, match="was taken over"):
        await work
    app.store.write = write  # type: ignore[method-assign]
    app.worker = await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_worker_whose_idea_of_the_time_lags_does_not_claim_what_is_due_again_and_again(
    house: House,
) -> None:
    clock = ManualClock()
    app = await house.open(Ask, clock=clock)
    worker = await house.work(lease=timedelta(days=30))
    handle = await app.start(Ask, {"name": "a"})
    worker.poke()
    await settled(app, handle.id)
    claims: list[object] = []
    claim = app.store.claim

    async def told(*args: Any, **named: Any) -> Any:
        found = await claim(*args, **named)
        claims.extend(found)
        return found

    app.store.claim = told  # type: ignore[method-assign]
    assert worker.time._read is not None
    worker.time._read -= timedelta(seconds=5)
    clock.advance(timedelta(days=3, seconds=1))
    await until(lambda: over(house, handle.id))
    assert len(claims) == 1


async def test_a_worker_that_was_stopped_for_longer_than_its_lease_does_not_take_itself_for_dead(
    house: House,
) -> None:
    clock = ManualClock()
    app = await house.open(Fill, clock=clock)
    app.worker = worker = await house.work(lease=timedelta(seconds=10))
    await until(lambda: len(clock.sleepers) >= 3)
    for _ in range(3):
        clock.advance(timedelta(hours=1))
        handle = await app.start(Fill, {"name": f"a{clock.monotonic()}", "box": "b"})
        assert await until(lambda: over(house, handle.id))  # noqa: B023
        await until(lambda: len(clock.sleepers) >= 3)
    [info] = await app.store.workers()
    assert info.id == worker.id


async def over(house: House, saga: UUID) -> bool:
    return (await house.app.show(saga)).status.final


async def test_a_definition_that_changed_without_a_new_version_is_refused(house: House) -> None:
    app = await house.open(Fill)
    await house.work()
    handle = await app.start(Fill, {"name": "a", "box": "b"})
    await handle.outcome(timeout=PATIENCE)
    flow = app.project.flows["Fill"]
    from dataclasses import replace

    other = house.worker()
    other._scopes["Fill"] = replace(other._scopes["Fill"], flow=replace(flow, hash="another"))
    with pytest.raises(ConfigError, match="Fill@1 has changed since sagas were started with it"):
        await other.run()


async def test_a_saga_of_a_version_that_the_worker_lacks_is_left_to_one_that_has_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    app = await house.open(Ask)
    async with running(house.worker()):
        handle = await app.start(Ask, {"name": "a"})
        before = await settled(app, handle.id)
    newer = house.worker(await house.another(), sweep=timedelta(milliseconds=1))
    newer._scopes["Ask"] = replace(
        newer._scopes["Ask"], flow=replace(app.project.flows["Ask"], version=2, hash="second")
    )
    claims: list[object] = []
    claim = newer.store.claim

    async def told(*args: Any, **named: Any) -> Any:
        found = await claim(*args, **named)
        claims.extend(found)
        return found

    def unserved() -> list[Any]:
        return [r.fields for r in caplog.records if r.message == "version.unserved"]  # type: ignore[attr-defined]

    newer.store.claim = told  # type: ignore[method-assign]
    async with running(newer):
        await handle.signal("answer", {"count": 1})
        await until(unserved)
        later = await app.start(Ask, {"name": "b"})
        view = await handle.show()
        assert view.why == f"{before.why}; no worker runs Ask@1 (only @2): start one of that version"
        assert (view.status, view.owner, claims) == (Status.WAITING, None, [])
        await house.work()
        await until(lambda: over(house, handle.id))
        await settled(app, later.id)
    assert (await handle.show()).status is Status.COMMITTED
    assert unserved() == [{"definition": "Ask", "version": 1, "here": 2}]


async def test_stopping_claims_nothing_new_and_lets_what_is_in_flight_end(house: House) -> None:
    app = await house.open(Errand)
    gate = house.town.gate("depot.lend")
    worker = house.worker()
    async with running(worker):
        flying = await app.start(Errand, {"name": "a"})
        await until(lambda: house.town.count("depot.lend"))
        stopping = asyncio.create_task(worker.stop())
        await until(lambda: worker.stopping)
        later = await app.start(Errand, {"name": "b"})
        gate.set()
        await stopping
    assert worker.active == 0
    assert (await later.show()).status is Status.PENDING
    view = await flying.show()
    assert (view.status, view.owner, set(view.results)) == (Status.RUNNING, None, {"lend_it"})
    assert house.town.story == ["lend(a)"]
    await house.work()
    for handle in (flying, later):
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.count("depot.lend") == 2, "what was done before the stop is not done again"


async def test_what_does_not_end_in_time_is_handed_back_and_driven_on_under_its_key(house: House) -> None:
    app = await house.open(Errand)
    house.town.gate("depot.lend")
    async with running(house.worker(), grace=timedelta(milliseconds=50)):
        handle = await app.start(Errand, {"name": "a"})
        await until(lambda: house.town.count("depot.lend"))
    assert (await handle.show()).owner is None
    house.town.gates.clear()
    await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.count("depot.lend") == 2
    assert len(set(house.town.keys("depot.lend"))) == 1
    failed = [line for line in await handle.history() if line.kind == "failed"]
    assert "its worker was lost before the answer was recorded" in (failed[0].data or "")


async def test_a_worker_in_distress_hands_everything_back_and_says_why(house: House) -> None:
    app = await house.open(Errand)
    house.town.gate("depot.lend")
    worker = house.worker(lease=timedelta(seconds=0.2))
    work = asyncio.create_task(worker.run())
    handle = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("depot.lend"))
    await app.store.unregister(worker.id)
    with pytest.raises(StoreError, match="taken for dead"):
        await work
    assert worker.active == 0
    house.town.gates.clear()
    await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert len(set(house.town.keys("depot.lend"))) == 1


async def test_a_worker_beats_on_while_another_question_is_not_answered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a silent line the heart finds out first, and gives up all connections: it waits for nobody else."""
    app = await house.open(Errand)
    worker = house.worker(lease=timedelta(seconds=0.3))
    beats: list[UUID] = []
    beat = app.store.heartbeat

    async def heartbeat(id: UUID, lease: timedelta) -> bool:
        beats.append(id)
        return await beat(id, lease)

    async def silent(id: UUID) -> list[UUID]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(app.store, "heartbeat", heartbeat)
    monkeypatch.setattr(app.store, "held", silent)
    async with running(worker):
        await until(lambda: len(beats) > 8)


async def test_a_worker_whose_farewell_is_swallowed_ends_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent line brings no error, and whoever leaves beats no more: nobody else would lose patience."""
    monkeypatch.setattr("sagacity.runtime.ending.AT_THE_END", 0.05)
    app = await house.open(Errand)
    worker = house.worker()
    silent = asyncio.Event()

    async def unregister(id: UUID) -> None:
        silent.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(app.store, "unregister", unregister)
    work = asyncio.create_task(worker.run())
    await worker.ready.wait()
    await worker.stop()
    async with asyncio.timeout(PATIENCE.total_seconds()):
        await work
    assert silent.is_set()


async def test_a_fault_is_told_as_an_event_with_its_trace(
    house: House, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    app = await house.open(Faulty)
    await house.work()
    bad = await app.start(Faulty, {"name": "bad"})
    assert (await bad.outcome(timeout=PATIENCE)).status is Status.STUCK
    [record] = [record for record in caplog.records if record.message == "saga.fault"]
    fields = record.fields  # type: ignore[attr-defined]
    assert fields["saga"] == str(bad.id)
    assert fields["trace"].rstrip().endswith("ZeroDivisionError: in the guard")
    assert capsys.readouterr().out == "", "standard output belongs to the host"


async def test_a_full_worker_takes_what_is_left_over_as_soon_as_there_is_room(house: House) -> None:
    await house.open(Errand)
    handles = await house.app.start_many(Errand, [(None, {"name": f"n{n}"}) for n in range(12)])
    await house.work(concurrency=2, poll=timedelta(hours=1))
    for handle in handles:
        assert not isinstance(handle, Exception)
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
