"""Offboardings end to end, on the application's own tables."""

from pathlib import Path

import pytest

from tests.shown.offboardings import SMALL, cancelled, killed_and_resumed
from tests.shown.world import World

pytestmark = pytest.mark.timeout(300)


async def test_killed_in_the_middle_and_resumed_every_row_changes_once(tmp_path: Path) -> None:
    await killed_and_resumed(World(tmp_path), SMALL)


async def test_killed_and_resumed_on_postgresql(tmp_path: Path, pg_url: str) -> None:
    await killed_and_resumed(World(tmp_path, store=pg_url, accept_loss=True), SMALL)


async def test_a_cancelled_one_leaves_rows_and_clusters_as_they_were(tmp_path: Path) -> None:
    await cancelled(World(tmp_path), SMALL)


async def test_on_postgresql_nobody_else_writes_a_row_that_is_in_transaction(
    tmp_path: Path, pg_url: str
) -> None:
    await cancelled(World(tmp_path, store=pg_url, accept_loss=True), SMALL, guarded=True)
