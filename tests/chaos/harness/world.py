"""One test's whole world: a database, the outside, workers and an API, in a folder that is gone at the end.

Enter it, do harm, leave it: whatever happens in between, nothing stays behind. SIGINT and SIGTERM leave it
like any other error; where this process itself is killed, the kernel ends its children, and the next
run removes the folder.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from sagacity.definition.project import Project
from sagacity.orchestrator import Orchestrator
from sagacity.store.pg_cluster import process_lives
from tests.chaos.harness.cluster import Cluster
from tests.chaos.harness.processes import Child, Processes
from tests.chaos.harness.report import Report

_PREFIX = "sagacity-chaos-"


class World:
    """See the module. Made by `world`."""

    def __init__(self, folder: Path, report: Report, *, lease: float) -> None:
        self.folder = folder
        self.report = report
        self.lease = lease
        self.processes = Processes(folder)
        self.workers: list[Child] = []
        self.cluster: Cluster | None = None
        self.store = f"sqlite:///{folder}/sagacity.db"
        self.urls: dict[str, str] = {}
        self.ended: Counter[int | None] = Counter()
        self.app: Orchestrator

    # --- the parts --------------------------------------------------------------------------------

    @property
    def server(self) -> Cluster:
        assert self.cluster is not None, "this world is on SQLite"
        return self.cluster

    @property
    def ledger(self) -> Path:
        return self.folder / "till.jsonl"

    def environment(self, **more: str) -> dict[str, str]:
        """What our processes are told."""
        ours = {
            "SAGACITY_STORE": self.store,
            "SAGACITY_LEASE": str(self.lease),
            "SAGACITY_LOG_LEVEL": "warning",
            "SAGACITY_LOG_FORMAT": "json",
        }
        urls = {f"SAGACITY_{name.upper()}_URL": url for name, url in self.urls.items()}
        return ours | urls | more

    def modules(self, *names: str) -> None:
        """The flows that workers and API of this world serve."""
        self._modules = names
        listed = ", ".join(f'"{name}"' for name in names)
        (self.folder / "pyproject.toml").write_text(f"[tool.sagacity]\nmodules = [{listed}]\n")

    async def outside(self, name: str = "till", *, seed: int = 0) -> str:
        """Start the outside service; its address."""
        child = self.processes.python(
            f"ledger-{name}",
            "tests.chaos.harness.ledger",
            str(self.folder / f"{name}.jsonl"),
            name,
            str(seed),
        )
        await child.start()
        async with asyncio.timeout(20):
            while "\n" not in child.said():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        self.urls[name] = str(json.loads(child.said().splitlines()[0])["url"])
        return self.urls[name]

    async def faults(self, name: str = "till", **how: float) -> None:
        """Tell the outside how bad to be from now on; nothing: good again."""
        request = urllib.request.Request(f"{self.urls[name]}/faults", json.dumps(how).encode(), method="PUT")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        await asyncio.to_thread(lambda: opener.open(request, timeout=5).read())

    async def hire(self, count: int, *options: str, **more: str) -> list[Child]:
        """Start worker processes."""
        fresh = []
        for _ in range(count):
            name = f"worker-{len(self.workers) + 1}"
            env = self.environment(**more)
            child = await self.processes.worker(name, [*options, "worker"], env, self._modules)
            await child.start()
            self.workers.append(child)  # not before: whoever keeps them alive would start it a second time
            fresh.append(child)
        return fresh

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Inside the block a worker that ends is started again, as a supervisor would."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            for child in self.workers:
                if not child.alive:
                    self.ended[child.code] += 1
                    await child.start()
            await asyncio.sleep(0.05)

    async def serve(self, *options: str, **more: str) -> str:
        """Start the HTTP API; its address."""
        env = self.environment(**more)
        child = self.processes.python(
            "api", "tests.chaos.harness.work", *options, "serve", "--port", "0", env=env
        )
        await child.start()
        async with asyncio.timeout(60):
            while "serving http" not in child.said():
                if not child.alive:
                    raise RuntimeError(f"the API ended: {child.said()}")
                await asyncio.sleep(0.05)
        return child.said().partition("serving ")[2].split("/v1/")[0]

    async def open(self, *sagas: Any) -> Orchestrator:
        """The facade, in this process."""
        self.app = await Orchestrator.open(self.store, project=Project.of(*sagas), accept_loss=True)
        return self.app

    async def ready(self, *, within: float = 60.0) -> None:
        """Until as many workers as were hired have entered themselves."""
        async with asyncio.timeout(within):
            while len(await self.app.store.workers()) < sum(child.alive for child in self.workers):
                dead = [child for child in self.workers if not child.alive]
                if dead:
                    raise RuntimeError(f"{dead[0].name} ended: {dead[0].said()}")
                await asyncio.sleep(0.1)

    # --- the end ----------------------------------------------------------------------------------

    async def dismiss(self) -> None:
        """SIGTERM to all workers: each must end by itself, with code 0."""
        alive = [child for child in self.workers if child.alive]
        ends = [(0, -signal.SIGTERM) if child.young else (0,) for child in alive]
        codes = await asyncio.gather(*(child.end() for child in alive))
        for child, code, allowed in zip(alive, codes, ends, strict=True):
            self.report.holds(
                code in allowed, f"{child.name} ended with {code} after SIGTERM: {child.said(last=300)}"
            )

    async def stacks(self) -> str:
        """Where every worker is, and who waits for whom in the database."""
        for child in self.processes.children:
            if child.name.startswith(("worker", "api")):
                child.send(signal.SIGUSR1)
        await asyncio.sleep(0.5)
        if self.cluster is not None:
            (self.folder / "waits.log").write_text(await self.cluster.waits())
        return "where everybody was stands in the kept logs (worker-*.log, waits.log)"

    async def close(self) -> None:
        if hasattr(self, "app"):
            await self.app.close()
        await self.processes.end()
        if self.cluster is not None:
            await self.cluster.stop()
        if os.environ.get("CHAOS_KEEP") or self.report.violations:
            _keep(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def _keep(folder: Path) -> None:
    """What the processes said goes beside the report: without it nobody can tell why a run failed."""
    from tests.chaos.harness.report import FOLDER

    kept = FOLDER / "logs"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for path in [*folder.glob("*.log"), *folder.glob("*.jsonl"), *folder.glob("pg/server.log")]:
        shutil.copy(path, kept / path.name)
    print(f"   what the processes said is kept in {kept}")


@contextlib.asynccontextmanager
async def world(
    report: Report,
    *,
    modules: Sequence[str],
    sagas: Sequence[Any],
    postgres: bool = True,
    durable: bool = True,
    lease: float = 2.0,
    settings: dict[str, str] | None = None,
    disk: Path | None = None,
) -> AsyncIterator[World]:
    """A database with its schema, an outside service and an open facade; workers are hired by the test."""
    _sweep()
    folder = _folder()
    made = World(folder, report, lease=lease)
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        made.modules(*modules)
        if postgres:
            made.cluster = Cluster((disk or folder) / "pg", durable=durable, settings=settings)
            made.store = await made.cluster.start()
        await made.outside(seed=report.seed)
        await made.open(*sagas)
        yield made
    except Exception as error:
        report.violations.append(f"the test broke off: {error}")  # so that its logs are kept
        raise
    finally:
        await asyncio.shield(made.close())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)
    return folder


def _sweep() -> None:
    """Remove folders whose test was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not process_lives(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
