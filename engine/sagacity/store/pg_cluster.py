"""One PostgreSQL data folder, and who stands in it.

A pid file tells a number; the number may belong to somebody else by now, or to a server that is just
going down. The kernel knows better: a server and its children have their data folder as working
directory. So presence is asked of `/proc`, and the pid file only says which of them is the server.
Where there is no `/proc` (macOS) the number is believed.
"""

import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagacity.store.pg_binaries import Binaries, PrivateServerError

LOOK = 0.02  # seconds between two looks at whether a server is ready, or gone
_GONE_LOOKS = 1500  # half a minute, then the harder signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The data folder `data`; it need not exist yet."""

    data: Path

    def server(self) -> int | None:
        """The process of the server that runs on these data, or `None`."""
        pid = int(first_line(self.data / "postmaster.pid") or 0)
        return pid if pid and self.holds(pid) else None

    def holds(self, pid: int) -> bool:
        """Whether process `pid` is alive and works in this folder."""
        if not _has_proc():
            return process_lives(pid)
        with suppress(OSError):
            return os.readlink(f"/proc/{pid}/cwd") == str(self.data)
        return False

    def inhabitants(self) -> list[int]:
        """All processes that work in this folder: the server and its children (Linux only)."""
        found = (int(entry.name) for entry in Path("/proc").glob("[0-9]*")) if _has_proc() else ()
        return [pid for pid in found if self.holds(pid)]

    def is_ready(self, pid: int) -> bool:
        """Whether the server `pid` takes connections."""
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            # The server keeps its state in the eighth line; a shorter file is still being written.
            return len(lines) >= 8 and lines[7].strip() == "ready" and int(lines[0]) == pid
        return False

    def check_version(self, binaries: Binaries) -> None:
        """Refuse data of another major version.

        Raises:
            PrivateServerError: the versions differ; nothing was touched.
        """
        found = first_line(self.data / "PG_VERSION")
        if found != binaries.major:
            raise PrivateServerError(
                f"{self.data} belongs to PostgreSQL {found or '(unknown version)'} and the binaries are "
                f"{binaries.major}: dump it with the old version and load it into a new folder, "
                "or remove it if its data may go"
            )

    def stop(self, pid: int) -> None:
        """Fast shutdown: open transactions are rolled back. Returns when the server is gone."""
        signal_process(pid, signal.SIGINT)
        self.wait_gone(pid)

    def wait_gone(self, pid: int) -> None:
        """Until `pid` has ended by itself, or has not within half a minute and is stopped the hard way."""
        for _ in range(_GONE_LOOKS):
            if not self.holds(pid):
                return
            pause()
        signal_process(pid, signal.SIGQUIT)

    def kill(self) -> None:
        """SIGKILL the server and all its children, as a power cut would."""
        while pids := self.inhabitants():
            for pid in pids:
                signal_process(pid, signal.SIGKILL)
            pause()

    def sweep(self) -> None:
        """After a crash: end children that lost their server, and remove a pid file that names nobody."""
        for _ in range(_GONE_LOOKS):
            left = self.inhabitants()
            if not left:
                break
            for pid in left:
                signal_process(pid, signal.SIGQUIT)
            pause()
        if _has_proc():
            (self.data / "postmaster.pid").unlink(missing_ok=True)


def pause() -> None:
    """Let one look's time pass. Only ever called from blocking code, never on an event loop."""
    threading.Event().wait(LOOK)


def signal_process(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone already is fine."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def process_lives(pid: int) -> bool:
    """Whether `pid` runs; one that ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # The state stands behind the program's name, which is in brackets and may hold anything.
    return _stat(pid).rpartition(")")[2].split()[:1] != ["Z"]


def first_line(path: Path) -> str:
    """The first line of a file, stripped; empty when there is no such file."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().strip()
    except FileNotFoundError:
        return ""


def _stat(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return ""


def _has_proc() -> bool:
    return Path("/proc/self/cwd").exists()
