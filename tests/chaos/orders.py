"""The real orders under T6 or T8: workers, or PostgreSQL, are killed all the time; ledgers exact.

`sagacity run` with worker processes, the reference services, and harm from outside. The orders lie beside
this repository; where they are absent this says so and ends with 0.
"""

import asyncio
import json
import random
import shutil
from collections import Counter
from pathlib import Path

from sagacity.cli.failures import Exit
from sagas.run import addresses, judge
from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.oracle import all_sagas, judge_log
from tests.chaos.harness.processes import Child, Fresh
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.world import World, world
from tests.shown.world import REAL_ORDERS, ROOT, expected_ends

LIMIT = 900.0


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated, or where there are no orders."""
    if not REAL_ORDERS.is_file():
        print(f"== orders: SKIPPED, {REAL_ORDERS.name} does not lie beside this repository")
        return 0
    under = options.under or "T6"
    return played(f"orders-{under}", options, lambda report: _test(report, under))


async def _test(report: Report, under: str) -> None:
    orders = await asyncio.to_thread(_some, report)
    async with world(report, modules=["sagas.order"], sagas=[Chain], lease=4.0) as made:
        file = made.folder / "orders.jsonl"
        file.write_text("".join(orders))
        services = await _services(made, file)
        chance = random.Random(report.seed)
        await _flows(made)
        await made.hire(3, **addresses(made.urls))
        async with made.kept(), asyncio.timeout(LIMIT):
            running = await _run(made, file)
            enough = asyncio.Event()
            harming = _kill_workers if under == "T6" else _kill_database
            harm = asyncio.create_task(harming(made, chance, enough))
            try:
                code = await _through(made, file, running)
            finally:
                enough.set()
                await harm  # to its end: the server is up again
        report.holds(code == 0, f"`sagacity run` ended with {code}: {running.said(last=500)}")
        await services.end()
        await _judge(made, report, file)


async def _through(made: World, file: Path, running: Fresh) -> int:
    """Until a run has come to its end; where the database was away too long, it is begun again (code 8)."""
    code, again = await running.wait(), 0
    while code == Exit.UNREACHABLE and again < 40:
        again += 1
        made.report.figure("runs begun again", again)
        running = await _run(made, file)
        code = await running.wait()
    return code


async def _flows(made: World) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("sagas", "compensations"):
        await asyncio.to_thread(shutil.copytree, ROOT / name, made.folder / name, ignore=ignored)


def _some(report: Report) -> list[str]:
    """All orders, or with `--seeds N` the first N."""
    lines = REAL_ORDERS.read_text().splitlines(keepends=True)
    return lines[: report.size(len(lines), len(lines))]


async def _services(made: World, orders: Path) -> Child:
    """The reference services, playing these orders."""
    child = made.processes.python(
        "services", "sagas.services", "--input", str(orders), "--ledger", str(made.folder / "ledger")
    )
    await child.start()
    async with asyncio.timeout(60):
        while "\n" not in child.said():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    line = next(line for line in child.said(last=20_000).splitlines() if line.startswith("{"))
    made.urls = json.loads(line)
    return child


async def _run(made: World, orders: Path) -> Fresh:
    """`sagacity run`, which takes the web hooks; most of the work is left to the workers beside it."""
    options = [part for url in made.urls.values() for part in ("--outside", url)]
    command = ["run", "sagas/order.py:Order", "--input", str(orders), "--ignore-unknown"]
    env = {**made.environment(SAGACITY_CONCURRENCY="4"), **addresses(made.urls)}
    child = made.processes.python("run", "tests.chaos.harness.work", *command, *options, env=env)
    assert isinstance(child, Fresh)
    await child.start()
    return child


async def _kill_workers(made: World, chance: random.Random, enough: asyncio.Event) -> None:
    """SIGKILL one worker a second; its place is filled again."""
    for kills in range(1, 61):
        await asyncio.sleep(1)
        if enough.is_set():
            return
        victim = chance.choice(made.workers)
        await victim.kill()
        made.report.figure("kill -9 of workers", kills)


async def _kill_database(made: World, chance: random.Random, enough: asyncio.Event) -> None:
    """SIGKILL the server every few seconds; it is back at once."""
    for _ in range(15):
        await asyncio.sleep(chance.uniform(3, 6))
        if enough.is_set():
            return
        await made.server.kill()
        await asyncio.sleep(chance.uniform(0, 1))
        await made.server.restart()
        made.report.figure("PostgreSQL restarts", made.server.restarts)


async def _judge(made: World, report: Report, orders: Path) -> None:
    """Each order ended as in life, and the services' own ledgers agree with every saga."""
    sagas = await all_sagas(made.app, "Order")
    found = Counter(saga.status.value for saga in sagas.values())
    wanted = await asyncio.to_thread(expected_ends, orders)
    for name, count in wanted.items():
        report.figure(name, found[name])
        report.holds(found[name] == count, f"{found[name]} orders are {name}, and {count} should be")
    wrong = await asyncio.to_thread(judge, made.folder / "ledger", sagas)
    report.figure("disagreements with the ledgers", len(wrong))
    for what in wrong[:10]:
        report.blame(what)
    await judge_log(made.app, report)
