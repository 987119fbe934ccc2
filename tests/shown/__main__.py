"""Shows what must be shown, with the full figures: `python -m tests.shown 5`; without a number, all of it.

Each runs in a folder of its own with real services and real processes; with `--store postgres`, on a private
server. The same scenes run small in `make test`.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sagacity.store.private import PrivatePostgres
from tests.shown import giving_up, offboardings, orders, rehearsals, transfers
from tests.shown.world import REAL_ORDERS, ROOT, Clock, World

Scene = Callable[[World], Awaitable[object]]
LIMIT = 1200.0
LEASE = 15.0


def _orders() -> Path:
    return REAL_ORDERS if REAL_ORDERS.exists() else ROOT / "sagas" / "sample_orders.jsonl"


ORDERS = {"dry": 1937}
"""How many orders a scene takes, where one can say."""


async def rehearsed(world: World) -> object:
    """In two worlds on one server, or on two files: one with dry runs, one without."""
    postgres = world.store.startswith("postgresql")
    folder = world.folder / "plain"
    folder.mkdir()
    url = _SERVER[0].create_database("plain") if postgres else None
    plain = World(folder, store=url, lease=LEASE, limit=LIMIT)
    if postgres:
        plain.sagacity("migrate")
    server = int((_SERVER[0].home / "data" / "postmaster.pid").read_text().split()[0]) if postgres else None
    return await rehearsals.rehearsed_while_they_run(
        world, plain, _orders(), count=ORDERS["dry"], server=server
    )


_SERVER: list[PrivatePostgres] = []


SCENES: dict[str, tuple[str, Scene]] = {
    "1": ("real orders, and a second run", lambda world: orders.once_and_again(world, _orders())),
    "4": ("killed in the middle", lambda world: orders.killed_midway(world, _orders(), at=0.5)),
    "5": ("10,000 transfers", lambda world: transfers.exact_to_the_cent(world, transfers.FULL)),
    "6": ("20 offboardings", lambda world: offboardings.killed_and_resumed(world, offboardings.FULL)),
    "dry": ("orders rehearsed while they run", rehearsed),
    "7": ("a compensation that gives up", giving_up.stuck_until_mended),
}


@contextmanager
def _store(kind: str) -> Iterator[str | None]:
    if kind == "sqlite":
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="sagacity-shown-pg-"))
    with PrivatePostgres(folder) as server:
        _SERVER[:] = [server]
        yield server.create_database("shown")
    shutil.rmtree(folder)


def show(number: str, store: str) -> None:
    """Play one scene, and say what came of it."""
    what, scene = SCENES[number]
    print(f"{number}. {what} ({store})", flush=True)
    folder = Path(tempfile.mkdtemp(prefix=f"sagacity-shown-{number}-"))
    clock = Clock()
    with _store(store) as url:
        world = World(folder, store=url, lease=LEASE, limit=LIMIT)
        if url is not None:
            world.sagacity("migrate")
        seen = asyncio.run(_awaited(scene(world)))
    print(f"   held, after {clock}" + (f": {seen}" if seen is not None else ""), flush=True)
    shutil.rmtree(folder)


async def _awaited(made: Awaitable[object]) -> object:
    return await made


def main() -> int:
    """Show what was asked for; a scene that does not hold ends with its assertion."""
    parser = argparse.ArgumentParser(prog="python -m tests.shown", description=__doc__)
    parser.add_argument("number", nargs="*", choices=[*SCENES, []], help="default: all")
    parser.add_argument("--orders", type=int, default=ORDERS["dry"], help="for `dry`: how many")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    given = parser.parse_args()
    ORDERS["dry"] = given.orders
    for number in given.number or SCENES:
        show(number, given.store)
    return 0


if __name__ == "__main__":
    sys.exit(main())
