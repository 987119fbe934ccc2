"""A dry process that is killed: the live lane stands as it was, and whoever asked is told."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, spawns
from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.dry import dry_run
from sagacity.dry.apart import Apart
from sagacity.dry.orders import Asked, Place
from sagacity.dry.shelf import stored_report
from sagacity.errors import NotFound, Unfinished
from sagacity.model.unit import Batch, Written
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.store.base import Store
from sagacity.testing import mocked, running, settled, until
from tests.dry.flows import Prices, Sale, Theatre
from tests.dry.leaky import Hangs
from tests.dry.test_dry_run import dump


class Matinee(Saga, version=1, key="name"):
    """Has a seat bought."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    bought = State(final=True)
    buy = asked.to(bought)

    @spawns(buy, Sale)
    def seats(self, asked: Input) -> list[Sale.Input]:
        return [Sale.Input(show=asked.name)]


SALE, HANGS = "tests.dry.flows:Sale", "tests.dry.leaky:Hangs"
SOON = timedelta(seconds=60)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Orchestrator]:
    """A store with a live saga that is sold and one that waits."""
    url = f"sqlite:///{tmp_path}/live.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("pg_url")
        from sagacity.store.migrate import upgrade_at

        await upgrade_at(url)
    async with await Orchestrator.open(
        url, project=Project.of(Sale, Hangs, Matinee), accept_loss=True
    ) as app:
        flows, participants = app.project.flows, app.project.participants
        async with running(Worker(app.store, flows, participants, externals=mocked(Theatre, Prices))):
            for show in ("lear", "faust"):
                handle = await app.start(Sale, {"show": show})
                await settled(app, handle.id)
                if show == "lear":
                    await app.signal(handle.id, "manager", {"approved": True})
                    await settled(app, handle.id)
        yield app


def place(app: Orchestrator) -> Place:
    assert app.opened is not None
    return Place(url=app.opened[0], accept_loss=True)


async def proven(app: Orchestrator, before: Any) -> None:
    """The live lane is what it was, both lanes verify, and a dry run works at once."""
    assert await dump(app) == before
    assert (await dry_run(Sale, {"show": "after"}, app=app)).verdict == "would commit"
    for store in (app.store, app.store.beside("dry")):
        assert (await verify(store)).findings == ()
    assert await dump(app) == before


async def test_runs_that_are_killed_mid_way_are_told_as_not_finished_and_leave_no_half_run(
    app: Orchestrator,
) -> None:
    before = await dump(app)
    orders = [Asked(flow=SALE, input={"show": f"s{n}"}) for n in range(200)]
    told = []
    async with Apart.started(place(app), notices=True) as stage:
        async for answer in stage.ask_all(orders):
            told.append(answer)
            if len(told) == 3:
                os.kill(stage.pid, signal.SIGKILL)
    assert len(told) == len(orders), "each has its answer"
    done = [answer for answer in told if answer.error is None]
    assert 3 <= len(done) < len(orders)
    assert {answer.error for answer in told[len(done) :]} == {"Unfinished"}
    assert "was killed (signal 9)" in (told[-1].message or "")
    assert not told[-1].ok
    for answer in done:
        assert answer.run is not None
        assert (await stored_report(app.store, UUID(answer.run))).verdict == "would commit"
    await proven(app, before)


async def test_a_run_that_hangs_when_it_is_killed_ends_for_who_asked(app: Orchestrator) -> None:
    before = await dump(app)
    async with Apart.started(place(app)) as stage:
        asking = asyncio.create_task(stage.ask(Asked(flow=HANGS, input={"name": "x"})))
        await asyncio.wait([asking], timeout=3)
        assert not asking.done()
        os.kill(stage.pid, signal.SIGKILL)
        async with asyncio.timeout(SOON.total_seconds()):
            with pytest.raises(Unfinished, match="not finished"):
                await asking
            with pytest.raises(Unfinished):
                await stage.ask(Asked(flow=SALE, input={"show": "x"}))
    assert await app.store.beside("dry").heads() == [], "nothing of it is there"
    await proven(app, before)


async def test_a_run_cut_off_between_its_sagas_is_found_by_nobody_and_verifies(
    app: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is there when the saga that was rehearsed is: it is stored last."""
    before = await dump(app)
    beside = app.store.beside

    def dies(lane: str) -> Store:
        store = beside(lane)
        write, wrote = store.write, iter((False, True))

        async def killed(batch: Batch) -> Written:
            if next(wrote):
                raise ConnectionError("killed here")
            return await write(batch)

        store.write = killed  # type: ignore[method-assign]
        return store

    monkeypatch.setattr(app.store, "beside", dies)
    monkeypatch.setattr("sagacity.dry.shelf._AT_ONCE", 1)
    with pytest.raises(ConnectionError):
        await dry_run(Matinee, {"name": "x"}, app=app, here=True)
    monkeypatch.undo()
    (child,) = [row.record async for row in app.store.beside("dry").sagas_whole()]
    assert child.parent is not None
    with pytest.raises(NotFound):
        await stored_report(app.store, child.parent)
    await proven(app, before)


_ASKS = """
import asyncio
from sagacity.dry.apart import Apart
from sagacity.dry.orders import Asked
async def main():
    async with Apart.started() as stage:
        print(stage.pid, flush=True)
        await stage.ask(Asked(flow="tests.dry.leaky:Hangs", input={"name": "x"}))
asyncio.run(main())
"""


def lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell of processes so")
async def test_a_process_whose_asker_was_killed_ends_though_its_step_hangs() -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - what matters is that it can be killed
        [sys.executable, "-c", _ASKS], stdout=subprocess.PIPE, env={**os.environ}
    ) as asker:
        assert asker.stdout is not None
        pid = int(await asyncio.to_thread(asker.stdout.readline))
        assert lives(pid)
        asker.kill()
        await asyncio.to_thread(asker.wait)
    await until(lambda: not lives(pid), within=SOON)
