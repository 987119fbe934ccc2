"""A contender's process seen from outside, a server's processor time, and what several rounds say."""

import asyncio
import json
import os
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 180.0
_SAID = 16  # lines of a failed contender that are told
Numbers = dict[str, float]


class ContenderFailed(Exception):
    """A contender ended, or said nothing for three minutes; the text holds the end of what it said."""


class Contender:
    """One running contender; see `contender`.

    Attributes:
        about: what it said of itself when it was ready.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, server: int | None) -> None:
        self._process = process
        self._log = log
        self._server = server
        self.about: dict[str, Any] = {}

    async def heard(self) -> dict[str, Any]:
        """The next line that it prints.

        Raises:
            ContenderFailed: there is none.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_PATIENCE):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise ContenderFailed("\n".join(self._log.read_text(errors="replace").splitlines()[-_SAID:]))
        found: dict[str, Any] = json.loads(line)
        return found

    async def ready(self) -> None:
        """Wait until it is."""
        self.about = await self.heard()
        self._server = self.about.get("server", self._server)

    async def do(self, **task: Any) -> Numbers:
        """Hand in one task and wait for its result; `server_cpu` is added where there is a server."""
        assert self._process.stdin is not None
        before = cpu_of(self._server)
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        await self._process.stdin.drain()
        took: Numbers = await self.heard()
        if before is not None and (after := cpu_of(self._server)) is not None:
            took["server_cpu"] = after - before
        return took

    async def end(self) -> None:
        """Let it end by itself, or kill it when it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE / 6):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process.returncode is None:
            self._process.kill()


@asynccontextmanager
async def contender(
    command: Sequence[str], log: Path, *, server: int | None = None
) -> AsyncIterator[Contender]:
    """A contender's process, ready; it is ended at the end.

    Args:
        command: a Python interpreter and what it runs, from the project's root.
        log: file for what it says on standard error.
        server: process of the database server that works for it.
    """
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            cwd=ROOT,
            env=dict(os.environ) | {"PYTHONPATH": f"{ROOT / 'engine'}{os.pathsep}{ROOT}"},
        )
    running = Contender(process, log, server)
    try:
        await running.ready()
        yield running
    finally:
        await running.end()


def cpu_of(server: int | None) -> float | None:
    """Processor seconds of a process and of all its children, the ended ones too; None: nobody can tell."""
    if server is None or not Path(f"/proc/{server}/stat").exists():
        return None
    ticks = sum(_times(server))
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # Field 4 is the parent; the name in field 2 may hold anything but its closing bracket.
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == server:
                ticks += sum(_times(int(entry.name))[:2])
        except (OSError, ValueError):
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def _times(pid: int) -> tuple[int, ...]:
    """Ticks in user and system mode, and those of the children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return tuple(int(field) for field in fields[11:15])


def medians(rounds: Sequence[Mapping[str, float]]) -> Numbers:
    """Each number's median over the rounds that have it."""
    names = dict.fromkeys(name for one in rounds for name in one)
    return {name: statistics.median([one[name] for one in rounds if name in one]) for name in names}


def ratio(over: float | None, under: float | None) -> float | None:
    """One by the other, to three digits; None where one of them is missing or nothing."""
    if not over or not under:
        return None
    return float(f"{over / under:.3g}")


def cpu_per_saga(numbers: Mapping[str, float]) -> float | None:
    """Processor seconds of workers and server for one saga; None where the server's are not known."""
    if "server_cpu" not in numbers or not numbers.get("sagas"):
        return None
    return (numbers["cpu"] + numbers["server_cpu"]) / numbers["sagas"]
