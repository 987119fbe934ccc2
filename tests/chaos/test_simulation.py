"""T3 in the gate: 500 seeds, and every seed that ever failed; what T3 itself promises stands beside it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from sagacity.store.memory import MemoryDatabase
from tests.chaos import deployment, t03
from tests.chaos.deployment import Result, shrunk

pytestmark = pytest.mark.simulation

SEEDS = t03.SHORT
EACH = 10


@pytest.fixture(scope="module")
def database() -> Iterator[MemoryDatabase]:
    database = MemoryDatabase()
    yield database
    database.close()


@pytest.mark.parametrize("first", range(1, SEEDS + 1, EACH))
def test_nothing_is_violated_in_any_seed(first: int, database: MemoryDatabase) -> None:
    for result in t03.played(range(first, first + EACH), database):
        assert not result.wrong, t03.report(result, database)


@pytest.mark.parametrize("case", t03.corpus(), ids=lambda case: f"seed-{case['seed']}")
def test_what_failed_once_does_not_fail_again(case: dict[str, object], database: MemoryDatabase) -> None:
    (result,) = t03.played([int(str(case["seed"]))], database)
    assert not result.wrong, f"{case['what']}\n{t03.report(result, database)}"


def test_a_seed_is_one_history(database: MemoryDatabase) -> None:
    once, again = t03.played([5, 5], database)
    assert (once.log_hash, once.fired, once.ends) == (again.log_hash, again.fired, again.ends)
    assert once.fired, "a seed without faults proves nothing"
    assert once.lines > 50


def test_a_seed_is_the_same_history_in_another_process_with_another_hash_seed() -> None:
    code = (
        "from sagacity.store.memory import MemoryDatabase\n"
        "from tests.chaos import t03\n"
        "print([result.log_hash for result in t03.played([6, 15, 17], MemoryDatabase())])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4242")
    }
    assert len(said) == 1


def test_a_failure_is_shrunk_to_the_faults_that_it_needs(
    database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = ["store.put:lost#1", "store.claim:late#2", "store.claim:late#5", "machine w1:cut#3"]

    def fails_by_one(seed: int, database: MemoryDatabase, *, off: tuple[str, ...] = ()) -> Result:
        del database
        left = [name for name in every if not {name, name.rpartition("#")[0]} & set(off)]
        return Result(seed=seed, fired=left, wrong=["I12"] if "store.claim:late#5" in left else [])

    monkeypatch.setattr(deployment, "play", fails_by_one)
    least, off = shrunk(fails_by_one(1, database), database)
    assert least.fired == ["store.claim:late#5"]
    assert set(off) == {"store.put:lost", "machine w1:cut", "store.claim:late#2"}
