"""Recovery: a worker with 10,000 sagas in flight is killed; how long until another one has moved them all."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any, ClassVar, Self

import asyncpg
from pydantic import BaseModel
from sqlalchemy.engine import make_url

from benchmarks.contender import tasks
from benchmarks.ours import worker_at
from benchmarks.place import Place
from benchmarks.rounds import Length, tell
from sagacity import External, Saga, State, effect, loops, step
from sagacity.definition.external import ExternalSettings, NotLanded

_HOLD = "SAGACITY_BENCH_HOLD"
_FOR_EVER = 3600.0
_LOOK = 0.05
_MANY = 120.0


class Gate(External):
    """An outside that answers at once, or never."""

    inside: ClassVar[asyncio.Semaphore] = asyncio.Semaphore(0)

    @classmethod
    async def connect(cls, settings: ExternalSettings) -> Self:
        """Nothing to connect to."""
        return cls()

    async def probe(self, key: str) -> NotLanded:
        """Who was killed in the middle has done nothing."""
        return NotLanded()

    @effect(inverse="leave")
    async def enter(self, name: str, *, key: str) -> str:
        """Answers, or does not come back."""
        Gate.inside.release()
        if os.environ.get(_HOLD):
            await asyncio.sleep(_FOR_EVER)
        return name

    @effect(safe_on_nothing=True)
    async def leave(self, name: str | None, *, undoes: str) -> None:
        """Takes it back."""

    class Mock:
        """Answers the same."""

        async def enter(self, name: str) -> str:
            """Answers."""
            return name

        async def leave(self, name: str | None) -> None:
            """Takes it back."""


class Held(Saga, version=1, key="name"):
    """One effect."""

    class Input(BaseModel):
        """Its key."""

        name: str

    outside = State(initial=True)
    inside = State(final=True)

    go_in = outside.to(inside)

    @step(go_in, undo=Gate.leave)
    async def enter(self, held: Input, gate: Gate) -> str:
        """The step in which the worker dies."""
        return await gate.enter(held.name)


async def recovery(place: Place, length: Length) -> dict[str, float]:
    """Seconds from the kill until no saga stands where it stood, and until all have ended."""
    with place.database() as url:
        arguments = ("--store", url, "--lease", str(length.lease), "--at-once", str(length.in_flight))
        async with place.program("recovery", *arguments, "--hold") as first:
            await first.do(start=length.in_flight)
            async with place.program("recovery", *arguments) as second:
                first.kill()
                found = await second.do(expect=length.in_flight)
    found |= {"in_flight": length.in_flight, "lease": length.lease}
    tell(f"recovery {length.in_flight:<8} all move after {found['moving']:.1f} s, lease {length.lease:.0f} s")
    return found


async def start(sagas: Any, count: int) -> None:
    """Start so many, and wait until each is in the middle of its effect."""
    await sagas.start_many(Held, [(None, {"name": f"held-{n}"}) for n in range(count)])
    async with asyncio.timeout(_MANY):
        for _ in range(count):
            await Gate.inside.acquire()


async def watch(url: str, count: int) -> dict[str, float]:
    """When the last saga has a new line, and when the last one has ended; from now, in seconds."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    driver: Any = await asyncpg.connect(plain)
    since, then = perf_counter(), await driver.fetchval("SELECT now()")
    found: dict[str, float] = {}
    async with asyncio.timeout(_MANY):
        while "ended" not in found:
            stood, open = await driver.fetchrow(
                "SELECT count(*) FILTER (WHERE updated_at < $1), count(*) FILTER (WHERE status = 'running')"
                " FROM saga",
                then,
            )
            if not stood:
                found.setdefault("moving", perf_counter() - since)
            if not open:
                found["ended"] = perf_counter() - since
            await asyncio.sleep(_LOOK)
    committed = await driver.fetchval("SELECT count(*) FROM saga WHERE status = 'committed'")
    await driver.close()
    if committed != count:
        raise RuntimeError(f"{committed} of {count} sagas were committed")
    return found


async def main(url: str, settings: Mapping[str, Any]) -> None:
    """Take a task: `start` so many, or `expect` so many to move."""
    async with worker_at(url, Held, **settings) as sagas:

        async def perform(given: dict[str, int]) -> dict[str, float]:
            if "start" in given:
                await start(sagas, given["start"])
                return {}
            return await watch(url, given["expect"])

        await tasks(perform)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--store", required=True, help="postgresql://…")
    parser.add_argument("--lease", required=True, help="seconds")
    parser.add_argument("--at-once", type=int, required=True, help="sagas that a worker runs at once")
    parser.add_argument("--hold", action="store_true", help="the effect never comes back")
    given = parser.parse_args()
    if given.hold:
        os.environ[_HOLD] = "1"
    sys.exit(loops.run(main(given.store, {"lease": given.lease, "concurrency": given.at_once})))
