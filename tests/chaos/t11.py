"""T11: connections are cut at each byte of a commit, reset, starved, silenced: nobody guesses what landed."""

import asyncio
import random
import time
from urllib.parse import urlsplit

from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.proxy import Line, Proxy
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world

NOTICED = 10.0
"""Seconds in which a dead link must be noticed: a new connection is tried."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T11", options, _test)


async def _test(report: Report) -> None:
    offsets, silence = report.size(200, 2_000), 12.0 if report.short else 30.0
    chance = random.Random(report.seed)
    async with world(report, modules=["tests.chaos.flows.chain"], sagas=[Chain], lease=5.0) as made:
        database, outside = urlsplit(made.store).port, urlsplit(made.urls["till"]).port
        assert database is not None
        assert outside is not None
        async with Proxy(database) as data, Proxy(outside) as calls:
            # One worker stands behind both proxies; one, in good health, takes over what that one loses.
            behind = made.store.replace(f":{database}/", f":{data.port}/")
            await made.hire(1, SAGACITY_STORE=behind, SAGACITY_TILL_URL=f"http://127.0.0.1:{calls.port}")
            await made.ready()
            feed = Feed(made.app, Chain, chains(100_000, chance, refused=0.15, seats=4_000), per_second=12.0)
            async with made.kept(), watched(made, lambda: ended(made)):
                feeding = asyncio.create_task(feed.run())
                await _cutting(made, data, offsets)
                await made.hire(1)
                await _worse(made, data, calls, silence, chance)
                feed.enough.set()
                await feeding
                report.figure("ended after the last fault, s", await all_ended(made, within=60))
            report.figure("workers that gave up themselves", sum(made.ended.values()))
            await made.dismiss()
            await judge_chains(made, feed, report)


# --- cut at each byte -------------------------------------------------------------------------------


class Knife:
    """Cuts the next commit at a share of its length: a batch, or a plain commit."""

    def __init__(self, *, batch: bool, at: float) -> None:
        self.kind = "batch" if batch else "commit"
        self.at = at
        self.cut: tuple[int, int] | None = None
        self.done = asyncio.Event()

    def __call__(self, line: Line, data: bytes) -> int | None:
        kind = "batch" if data[:1] == b"B" and len(data) > 600 else "commit" if b"COMMIT;" in data else ""
        if kind != self.kind or self.cut is not None:
            return None
        self.cut = (round(self.at * len(data)), len(data))
        self.done.set()
        return self.cut[0]


async def _cutting(made: World, proxy: Proxy, offsets: int) -> None:
    """Cut commits at `offsets` evenly spread places, first and last byte included."""
    began = time.monotonic()
    done: list[Knife] = []
    for number in range(offsets):
        knife = proxy.cut = Knife(batch=number % 4 != 3, at=(number // 2 * 2) / (offsets - 2))
        try:
            async with asyncio.timeout(60):
                await knife.done.wait()
        except TimeoutError:
            made.report.blame(f"no {knife.kind} came for a minute after {number} cuts")
            break
        done.append(knife)
    proxy.cut = None
    kinds = [knife.kind for knife in done]
    whole = sum(knife.cut is not None and knife.cut[0] == knife.cut[1] for knife in done)
    made.report.figure("batches cut", kinds.count("batch"))
    made.report.figure("plain commits cut", kinds.count("commit"))
    made.report.figure("of these sent whole, with the answer lost", whole)
    made.report.say(f"{len(kinds)} cuts in {time.monotonic() - began:.0f} s")


# --- and worse --------------------------------------------------------------------------------------


async def _worse(made: World, data: Proxy, calls: Proxy, silence: float, chance: random.Random) -> None:
    """Resets, slowness, silence both ways and one way, on the database's line and on the outside's."""
    for _ in range(10):
        data.reset()
        calls.reset()
        await asyncio.sleep(chance.uniform(0.2, 0.6))
    data.rate = 1_024
    await asyncio.sleep(silence / 2)
    data.rate = 0
    for up, down in ((True, True), (False, True), (True, False)):
        await _well(made)
        noticed = await _silent(data, up, down, silence)
        way = "both ways" if up and down else "upwards" if up else "downwards"
        made.report.figure(f"silence {way}: noticed after, s", noticed)
        made.report.holds(noticed < NOTICED + 2, f"silence {way} was noticed after {noticed:.1f} s only")
        await asyncio.sleep(3)
    calls.silent_down = True
    await asyncio.sleep(silence / 2)
    calls.silent_down = False


async def _well(made: World) -> None:
    """Until both workers are at work: who is only just connecting has ten seconds for that alone."""
    async with asyncio.timeout(60):
        while any(child.young or not child.alive for child in made.workers):  # noqa: ASYNC110 - processes
            await asyncio.sleep(0.2)
        while len(await made.app.store.workers()) < len(made.workers):  # noqa: ASYNC110 - rows
            await asyncio.sleep(0.2)


async def _silent(proxy: Proxy, up: bool, down: bool, seconds: float) -> float:
    """Swallow bytes for that long; after how long a new connection was tried."""
    before, began, noticed = proxy.count, time.monotonic(), 99.0
    proxy.silent_up, proxy.silent_down = up, down
    while time.monotonic() - began < max(seconds, NOTICED + 2):
        if noticed == 99.0 and proxy.count > before:
            noticed = time.monotonic() - began
        await asyncio.sleep(0.05)
    proxy.silent_up = proxy.silent_down = False
    return noticed
