"""`python -m benchmarks`: measure ourselves beside the peers, in one run, and print the ratios.

The last line of standard output is one JSON object (see `benchmarks.summary`); everything that was measured
is written to a file, from which `python -m benchmarks.page` makes docs/performance.md.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.machine import machine
from benchmarks.place import FOLDER, Place, place
from benchmarks.rounds import FULL, SMOKE, Length, ladder, rounds, tell
from benchmarks.summary import summary

CASES = ("A", "B", "C", "D", "F")
EXTRA = ("ladder",)


async def _cases(place: Place, length: Length, wanted: Sequence[str]) -> dict[str, Any]:
    cases = [case for case in CASES if case in wanted]
    return {"cases": await rounds(place, length, cases)} if cases else {}


async def _ladder(place: Place, length: Length, wanted: Sequence[str]) -> dict[str, Any]:
    return {"ladder": await ladder(place, length)} if "ladder" in wanted else {}


PARTS: tuple[Callable[[Place, Length, Sequence[str]], Awaitable[dict[str, Any]]], ...] = (_cases, _ladder)


async def measure(place: Place, length: Length, wanted: Sequence[str], out: Path) -> dict[str, Any]:
    """Everything that is wanted; what is known so far is in the file after each part."""
    found: dict[str, Any] = {"machine": machine(), "absent": place.peers.absent, "length": length.rounds}
    for part in PARTS:
        since = perf_counter()
        more = await part(place, length, wanted)
        if more:
            tell(f"{', '.join(more)}: {perf_counter() - since:.0f} s")
        found |= more
        found["summary"] = summary(found)
        _keep(out, found)
    return found


def _keep(out: Path, found: dict[str, Any]) -> None:
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a short form without peers, under a minute")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    parser.add_argument("--rounds", type=int, help="how often each case is run; medians are taken")
    parser.add_argument("--only", help=f"some of {','.join((*CASES, *EXTRA))}")
    parser.add_argument("--out", type=Path, default=FOLDER / "results.json")
    given = parser.parse_args(argv)
    length = SMOKE if given.smoke else FULL
    if given.rounds:
        length = replace(length, rounds=given.rounds)
    default = CASES if given.smoke else (*CASES, *EXTRA)
    wanted = given.only.split(",") if given.only else default
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with place(peers=not (given.smoke or given.no_peers)) as here:
        for peer, why in here.peers.absent.items():
            tell(f"{peer} is absent: {why}")
        found = asyncio.run(measure(here, length, wanted, given.out))
    print(json.dumps(found["summary"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
