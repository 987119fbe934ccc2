"""Proof by the kernel that an answer follows its flush: `strace` on the server, or on SQLite's process.

The rule: between the moment in which a commit came in and the moment in which its answer went out, somebody's
flush of the log has returned. Where there is no `strace`, the server's own count of flushes stands in.
"""

import asyncio
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_CALL = re.compile(r"^(\d+)\s+(\d+\.\d+) (?:<\.\.\. )?(\w+)")
_FLUSHES = ("fdatasync", "fsync")
_TRACED = "fdatasync,fsync,sendto,recvfrom,write,pwrite64"


@dataclass(frozen=True, slots=True)
class Event:
    """One system call that has returned (a flush), or that began (sending)."""

    pid: int
    at: float
    call: str
    text: str


def has_strace() -> bool:
    return shutil.which("strace") is not None


class Strace:
    """`async with Strace(file, pids):` these processes and all that they fork are watched."""

    def __init__(self, file: Path, pids: list[int]) -> None:
        self._file, self._pids = file, pids
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> "Strace":
        targets = [part for pid in self._pids for part in ("-p", str(pid))]
        command = ["strace", "-f", "-qq", "-ttt", "-s", "40", "-e", f"trace={_TRACED}", "-o", str(self._file)]
        self._process = await asyncio.create_subprocess_exec(
            *command, *targets, stderr=asyncio.subprocess.DEVNULL
        )
        await asyncio.sleep(0.5)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        await self._process.wait()


def events(file: Path) -> list[Event]:
    """The traced calls in order; one that was interrupted in the listing counts when it returned."""
    found: list[Event] = []
    for line in file.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        call = match[3]
        if call in _FLUSHES and "<unfinished" in line:
            continue  # it has not returned yet: its second half comes later
        found.append(Event(int(match[1]), float(match[2]), call, line))
    return found


@dataclass(frozen=True, slots=True)
class Audit:
    """How many answers to commits were seen, and which of them no flush came before."""

    answers: int
    bad: tuple[str, ...]


def audit(file: Path, *, question: str, answer: str) -> Audit:
    """Hold each answer against the flushes since its question, process by process.

    Args:
        question: a pattern of the call with which a commit comes in.
        answer: a pattern of the call with which it is told.
    """
    asked: dict[int, int] = {}
    last_flush = -1
    answers, bad = 0, []
    for number, event in enumerate(events(file)):
        if event.call in _FLUSHES:
            last_flush = number
        elif re.search(question, event.text):
            asked[event.pid] = number
        elif event.pid in asked and re.search(answer, event.text):
            answers += 1
            if last_flush < asked.pop(event.pid):
                bad.append(event.text)
    return Audit(answers, tuple(bad))
