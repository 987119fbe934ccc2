"""T17: hundreds of sagas queue for one hot object: those on cold ones hardly notice, and nobody overtakes."""

import asyncio
import time
from typing import Any

from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.load import Feed
from tests.chaos.harness.machine import Share
from tests.chaos.harness.oracle import all_sagas, judge_ledger, judge_locks, judge_log
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world

MOST_OVERTAKEN = 10


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T17", options, _test)


async def _test(report: Report) -> None:
    count = report.size(500, 2_000)
    async with world(report, modules=["tests.chaos.flows.chain"], sagas=[Chain], lease=8.0) as made:
        # A call outside takes longer than all that the engine does: a queue costs time, not work.
        await made.faults(slow=1.0, least=0.01, most=0.03)
        await made.hire(1, SAGACITY_CONCURRENCY="50")
        await made.ready()
        async with watched(made, lambda: ended(made)):
            base = await _cold(made, count, "alone")
            hot = [{"name": f"h{n}", "seat": "hot"} for n in range(count)]
            await Feed(made.app, Chain, hot, per_second=1e6).run()
            await _all_queue(made, count)
            mixed = await _cold(made, count, "beside")
            lines = await _connections(made)
            report.figure("cold sagas per second, alone", base)
            report.figure("cold sagas per second, beside the convoy", mixed)
            report.figure("cold throughput beside the convoy, % of alone", 100 * mixed / base)
            report.figure("connections while hundreds wait", lines)
            report.holds(lines <= 25, f"{lines} connections are open while {count} sagas wait")
            await all_ended(made, within=300)
        await made.dismiss()
        await _overtaking(made, report, count)
        ends = await all_sagas(made.app)
        judge_ledger(made.ledger, ends, report)
        await judge_locks(made.app, report)
        await judge_log(made.app, report, ledger=made.ledger)


async def _cold(made: World, count: int, name: str) -> float:
    """Sagas with an object each, all at once: how many end a second, of a machine of our own."""
    inputs = [{"name": f"{name}{n}", "seat": f"{name}{n}"} for n in range(count)]
    share, began = Share(), time.monotonic()
    await Feed(made.app, Chain, inputs, per_second=1e6).run()
    driver = await made.server.session()
    try:
        ask = "SELECT count(*) FROM saga WHERE key LIKE $1 AND status = 'committed'"
        while await driver.fetchval(ask, f"{name}%") < count:
            if time.monotonic() - began > 300:
                made.report.blame(f"{name}: not all cold sagas ended in five minutes")
                break
            await asyncio.sleep(0.1)
    finally:
        await driver.close()
    return count / max(share.left, 0.001)


async def _all_queue(made: World, count: int) -> None:
    """The convoy stands: each of its sagas has begun and asked for the hot object."""
    driver = await made.server.session()
    try:
        ask = "SELECT count(*) FROM saga WHERE key LIKE 'h%' AND revision > 0"
        began = time.monotonic()
        while await driver.fetchval(ask) < count:
            if time.monotonic() - began > 120:
                made.report.blame("not all hot sagas stood in the queue in two minutes")
                break
            await asyncio.sleep(0.05)
    finally:
        await driver.close()


async def _connections(made: World) -> int:
    return len(await made.server.backends())


async def _overtaking(made: World, report: Report, count: int) -> None:
    """In the order of their commits on the hot object: by how many places did one come before its turn?"""
    driver = await made.server.session()
    try:
        asked: list[Any] = await driver.fetch(
            "SELECT saga.key, min(log.chain) AS chain, min(log.position) AS position FROM log "
            "JOIN saga ON saga.id = log.saga WHERE log.kind = 'locked' AND saga.key LIKE 'h%' "
            "GROUP BY saga.key ORDER BY chain, position"
        )
        took: list[Any] = await driver.fetch(
            "SELECT saga.key FROM log JOIN saga ON saga.id = log.saga "
            "WHERE log.kind = 'applied' AND log.object = 'seat:hot' ORDER BY log.version"
        )
    finally:
        await driver.close()
    place = {row["key"]: number for number, row in enumerate(asked)}
    early = [place[row["key"]] - number for number, row in enumerate(took)]
    report.figure("hot sagas committed", len(took))
    report.holds(len(took) == count, f"{len(took)} of {count} hot sagas changed the hot object")
    report.figure("overtaken at most, places", max(early))
    report.holds(max(early) <= MOST_OVERTAKEN, f"one came {max(early)} places before its turn")
