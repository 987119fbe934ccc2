"""T10: the primary dies, its standby is promoted: in step nothing is lost; behind, the loss is noticed.

Then the old primary comes back and everybody is led to it. In step it acknowledges nothing, for nobody
stands by it; behind, a worker holds it against the anchors of the newer history and does not begin.
"""

import asyncio
import os
import random
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from sagacity.errors import StoreError
from sagacity.model.record import Status
from sagacity.runtime.keys import write_key
from sagacity.store.pg_binaries import find_binaries
from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.cluster import Cluster, low_port
from tests.chaos.harness.load import Feed, chains
from tests.chaos.harness.oracle import all_sagas
from tests.chaos.harness.proxy import Proxy
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.verdict import judge_chains
from tests.chaos.harness.watch import all_ended
from tests.chaos.harness.world import World, world

SETTINGS = {"wal_level": "replica", "max_wal_senders": "5", "hot_standby": "on"}
LOST = ("lines were lost", "history was lost", "HistoryLost", "than was anchored")
AFTERWARDS = 25.0
"""Seconds for which the old primary is asked."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T10", options, _test)


async def _test(report: Report) -> None:
    for cycle in range(report.size(1, 10)):
        await _failover(report, cycle, in_step=True)
        await _failover(report, cycle, in_step=False)


class Standby:
    """A second server from the same binaries, made by `pg_basebackup` and following the first."""

    def __init__(self, primary: Cluster, folder: Path) -> None:
        self._primary = primary
        self.data = folder / "data"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        server, binaries = self._primary.server, find_binaries()
        self.data.parent.mkdir()
        if server._account is not None:
            binaries = binaries.reachable_by(server._account, copy_into=server.home)
            os.chown(self.data.parent, server._account.uid, server._account.gid)
        address = f"{server.url()}?application_name=standby"
        copy = [binaries.program("pg_basebackup"), "-D", str(self.data), "-R", "-X", "stream", "-d", address]
        subprocess.run(
            server._as_account([*copy, "-c", "fast"], tied=False), check=True, cwd="/", capture_output=True
        )
        self.port = low_port()
        command = [binaries.program("postgres"), "-D", str(self.data), "-c", f"port={self.port}"]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command += ["-c", "max_connections=120", "-c", "max_wal_senders=5"]  # no fewer than the primary has
        log = (self.data.parent.parent / "standby.log").open("wb")
        self._process = subprocess.Popen(
            server._as_account(command, tied=True), cwd="/", stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def url(self) -> str:
        return self._primary.url.replace(f":{urlsplit(self._primary.url).port}/", f":{self.port}/")

    async def ask(self, statement: str) -> object:
        driver = await asyncpg.connect(self.url(), timeout=10)
        try:
            return await driver.fetchval(statement)
        finally:
            await driver.close()

    async def promote(self) -> None:
        await self.ask("SELECT pg_promote(true, 60)")

    def end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        shutil.rmtree(self.data.parent, ignore_errors=True)


async def _failover(report: Report, cycle: int, *, in_step: bool) -> None:
    name = "in step" if in_step else "behind"
    chance = random.Random(report.seed + cycle)
    module = "tests.chaos.flows.chain"
    async with world(report, modules=[module], sagas=[Chain], lease=5.0, settings=SETTINGS) as made:
        standby = Standby(made.server, made.folder / "standby")
        try:
            await standby.start()
            await _follows(made, in_step=in_step)
            port = urlsplit(made.store).port
            assert port is not None
            async with Proxy(port) as proxy:
                await _through(
                    made,
                    report,
                    standby,
                    proxy,
                    Feed(made.app, Chain, chains(100_000, chance, refused=0.1, seats=5_000), per_second=20.0),
                    in_step=in_step,
                    name=name,
                )
        finally:
            await asyncio.to_thread(standby.end)


async def _follows(made: World, *, in_step: bool) -> None:
    """Until the standby streams; in step the primary waits for its flush from now on."""
    driver = await made.server.session()
    try:
        async with asyncio.timeout(60):
            ask = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            while not await driver.fetchval(ask):  # noqa: ASYNC110 - the server rings no bell
                await asyncio.sleep(0.1)
        if in_step:
            await driver.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            await driver.execute("SELECT pg_reload_conf()")
    finally:
        await driver.close()


async def _through(
    made: World, report: Report, standby: Standby, proxy: Proxy, feed: Feed, *, in_step: bool, name: str
) -> None:
    """Load by way of the proxy; the primary is killed, the standby promoted, and the proxy leads there."""
    await made.app.close()
    made.store = made.store.replace(f":{urlsplit(made.store).port}/", f":{proxy.port}/")
    feed.app = await made.open(Chain)
    write_key(made.folder / "anchor.key")
    await made.hire(2, **_anchored(made))
    await made.ready()
    feeding = asyncio.create_task(feed.run())
    await asyncio.sleep(4)
    if not in_step:
        await standby.ask("SELECT pg_wal_replay_pause()")
        await standby.ask("ALTER SYSTEM SET primary_conninfo = ''")
        await standby.ask("SELECT pg_reload_conf()")
        await asyncio.sleep(1)
        await standby.ask("SELECT pg_wal_replay_resume()")
        await asyncio.sleep(3)
    before = set(feed.acked)
    await made.server.kill()
    proxy.reset()
    await standby.promote()
    proxy.lead_to(standby.port)
    await asyncio.sleep(6)
    feed.enough.set()
    await feeding
    there = await all_sagas(made.app, "Chain")
    lost = before - set(there)
    report.figure(f"{name}: acknowledged before the primary died", len(before))
    report.figure(f"{name}: of these lost", len(lost))
    if not in_step:
        for child in [child for child in made.workers if not child.alive]:
            await child.start()  # as a supervisor would: it holds the store against its anchors
        await asyncio.sleep(6)
    told = [child.name for child in made.workers if any(word in child.log.read_text() for word in LOST)]
    report.figure(f"{name}: workers that stopped for an operator", len(told))
    if in_step:
        report.holds(not lost, f"{len(lost)} acknowledged starts were lost though the standby was in step")
        report.holds(not told, "a worker says that history was lost, and none was")
        async with made.kept():
            late = await _comes_back(made, report, standby, proxy)
            feed.inputs.update({one["name"]: one for one in late})
            await all_ended(made, within=60)
        await made.dismiss()
        await judge_chains(made, feed, report)
        return
    report.holds(bool(lost), "nothing was lost behind: the test does not bite")
    report.holds(bool(told), f"{len(lost)} starts were lost and no worker noticed: {_ends(made)}")
    report.figure("behind: sagas there", len([s for s in there.values() if s.status is not Status.STUCK]))
    await _forked(made, report, proxy)


def _anchored(made: World, **more: str) -> dict[str, str]:
    """What a worker is told so that it anchors each second."""
    place = {"SAGACITY_ANCHOR_TO": str(made.folder / "anchors.jsonl"), "SAGACITY_ANCHOR_EVERY": "1"}
    return {**place, "SAGACITY_ANCHOR_KEY": str(made.folder / "anchor.key"), **more}


async def _comes_back(made: World, report: Report, standby: Standby, proxy: Proxy) -> list[dict[str, Any]]:
    """The old primary is asked to start sagas; whatever was acknowledged must be in the new history."""
    late: list[dict[str, Any]] = [{"name": f"late{n}", "seat": f"late{n}", "refused": 0} for n in range(10)]
    await _lead_back(made, proxy)
    enough = asyncio.Event()
    asked = [asyncio.create_task(_insist(made, one, enough)) for one in late]
    _, open_ = await asyncio.wait(asked, timeout=AFTERWARDS)
    acked = len(asked) - len(open_)
    report.figure("in step: acknowledged by the old primary", acked)
    report.holds(acked == 0, f"the old primary acknowledged {acked} starts alone")
    await made.server.kill()
    proxy.reset()
    proxy.lead_to(standby.port)
    await asyncio.sleep(6)
    enough.set()
    kept = [one["name"] for one, told in zip(late, await asyncio.gather(*asked), strict=True) if told]
    gone = [key for key in kept if await made.app.store.find("Chain", key) is None]
    report.figure("in step: acknowledged once it was gone again", len(kept) - acked)
    report.holds(len(kept) > acked, "once the old primary was gone again nothing was acknowledged")
    report.holds(not gone, f"acknowledged and in no history: {gone}")
    return late


async def _insist(made: World, one: dict[str, Any], enough: asyncio.Event) -> bool:
    """Start it under its key, again and again, until that is acknowledged; False: never."""
    while not enough.is_set():
        with suppress(StoreError):
            await made.app.start(Chain, one)
            return True
        await asyncio.sleep(0.2)
    return False


async def _lead_back(made: World, proxy: Proxy) -> None:
    await made.server.restart()
    port = urlsplit(made.server.url).port
    assert port is not None
    proxy.reset()
    proxy.lead_to(port)


async def _forked(made: World, report: Report, proxy: Proxy) -> None:
    """An operator lets the shorter history go on; a worker that is led to the longer one must not begin."""
    for child in made.workers:
        await child.end()
    await made.hire(1, **_anchored(made, SAGACITY_ANCHOR_STRICT="false"))
    taken = made.workers[-1]
    lot = [{"name": f"later{n}", "seat": f"later{n}", "refused": 0} for n in range(20)]
    await Feed(made.app, Chain, lot, per_second=1e6).run()
    await asyncio.sleep(5)
    report.holds(taken.alive, f"the worker that was told to go on did not: {taken.said(last=300)}")
    await taken.end()
    await _lead_back(made, proxy)
    (led,) = await made.hire(1, **_anchored(made))
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while led.alive:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
    noticed = not led.alive and any(word in led.said() + led.log.read_text() for word in LOST)
    report.figure("behind: a worker on the old primary noticed", int(noticed))
    report.holds(noticed, f"a worker began on the old primary: {led.said(last=300)}")


def _ends(made: World) -> str:
    return "; ".join(child.said(last=200) for child in made.workers)
