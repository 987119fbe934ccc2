"""Processes of one test: started, watched, stopped, killed; none outlives the test.

Each is tied to us twice: the kernel kills it when we die, and `Processes.end` when we are done.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
YOUNG = 5.0
"""Seconds within which a process need not listen to signals yet."""


class Child:
    """One process, with what it says kept in a file. Subclasses say how it comes to life."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.pid = 0
        self.code: int | None = None
        self.stopped = False
        self.started = 0
        self.since = 0.0

    @property
    def young(self) -> bool:
        """It may still be importing: a signal then ends it as the system does, with nothing in hand."""
        return time.monotonic() - self.since < YOUNG

    @property
    def alive(self) -> bool:
        return self.pid != 0 and self.code is None

    async def start(self) -> None:
        """Bring it to life, again if it is dead."""
        self.code, self.stopped, self.since = None, False, time.monotonic()
        await self._start()
        self.started += 1

    async def _start(self) -> None:
        raise AssertionError("a kind of child says how it starts")

    async def wait(self) -> int:
        """Until it is dead; its exit code."""
        raise AssertionError("a kind of child says how it is waited for")

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

    async def end(self, *, grace: float = 30.0) -> int:
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

    def said(self, *, last: int = 2000) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-last:] if self.log.exists() else ""


class Fresh(Child):
    """A new interpreter."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        super().__init__(name, folder)
        self._command, self._env, self._folder = list(command), dict(env), folder
        self.process: Process

    async def _start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._folder,
                env=self._env,
                stdin=PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self.process.pid

    async def wait(self) -> int:
        self.code = await self.process.wait()
        return self.code


class Nursery:
    """The process that forks workers."""

    def __init__(self, env: Mapping[str, str], folder: Path, modules: Sequence[str]) -> None:
        self._env, self._folder, self._modules = dict(env), folder, list(modules)
        self._numbers = itertools.count(1)
        self._births: dict[int, asyncio.Future[int]] = {}
        self._deaths: dict[int, asyncio.Future[int]] = {}
        self._process: Process
        self._reader: asyncio.Task[None]

    async def open(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.harness.nursery", *self._modules]
        with (self._folder / "nursery.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._folder,
                env=self._env,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise RuntimeError(f"no nursery: {(self._folder / 'nursery.log').read_text()}")
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "born" in told:
                self._deaths[told["born"]] = asyncio.get_running_loop().create_future()
                self._births.pop(told["n"]).set_result(told["born"])
            elif told["dead"] in self._deaths:
                self._deaths[told["dead"]].set_result(told["code"])
        # The nursery is gone, and the kernel has killed all that came out of it.
        for told_of in (*self._deaths.values(), *self._births.values()):
            if not told_of.done():
                told_of.set_result(-int(signal.SIGKILL))

    async def bear(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> int:
        """Fork a worker; its pid."""
        assert self._process.stdin is not None
        n = next(self._numbers)
        self._births[n] = asyncio.get_running_loop().create_future()
        order = {"n": n, "argv": list(argv), "env": dict(env), "log": str(log)}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        return await self._births[n]

    def death(self, pid: int) -> "asyncio.Future[int]":
        """Done when that process is dead: its exit code."""
        return self._deaths[pid]

    async def close(self) -> None:
        self._reader.cancel()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Forked(Child):
    """A worker out of the nursery."""

    def __init__(
        self, name: str, nursery: Nursery, argv: Sequence[str], env: Mapping[str, str], folder: Path
    ) -> None:
        super().__init__(name, folder)
        self._nursery, self._argv, self._env = nursery, list(argv), dict(env)

    async def _start(self) -> None:
        self.pid = await self._nursery.bear(self._argv, self._env, self.log)
        death = self._nursery.death(self.pid)
        pid = self.pid

        def died(told: "asyncio.Future[int]") -> None:
            if self.pid == pid and not told.cancelled():
                self.code = told.result()

        death.add_done_callback(died)

    async def wait(self) -> int:
        self.code = await asyncio.shield(self._nursery.death(self.pid))
        return self.code


class Processes:
    """All children of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []
        self.nursery: Nursery | None = None

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("SAGACITY_", "PG"))}
        ours = {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "CHAOS_PARENT": str(os.getpid())}
        return {**kept, **ours, **(env or {})}

    def python(self, name: str, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """A child that runs `module` of ours; it is not started yet."""
        command = [sys.executable, "-m", module, *arguments]
        child = Fresh(name, command, self._environment(env), self.folder)
        self.children.append(child)
        return child

    async def worker(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], modules: Sequence[str]
    ) -> Child:
        """A worker; it is not started yet."""
        if self.nursery is None:
            self.nursery = Nursery(self._environment(None), self.folder, modules)
            await self.nursery.open()
        child = Forked(name, self.nursery, argv, env, self.folder)
        self.children.append(child)
        return child

    async def end(self) -> None:
        """SIGKILL whatever still runs."""
        for child in self.children:
            child.send(signal.SIGCONT)
            await child.kill()
        if self.nursery is not None:
            await self.nursery.close()
