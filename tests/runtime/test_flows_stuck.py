"""A compensation that gives up, end to end."""

from pathlib import Path

from tests.shown.giving_up import stuck_until_mended
from tests.shown.world import World


async def test_it_is_stuck_with_its_locks_until_an_operator_sends_it_on(tmp_path: Path) -> None:
    await stuck_until_mended(World(tmp_path))
