"""T31, the test of the tests: every planted bug is looked for by the tests that its row names.

Per bug the cheapest test comes first, and the first that fails has found it. Each test is first run without
any bug: what fails then proves nothing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.bugs import BUGS
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
    return ("tests.chaos", "T3", "--seeds", str(count))


SIMULATED = _seeds(40)
LOG = _suite("tests/contract/test_log.py", "-k", "sqlite")
CHAIN = _suite("tests/unit/test_chain.py")
INBOX = _suite("tests/contract/test_inbox.py", "-k", "sqlite")
BATCHES = _suite("tests/contract/test_batch.py", "-k", "sqlite")
WORKERS = _suite("tests/contract/test_workers.py", "tests/contract/test_losses.py", "-k", "sqlite")
STORED = _suite("tests/contract/test_sqlite.py")
COMMITTING = _suite("tests/runtime/test_committer.py")
RUNNING = _suite("tests/runtime/test_worker.py", "-k", "sqlite")
QUEUES = _suite("tests/runtime/test_locks.py", "-k", "sqlite")
CANCELS = _suite("tests/runtime/test_cancel.py", "-k", "sqlite")
UNDOING = _suite("tests/runtime/test_compensation.py", "-k", "sqlite")
COMMITS = _suite("tests/runtime/test_commit.py", "-k", "sqlite")
DECIDING = _suite("tests/unit/test_decide_machine.py")

HUNTERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "log-may-be-edited": (LOG,),
    "positions-with-gaps": (COMMITTING, SIMULATED),
    "hash-forgets-the-previous": (CHAIN,),
    "hash-forgets-the-data": (CHAIN,),
    "completed-twice": (DECIDING, SIMULATED),
    "unique-index-dropped": (INBOX,),
    "memo-not-stored": (SIMULATED, BATCHES),
    "object-state-not-stored": (BATCHES, SIMULATED),
    "line-forgotten": (SIMULATED, RUNNING),
    "ack-before-commit": (COMMITTING, SIMULATED),
    "unknown-taken-for-landed": (COMMITTING, SIMULATED),
    "unknown-taken-for-lost": (COMMITTING, SIMULATED),
    "flush-not-checked": (STORED,),
    "one-loser-fails-all": (COMMITTING, SIMULATED),
    "half-is-forgotten": (COMMITTING, SIMULATED),
    "stuck-moves-by-itself": (SIMULATED, UNDOING),
    "gave-up-is-rolled-back": (SIMULATED, UNDOING),
    "guards-ignored": (SIMULATED, DECIDING),
    "other-input-same-key": (INBOX,),
    "bell-not-asserted": (SIMULATED, RUNNING),
    "hand-over-wakes-nobody": (SIMULATED, QUEUES),
    "changed-definition-runs": (RUNNING,),
    "call-before-intent": (SIMULATED, UNDOING),
    "cancel-after-the-pivot": (SIMULATED, CANCELS),
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
    """Look for every planted bug; 0 where enough were found and every test is green without them."""
    began = time.monotonic()
    wanted = BUGS[: options.seeds] if options.seeds else BUGS
    commands = sorted({command for bug in wanted for command in HUNTERS[bug.name]})
    with ThreadPoolExecutor(2) as pool:
        broken = [c for c, (code, _) in zip(commands, pool.map(_clean, commands), strict=True) if code != 0]
        if broken:
            for command in broken:
                print(f"fails without any bug: {' '.join(command)}")
            return 2
        found = list(pool.map(_hunted, (bug.name for bug in wanted)))
    _print(found)
    caught = sum(one.by is not None for one in found)
    passed = caught >= min(ENOUGH, len(wanted))
    _keep(found, caught, passed=passed, seconds=time.monotonic() - began)
    return 0 if passed else _FAILED


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
    return " ".join(command[1:])


def _print(found: Iterable[Found]) -> None:
    rows = list(found)
    by_test: dict[str, int] = {}
    for one in rows:
        if one.by is not None:
            by_test[one.by] = by_test.get(one.by, 0) + 1
    print()
    for test, count in sorted(by_test.items(), key=lambda item: -item[1]):
        print(f"{count:>3} found by {test}")
    print(f"{sum(one.by is not None for one in rows)} of {len(rows)} planted bugs found")


def _keep(found: Iterable[Found], caught: int, *, passed: bool, seconds: float) -> None:
    """Write the figures where the pages of the docs read them."""
    folder = ROOT / ".sagacity" / "chaos"
    folder.mkdir(parents=True, exist_ok=True)
    rows = {one.bug: {"by": one.by, "seconds": round(one.seconds, 1), "hung": one.hung} for one in found}
    result = {
        "test": "T31",
        "seed": 0,
        "form": "short",
        "figures": {"planted": len(rows), "found": caught, "bugs": rows},
        "passed": passed,
        "seconds": round(seconds, 1),
    }
    (folder / "T31.json").write_text(json.dumps(result, indent=2) + "\n")
