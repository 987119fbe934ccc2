"""T10: the primary dies, its standby is promoted: in step nothing is lost; behind, the loss is noticed."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from sagacity.model.record import Status
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
LOST = ("lines were lost", "history was lost", "HistoryLost")


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
    await made.hire(2)
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
    told = [child.name for child in made.workers if any(word in child.log.read_text() for word in LOST)]
    report.figure(f"{name}: workers that stopped for an operator", len(told))
    if in_step:
        report.holds(not lost, f"{len(lost)} acknowledged starts were lost though the standby was in step")
        report.holds(not told, "a worker says that history was lost, and none was")
        await all_ended(made, within=60)
        await made.dismiss()
        await judge_chains(made, feed, report)
        return
    report.holds(bool(lost), "nothing was lost behind: the test does not bite")
    report.holds(bool(told), f"{len(lost)} starts were lost and no worker noticed: {_ends(made)}")
    report.figure("behind: sagas there", len([s for s in there.values() if s.status is not Status.STUCK]))


def _ends(made: World) -> str:
    return "; ".join(child.said(last=200) for child in made.workers)
