"""A project, a store and the outside services in a folder of their own, driven as a user drives them.

Everything is done by processes: services, `sagacity run`, workers that are killed. Only looking is done
through the Python facade.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sagacity.model.views import SagaSummary
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter
from sagas.run import addresses
from sagas.services.ledger import Entry, read_ledgers

ROOT = Path(__file__).resolve().parents[2]
REAL_ORDERS = ROOT.parent / "shared" / "data" / "orders.jsonl"
SUMMARY = (
    "started",
    "committed",
    "rolled_back",
    "abandoned",
    "waiting",
    "stuck",
    "rejected",
    "log_lines",
    "locks_held",
    "sagas_per_second",
)


class World:
    """One folder with the reference flows, one store, and what it takes to run them."""

    def __init__(
        self,
        folder: Path,
        *,
        store: str | None = None,
        accept_loss: bool = False,
        lease: float = 3.0,
        limit: float = 100.0,
    ) -> None:
        """Lay out `folder`.

        Args:
            folder: an empty one.
            store: by default a SQLite file in it.
            accept_loss: the store flushes nothing (a test's own server).
            lease: seconds after which a killed worker's sagas are taken over.
            limit: seconds that one command may take.
        """
        for name in ("sagas", "compensations"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder
        self.store = store or f"sqlite:///{folder}/sagacity.db"
        self.ledger = folder / "ledger"
        self.lease = lease
        self.limit = limit
        self.options = ("--i-accept-loss",) if accept_loss else ()
        self.urls: dict[str, str] = {}

    # --- the outside -----------------------------------------------------------------------------

    @contextmanager
    def services(self, *options: str) -> Iterator[None]:
        """The outside services, for as long as this lasts."""
        command = [sys.executable, "-m", "sagas.services", "--until-stdin-closes"]
        command += ["--ledger", str(self.ledger), *options]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=self.folder, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                assert process.stdout is not None
                self.urls = json.loads(process.stdout.readline())
                yield
            finally:
                process.send_signal(signal.SIGTERM)

    def entries(self) -> list[Entry]:
        """What all services did."""
        return read_ledgers(self.ledger)

    async def happened(self, count: int, *, process: "subprocess.Popen[str] | None" = None) -> None:
        """Wait until the services have done this many things; `process` must live meanwhile."""
        async with asyncio.timeout(self.limit):
            while len(self.entries()) < count:
                assert process is None or process.poll() is None, process.communicate()
                await asyncio.sleep(0.02)

    # --- processes of ours -------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Ours, with the store, the services' addresses, and the lease."""
        foreign = ("SAGACITY_", "COLUMNS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = {"SAGACITY_STORE": self.store, "SAGACITY_LEASE": str(self.lease), "NO_COLOR": "1"}
        return {**kept, **addresses(self.urls), **ours}

    def begin(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdout: Any = subprocess.PIPE
    ) -> "subprocess.Popen[str]":
        """Start `sagacity …` in a process group of its own; `env` and `stdout` differ from ours if given."""
        return subprocess.Popen(
            [sys.executable, "-m", "sagacity", *self.options, *arguments],
            cwd=self.folder,
            env=self.environment if env is None else env,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def sagacity(self, *arguments: str, expect: int = 0) -> str:
        """Run `sagacity …` and return what it printed to stdout; its exit code must be `expect`."""
        process = self.begin(*arguments)
        out, told = process.communicate(timeout=self.limit)
        assert process.returncode == expect, f"sagacity {arguments}: {process.returncode}\n{out}\n{told}"
        return out

    def run(
        self, flow: str, lines: Sequence[Mapping[str, Any]], *options: str, expect: int = 0
    ) -> dict[str, float]:
        """`sagacity run` over these inputs; its summary."""
        file = self.folder / f"{flow.rpartition(':')[2]}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return summary_of(self.sagacity("run", flow, "--input", str(file), *options, expect=expect))

    @contextmanager
    def worker(self, *options: str) -> Iterator["subprocess.Popen[str]"]:
        """A worker process, ended by SIGTERM unless the test kills it."""
        process = self.begin("worker", *options)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=self.limit)

    # --- looking ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Orchestrator]:
        """The facade on this store."""
        async with await Orchestrator.open(self.store, accept_loss=True) as opened:
            yield opened

    async def sagas(self, definition: str) -> dict[str, SagaSummary]:
        """Where all sagas of a flow stand, by key."""
        found: dict[str, SagaSummary] = {}
        async with self.looking() as app:
            page = await app.list(Filter(definition=definition, limit=500))
            while page:
                found.update((saga.key, saga) for saga in page)
                page = await app.list(Filter(definition=definition, limit=500, before=page[-1].id))
        return found

    async def until(self, holds: Callable[[Orchestrator], Any], *, within: float = 30.0) -> None:
        """Wait until an awaited condition holds, looking often.

        Raises:
            TimeoutError: it did not within this many seconds.
        """
        async with self.looking() as app, asyncio.timeout(within):
            while not await holds(app):  # noqa: ASYNC110 - what happens, happens in other processes
                await asyncio.sleep(0.02)


def summary_of(printed: str) -> dict[str, float]:
    """The last ten lines of `sagacity run`: one `label number` a line, in this very order."""
    lines = [line.split(" ") for line in printed.splitlines()[-len(SUMMARY) :]]
    assert tuple(line[0] for line in lines) == SUMMARY, printed
    return {label: float(number) for label, number in lines}


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to the process and all that it started: the power cut."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def expected_ends(orders: Path) -> dict[str, int]:
    """How many sagas of these orders end how, read from how the orders ended in life."""
    statuses = [json.loads(line)["status"] for line in orders.read_text().splitlines()]
    ended = {"delivered": "committed", "canceled": "rolled_back", "unavailable": "rolled_back"}
    ends = [ended.get(status, "waiting") for status in statuses]
    return {name: ends.count(name) for name in ("committed", "rolled_back", "waiting")} | {"stuck": 0}


class Clock:
    """Says how long things took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"
