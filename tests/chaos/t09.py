"""T9: the server's backends are terminated and killed under load: connections come back, nothing is lost."""

import asyncio
import os
import random
import signal
import time
from contextlib import suppress

import asyncpg

from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T9", options, _test)


async def _test(report: Report) -> None:
    gentle = report.size(500, 5_000)
    hard = max(1, gentle // 25)
    chance = random.Random(report.seed)
    inputs = chains(2 * gentle, chance, refused=0.15, seats=400)
    async with world(report, modules=["tests.chaos.flows.chain"], sagas=[Chain], lease=5.0) as made:
        await made.hire(3)
        await made.ready()
        feed = Feed(made.app, Chain, inputs, per_second=30.0)
        async with made.kept(), watched(made, lambda: ended(made)):
            feeding = asyncio.create_task(feed.run())
            report.figure("pg_terminate_backend", await _terminating(made, gentle, chance))
            report.figure("pools whole again, s", await _whole_again(made))
            report.figure("SIGKILL of one backend", await _killing(made, hard, chance))
            await feeding
            report.figure("ended after the last kill, s", await all_ended(made, within=30))
            report.figure("pools whole again after SIGKILL, s", await _whole_again(made))
        report.figure("workers that gave up themselves", sum(made.ended.values()))
        await made.dismiss()
        await judge_chains(made, feed, report)


async def _terminating(made: World, count: int, chance: random.Random) -> int:
    """One after the other, twenty-five a second; whichever serves the engine may be hit."""
    done = 0
    driver = await made.server.session()
    try:
        while done < count:
            rows = await driver.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'sagacity'")
            if rows:
                pid = chance.choice(sorted(row["pid"] for row in rows))
                done += bool(await driver.fetchval("SELECT pg_terminate_backend($1)", pid))
            await asyncio.sleep(0.04)
    finally:
        await driver.close()
    return done


async def _killing(made: World, count: int, chance: random.Random) -> int:
    """SIGKILL one backend: the server takes that for a crash, ends all others and recovers."""
    done = 0
    while done < count:
        with suppress(OSError, asyncpg.PostgresError, TimeoutError, ProcessLookupError):
            pids = await made.server.backends()
            if pids:
                os.kill(chance.choice(pids), signal.SIGKILL)
                done += 1
        await asyncio.sleep(chance.uniform(0.5, 1.0))
    return done


async def _whole_again(made: World) -> float:
    """Seconds until every worker beats again: its lease is longer than it was."""
    began = time.monotonic()
    while True:
        with suppress(Exception):
            workers = await made.app.store.workers()
            if len(workers) >= len(made.workers):
                break
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - began
    made.report.holds(seconds < 60, f"the workers were not back for {seconds:.0f} s")
    return seconds
