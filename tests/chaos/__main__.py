"""`python -m tests.chaos T3 --seed 7 --short`: one test of reliability by its name.

Each test is a module with `run(options) -> int`: it starts all that it needs, ends what it started, prints
its figures, and returns 0 only where nothing was violated. A name that nobody has written yet is not listed.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS: dict[str, tuple[str, str]] = {
    "T2": ("t02", "model-based: a rule machine against a small reference model"),
    "T3": ("t03", "deterministic simulation: 4 workers, 12 sagas, faults of store, network, clock and crash"),
    "T4": ("t04", "a crash before and after every call through a port, and a second one in recovery"),
    "T5": ("t05", "outcomes that nobody knows: 10 % done but timed out, 10 % not done and timed out"),
    "T12": ("t12", "clocks: skewed, jumping, running ten times too fast or too slow, leap day, summer time"),
    "T7": ("t07", "workers that sleep past their lease and wake up"),
    "T9": ("t09", "backends of the server terminated and killed"),
    "T11": ("t11", "connections cut at each byte, reset, starved and silenced"),
    "T10": ("t10", "failover to a standby, in step and behind (not in `make chaos`)"),
    "T16": ("t16", "an outside that is slow, broken, silent, and lies"),
    "T17": ("t17", "many sagas on one hot object beside many on cold ones"),
    "T18": ("t18", "lock sets that cross, taken at once and one by one"),
    "T19": ("t19", "isolation by list-append, and its control without locks, which must fail"),
    "orders": ("orders", "the real orders while workers (--under T6) or PostgreSQL (--under T8) are killed"),
    "T21": ("t21", "a full disk: PostgreSQL's and SQLite's"),
    "T33": ("t33", "SQLite with eight processes, killed over and over"),
    "T20": ("t20", "group commit: bad members, kills from buffer to ack, no ack before the flush"),
    "T8": ("t08", "PostgreSQL killed and restarted under API load"),
    "T6": ("t06", "kill -9 of a worker every second, on PostgreSQL"),
    "stores": ("stores", "random batches through both stores: the same answers, the same rows"),
    "T28": ("t28", "1,000 sagas rehearsed, then run for real: nothing moved, each went as predicted"),
    "all": (
        "everything",
        "all of them, one after the other (with --long the part that --seeds says, 1 to 4)",
    ),
    "T31": ("t31", "the test of the tests: bugs planted on purpose, and who finds them"),
}
"""Name → the module below `tests.chaos`, and what it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a test is asked for.

    Attributes:
        seed: where its chance begins.
        seeds: for tests that play many: how many, from `seed` on; None: as many as its form has.
        long: the long form of the night; else the short one of every change.
        under: for `orders`: the harm that is done meanwhile, T6 or T8.
        artefacts: a folder for what a failure leaves behind; None: nothing is kept.
    """

    seed: int = 1
    seeds: int | None = None
    long: bool = False
    artefacts: Path | None = None
    under: str | None = None


def parsed(arguments: Sequence[str]) -> tuple[str, Options]:
    """The test's name and its options."""
    titles = "\n".join(f"  {name:<6} {title}" for name, (_, title) in TESTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        epilog=f"tests:\n{titles}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("test", choices=list(TESTS), metavar="TEST", help="one of the names below")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins (1)")
    parser.add_argument("--seeds", type=int, default=None, help="how many seeds, from --seed on")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", dest="long", action="store_false", help="the form of every change (default)")
    form.add_argument("--long", dest="long", action="store_true", help="the form of the night")
    parser.add_argument("--artefacts", type=Path, default=None, help="a folder for what a failure leaves")
    parser.add_argument("--under", choices=["T6", "T8"], default=None, help="for orders: which harm is done")
    parser.set_defaults(long=False)  # each of the two flags brings a default, and the first one's is true
    said = parser.parse_args(arguments)
    options = Options(
        seed=said.seed, seeds=said.seeds, long=said.long, artefacts=said.artefacts, under=said.under
    )
    return said.test, options


def main(arguments: Sequence[str]) -> int:
    """Run one test; returns its exit code."""
    name, options = parsed(arguments)
    module = importlib.import_module(f"tests.chaos.{TESTS[name][0]}")
    code: int = module.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
