"""T7: workers sleep for longer than their lease and wake up: what they still want to write is refused."""

import asyncio
import random
import re
import signal
import time

from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.processes import Child
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world

LEASE = 1.0
REFUSED = re.compile(r"saga\.lost|was taken over|taken for dead")
"""What a worker says when its late result was refused."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T7", options, _test)


async def _test(report: Report) -> None:
    naps = report.size(100, 1_000)
    chance = random.Random(report.seed)
    inputs = chains(12 * naps, chance, refused=0.15, seats=500)
    async with world(report, modules=["tests.chaos.flows.chain"], sagas=[Chain], lease=LEASE) as made:
        # A call outside takes a while, so that a worker is asleep in the midst of it.
        await made.faults(slow=1.0, least=0.02, most=0.15)
        await made.hire(4)
        await made.ready()
        feed = Feed(made.app, Chain, inputs, per_second=12.0)
        async with made.kept(), watched(made, lambda: ended(made)):
            feeding = asyncio.create_task(feed.run())
            slept = await _napping(made, naps, chance)
            await feeding
            report.figure("SIGSTOP past the lease", slept)
            report.figure("ended after the last nap, s", await all_ended(made, within=30))
        await made.dismiss()
        refused = sum(len(REFUSED.findall(child.log.read_text())) for child in made.workers)
        report.figure("late results refused", refused)
        report.holds(refused >= naps // 2, f"only {refused} late results were refused: it does not bite")
        await judge_chains(made, feed, report)


async def _napping(made: World, naps: int, chance: random.Random) -> int:
    """Two of the four at a time sleep 1.5 to 3 leases; one that gave up is started anew by its keeper."""
    left = naps

    async def nap(pair: list[Child]) -> None:
        nonlocal left
        while left > 0:
            child = chance.choice(pair)
            if child.send(signal.SIGSTOP):
                left -= 1
                await asyncio.sleep(chance.uniform(1.5, 3.0) * LEASE)
                child.send(signal.SIGCONT)
            await asyncio.sleep(chance.uniform(0.3, 0.8))

    began = time.monotonic()
    await asyncio.gather(nap(made.workers[:2]), nap(made.workers[2:]))
    made.report.say(f"{naps - left} naps in {time.monotonic() - began:.0f} s")
    return naps - left
