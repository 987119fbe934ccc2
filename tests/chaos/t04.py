"""T4: a worker that dies before and after every call that it makes, and once more while it recovers.

Seven ways through the three reference flows. The calls are those that a play without a crash reaches;
that they are all that a worker can make is read off the engine's own code.
"""

import gc
import logging
import multiprocessing
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import sagacity.runtime
from sagacity.store.memory import MemoryDatabase
from tests.chaos.__main__ import Options
from tests.chaos.crashes import SCENARIOS, played, points, second_deaths

SECOND, SECOND_LONG = 1, 8
"""How many second deaths are played for each first one."""

_CALL = re.compile(r"store\.([a-z_]+)\(")
_NOT_A_WORKERS = frozenset({"erase"})


@dataclass(slots=True)
class Swept:
    """What became of one scenario.

    Attributes:
        points: calls at which the worker was to die first; died: at how many it did.
        plays: all plays, second deaths included; twice: those in which it died twice.
        calls: names of the store's calls that were reached.
        wrong: what should not be, and where the worker had died.
    """

    name: str
    points: int = 0
    died: int = 0
    plays: int = 0
    twice: int = 0
    calls: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def swept(number: int, database: MemoryDatabase, *, second: int, part: tuple[int, int] = (0, 1)) -> Swept:
    """Play one scenario with a death at each of its calls.

    Args:
        number: of the scenario.
        database: used again.
        second: how many second deaths for each first one.
        part: (which, of how many): every how-manieth call is looked at.
    """
    scenario = SCENARIOS[number]
    result = Swept(scenario.name)
    quiet = logging.getLogger("sagacity")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    gc.set_threshold(100_000, 20, 20)
    whole = played(scenario, database)
    result.wrong += [f"{scenario.name}, without a crash: {what}" for what in whole.wrong]
    result.calls = {point.split(".")[1] for point, _ in whole.reached if point.startswith("store.")}
    for at in points(whole)[part[0] :: part[1]]:
        result.points += 1
        once = played(scenario, database, at=at)
        result.plays += 1
        result.died += once.died == 1
        result.calls |= {point.split(".")[1] for point, _ in once.reached if point.startswith("store.")}
        _blame(result, once.wrong, f"{scenario.name}, dead at {at[0]}#{at[1]}")
        recovery = len(once.reached) - [*once.reached].index(at) - 1
        for then in second_deaths(scenario, at, recovery, second):
            again = played(scenario, database, at=at, then=then)
            result.plays += 1
            result.twice += again.died == 2
            _blame(result, again.wrong, f"{scenario.name}, dead at {at[0]}#{at[1]} and {then} calls later")
    quiet.setLevel(level)
    return result


def _blame(result: Swept, wrong: Sequence[str], where: str) -> None:
    result.wrong += [f"{where}: {what}" for what in wrong[:3]]


def calls_of_a_worker() -> set[str]:
    """Every call of the store that stands in the runtime's code."""
    folder = Path(sagacity.runtime.__file__).parent
    found = {name for path in folder.glob("*.py") for name in _CALL.findall(path.read_text())}
    return found - _NOT_A_WORKERS


def _one(task: tuple[int, int, int, int]) -> Swept:
    number, second, which, of = task
    database = MemoryDatabase()
    try:
        return swept(number, database, second=second, part=(which, of))
    finally:
        database.close()


def run(options: Options) -> int:
    """Sweep all scenarios, on all processors."""
    second = SECOND_LONG if options.long else SECOND
    tasks = [(number, second, which, 4) for number in range(len(SCENARIOS)) for which in range(4)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        parts = list(pool.map(_one, tasks))
    wrong = [what for part in parts for what in part.wrong]
    for scenario in SCENARIOS:
        mine = [part for part in parts if part.name == scenario.name]
        reached, died = sum(part.points for part in mine), sum(part.died for part in mine)
        print(
            f"{scenario.name}: {died} of {reached} points reached and died at, "
            f"{sum(part.plays for part in mine)} plays, {sum(part.twice for part in mine)} with two deaths"
        )
        wrong += [] if died == reached else [f"{scenario.name}: {reached - died} points were not reached"]
    calls = set[str]().union(*(part.calls for part in parts))
    missing = sorted(calls_of_a_worker() - calls)
    print(f"{len(calls)} of the store's calls reached; a worker's and not reached: {missing or 'none'}")
    print("\n".join(wrong[:40]) or "nothing was violated")
    if wrong and options.artefacts is not None:
        options.artefacts.mkdir(parents=True, exist_ok=True)
        (options.artefacts / "t04.txt").write_text("\n".join(wrong) + "\n")
    return 1 if wrong else 0
