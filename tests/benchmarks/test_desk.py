"""What an operator waits for is asked of a server that really serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.desk import measure


class Stand:
    """A place with nothing but files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def file(self) -> Iterator[str]:
        """The URL of a file that does not exist yet."""
        yield f"sqlite:///{self.folder}/sagas.db"


async def test_every_question_of_a_desk_is_answered_by_a_server_of_a_laid_store(
    tmp_path: Path, capfd: Any
) -> None:
    stand: Any = Stand(tmp_path)
    found = await measure(stand, "sqlite", 60, stuck=3, count=2)
    assert len(found) == 9
    assert all(0 < took["p50"] <= took["most"] for took in found.values())
    said = capfd.readouterr()
    assert "undo_failed: 3 " in said.out + said.err
    assert "unserved: 6 " in said.out + said.err
