"""A shop that runs: PostgreSQL, a worker and a server, each a process, and what a test does to them."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sagacity.definition.project import Project
from sagacity.orchestrator import Orchestrator

T = TypeVar("T")
COUNTER = Path(__file__).with_name("counter.py")
PATIENCE = 60.0
"""Seconds after which what has not come is taken for a fault."""


class Shop:
    """One folder, one store, and processes that work on them."""

    def __init__(self, folder: Path, store: str) -> None:
        (folder / "sagas").mkdir()
        shutil.copy(COUNTER, folder / "sagas" / "counter.py")
        self.folder, self.store = folder, store
        self.url = ""
        self._thread = ThreadPoolExecutor(1)
        self._told = (folder / "told.log").open("w")

    def close(self) -> None:
        """Let go of what it holds in this process."""
        self._thread.shutdown()
        self._told.close()

    # --- processes ------------------------------------------------------------------------------

    def begin(self, *arguments: str, heard: bool = False) -> "subprocess.Popen[str]":
        """Start `sagacity …`. `heard`: what it says on stderr can be read; else it goes to a file."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SAGACITY_")}
        return subprocess.Popen(
            [sys.executable, "-m", "sagacity", "--i-accept-loss", *arguments],
            cwd=self.folder,
            env={**kept, "SAGACITY_STORE": self.store, "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if heard else self._told,
            text=True,
        )

    def sagacity(self, *arguments: str) -> str:
        """Run `sagacity …`; what it printed."""
        with self.begin(*arguments) as process:
            out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, (arguments, process.returncode, out)
        return out

    @contextmanager
    def working(self) -> Iterator[None]:
        """A worker process at work."""
        with ended(self.begin("worker")):
            yield

    @contextmanager
    def serving(self) -> Iterator[str]:
        """A server process; its address."""
        process = self.begin("serve", "--port", "0", heard=True)
        with ended(process):
            assert process.stderr is not None
            said = process.stderr.readline()
            found = re.search(r"serving (\S+)/v1/", said)
            assert found is not None, said
            yield found[1]

    # --- the outside ------------------------------------------------------------------------------

    def down(self, what: str) -> None:
        """From now on that call fails."""
        (self.folder / f"{what}-is-down").touch()

    def up(self, what: str) -> None:
        """From now on that call is answered."""
        (self.folder / f"{what}-is-down").unlink(missing_ok=True)

    # --- sagas --------------------------------------------------------------------------------------

    def ask(self, what: Callable[[Orchestrator], Awaitable[T]]) -> T:
        """Ask the engine itself, in a thread of its own: the browser's driver has a loop in this one."""

        async def asked() -> T:
            project = Project.load("sagas/counter.py", folder=self.folder)
            async with await Orchestrator.open(self.store, project=project, accept_loss=True) as app:
                return await what(app)

        return self._thread.submit(asyncio.run, asked()).result(PATIENCE)

    def start(self, definition: str, **input: Any) -> str:
        """Start a saga; its id."""

        async def started(app: Orchestrator) -> str:
            return str((await app.start(definition, input)).id)

        return self.ask(started)

    def status(self, saga: str) -> str:
        """Where it stands."""

        async def shown(app: Orchestrator) -> str:
            return (await app.show(saga)).status.value

        return self.ask(shown)

    def reaches(self, saga: str, status: str) -> None:
        """Return when it stands there."""
        until(lambda: self.status(saga) == status, f"{saga} is {status}")

    def stuck(self, order: str) -> str:
        """A sale whose money cannot be given back; its id."""
        self.down("refund")
        sale = self.start("Sale", order=order, customer=order, amount="1200.00")
        self.reaches(sale, "stuck")
        return sale

    def shown(self, saga: str) -> dict[str, Any]:
        """What the command line shows of it."""
        found: dict[str, Any] = json.loads(self.sagacity("show", saga, "-o", "json"))
        return found


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    """A process that is told to end, and has."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def until(holds: Callable[[], Any], what: str) -> None:
    """Wait for a fact.

    Raises:
        TimeoutError: it did not come.
    """
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)
