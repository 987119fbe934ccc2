"""What refuses a dry run's code the world: an audit hook, which nobody who came later can take away.

In a process made for dry runs (`only_these`), every thread that was not there when it was armed is refused:
only the store's own may open a socket. In one that is shared (`watching`), only the threads that play are.
What is refused is written down with the line of code that tried it.
"""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sagacity.dry.lines import line_of_caller
from sagacity.dry.outside import Refusal

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class NotDry(PermissionError):
    """A dry run's code tried to reach the world past its externals; nothing of it has happened."""


def _always(what: str) -> Callable[[tuple[Any, ...]], str | None]:
    return lambda args: what


def _connects(args: tuple[Any, ...]) -> str:
    return f"connect a socket to {args[1]}" if len(args) > 1 else "connect a socket"


def _makes(args: tuple[Any, ...]) -> str | None:
    # The pair by which a loop wakes itself is none to the outside; connecting one is judged by itself.
    return None if args[1:2] == (socket.AF_UNIX,) else "make a socket"


def _opens(args: tuple[Any, ...]) -> str | None:
    path, mode, flags = (*args, None, None, None)[:3]
    writes = any(letter in (mode or "") for letter in "wax+") or (isinstance(flags, int) and flags & _WRITES)
    if not writes or isinstance(path, int) or path == os.devnull:
        return None
    return f"open {path!s} for writing"


def _database(args: tuple[Any, ...]) -> str | None:
    return None if args[:1] == (":memory:",) else f"open the database {args[0]!s}"


_JUDGED: dict[str, Callable[[tuple[Any, ...]], str | None]] = {
    "socket.__new__": _makes,
    "socket.connect": _connects,
    "socket.bind": _always("bind a socket"),
    "socket.sendto": _always("send a datagram"),
    "socket.sendmsg": _always("send on a socket"),
    "socket.getaddrinfo": lambda args: f"look up the host {args[0]!s}",
    "socket.gethostbyname": lambda args: f"look up the host {args[0]!s}",
    "subprocess.Popen": lambda args: f"start the process {args[0]!s}",
    "os.system": _always("start a shell"),
    "os.exec": lambda args: f"become the process {args[0]!s}",
    "os.posix_spawn": lambda args: f"start the process {args[0]!s}",
    "os.spawn": _always("start a process"),
    "os.fork": _always("fork"),
    "os.forkpty": _always("fork"),
    "os.kill": _always("send a signal to a process"),
    "os.remove": lambda args: f"remove {args[0]!s}",
    "os.rename": lambda args: f"rename {args[0]!s}",
    "os.rmdir": lambda args: f"remove {args[0]!s}",
    "os.mkdir": lambda args: f"make the folder {args[0]!s}",
    "os.chmod": lambda args: f"change {args[0]!s}",
    "os.chown": lambda args: f"change {args[0]!s}",
    "os.truncate": lambda args: f"truncate {args[0]!s}",
    "os.link": lambda args: f"link {args[1]!s}",
    "os.symlink": lambda args: f"link {args[1]!s}",
    "open": _opens,
    "sqlite3.connect": _database,
}
"""Event → what the code tries, in words; None: this may be."""


class Guard:
    """Which threads are watched, and what they were refused.

    Attributes:
        refusals: where the next refusal is written.
    """

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self._watched: set[int] = set()
        self._free: set[int] | None = None
        self._hooked = False
        self._asked = threading.local()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The calling thread is watched inside the block."""
        self._hook()
        ident = threading.get_ident()
        self._watched.add(ident)
        try:
            yield
        finally:
            self._watched.discard(ident)

    def only_these(self) -> None:
        """From now on all threads are watched but those that live now; for good."""
        self._free = {thread.ident for thread in threading.enumerate() if thread.ident is not None}
        self._hook()

    def set_free(self) -> None:
        """The calling thread is watched no more: it makes reads for real."""
        if self._free is not None:
            self._free.add(threading.get_ident())

    def _hook(self) -> None:
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        judge = _JUDGED.get(event)
        if judge is None:
            return
        ident = threading.get_ident()
        if ident not in self._watched and (self._free is None or ident in self._free):
            return
        if getattr(self._asked, "now", False):
            return  # looking for the line to blame reads no file; nothing it does is the step's
        what = judge(args)
        if what is None:
            return
        self._asked.now = True
        try:
            where = line_of_caller()
        finally:
            self._asked.now = False
        self.refusals.append(Refusal(what=f"code of yours tried to {what}", where=where))
        raise NotDry(f"dry run: refused to {what} ({where})")


GUARD = Guard()
"""The guard of this process."""
