"""What an operator waits for: `python -m benchmarks.desk --store postgres|sqlite [--sagas 1000000]`.

Lays a history (nine tenths finished, one tenth waiting for a signal that is long overdue), lets some sagas
get stuck in truth, serves it with `sagacity serve` in a process of its own, and asks over HTTP what the
pages ask: attention and lists, by API and as pages, and single sagas. Prints for each question the first
answer (nothing cached), the median and the slowest, in milliseconds, and what it counted.
"""

import argparse
import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import perf_counter
from typing import Any

import httpx2
from pydantic import BaseModel

from benchmarks.contender import quantile
from benchmarks.flow import Outside, Reservation
from benchmarks.growth import lay, python
from benchmarks.measure import ROOT
from benchmarks.ours import worker_at
from benchmarks.place import Place, place
from benchmarks.rounds import tell
from sagacity import Compensation, Refused, Saga, State, step
from sagacity.handle import Handle
from sagacity.testing import settled

_LONG = 120.0


class Jam(BaseModel):
    """What jams; its key."""

    name: str


class Fails(Compensation, safe_on_nothing=True):
    """Gives up at once."""

    async def run(self, jam: Jam, reserved: Reservation | None) -> None:
        """The outside says no."""
        raise Refused("the warehouse does not take it back")


class Jams(Saga, version=1, key="name"):
    """Is refused, goes back, and cannot."""

    class Input(Jam):
        """As it is."""

    begun = State(initial=True)
    half = State()
    whole = State(final=True)

    reserve = begun.to(half)
    refuse = half.to(whole)

    @step(reserve, undo=Fails)
    async def reserve_goods(self, jam: Input, outside: Outside) -> Reservation:
        """What will stand outside."""
        return await outside.reserve(jam.name)

    @step(refuse)
    def look(self, jam: Input) -> None:
        """Why it goes back."""
        raise Refused("not today")


async def _jam(url: str, count: int) -> None:
    """Let so many sagas get stuck, by a worker."""
    logging.getLogger("sagacity").setLevel(logging.ERROR)  # each is told of, and these are meant
    async with worker_at(url, Jams) as sagas:
        jams = [(None, {"name": f"jam-{n}"}) for n in range(count)]
        for one in await sagas.start_many(Jams, jams):
            if not isinstance(one, Handle):
                raise one
            await settled(sagas, one.id)


@contextmanager
def served(url: str) -> Iterator[str]:
    """A server process; its address."""
    env = os.environ | {"SAGACITY_STORE": url, "PYTHONPATH": f"{ROOT / 'engine'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "sagacity", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=env, text=True, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            told = (found[1] for line in process.stderr if (found := re.search(r"serving (\S+)/v1/", line)))
            address = next(told, None)
            if address is None:
                raise RuntimeError(f"the server ended with {process.wait()}")
            reading = Thread(target=process.stderr.read)  # so that it can say more
            reading.start()
            yield address
        finally:
            process.terminate()
        reading.join()


async def _questions(ask: httpx2.AsyncClient) -> dict[str, str]:
    """What is asked, by name."""
    page = (await ask.get("/v1/sagas")).json()
    stuck = (await ask.get("/v1/sagas", params={"status": "stuck"})).json()["items"][0]["id"]
    return {
        "attention, page": "/",
        "attention, API": "/v1/attention",
        "list, page": "/sagas",
        "list, API": "/v1/sagas",
        "list, next": f"/v1/sagas?cursor={page['next']}",
        "list, stuck": "/sagas?status=stuck",
        "list, waiting": "/sagas?status=waiting",
        "list, a flow": "/sagas?definition=Measured",
        "a stuck saga": f"/sagas/{stuck}",
    }


async def _asked(address: str, count: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    async with httpx2.AsyncClient(base_url=address, timeout=_LONG) as ask:
        for name, path in (await _questions(ask)).items():
            times: list[float] = []
            for _ in range(count):
                since = perf_counter()
                (await ask.get(path)).raise_for_status()
                times.append(1000 * (perf_counter() - since))
            found[name] = {"first": times[0], "p50": quantile(sorted(times), 0.5), "most": max(times)}
        for group in (await ask.get("/v1/attention")).json()["items"]:
            least = "" if group["exact"] else "at least "
            tell(f"desk     {group['kind']}: {least}{group['count']}  ({group['what'][:60]})")
    return found


def _filled(url: str, kind: str, sagas: int) -> tuple[str, ...]:
    return "benchmarks.fill", "--store", url, "--kind", kind, "--sagas", str(sagas)


async def measure(place: Place, store: str, sagas: int, stuck: int, count: int) -> dict[str, Any]:
    """Milliseconds by question."""
    with place.database() if store == "postgres" else place.file() as url:
        waits = sagas // 10
        since = perf_counter()
        if store == "postgres":
            await lay(url, sagas - waits, first_chain=1000)
        else:  # one process: SQLite has one writer
            await python(url, *_filled(url, "measured", sagas - waits))
        await python(url, *_filled(url, "waiting", waits))
        await _jam(url, stuck)
        tell(f"desk     {sagas} sagas laid, {stuck} stuck, in {perf_counter() - since:.0f} s")
        with served(url) as address:
            found = await _asked(address, count)
    for name, took in found.items():
        told = ", ".join(f"{which} {ms:.0f} ms" for which, ms in took.items())
        tell(f"desk     {store:<9} {name:<16} {told}")
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.desk", description=__doc__)
    parser.add_argument("--store", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--sagas", type=int, default=1_000_000)
    parser.add_argument("--stuck", type=int, default=600)
    parser.add_argument("--count", type=int, default=50, help="how often each question is asked")
    given = parser.parse_args()
    if given.sagas < 20 or given.stuck < 1 or given.count < 1:
        parser.error("give at least 20 sagas, 1 that is stuck, and ask each question once")
    with place(peers=False) as here:
        found = asyncio.run(measure(here, given.store, given.sagas, given.stuck, given.count))
    print(json.dumps({"store": given.store, "sagas": given.sagas, "ms": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
