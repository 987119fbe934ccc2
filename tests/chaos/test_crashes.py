"""T4 in the gate: every way through the reference flows survives a death at each call, and a second one."""

from collections.abc import Iterator

import pytest

from sagacity.store.memory import MemoryDatabase
from tests.chaos import t04
from tests.chaos.crashes import SCENARIOS
from tests.chaos.unknowns import unanswered

pytestmark = pytest.mark.simulation

PARTS = 6


@pytest.fixture(scope="module")
def database() -> Iterator[MemoryDatabase]:
    database = MemoryDatabase()
    yield database
    database.close()


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[s.name for s in SCENARIOS])
def test_a_death_at_any_call_changes_no_end(number: int, part: int, database: MemoryDatabase) -> None:
    swept = t04.swept(number, database, second=t04.SECOND, part=(part, PARTS))
    assert swept.wrong == []
    assert swept.died == swept.points > 5  # of a sixth of the way
    assert swept.twice > swept.points // 2


def test_one_answer_in_five_that_never_comes_loses_and_doubles_nothing(database: MemoryDatabase) -> None:
    wrong, figures = unanswered(database, sagas=150, seed=3)
    assert wrong == []
    assert figures["unknown calls"] > 50
    assert figures["unknown writes"] > 0
