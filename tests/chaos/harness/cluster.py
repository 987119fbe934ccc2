"""A PostgreSQL of the test's own: started, killed, stopped the hard way, started again at one address."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from sagacity.store.migrate import upgrade_at
from sagacity.store.pg_cluster import Cluster as Folder
from sagacity.store.private import PrivatePostgres

DATABASE = "chaos"
_SETTINGS = {"shared_buffers": "128MB", "max_connections": "120", "max_wal_size": "512MB"}


class Cluster:
    """One server in `folder`. Its port lies below those that the system gives out, so it stays ours."""

    def __init__(
        self, folder: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.server = PrivatePostgres(folder, durable=durable, settings=_SETTINGS | dict(settings or {}))
        self.inside = Folder(data=self.server.home / "data")
        self.restarts = 0
        self.url = ""

    async def start(self) -> str:
        """Initialise, start, and migrate; the address of the database."""
        (self.server.home / "port").write_text(f"{low_port()}\n")
        await asyncio.to_thread(self.server.start)
        self.url = await asyncio.to_thread(self.server.create_database, DATABASE)
        await upgrade_at(self.url)
        return self.url

    async def kill(self) -> None:
        """SIGKILL every process of it: the power cut."""
        await asyncio.to_thread(self.server.kill)

    async def immediate(self) -> None:
        """`pg_ctl stop -m immediate`: no checkpoint, recovery at the next start."""
        await asyncio.to_thread(self._immediate)

    def _immediate(self) -> None:
        pid = self.inside.server()
        if pid is not None:
            os.kill(pid, signal.SIGQUIT)
            self.inside.wait_gone(pid)
        self.server.kill()  # nothing is left of it; this also forgets the process

    async def restart(self) -> float:
        """Start again on the same data; seconds until it takes connections."""
        began = time.monotonic()
        await asyncio.to_thread(self.server.start)
        self.restarts += 1
        if self.server.url(DATABASE) != self.url:
            raise RuntimeError("somebody took the server's port while it was down")
        return time.monotonic() - began

    async def session(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection of the tester's own."""
        return await asyncpg.connect(self.url, server_settings={"application_name": "chaos"}, timeout=10)

    async def backends(self) -> list[int]:
        """The processes that serve the engine's connections."""
        driver = await self.session()
        try:
            rows = await driver.fetch(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'sagacity' ORDER BY pid"
            )
        finally:
            await driver.close()
        return [row["pid"] for row in rows]

    async def waits(self) -> str:
        """Who is at what in the server, for the watchdog."""
        try:
            driver = await self.session()
        except (OSError, asyncpg.PostgresError, TimeoutError) as error:
            return f"the server cannot be asked: {error!r}"
        try:
            rows = await driver.fetch(
                "SELECT pid, state, wait_event_type, wait_event, left(query, 60) AS query, "
                "pg_blocking_pids(pid) AS behind FROM pg_stat_activity WHERE application_name = 'sagacity'"
            )
        finally:
            await driver.close()
        return "\n".join(str(dict(row)) for row in rows)

    async def stop(self) -> None:
        """End it; nothing is left running."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self.server.stop()
        if self.inside.inhabitants():
            self.inside.kill()


def low_port() -> int:
    """A free port that the system does not give to outgoing connections.

    A client that dials a dead port of that range can otherwise get it as its own, and talk to itself.
    """
    for port in range(20_000 + os.getpid() % 2_000, 32_000, 7):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free between 20000 and 32000")
