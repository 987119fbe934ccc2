"""A compensation that gives up: the saga is stuck, keeps its locks, and `retry` ends it."""

import shutil
from pathlib import Path

from sagacity.model.record import Status
from tests.shown.world import World

FLOW = Path(__file__).with_name("fragile.py")


async def stuck_until_mended(world: World) -> None:
    """Let the undo fail, look at the stuck saga, mend the machine, send it on."""
    shutil.copy(FLOW, world.folder / "fragile.py")
    summary = world.run("fragile.py:Fragile", [{"part": "P-1"}], expect=1)
    assert (summary["stuck"], summary["locks_held"], summary["rolled_back"]) == (1, 1, 0)
    async with world.looking() as app:
        view = await app.show((await world.sagas("Fragile"))["P-1"].id)
        [lock] = await app.locks()
    assert view.status is Status.STUCK
    assert "the machine is broken" in f"{view.why} {view.error}"
    assert (lock.object, lock.held) == ("part:P-1", True)
    assert "retry" in view.allowed
    assert "P-1" in world.sagacity("show", "P-1")

    again = world.run("fragile.py:Fragile", [{"part": "P-1"}], expect=1)
    assert (again["started"], again["stuck"]) == (0, 1), "nothing moves it by itself"

    (world.folder / "mended").touch()
    world.sagacity("retry", "P-1", "--reason", "the machine was mended")
    ended = world.run("fragile.py:Fragile", [{"part": "P-1"}])
    assert (ended["started"], ended["rolled_back"], ended["stuck"], ended["locks_held"]) == (0, 1, 0, 0)
    assert not (world.folder / "done").exists()
    story = world.sagacity("log", "P-1")
    assert "the machine was mended" in story
