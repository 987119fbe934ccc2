"""Become PostgreSQL: the last lines of Python before one of its programs takes the process over.

Run as a script in a fresh interpreter, so that giving up root and tying the server's life to its parent
happen in a process without threads. Arguments: UID GID PARENT PROGRAM ARGUMENTS…; a UID of -1 keeps the
account, a PARENT of 0 lets the program outlive its parent.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def drop_root(uid: int, gid: int) -> None:
    """Be `uid` and `gid` for good, with no other groups."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with(parent: int) -> None:
    """Let the kernel send this process a fast shutdown when `parent` ends, however it ends (Linux only)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
    if os.getppid() != parent:
        sys.exit("the parent ended before the server began")


def main(arguments: list[str]) -> None:
    """Never returns: the program replaces this process."""
    uid, gid, parent = (int(number) for number in arguments[:3])
    if uid >= 0:
        # Changing the account clears the tie to the parent, so this comes first.
        drop_root(uid, gid)
    if parent:
        die_with(parent)
    os.execv(arguments[3], arguments[3:])


if __name__ == "__main__":
    main(sys.argv[1:])
