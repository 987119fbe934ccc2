"""Many sagas in one durable write: whoever fails, fails alone, and no answer is guessed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from sagacity.decide.begin import begin, start_message
from sagacity.decide.draft import Draft, Scope
from sagacity.errors import HistoryLost, StoreError, StoreUnavailable
from sagacity.ids import new_id
from sagacity.model import lines as L
from sagacity.model.canonical import canonical
from sagacity.model.record import Status
from sagacity.model.unit import Batch, ChainHead, OutcomeUnknown, Unit, WorkerInfo, Written
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.committer import Ack, Committer, Lost
from sagacity.testing import NOON, PATIENCE, until
from tests.runtime.conftest import House
from tests.runtime.flows import Errand, Fill
from tests.runtime.test_own_tables import BUY, Buy, coins, engine

__all__ = ["engine"]


async def test_sagas_that_are_ready_together_are_written_together(house: House) -> None:
    app = await house.open(Fill)
    await house.work()
    handles = await app.start_many(Fill, [(None, {"name": f"n{n}", "box": f"b{n}"}) for n in range(50)])
    for handle in handles:
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED  # type: ignore[union-attr]
    assert max(len(batch.units) for batch in house.batches) > 10
    assert sum(len(batch.units) for batch in house.batches) == 100


async def test_an_error_that_names_nobody_fails_only_who_causes_it(house: House) -> None:
    app = await house.open(Fill)
    write = app.store.write

    async def picky(batch: Batch) -> Written:
        if any(unit.record.key == "n7" and unit.record.status is Status.COMMITTED for unit in batch.units):
            raise StoreError("something about one of these")
        return await write(batch)

    app.store.write = picky  # type: ignore[method-assign]
    await house.work()
    handles = await app.start_many(Fill, [(None, {"name": f"n{n}", "box": f"b{n}"}) for n in range(20)])
    for handle in handles:
        outcome = await handle.outcome(timeout=PATIENCE)  # type: ignore[union-attr]
        bad = handle.key == "n7"  # type: ignore[union-attr]
        assert outcome.status is (Status.STUCK if bad else Status.COMMITTED)
        assert not bad or outcome.reason == "fault: StoreError: something about one of these"
    app.store.write = write  # type: ignore[method-assign]
    await app.retry("n7")
    await until(lambda: over(house, "n7"))


@dataclass(slots=True)
class Desk:
    """A committer at work on a chain of its own, and units of new sagas for it."""

    scope: Scope
    committer: Committer
    task: "asyncio.Task[None]"
    units: list[Unit]


@asynccontextmanager
async def desk_of(app: Orchestrator) -> AsyncIterator[Desk]:
    flow = app.project.flows["Fill"]
    scope = Scope(flow=flow, participants={}, tenant=app.store.tenant, lane=app.store.lane)
    worker = WorkerInfo(
        id=new_id(), name="w", definitions={}, started_at=NOON, lease_until=NOON + timedelta(days=1)
    )
    head = await app.store.register(worker)
    committer = Committer(
        app.store, worker=worker.id, head=head, clock=app._clock, batch=10, freed=lambda sagas: None
    )
    task = asyncio.create_task(committer.run())
    messages = [
        start_message(flow, saga=new_id(), key=f"k{n}", data=canonical({"name": f"n{n}"}), now=NOON)
        for n in range(8)
    ]
    units = [begin(scope, message, now=NOON).unit(epoch=1, release=True) for message in messages]
    yield Desk(scope, committer, task, units)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("place", [0, 3, 7])
async def test_a_member_that_loses_is_told_and_the_others_are_written(house: House, place: int) -> None:
    app = await house.open(Fill)
    async with desk_of(app) as desk:
        stale = Draft(desk.scope, replace(desk.units[place].record, revision=4, seq=4), ())
        stale.add(L.CancelAsked(reason="gone", actor=None, message=None, at=NOON))
        desk.units[place] = stale.unit(epoch=9, release=True)
        answers = await asyncio.gather(*map(desk.committer.submit, desk.units), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Lost if n == place else Ack for n in range(8)]
    rows = [await app.store.saga(unit.saga) for unit in desk.units]
    assert [row is not None for row in rows] == [n != place for n in range(8)]


@pytest.mark.parametrize("landed", [True, False])
async def test_a_batch_whose_answer_was_lost_is_written_once_and_acknowledged(
    house: House, landed: bool
) -> None:
    app = await house.open(Fill)
    write, sent = app.store.write, list[Batch]()

    async def broken(batch: Batch) -> Written:
        sent.append(batch)
        if len(sent) == 1:
            if landed:
                await write(batch)
            raise OutcomeUnknown("the answer was lost")
        return await write(batch)

    app.store.write = broken  # type: ignore[method-assign]
    async with desk_of(app) as desk:
        answers = await asyncio.gather(*map(desk.committer.submit, desk.units), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Ack}
    assert len(sent) == (1 if landed else 2)
    for unit in desk.units:
        assert len(await app.store.history(unit.saga)) == len(unit.lines)


async def over(house: House, key: str) -> bool:
    return (await house.app.show(key)).status.final


async def test_while_the_database_is_away_everybody_waits(house: House) -> None:
    app = await house.open(Errand)
    write, away = app.store.write, [1, 1, 1]

    async def gone(batch: Batch) -> Written:
        if away:
            away.pop()
            raise StoreUnavailable("no route")
        return await write(batch)

    app.store.write = gone  # type: ignore[method-assign]
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert len(house.town.calls) == 3


async def test_a_head_behind_what_was_acknowledged_stops_the_worker(house: House) -> None:
    app = await house.open(Fill)
    worker = house.worker()
    work = asyncio.create_task(worker.run())
    await worker.ready.wait()
    app.worker = worker
    first = await app.start(Fill, {"name": "a", "box": "b"})
    await first.outcome(timeout=PATIENCE)
    fence = app.store.fence

    async def broken(batch: Batch) -> Written:
        raise OutcomeUnknown("the server failed over")

    async def behind(chain: int, *, owner: UUID | None = None) -> ChainHead:
        return replace(await fence(chain, owner=owner), position=0, hash=b"")

    app.store.write, app.store.fence = broken, behind  # type: ignore[method-assign]
    await app.start(Fill, {"name": "c", "box": "b"})
    with pytest.raises(HistoryLost, match="lines were lost by a restore or failover"):
        await work


async def test_who_submits_after_the_end_is_told_so(house: House) -> None:
    app = await house.open(Fill)
    head = ChainHead(id=1, epoch=1, position=0, hash=b"")
    committer = Committer(
        app.store, worker=new_id(), head=head, clock=app._clock, batch=10, freed=lambda sagas: None
    )
    task = asyncio.create_task(committer.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    unit: Any = None
    with pytest.raises(StoreUnavailable, match="the committer has stopped"):
        await committer.submit(unit)
    assert Lost.__doc__


@pytest.mark.parametrize("landed", [True, False])
async def test_a_commit_apart_whose_answer_was_lost_is_written_exactly_once(
    house: House, engine: Any, landed: bool
) -> None:
    app = await house.open(Buy)
    write, broken = app.store.write_with_rows, [1]

    async def breaks(**given: Any) -> Any:
        if broken:
            broken.clear()
            if landed:
                await write(**given)
            raise OutcomeUnknown("the line broke")
        return await write(**given)

    app.store.write_with_rows = breaks  # type: ignore[method-assign]
    await house.work()
    for name in ("one", "two"):
        handle = await app.start(Buy, {**BUY, "name": name})
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert await coins(engine) == {"a": 2, "b": 8}
