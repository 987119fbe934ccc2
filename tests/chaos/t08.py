"""T8: PostgreSQL is killed and restarted all the time under API load: no request fails, nothing is lost."""

import asyncio
import random
import time

from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.calls import Client
from tests.chaos.harness.load import chains
from tests.chaos.harness.machine import measured
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world

RATE = 50.0


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T8", options, _test)


async def _test(report: Report) -> None:
    restarts = report.size(50, 300)
    chance = random.Random(report.seed)
    async with world(report, modules=["tests.chaos.flows.chain"], sagas=[Chain], lease=5.0) as made:
        await made.hire(2)
        url = await made.serve(SAGACITY_PATIENCE="10")
        await made.ready()
        client = Client(url, chains(100_000, chance, refused=0.1, seats=2_000), chance)
        async with made.kept(), watched(made, lambda: ended(made)):
            # Where others have most of the machine, no API on it can take fifty requests a second.
            rate = max(10.0, RATE * (1 - (await measured()).others))
            report.figure("API requests a second", rate)
            loading = asyncio.create_task(client.load(rate))
            opened = await _restarting(made, restarts, chance, long=not report.short)
            client.enough.set()
            await loading
            report.figure("PostgreSQL restarts", made.server.restarts)
            report.figure("workers that gave up themselves", sum(made.ended.values()))
            client.judge(report, opened)
            report.figure("ended after the last restart, s", await all_ended(made, within=30))
        await made.dismiss()
        await judge_chains(made, client, report)


async def _restarting(made: World, restarts: int, chance: random.Random, *, long: bool) -> list[float]:
    """Kill it or stop it the immediate way, again and again; when each start let connections in."""
    opened: list[float] = []
    for number in range(restarts):
        await asyncio.sleep(chance.uniform(2, 6 if long else 3.2))
        if chance.random() < 0.5:
            await made.server.kill()
        else:
            await made.server.immediate()
        await asyncio.sleep(chance.uniform(0, 2 if long else 0.8))
        await made.server.restart()
        opened.append(time.monotonic())
        if number % 10 == 9:
            made.report.say(f"{number + 1} restarts")
    return opened
