"""`python -m benchmarks`: measure ourselves beside the peers, in one run, and print the ratios.

The last line of standard output is one JSON object (see `benchmarks.summary`); everything that was measured
is written to a file, from which `python -m benchmarks.page` makes docs/performance.md.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.growth import growth
from benchmarks.machine import machine
from benchmarks.place import FOLDER, Place, place
from benchmarks.recovery import recovery
from benchmarks.rehearsed import rehearsing
from benchmarks.rounds import FULL, SMOKE, Length, ladder, rounds, tell
from benchmarks.scaling import scaling, starting
from benchmarks.summary import summary
from benchmarks.waiting import waiting

CASES = ("A", "B", "C", "D", "F")
EXTRA = ("E", "G", "H", "ladder", "growth", "waiting", "recovery")


async def _cases(place: Place, length: Length, wanted: Sequence[str]) -> dict[str, Any]:
    cases = [case for case in CASES if case in wanted]
    return {"cases": await rounds(place, length, cases)} if cases else {}


async def _extra(place: Place, length: Length, wanted: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    parts: dict[str, Callable[[Place, Length], Awaitable[Any]]] = {
        "E": scaling,
        "G": starting,
        "H": rehearsing,
        "ladder": ladder,
        "growth": growth,
        "waiting": waiting,
        "recovery": recovery,
    }
    for name in EXTRA:
        if name in wanted:
            yield {name: await parts[name](place, length)}


async def measure(place: Place, length: Length, wanted: Sequence[str], out: Path) -> dict[str, Any]:
    """Everything that is wanted; what is known so far is in the file after each part."""
    found: dict[str, Any] = {
        "machine": machine(),
        "cores": len(os.sched_getaffinity(0)),
        "absent": place.peers.absent,
        "rounds": length.rounds,
    }
    found |= await _cases(place, length, wanted)
    _keep(out, found)
    async for more in _extra(place, length, wanted):
        found |= more
        _keep(out, found)
    return found


def _keep(out: Path, found: dict[str, Any]) -> None:
    found["summary"] = summary(found)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a short form without peers, under a minute")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    parser.add_argument("--rounds", type=int, help="how often each case is run; medians are taken")
    parser.add_argument("--history", help="finished sagas on which A is run again: 10000,100000")
    parser.add_argument("--only", help=f"some of {','.join((*CASES, *EXTRA))}")
    parser.add_argument("--out", type=Path, default=FOLDER / "results.json")
    given = parser.parse_args(argv)
    length = SMOKE if given.smoke else FULL
    if given.rounds:
        length = replace(length, rounds=given.rounds)
    if given.history:
        length = replace(length, history=tuple(int(count) for count in given.history.split(",")))
    wanted = (
        given.only.split(",")
        if given.only
        else [part for part in (*CASES, *EXTRA) if part != "ladder" or not given.smoke]
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with place(peers=not (given.smoke or given.no_peers)) as here:
        for peer, why in here.peers.absent.items():
            tell(f"{peer} is absent: {why}")
        found = asyncio.run(measure(here, length, wanted, given.out))
    print(json.dumps(found["summary"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
