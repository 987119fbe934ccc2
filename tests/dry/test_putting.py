"""Dry runs are put away together where they follow one another, and at once where they do not."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sagacity.dry.orders import Answer
from sagacity.dry.process import _Putting
from sagacity.testing import until


class Shelf:
    """Notes what is put away in one write."""

    def __init__(self) -> None:
        self.writes: list[list[Any]] = []

    async def put(self, runs: Sequence[Any]) -> None:
        """As the real one."""
        self.writes.append(list(runs))

    async def close(self) -> None:
        """Nothing to let go of."""


def _run(n: int) -> tuple[Answer, Any]:
    return Answer(said=str(n)), n


async def _putting(shelf: Shelf, said: list[str | None]) -> tuple[_Putting, asyncio.Task[None]]:
    putting = _Putting(None, lambda answer: said.append(answer.said), notices=False)
    kept: Any = shelf
    putting._shelf = kept
    return putting, asyncio.create_task(putting._run())


async def test_runs_behind_which_others_are_played_are_put_away_in_one_write_and_told_in_order() -> None:
    shelf, said = Shelf(), list[str | None]()
    putting, task = await _putting(shelf, said)
    putting.more = True
    for n in range(5):
        await putting.put(_run(n))
        await asyncio.sleep(0)
    assert said == []
    putting.more = False
    await putting.put(_run(5))
    await putting.put(None)
    await task
    assert shelf.writes == [[0, 1, 2, 3, 4, 5]]
    assert said == ["0", "1", "2", "3", "4", "5"]


async def test_a_lone_run_waits_for_no_other() -> None:
    shelf, said = Shelf(), list[str | None]()
    putting, task = await _putting(shelf, said)
    await putting.put(_run(0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert (shelf.writes, said) == ([[0]], ["0"])
    await putting.put(None)
    await task


async def test_a_run_behind_which_one_hangs_is_put_away_all_the_same() -> None:
    shelf, said = Shelf(), list[str | None]()
    putting, task = await _putting(shelf, said)
    putting.more = True
    await putting.put(_run(0))
    await until(lambda: bool(said))
    assert shelf.writes == [[0]]
    await putting.put(None)
    await task
