"""Where a run takes place: its folder, a private PostgreSQL with default flush settings, the peers."""

import itertools
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.install import Installed, install
from benchmarks.measure import ROOT, Contender, contender
from sagacity.store.pg_cluster import process_lives
from sagacity.store.private import PrivatePostgres

FOLDER = ROOT / ".sagacity" / "bench"
_numbers = itertools.count(1)


class Place:
    """See the module.

    Args:
        folder: for all files of this run.
        postgres: the running server.
        peers: None: no peer is wanted.
    """

    def __init__(self, folder: Path, postgres: PrivatePostgres, peers: Installed | None) -> None:
        self.folder = folder
        self.postgres = postgres
        self.peers = peers or Installed(python=None, restate=None, absent={})

    @property
    def server(self) -> int:
        """The process of the PostgreSQL server."""
        return int((self.postgres.home / "data" / "postmaster.pid").read_text().splitlines()[0])

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database, which is gone afterwards."""
        name = f"bench_{os.getpid()}_{next(_numbers)}"
        yield self.postgres.create_database(name)
        self.postgres.drop_database(name)

    @contextmanager
    def file(self) -> Iterator[str]:
        """The URL of an SQLite file that does not exist yet, and is gone afterwards."""
        with self.empty() as folder:
            yield f"sqlite:///{folder}/sagas.db"

    @contextmanager
    def empty(self) -> Iterator[Path]:
        """An empty folder, which is gone afterwards."""
        folder = self.folder / f"store-{next(_numbers)}"
        folder.mkdir(parents=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def has(self, who: str) -> bool:
        """Whether this contender can run here."""
        if who in self.peers.absent:
            return False
        if who.startswith("dbos"):
            return self.peers.python is not None
        return who != "restate" or self.peers.restate is not None

    def gone(self, who: str, why: str) -> None:
        """A peer that was installed does not run: it is absent from here on."""
        self.peers.absent[who] = why.strip().rpartition("\n")[2] or "it ended without a word"

    @asynccontextmanager
    async def ours(self, url: str) -> AsyncIterator[Contender]:
        """Our own worker process at a store."""
        async with self.program("ours", "--store", url) as running:
            yield running

    @asynccontextmanager
    async def program(self, name: str, *arguments: str) -> AsyncIterator[Contender]:
        """One of our programs that takes tasks."""
        server = self.server if any(one.startswith("postgresql") for one in arguments) else None
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        async with contender(command, self.folder / f"{name}.log", server=server) as running:
            yield running

    @asynccontextmanager
    async def contender(self, who: str) -> AsyncIterator[Contender]:
        """A contender of this name on an empty store; see `benchmarks.rounds.CONTENDERS`."""
        peer = str(self.peers.python)
        if who == "restate":
            with self.empty() as folder:
                command = [peer, "-m", "benchmarks.peers.restate_peer", "--server", str(self.peers.restate)]
                async with contender([*command, "--folder", str(folder)], self.folder / "restate.log") as one:
                    yield one
            return
        if who.startswith("floor"):
            with self.database() as first, self.database() as second:
                async with self.program("floor", "--store", first, "--empty", second) as one:
                    yield one
            return
        with self.file() if who.endswith("-sqlite") else self.database() as url:
            if who.startswith("ours"):
                async with self.ours(url) as one:
                    yield one
                return
            server = None if who.endswith("-sqlite") else self.server
            command = [peer, "-m", "benchmarks.peers.dbos_peer", "--store", url]
            async with contender(command, self.folder / "dbos.log", server=server) as one:
                yield one


def sweep(folder: Path) -> None:
    """Remove what runs have left that were killed; a server may have kept its data elsewhere."""
    for left in folder.glob("*-[0-9]*"):
        if left.is_dir() and not process_lives(int(left.name.rpartition("-")[2])):
            if left.name.startswith("pg-"):
                shutil.rmtree(PrivatePostgres(left).home, ignore_errors=True)
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def place(*, peers: bool) -> Iterator[Place]:
    """The place, set up; the server ends afterwards and takes its data with it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    sweep(FOLDER)
    folder = FOLDER / f"run-{os.getpid()}"
    folder.mkdir()
    server = PrivatePostgres(FOLDER / f"pg-{os.getpid()}")
    try:
        with server:
            yield Place(folder, server, install(FOLDER) if peers else None)
    finally:
        shutil.rmtree(server.home, ignore_errors=True)
        shutil.rmtree(server.folder, ignore_errors=True)
    shutil.rmtree(folder)  # kept after a failure, for its logs
