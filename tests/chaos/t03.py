"""T3: many seeds of the simulation, each an hour of a small town with everything that may go wrong in it.

A seed that fails is played again and again with one fault less each time; what is left is printed, and
`python -m tests.chaos T3 --seed N --seeds 1` plays it again.
"""

import gc
import json
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagacity.store.memory import MemoryDatabase
from tests.chaos.__main__ import Options
from tests.chaos.deployment import Result, play, shrunk

SHORT, LONG = 500, 20_000
_CHUNK = 25
_CORPUS = Path(__file__).with_name("corpus.json")


@dataclass(slots=True)
class Totals:
    """Figures of many seeds."""

    seeds: int = 0
    sagas: int = 0
    lines: int = 0
    batches: int = 0
    lives: int = 0
    seconds: float = 0.0
    repeats: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """One more seed."""
        self.seeds += 1
        self.sagas += sum(result.ends.values())
        self.lines += result.lines
        self.batches += result.batches
        self.lives += result.lives
        self.seconds += result.seconds
        self.repeats += result.repeats
        self.faults.update(name.rpartition("#")[0].rpartition(":")[2] for name in result.fired)
        self.ends.update(result.ends)

    def told(self) -> str:
        """A few lines for people."""
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.faults.items()))
        ends = ", ".join(f"{number} {status}" for status, number in sorted(self.ends.items()))
        return (
            f"{self.seeds} seeds, {self.seconds / 3600:.0f} virtual hours, {self.sagas} sagas ({ends}),\n"
            f"{self.lines} lines in {self.batches} batches, each judged as it was written; "
            f"{self.lives} lives of workers, {self.repeats} repeated calls outside\n"
            f"faults: {kinds or 'none'}"
        )


def corpus() -> list[dict[str, Any]]:
    """Seeds that failed once: they are played for ever."""
    found: list[dict[str, Any]] = json.loads(_CORPUS.read_text())
    return found


def played(seeds: Iterable[int], database: MemoryDatabase) -> Iterator[Result]:
    """These seeds, one after the other."""
    quiet = logging.getLogger("sagacity")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    thresholds = gc.get_threshold()
    # A seed makes much garbage that is soon gone; looking for it every 700 objects takes a tenth of the time.
    gc.set_threshold(100_000, *thresholds[1:])
    try:
        for seed in seeds:
            yield play(seed, database)
    finally:
        gc.set_threshold(*thresholds)
        quiet.setLevel(level)


def report(result: Result, database: MemoryDatabase) -> str:
    """What is wrong with a seed, and with which faults at least."""
    least, off = shrunk(result, database)
    told = [f"seed {result.seed} fails, log {result.log_hash[:16]}:"]
    told += [f"  {what}" for what in result.wrong[:8]]
    told.append(f"with {len(least.fired)} of {len(result.fired)} faults, log {least.log_hash[:16]}:")
    told += [f"  {what}" for what in least.wrong[:4]]
    told += [f"  {fault}" for fault in least.fired[:40]]
    told.append(f"left out: {' '.join(off)}")
    told.append(f"again: python -m tests.chaos T3 --seed {result.seed} --seeds 1")
    return "\n".join(told)


def _some(seeds: range) -> list[Result]:
    database = MemoryDatabase()
    try:
        return list(played(seeds, database))
    finally:
        database.close()


def run(options: Options) -> int:
    """Play the corpus and the seeds asked for, on all processors."""
    number = options.seeds or (LONG if options.long else SHORT)
    chunks = [
        range(first, min(first + _CHUNK, options.seed + number))
        for first in range(options.seed, options.seed + number, _CHUNK)
    ]
    totals, bad = Totals(), list[Result]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for results in pool.map(_some, chunks):
            for result in results:
                totals.add(result)
                if result.wrong:
                    bad.append(result)
                    print(f"seed {result.seed} fails: {result.wrong[0]}", flush=True)
    database = MemoryDatabase()
    told = [report(result, database) for result in bad[:3]]
    print(totals.told())
    print("\n".join(told) or "nothing was violated")
    if bad and options.artefacts is not None:
        options.artefacts.mkdir(parents=True, exist_ok=True)
        (options.artefacts / "t03.txt").write_text("\n".join(told) + "\n")
    return 1 if bad else 0
