"""T6: a worker is killed every second: what was acknowledged is there, nothing happens twice."""

import asyncio
import random
import time

from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T6", options, _test)


async def _test(report: Report) -> None:
    kills = report.size(60, 600)
    sagas, seconds = 33 * kills, float(kills)
    chance = random.Random(report.seed)
    inputs = chains(sagas, chance, refused=0.15, seats=400)
    async with world(report, modules=["tests.chaos.flows.chain"], sagas=[Chain], lease=4.0) as made:
        await made.hire(4)
        await made.ready()
        feed = Feed(made.app, Chain, inputs, per_second=sagas / seconds)
        async with made.kept(), watched(made, lambda: ended(made)):
            report.say("4 workers are up; killing begins")
            kills = await _killing(made, feed, chance)
            report.figure("kill -9 of workers", kills)
            report.figure("workers that gave up themselves", sum(made.ended.values()) - kills)
            report.say(f"{kills} kills, {await ended(made)} sagas have ended; the rest has 30 s")
            report.figure("ended after the last kill, s", await all_ended(made, within=30))
        await made.dismiss()
        await judge_chains(made, feed, report)


async def _killing(made: World, feed: Feed, chance: random.Random) -> int:
    """One SIGKILL a second while sagas come in; each victim's place is filled again."""
    kills = 0
    feeding = asyncio.create_task(feed.run())
    while not feeding.done():
        began = time.monotonic()
        victim = chance.choice(made.workers)
        if victim.alive:
            await victim.kill()
            kills += 1
        await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
    await feeding
    return kills
