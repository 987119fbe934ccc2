"""A store, workers and the outside for every test of the runtime; afterwards the log must tell the truth."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from sagacity.audit import verify
from sagacity.clock import Clock
from sagacity.definition.project import Project
from sagacity.definition.registry import REGISTRY
from sagacity.invariants import Broken, Judge
from sagacity.model.unit import Batch, ChainHead, Written
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.anchoring import Anchoring
from sagacity.runtime.outlets import Outlets
from sagacity.runtime.relay import Listener
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.webhook import HookSettings
from sagacity.runtime.worker import Worker
from sagacity.store import migrate
from sagacity.store.private import PrivatePostgres
from sagacity.telemetry.watching import Meter, Tracer
from sagacity.testing import running
from tests.runtime.outside import Town, services

KINDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))
_numbers = itertools.count(1)


def _migrated(url: str) -> str:
    # In a thread, for this one may belong to a loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate.upgrade_at(url)).result()
    return url


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("runtime") / "empty.db"
    _migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def shared_url(pg_server: PrivatePostgres) -> str:
    """One migrated database for all tests; each is a tenant of its own, and nothing crosses tenants."""
    return _migrated(pg_server.create_database("runtime"))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store in which this test's tenant has nothing."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "runtime.db")
        return f"sqlite:///{tmp_path}/runtime.db"
    address: str = request.getfixturevalue("shared_url")
    return address


class House:
    """One store and all that works on it in one test.

    Attributes:
        town: the world outside.
        app: the first orchestrator; opened by `open`.
        batches: every batch that a worker's committer has written.
    """

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.tenant = f"house-{next(_numbers)}"
        self.town = Town()
        self.batches: list[Batch] = []
        self.app: Orchestrator
        self.project: Project
        self._stack = stack
        self._clock: Clock | None = None

    async def open(self, *sagas: Any, clock: Clock | None = None) -> Orchestrator:
        """Open the store for these flows; call it first."""
        project = Project.of(*sagas)
        # A test process has the participants of all suites, also of one type: here, those made here.
        made = {
            t: [c for c in classes if c.__module__.startswith("tests.runtime")]
            for t, classes in (REGISTRY.named("participants").items())
        }
        ours = {t: classes[-1] for t, classes in made.items() if classes}
        self.project, self._clock = replace(project, participants=ours), clock
        self.app = await self.another(self.project)
        return self.app

    async def another(self, project: Project | None = None) -> Orchestrator:
        """One more process's view of the same store."""
        app = await Orchestrator.open(
            self.url,
            project=project or self.project,
            tenant=self.tenant,
            clock=self._clock,
            accept_loss=True,
        )
        self._stack.push_async_callback(app.close)
        return app

    async def lines(self, saga: UUID, kind: str) -> list[Any]:
        """What the saga's lines of one kind say."""
        lines = await self.app.history(saga)
        return [orjson.loads(line.data) for line in lines if line.kind == kind and line.data is not None]

    def worker(
        self,
        app: Orchestrator | None = None,
        *,
        listeners: tuple[Listener, ...] = (),
        hook: HookSettings | None = None,
        dry: Outlets | None = None,
        anchoring: Anchoring | None = None,
        meter: Meter | None = None,
        tracer: Tracer | None = None,
        **settings: Any,
    ) -> Worker:
        """A worker on `app`'s store, not run yet."""
        app = app or self.app
        self._count(app)
        return Worker(
            app.store,
            app.project.flows,
            app.project.participants,
            settings=WorkerSettings(**settings),
            listeners=listeners,
            hook=hook,
            dry=dry,
            externals=services(self.town),
            anchoring=anchoring,
            meter=meter,
            tracer=tracer,
            clock=self._clock,
        )

    async def work(
        self, app: Orchestrator | None = None, *, listeners: tuple[Listener, ...] = (), **settings: Any
    ) -> Worker:
        """A worker at work until the test ends."""
        worker = self.worker(app, listeners=listeners, **settings)
        return await self._stack.enter_async_context(running(worker))

    def _count(self, app: Orchestrator) -> None:
        write = app.store.write

        async def counted(batch: Batch) -> Written:
            written = await write(batch)
            self.batches.append(batch)
            return written

        app.store.write = counted  # type: ignore[method-assign]


@pytest.fixture
async def house(url: str) -> AsyncIterator[House]:
    """A store with nothing in it; at the end its log must tell exactly what its tables say."""
    async with AsyncExitStack() as stack:
        house = House(url, stack)
        yield house
        verdict = await verify(house.app.store)
        assert verdict.findings == ()
        assert await judged(house.app) == []


async def judged(app: Orchestrator) -> list[Broken]:
    """What the judge of all invariants finds wrong with everything that was ever written."""
    while True:
        heads = await app.store.heads()
        found = await _judged_up_to(app, heads)
        if await app.store.heads() == heads:  # else somebody is still at work, and rows and lines moved on
            return found


async def _judged_up_to(app: Orchestrator, heads: Sequence[ChainHead]) -> list[Broken]:
    store = app.store
    flows = {(flow.name, flow.version): flow for flow in app.project.flows.values()}
    judge = Judge(tenant=store.tenant, lane=store.lane, flows=flows, exact=False)
    found: list[Broken] = []
    for head in heads:
        async for row in store.chain_rows(head.id, upto=head.position):
            found += judge.row(row)
        found += judge.anchored(head.id, head.position, head.hash)
    sagas = {row.record.id: row.record async for row in store.sagas_whole()}
    objects = {state.object: state async for state in store.objects_whole()}
    effects = {saga: await store.effects_of(saga) for saga in sagas}
    found += judge.tables(sagas=sagas, effects=effects, objects=objects, whole=True)
    return [*found, *judge.end()]
