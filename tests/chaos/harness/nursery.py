"""Where worker processes are born: one process imports everything once, and forks each worker from that.

A fresh interpreter spends two seconds of processor time on imports; a test that kills a worker every second
would test nothing else. What is forked is a process of its own: own loop, own connections, own death.

`python -m tests.chaos.harness.nursery MODULE…` reads orders from stdin, one JSON a line, and tells births and
deaths on stdout.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

from tests.chaos.harness.work import die_with_parent, run

_READ = 65_536


def main(modules: list[str]) -> None:
    """Until stdin ends."""
    die_with_parent()
    for name in (*modules, "sagacity.cli.app", "sagacity.cli.working", "sagacity.store.open"):
        importlib.import_module(name)
    for name in ("asyncpg", "sqlalchemy.ext.asyncio", "sqlalchemy.dialects.postgresql.asyncpg"):
        importlib.import_module(name)
    gc.freeze()
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    os.set_blocking(bell, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ring)
    print(json.dumps({"ready": True}), flush=True)
    waiting = b""
    while True:
        ready, _, _ = select.select([0, bell], [], [])
        if bell in ready:
            os.read(bell, _READ)
            _bury()
        if 0 in ready:
            data = os.read(0, _READ)
            if not data:
                return
            *orders, waiting = (waiting + data).split(b"\n")
            for order in orders:
                _bear(json.loads(order))


def _bear(order: dict[str, Any]) -> None:
    pid = os.fork()
    if pid:
        print(json.dumps({"born": pid, "n": order["n"]}), flush=True)
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(order["env"])
    os.environ["CHAOS_PARENT"] = str(os.getppid())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 70
    try:
        code = run(order["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        print(json.dumps({"dead": pid, "code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
