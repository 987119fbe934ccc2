"""Processes of one test: started, watched, stopped, killed; none outlives the test.

Each is tied to us twice: the kernel kills it when we die, and `Processes.end` when we are done.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Child:
    """One process, with what it says kept in a file."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.command = list(command)
        self.env = dict(env)
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.process: Process | None = None
        self.stopped = False
        self.started = 0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, cwd=self.folder, env=self.env, stdin=PIPE, stdout=log, stderr=log
            )
        self.stopped = False
        self.started += 1

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False where the process is gone."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        self.stopped = {signal.SIGSTOP: True, signal.SIGCONT: False}.get(number, self.stopped)
        return True

    async def kill(self) -> None:
        """SIGKILL, and wait until it is reaped."""
        if self.send(signal.SIGKILL):
            await self.wait()

    async def end(self, *, grace: float = 25.0) -> int:
        """SIGTERM, after `grace` seconds SIGKILL; its exit code."""
        if self.stopped:
            self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            await self.kill()
            return -int(signal.SIGKILL)

    async def wait(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    def said(self, *, last: int = 2000) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-last:] if self.log.exists() else ""


class Processes:
    """All children of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []

    def python(self, name: str, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """A child that runs `module` of ours; it is not started yet."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("SAGACITY_", "PG"))}
        full = {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **(env or {})}
        full["CHAOS_PARENT"] = str(os.getpid())
        child = Child(name, [sys.executable, "-m", module, *arguments], full, self.folder)
        self.children.append(child)
        return child

    async def end(self) -> None:
        """SIGKILL whatever still runs."""
        for child in self.children:
            child.send(signal.SIGCONT)
            await child.kill()


