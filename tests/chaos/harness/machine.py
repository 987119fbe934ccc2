"""How much of the machine was ours: a time limit counts only what others left us.

A limit in plain seconds would judge whoever else runs on this machine. What everybody else took of the
processors is told as a figure, so nobody mistakes a starved run for a slow engine, or the other way round.
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = os.cpu_count() or 1


def _busy() -> float:
    """Processor seconds that anybody has used since the machine started."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(n) for n in first[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _ours() -> float:
    """Processor seconds of this process and all below it, those that were waited for included."""
    rows: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            said = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        rows[int(path.parent.name)] = (int(said[1]), sum(int(n) for n in said[11:15]) / _TICKS)
    total, found = 0.0, {os.getpid()}
    while found:
        total += sum(rows[pid][1] for pid in found if pid in rows)
        found = {pid for pid, (parent, _) in rows.items() if parent in found}
    return total


async def measured(seconds: float = 2.0) -> "Share":
    """How much of the machine others take just now."""
    share = Share()
    await asyncio.sleep(seconds)
    return share


@dataclass(slots=True)
class Share:
    """From its making on: how long, and how much of the machine others took."""

    began: float = field(default_factory=time.monotonic)
    busy: float = field(default_factory=_busy)
    ours: float = field(default_factory=_ours)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def others(self) -> float:
        """The part of the machine, from 0 to 1, that others used meanwhile."""
        theirs = (_busy() - self.busy) - max(0.0, _ours() - self.ours)
        return min(0.95, max(0.0, theirs / (_CORES * max(self.seconds, 0.001))))

    @property
    def left(self) -> float:
        """Seconds as they would have been on a machine of our own."""
        return self.seconds * (1 - self.others)
