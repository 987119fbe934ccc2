"""`sagacity …` as the chaos tests run it: the same command line, dying with its test, telling where it is.

SIGUSR1 prints the stacks of all threads and of all asyncio tasks; the watchdog asks for them.
"""

import asyncio
import ctypes
import faulthandler
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let the kernel kill this process when the test ends, however it ends (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != int(os.environ.get("CHAOS_PARENT", os.getppid())):
            sys.exit("the test has ended before this process began")


def tell_stacks(number: int, frame: FrameType | None) -> None:
    """Print what every thread and every task is at."""
    faulthandler.dump_traceback(all_threads=True)
    try:
        for task in asyncio.all_tasks():
            task.print_stack(limit=6, file=sys.stderr)
    except RuntimeError:
        print("no event loop runs in this process's main thread", file=sys.stderr)
    sys.stderr.flush()


def run(arguments: list[str]) -> int:
    """`sagacity ARGUMENTS…` in this process; its exit code."""
    die_with_parent()
    faulthandler.enable()
    signal.signal(signal.SIGUSR1, tell_stacks)
    if os.environ.get("CHAOS_CONTROL") == "locks-off":
        from tests.chaos.harness.control import without_locks

        without_locks()
    from sagacity.cli import main as sagacity

    return sagacity(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
