"""T31, the test of the tests: every planted bug is looked for by the tests that its row names.

Per bug the cheapest test comes first, and the first that fails has found it. Each test is first run without
any bug: what fails then proves nothing.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.bugs import BUGS
from tests.chaos.harness.report import FOLDER, Report, played
from tests.chaos.plants import SWITCH

if TYPE_CHECKING:
    from tests.chaos.__main__ import Options

ROOT = Path(__file__).parents[2]
ENOUGH = 39
"""Of 40 bugs so many must be found."""

_LIMIT = 420.0
_FAILED = 1


def _suite(*arguments: str) -> tuple[str, ...]:
    return ("pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments)


def _seeds(count: int) -> tuple[str, ...]:
    return ("tests.chaos.hunt", str(count))


SIMULATED = _seeds(12)
LOG = _suite("tests/contract/test_log.py", "-k", "sqlite")
CHAIN = _suite("tests/unit/test_chain.py")
PLACES = _suite("tests/contract/test_locks.py", "-k", "sqlite")
INBOX = _suite("tests/contract/test_inbox.py", "-k", "sqlite")
BATCHES = _suite("tests/contract/test_batch.py", "-k", "sqlite")
WORKERS = _suite("tests/contract/test_workers.py", "tests/contract/test_losses.py", "-k", "sqlite")
STORED = _suite("tests/contract/test_sqlite.py")
COMMITTING = _suite("tests/runtime/test_committer.py")
RUNNING = _suite("tests/runtime/test_worker.py", "-k", "sqlite")
QUEUES = _suite("tests/runtime/test_locks.py", "-k", "sqlite")
UNDOING = _suite("tests/runtime/test_compensation.py", "-k", "sqlite")
COMMITS = _suite("tests/runtime/test_commit.py", "-k", "sqlite")
GOING_BACK = _suite("tests/unit/test_decide_backward.py")
WAITING = _suite("tests/unit/test_decide_waits.py")
TABLE = _suite("tests/unit/test_table_equals_library.py")

HUNTERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "log-may-be-edited": (LOG,),
    "positions-with-gaps": (COMMITTING, SIMULATED),
    "hash-forgets-the-previous": (CHAIN,),
    "hash-forgets-the-data": (CHAIN,),
    "completed-twice": (SIMULATED,),
    "unique-index-dropped": (INBOX,),
    "memo-not-stored": (SIMULATED, BATCHES),
    "object-state-not-stored": (PLACES, SIMULATED),
    "line-forgotten": (SIMULATED, RUNNING),
    "ack-before-commit": (SIMULATED, COMMITTING),
    "unknown-taken-for-landed": (COMMITTING, SIMULATED),
    "unknown-taken-for-lost": (COMMITTING, SIMULATED),
    "flush-not-checked": (STORED,),
    "one-loser-fails-all": (COMMITTING, SIMULATED),
    "half-is-forgotten": (COMMITTING, SIMULATED),
    "stuck-moves-by-itself": (GOING_BACK, SIMULATED),
    "gave-up-is-rolled-back": (SIMULATED, UNDOING),
    "guards-ignored": (TABLE,),
    "other-input-same-key": (INBOX,),
    "bell-not-asserted": (WORKERS, SIMULATED),
    "hand-over-wakes-nobody": (QUEUES, SIMULATED),
    "changed-definition-runs": (RUNNING,),
    "call-before-intent": (SIMULATED, UNDOING),
    "cancel-after-the-pivot": (WAITING, SIMULATED),
    "undo-forward": (SIMULATED, UNDOING),
    "undo-skips-the-unknown": (SIMULATED, UNDOING),
    "key-changes-with-the-attempt": (SIMULATED, RUNNING),
    "undo-under-the-effects-key": (SIMULATED, UNDOING),
    "forward-while-going-back": (SIMULATED, UNDOING),
    "undo-on-a-guess": (SIMULATED, UNDOING),
    "stuck-frees-its-locks": (SIMULATED, UNDOING),
    "two-holders": (SIMULATED, QUEUES),
    "freed-early": (SIMULATED, QUEUES),
    "no-fencing": (WORKERS, SIMULATED),
    "version-not-checked": (BATCHES, WORKERS),
    "locks-outlive-the-saga": (SIMULATED, QUEUES),
    "cycles-never-broken": (QUEUES, SIMULATED),
    "half-a-commit": (SIMULATED, COMMITS),
    "shared-locks-not-taken": (SIMULATED, QUEUES),
    "timer-by-the-local-clock": (SIMULATED, RUNNING),
}
"""Bug → the tests that look for it, cheapest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of one bug.

    Attributes:
        by: the test that failed; None: none did.
        hung: it did not fail but never ended.
    """

    bug: str
    by: str | None
    seconds: float
    hung: bool = False


def run(options: "Options") -> int:
    """Look for every planted bug; `--seeds` takes that many of them, from the `--seed`-th on."""
    return played("T31", options, _all)


async def _all(report: Report) -> None:
    first = report.seed - 1
    wanted = BUGS[first : first + report.size(len(BUGS), len(BUGS))]
    commands = sorted({command for bug in wanted for command in HUNTERS[bug.name]})
    with ThreadPoolExecutor(2) as pool:
        for command, (code, _) in zip(commands, pool.map(_clean, commands), strict=True):
            report.holds(code == 0, f"fails without any bug (exit {code}): {' '.join(command)}")
        if report.violations:
            return
        report.say(f"{len(commands)} tests are green without any bug")
        found = list(pool.map(_hunted, (bug.name for bug in wanted)))
    caught = [one for one in found if one.by is not None]
    report.figure("planted", len(found))
    report.figure("found", len(caught))
    for test, count in Counter(str(one.by) for one in caught).most_common():
        report.figure(f"found by {test}", count)
    rows = {one.bug: {"by": one.by, "seconds": round(one.seconds, 1), "hung": one.hung} for one in found}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "bugs.json").write_text(json.dumps(rows, indent=2) + "\n")
    missed = [one.bug for one in found if one.by is None]
    report.holds(len(missed) <= len(BUGS) - ENOUGH, f"not found: {', '.join(missed)}")


def _clean(command: tuple[str, ...]) -> tuple[int, float]:
    return _tried(command, None)


def _tried(command: tuple[str, ...], bug: str | None) -> tuple[int, float]:
    """The exit code (124: it never ended) and the seconds."""
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name != SWITCH}
    if bug is not None:
        environment[SWITCH] = bug
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            timeout=_LIMIT,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, time.monotonic() - began
    return done.returncode, time.monotonic() - began


def _hunted(bug: str) -> Found:
    spent = 0.0
    for command in HUNTERS[bug]:
        code, seconds = _tried(command, bug)
        spent += seconds
        if code in (_FAILED, 124):
            print(f"{bug:<30} {_name(command)} ({spent:.0f} s)", flush=True)
            return Found(bug=bug, by=_name(command), seconds=spent, hung=code == 124)
        if code != 0:
            print(f"{bug:<30} {_name(command)} could not be judged: exit {code}", flush=True)
    print(f"{bug:<30} NOT FOUND ({spent:.0f} s)", flush=True)
    return Found(bug=bug, by=None, seconds=spent)


def _name(command: tuple[str, ...]) -> str:
    if command[0] == "pytest":
        return " ".join(part for part in command[1:] if part.startswith("tests/"))
    return f"T3, the first {command[1]} seeds"
