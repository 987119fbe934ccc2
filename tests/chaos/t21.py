"""T21: the disk is full: calls are told to come back, nothing is torn, and with room all goes on."""

import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sagacity.errors import StoreError, StoreUnavailable
from sagacity.store.open import open_store
from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.flows.town import Http
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended, ended, watched
from tests.chaos.harness.world import World, world
from tests.contract.builders import start_message

RUNS_AGAIN = 10.0


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T21", options, _test)


async def _test(report: Report) -> None:
    await _sqlite(report)
    await _postgres(report)


# --- SQLite -----------------------------------------------------------------------------------------


async def _sqlite(report: Report) -> None:
    """A file that may not grow any more (`max_page_count`): refused as a whole, and then it goes on."""
    module = "tests.chaos.flows.chain"
    async with world(report, modules=[module], sagas=[Chain], postgres=False) as made:
        store: Any = open_store(made.store, accept_loss=False)
        await store.open()
        pages = await store._in_thread(lambda: _ask(store, "PRAGMA page_count"))
        await store._in_thread(lambda: _ask(store, f"PRAGMA max_page_count = {pages + 20}"))
        stored, refused = 0, None
        for _ in range(5_000):
            try:
                await store.put([start_message()])
                stored += 1
            except StoreError as error:
                refused = error
                break
        report.holds(isinstance(refused, StoreUnavailable), f"a full SQLite file is told as {refused!r}")
        await store._in_thread(lambda: _ask(store, "PRAGMA max_page_count = 1000000"))
        await store.put([start_message()])
        await store.close()
        with sqlite3.connect(made.folder / "sagacity.db") as file:
            there = file.execute("SELECT count(*) FROM inbox").fetchone()[0]
            sound = file.execute("PRAGMA integrity_check").fetchone()[0]
        report.figure("sqlite: stored until it was full", stored)
        report.holds(there == stored + 1, f"{stored + 1} starts were acknowledged and {there} are there")
        report.holds(sound == "ok", f"the file is not sound: {sound}")


def _ask(store: Any, pragma: str) -> int:
    """In the store's thread, on its own connection, beside its transactions."""
    return int(store._conn.connection.driver_connection.execute(pragma).fetchone()[0])


# --- PostgreSQL -------------------------------------------------------------------------------------


class SmallDisk:
    """A file system of 128 MiB in memory, mounted for a block, with a ballast to put in and take out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"

    @staticmethod
    def possible() -> bool:
        return os.geteuid() == 0 and shutil.which("mount") is not None

    def __enter__(self) -> "SmallDisk":
        self.folder.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128m,mode=0711", "tmpfs", self.folder], check=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self.folder], check=True)

    def fill(self) -> None:
        """Leave no room at all."""
        with suppress(OSError), self.ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(65_536))
        with suppress(OSError), self.ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(512))

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)


async def _postgres(report: Report) -> None:
    """Data and log of the server on a small disk that is filled to the brim, three times."""
    if not SmallDisk.possible():
        report.figure("postgresql on a full disk", "not played: mounting needs root")
        return
    place = Path("/tmp") / f"sagacity-small-disk-{os.getpid()}"
    with SmallDisk(place) as disk:
        try:
            await _filled(report, disk)
        finally:
            disk.free()
    place.rmdir()


async def _filled(report: Report, disk: SmallDisk) -> None:
    chance = random.Random(report.seed)
    settings = {"max_wal_size": "16MB", "min_wal_size": "2MB", "shared_buffers": "16MB"}
    async with world(
        report,
        modules=["tests.chaos.flows.chain"],
        sagas=[Chain],
        durable=False,
        lease=5.0,
        settings=settings,
        disk=disk.folder,
    ) as made:
        loss = ("--i-accept-loss",)
        await made.hire(2, *loss)
        http = Http(await made.serve(*loss, SAGACITY_PATIENCE="2"))
        await made.ready()
        feed = Feed(made.app, Chain, chains(4_000, chance, refused=0.15, seats=500), per_second=15.0)
        async with made.kept(), watched(made, lambda: ended(made)):
            feeding = asyncio.create_task(feed.run())
            told: list[int] = []
            for number in range(3):
                await asyncio.sleep(4)
                disk.fill()
                told += await _told_when_full(feed, http, report, number)
                disk.free()
                report.figure(
                    f"runs again after room was made, s ({number + 1})",
                    await _again(made, feed, http, report),
                )
            feed.enough.set()
            await feeding
            report.figure("answers while the disk was full", sorted(set(told)))
            report.holds(503 in told, "nobody was told 503: the disk was never full")
            report.figure("ended after the last, s", await all_ended(made, within=60))
        await made.dismiss()
        await judge_chains(made, feed, report)
        del http


async def _told_when_full(feed: Feed, http: Http, report: Report, number: int) -> list[int]:
    """For six seconds starts are tried: 201 while there is room inside, then 503 with a time to come back."""
    told: list[int] = []
    began, n = time.monotonic(), 0
    while time.monotonic() - began < 6:
        n += 1
        status, said = await _tried(feed, http, f"full-{number}-{n}")
        told.append(status)
        report.holds(status in (201, 503), f"a full disk is answered with {status}: {json.dumps(said)[:200]}")
        await asyncio.sleep(0.2)
    return told


async def _tried(feed: Feed, http: Http, name: str) -> tuple[int, Any]:
    """One start by the API; what it came to is in the history too."""
    one = feed.inputs[name] = {"name": name, "seat": name, "refused": 1}
    headers = "content-type: application/json\r\n"
    body = {"definition": "Chain", "input": one}
    try:
        async with asyncio.timeout(15):
            status, said = await http.ask("POST", "/v1/sagas", headers, body)
            feed.history.note("ok" if status == 201 else "info", "start", name)
            return status, said
    except (OSError, EOFError, TimeoutError) as error:
        return 0, repr(error)


async def _again(made: World, feed: Feed, http: Http, report: Report) -> float:
    """Seconds until a start is taken again; a server that ended for want of room is started anew."""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        if made.server.inside.server() is None:
            await made.server.restart()
        status, _ = await _tried(feed, http, f"again-{time.monotonic_ns()}")
        if status == 201:
            break
        await asyncio.sleep(0.1)
    seconds = time.monotonic() - began
    report.holds(seconds < 3 * RUNS_AGAIN, f"only {seconds:.0f} s after room was made it ran again")
    return seconds
