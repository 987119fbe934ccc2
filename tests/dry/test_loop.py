"""The loop of a dry run: real threads for plain steps, and nothing that they leave behind holds it up."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sagacity.dry.loop import DryLoop
from sagacity.testing.chance import Chance
from sagacity.testing.loop import SimulatedLoop


async def never_closed() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        await asyncio.get_running_loop().create_future()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", [DryLoop, SimulatedLoop])
def test_a_generator_that_is_collected_in_a_plain_step_is_no_question_of_that_step(
    kind: type[SimulatedLoop],
) -> None:
    loop = kind(Chance(1, "order"))
    kept: list[AsyncIterator[int]] = []

    async def story() -> list[str]:
        kept.append(never_closed())
        await anext(kept[0])
        first = await asyncio.to_thread(collects)
        return [first, await asyncio.to_thread(lambda: "and on")]

    def collects() -> str:
        kept.clear()
        return "collected"

    try:
        assert loop.run_until_complete(story()) == ["collected", "and on"]
    finally:
        loop.bury()
        loop.close()
