"""On what, with what and when a run was made."""

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.install import PEERS
from sagacity.store.pg_binaries import find_binaries

_OURS = ("sagacity", "asyncpg", "SQLAlchemy", "python-statemachine", "pydantic", "orjson")


def machine() -> dict[str, str]:
    """Name and value of everything that has a say in the figures."""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processors": f"{len(os.sched_getaffinity(0))} × {_cpu()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": find_binaries().major,
        "SQLite": sqlite3.sqlite_version,
    }
    return found | {name: version(name) for name in _OURS} | _pins()


def _cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _pins() -> dict[str, str]:
    """What the peers are pinned to."""
    lines = (PEERS / "requirements.txt").read_text(encoding="utf-8").split()
    pins = {name: found for name, _, found in (line.partition("==") for line in lines)}
    server = (PEERS / "package.json").read_text(encoding="utf-8").rpartition(': "')[2].partition('"')[0]
    return pins | {"restate-server": server}
