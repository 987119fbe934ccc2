"""T16: the outside is slow, broken, silent, and lies: each effect is once, nothing waits in the database."""

import asyncio
import random
import statistics
from typing import Any

from tests.chaos.__main__ import Options
from tests.chaos.flows.rough import Rough
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.oracle import all_sagas, judge_ends, judge_ledger, judge_locks, judge_log
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world

BAD: dict[str, dict[str, float]] = {
    "half of all calls answer 503": {"broken": 0.5},
    "a fifth are done and never answered": {"lost": 0.2},
    "a fifth answer 500 and are done later": {"late": 0.2, "late_after": 0.4},
    "a tenth hang for longer than a step may take": {"hang": 0.1, "hang_for": 20.0},
    "all are slow": {"slow": 1.0, "least": 0.2, "most": 1.5},
    "all of it": {"broken": 0.2, "lost": 0.1, "late": 0.1, "late_after": 0.4, "hang": 0.03, "hang_for": 20.0},
}


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T16", options, _test)


async def _test(report: Report) -> None:
    count = report.size(480, 6_000)
    chance = random.Random(report.seed)
    inputs = chains(count, chance, refused=0.25, seats=count)
    module = "tests.chaos.flows.rough"
    async with world(report, modules=[module], sagas=[Rough], lease=8.0) as made:
        await made.hire(2)
        await made.ready()
        open_: list[int] = []
        async with watched(made, lambda: ended(made)):
            looking = asyncio.create_task(_look(made, open_))
            each = count // len(BAD)
            for number, (name, faults) in enumerate(BAD.items()):
                report.say(name)
                await made.faults("till", **faults)
                lot = inputs[number * each : (number + 1) * each]
                await Feed(made.app, Rough, lot, per_second=1e6).run()
                await asyncio.sleep(4)
            await made.faults()
            report.figure("ended after the outside was well, s", await all_ended(made, within=90))
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await made.dismiss()
        report.figure("transactions open while the outside is waited for, median", statistics.median(open_))
        report.holds(statistics.median(open_) == 0, "database transactions stay open during calls outside")
        await _judge(made, report, inputs[: each * len(BAD)])


async def _look(made: World, seen: list[int]) -> None:
    """How many of the engine's connections sit idle inside a transaction, again and again."""
    driver = await made.server.session()
    try:
        while True:
            ask = (
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sagacity' "
                "AND state = 'idle in transaction' AND now() - state_change > interval '1 second'"
            )
            seen.append(await driver.fetchval(ask))
            await asyncio.sleep(0.2)
    finally:
        await driver.close()


async def _judge(made: World, report: Report, inputs: list[dict[str, Any]]) -> None:
    sagas = await all_sagas(made.app, "Rough")
    feed = Feed(made.app, Rough, inputs, per_second=1.0)
    judge_ends(sagas, feed.wanted, list(feed.inputs), report)
    judge_ledger(made.ledger, sagas, report, steps=3)
    await judge_locks(made.app, report)
    await judge_log(made.app, report, ledger=made.ledger)
