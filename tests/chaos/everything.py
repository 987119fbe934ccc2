"""All tests of reliability one after the other, each as a process of its own; one table at the end.

The short forms together are what `make chaos` runs (T10, T28 and T31 aside: failover and the thousand dry
runs are for the night, and the test of the tests plays all others again). The long forms come in parts of
less than 80 minutes each.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.__main__ import TESTS, Options

APART = frozenset({"all", "T10", "T28", "T31", "orders"})
"""Not among the short forms of `make chaos`."""

CALM = frozenset({"T2", "T4", "T5", "T12", "T28"})
"""Played in virtual time, or against nobody, by one process or two each, so two at a time disturb nobody."""

PATIENT = ("T8", "T7", "stores", "T9", "T33", "T21")
"""They wait more than they work and hold to no narrow times; the longest first, two at a time."""

INTERRUPTED = 130
Told = tuple[str, int, float]
"""Name, exit code, seconds."""

PARTS: dict[int, tuple[str, ...]] = {
    1: ("T6", "T8", "T7"),
    2: ("T9", "T11", "T20", "T21", "T33", "T10"),
    3: ("T16", "T17", "T18", "T19"),
    4: ("T2", "T3", "T4", "T5", "T12", "T28", "stores"),
}
"""`make chaos-long PART=n`: what belongs to which part; names that nobody has written yet are left out."""


def run(options: Options) -> int:
    """Every test's exit code must be 0."""
    names = [name for name in TESTS if name not in APART]
    if options.long:
        names = [name for name in PARTS[options.seeds or 1] if name in TESTS]
    began = time.monotonic()
    told = _abreast(sorted(CALM.intersection(names), key=_order), options)
    if not options.long:
        told += _abreast([name for name in PATIENT if name in names], options)
    for name in sorted(set(names) - {name for name, *_ in told}, key=_order):
        told.append(_one(name, options))
        if told[-1][1] == INTERRUPTED:
            return INTERRUPTED
    print("\n== all of it")
    for name, code, seconds in told:
        print(
            f"   {name.ljust(8)} {'passed' if code == 0 else f'FAILED ({code})'.ljust(6)}  {seconds:6.0f} s"
        )
    failed = [name for name, code, _ in told if code]
    print(f"== {len(told) - len(failed)} of {len(told)} passed in {(time.monotonic() - began) / 60:.1f} min")
    return 1 if failed else 0


def _abreast(names: list[str], options: Options) -> list[Told]:
    """Tests that leave each other their time, two at once; each is heard when it is done."""
    if names:
        print(f"== two at a time: {', '.join(names)}", flush=True)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda name: _one(name, options, apart=True), names))


def _one(name: str, options: Options, *, apart: bool = False) -> Told:
    since = time.monotonic()
    command = [sys.executable, "-u", "-m", "tests.chaos", name, "--seed", str(options.seed)]
    command.append("--long" if options.long else "--short")
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if apart else None)
    if apart:
        print(f"== {name}\n{done.stdout}", end="", flush=True)
    return name, done.returncode, time.monotonic() - since


def _order(name: str) -> tuple[int, str]:
    number = name.removeprefix("T")
    return (int(number), name) if number.isdigit() else (1_000, name)
