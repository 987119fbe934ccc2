"""T33: one SQLite file, eight processes: workers killed over and over, the file copied while it lives."""

import asyncio
import random
import sqlite3
import time
from pathlib import Path

from sagacity.audit import verify
from sagacity.store.open import open_store
from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world

WORKERS = 6
"""With the process that starts sagas, and the one that copies the file: eight."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T33", options, _test)


async def _test(report: Report) -> None:
    kills = report.size(40, 400)
    chance = random.Random(report.seed)
    inputs = chains(12 * kills, chance, refused=0.15, seats=200)
    module = "tests.chaos.flows.chain"
    async with world(report, modules=[module], sagas=[Chain], postgres=False, lease=5.0) as made:
        await _flush_settings(made, report)
        await made.hire(WORKERS, SAGACITY_CONCURRENCY="20")
        await made.ready()
        feed = Feed(made.app, Chain, inputs, per_second=12.0)
        async with made.kept(), watched(made, lambda: ended(made)):
            feeding = asyncio.create_task(feed.run())
            copies = await _killing(made, kills, chance)
            await feeding
            report.figure("kill -9 of workers", kills)
            report.figure("workers that gave up themselves", sum(made.ended.values()) - kills)
            report.figure("ended after the last kill, s", await all_ended(made, within=60))
        await made.dismiss()
        await judge_chains(made, feed, report)
        for copy in copies:
            await _sound(copy, report)
        report.figure("copies of the living file, all sound", len(copies))


async def _flush_settings(made: World, report: Report) -> None:
    """A worker's own connection flushes each commit: else opening it is refused."""
    store = open_store(made.store, accept_loss=False)
    await store.open()
    await store.close()
    file = sqlite3.connect(_file(made))
    mode = file.execute("PRAGMA journal_mode").fetchone()[0]
    file.close()
    report.holds(mode == "wal", f"the journal's mode is {mode}")
    report.figure("opened with synchronous=FULL and WAL", mode == "wal")


def _file(made: World) -> Path:
    return made.folder / "sagacity.db"


async def _killing(made: World, kills: int, chance: random.Random) -> list[Path]:
    """One SIGKILL a second; every tenth time the living file is copied by SQLite's own backup."""
    copies: list[Path] = []
    for number in range(kills):
        began = time.monotonic()
        victim = chance.choice([child for child in made.workers if child.alive] or made.workers)
        await victim.kill()
        if number % 10 == 9:
            copies.append(made.folder / f"copy-{number}.db")
            await asyncio.to_thread(_copied, _file(made), copies[-1])
        await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
    return copies


def _copied(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as living, sqlite3.connect(target) as copy:
        living.backup(copy)


async def _sound(copy: Path, report: Report) -> None:
    """The copy is a whole store of its own: SQLite finds it sound, and its log folds to its tables."""
    with sqlite3.connect(copy) as file:
        said = file.execute("PRAGMA integrity_check").fetchone()[0]
    report.holds(said == "ok", f"{copy.name}: {said}")
    store = open_store(f"sqlite:///{copy}", accept_loss=True)
    await store.open()
    try:
        for finding in (await verify(store)).findings:
            report.blame(f"{copy.name}: {finding.check}: {finding.where}: {finding.what}")
    finally:
        await store.close()
