"""The cases that several contenders run, in alternation: each once in every round, on an empty store.

A  50 at once          B  one at a time          C  as A, one in five is refused and rolled back
D  as A, half of the sagas want one of 10 hot objects among 1,000 (only ours: the peers have no such locks)
F  as A and B, on SQLite
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import ContenderFailed, Numbers, medians
from benchmarks.place import Place

AT_ONCE = 50
PEERS = ("dbos", "restate", "dbos-sqlite")
CONTENDERS = ("ours", "dbos", "restate", "floor", "floor-alone", "ours-sqlite", "dbos-sqlite")
TASKS: Mapping[str, Mapping[str, float]] = {
    "A": {},
    "B": {"at_once": 1},
    "C": {"refused": 0.2},
    "D": {"hot": 0.5},
    "F": {},
    "FB": {"at_once": 1},
}
_LADDER = (1, 5, 10, 25, 50, 100, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long things are measured, and how much of everything there is.

    Attributes:
        rounds: how often each case is run.
        warm, case: seconds before a contender is measured, and of each case.
        history: finished sagas on which A is run again.
        waiting, in_flight: sagas that wait; that are under way when their worker is killed.
        lease: seconds after which that worker counts as dead.
        looks: how often each way to look is tried.
    """

    rounds: int
    warm: float
    case: float
    history: tuple[int, ...]
    waiting: int
    in_flight: int
    lease: float
    looks: int


FULL = Length(
    rounds=3,
    warm=1.5,
    case=4.0,
    history=(10_000, 100_000, 1_000_000),
    waiting=100_000,
    in_flight=10_000,
    lease=15.0,
    looks=200,
)
SMOKE = Length(
    rounds=1, warm=0.2, case=0.5, history=(100, 200), waiting=200, in_flight=100, lease=1.0, looks=10
)


def cases_of(who: str, wanted: Sequence[str]) -> list[str]:
    """Which of the wanted cases a contender runs, in order."""
    if who.endswith("-sqlite"):
        return [case for case in ("F", "FB") if case[0] in wanted]
    mine = {"ours": ("A", "B", "C", "D"), "floor": ("A",), "floor-alone": ("B",)}.get(who, ("A", "B", "C"))
    return [case for case in mine if case in wanted]


def task_of(case: str, length: Length) -> dict[str, float]:
    """What a contender is handed for a case."""
    return {"seconds": length.case, "at_once": AT_ONCE, **TASKS[case]}


async def one_round(
    place: Place, length: Length, wanted: Sequence[str]
) -> AsyncIterator[tuple[str, str, Numbers]]:
    """Each contender once: who, which case, what it took."""
    for who in CONTENDERS:
        cases = cases_of(who, wanted)
        if not cases or not place.has(who):
            continue
        try:
            async with place.contender(who) as running:
                first = task_of(cases[0], length) if who.startswith("floor") else {"seconds": length.warm}
                await running.do(**({"at_once": AT_ONCE} | first))
                for case in cases:
                    took = await running.do(**task_of(case, length))
                    yield who, case, took
        except ContenderFailed as failure:
            if who not in PEERS:
                raise
            place.gone(who, str(failure))
            tell(f"{who} is absent from here on: {failure}")


async def rounds(place: Place, length: Length, wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Medians by case and contender, with all rounds beside them."""
    seen: dict[str, dict[str, list[Numbers]]] = {}
    for number in range(1, length.rounds + 1):
        async for who, case, took in one_round(place, length, wanted):
            seen.setdefault(case, {}).setdefault(who, []).append(took)
            tell(f"round {number}  {case:<3} {who:<12} {told(took)}")
    return {
        case: {who: medians(all) | {"rounds": all} for who, all in by.items()} for case, by in seen.items()
    }


async def ladder(place: Place, length: Length) -> dict[str, dict[str, float]]:
    """Sagas a second by how many are under way, for each contender on its server: once each."""
    found: dict[str, dict[str, float]] = {}
    for who in ("ours", "dbos", "restate"):
        if not place.has(who):
            continue
        async with place.contender(who) as running:
            await running.do(seconds=length.warm, at_once=AT_ONCE)
            for at_once in _LADDER:
                took = await running.do(seconds=length.case / 2, at_once=at_once)
                found.setdefault(who, {})[str(at_once)] = took["per_second"]
                tell(f"ladder   {at_once:<3} {who:<12} {told(took)}")
    return found


def told(took: Numbers) -> str:
    """A measurement in one line."""
    times = f"p50 {took['p50'] * 1000:.1f} ms, p99 {took['p99'] * 1000:.1f} ms"
    return f"{took['per_second']:8.1f} sagas/s  {times}"


def tell(line: str) -> None:
    """A line for whoever watches."""
    print(line, flush=True)
