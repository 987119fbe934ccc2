"""A private PostgreSQL: one server for one folder, under our own supervisor.

It protects one idea: a server that we start has exactly one owner of its life. It ends with the process
that started it, even when that is killed; nothing stale that it leaves can keep the next one from
starting; and nobody but the owner of the folder can log in.

    FOLDER/            the home: ours, others may only pass through
    ├── data/          the cluster; its account's alone
    ├── password       of the only user, mode 0600
    ├── port           the port of the last run, kept when it is still free
    ├── owner          the process that started the running server, 0 when it is on its own
    ├── server.log     what the server said since its last start
    └── lock           held while a server is being started or stopped

For development, tests and a single node: there is no replication and no backup.
"""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sagacity.store import pg_launch
from sagacity.store.pg_binaries import (
    Account,
    Binaries,
    PrivateServerError,
    find_binaries,
    lent_account,
)
from sagacity.store.pg_cluster import LOOK, Cluster, first_line, process_lives

USER: Final = "sagacity"
HOST: Final = "127.0.0.1"

_READY_LOOKS = 3000  # of LOOK each, a minute: recovery after a crash takes a while
_SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_QUICK = {
    "fsync": "off",  # commits are still handed to the system: a killed server loses none of them
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
_ALWAYS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
}
_DATABASE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_log = logging.getLogger(__name__)


class PrivatePostgres:
    """The server of one folder.

    Calls block: some 0.5 s for the first start, 0.1 s after that. From async code use `asyncio.to_thread`.

    Args:
        folder: its home; made when absent. Below a folder that only root may enter, root's server
            keeps its home in the system's folder for temporary files instead: see `note`.
        durable: `True` flushes every commit. `False` is for tests: fast, and lost when the machine stops.
        detached: `True` lets the server outlive this process; `shutdown(folder)` ends it.
        settings: further server settings, over ours.

    Attributes:
        home: where it really lives.
        note: what a person should be told about that place, or `None`.
        owned: whether this object started the running server, and so will stop it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        detached: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.durable = durable
        self.detached = detached
        self.settings = dict(settings or {})
        self.note: str | None = None
        self.owned = False
        self._account = lent_account()
        self.home = self._make_home()
        self._cluster = Cluster(data=self.home / "data")
        self._server: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    @classmethod
    def ensure(
        cls,
        folder: Path,
        *,
        durable: bool = True,
        detached: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """The server of `folder`, running: the one that is there already, or a new one.

        One that is there keeps its settings and its owner: `stop` here leaves it alone.

        Raises:
            PrivateServerError: it does not start; see `start`.
        """
        server = cls(folder, durable=durable, detached=detached, settings=settings)
        with server._alone():
            if server._running() is None:
                server._start()
        return server

    def start(self) -> str:
        """Start the server, making its cluster first when there is none, and return `url()`.

        Raises:
            PrivateServerError: it runs already, its data belong to another major version, the binaries
                are missing, or the server ended at once; the message holds the end of its log.
        """
        with self._alone():
            pid = self._running()
            if pid is not None:
                raise PrivateServerError(
                    f"a server already runs in {self.home} (process {pid}): "
                    "use PrivatePostgres.ensure to share it"
                )
            self._start()
        return self.url()

    def stop(self) -> None:
        """End the server that this object started: open transactions are rolled back. Harmless twice."""
        if self.owned:
            with self._alone():
                self._end()
            self.owned = False

    def kill(self) -> None:
        """SIGKILL every process of the server, as a power cut would: for tests of recovery (Linux only)."""
        with self._alone():
            self._cluster.kill()
        if self._server is not None:
            self._ended.wait()
        self.owned = False

    def url(self, database: str = "postgres") -> str:
        """The address of one database, password included; it stands for ever as long as the port is free."""
        return f"postgresql://{USER}:{self._password()}@{HOST}:{self._port()}/{database}"

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make a database and return its URL.

        Args:
            name: lower-case letters, digits and underscores, at most 63.
            template: a database to copy; nobody may be connected to it meanwhile.

        Raises:
            PrivateServerError: the server refused, e.g. because the name is taken.
        """
        copied = f" TEMPLATE {_checked(template)}" if template else ""
        self._psql(f"CREATE DATABASE {_checked(name)}{copied}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database and cut off whoever is connected to it. Harmless when it is absent."""
        self._psql(f"DROP DATABASE IF EXISTS {_checked(name)} WITH (FORCE)")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- the home ------------------------------------------------------------------------------------

    def _make_home(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        account = self._account
        if account is None:
            self.folder.chmod(0o700)
            return self.folder.resolve()
        self.folder.chmod(0o711)
        home = self.folder.resolve()
        return home if account.may_enter(home) else self._home_elsewhere(account)

    def _home_elsewhere(self, account: Account) -> Path:
        """A home for a folder that the server's account cannot reach; the same one every time."""
        mark = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]
        home = Path(tempfile.gettempdir()).resolve() / f"sagacity-pg-{mark}"
        with suppress(FileExistsError):
            home.mkdir()
        if home.is_symlink() or home.stat().st_uid != os.geteuid():
            raise PrivateServerError(f"{home} is somebody else's: remove it, or choose another folder")
        home.chmod(0o711)
        if not account.may_enter(home):
            raise PrivateServerError(
                f"the server's account (uid {account.uid}) can enter neither {self.folder} nor {home}: "
                "choose a folder below one that everybody may enter"
            )
        self.note = f"{self.folder} is below a folder that only root may enter: the data are kept in {home}"
        _log.warning("%s", self.note)
        return home

    def _port(self) -> int:
        return int(first_line(self.home / "port") or 0)

    def _password(self) -> str:
        return first_line(self.home / "password")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time starts or stops this server; the lock goes with its holder."""
        with (self.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _running(self) -> int | None:
        """The process of a server that is here to stay; one that is going down is waited for."""
        pid = self._cluster.server()
        owner = int(first_line(self.home / "owner") or 0)
        if pid is not None and owner and not process_lives(owner):
            # Its owner was killed: it is ending, even when it does not know yet.
            self._cluster.wait_gone(pid)
            pid = None
        if pid is None:
            self._cluster.sweep()
        return pid

    # --- start and stop ------------------------------------------------------------------------------

    def _start(self) -> None:
        binaries = find_binaries()
        if self._account is not None:
            binaries = binaries.reachable_by(self._account, copy_into=self.home)
        if not self._cluster.data.is_dir():
            self._initdb(binaries)
        self._cluster.check_version(binaries)
        for _ in range(3):  # a port that was free a moment ago may be taken
            if self._launch(binaries):
                self.owned = True
                return
        raise PrivateServerError(
            f"the server in {self.home} does not start; its log ends:\n{self._log_end()}"
        )

    def _initdb(self, binaries: Binaries) -> None:
        """Make the cluster beside its place, so that a half-made one is never taken for a whole one."""
        partial = self.home / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        # From the system, not from a port: a password that a seed could bring back would be none.
        password = os.urandom(24).hex()
        handed = self.home / "password.handed"
        _write_private(handed, password)
        if self._account is not None:
            for path in (partial, handed):
                os.chown(path, self._account.uid, self._account.gid)
        command = [binaries.program("initdb"), "-D", str(partial), "-U", USER, "--pwfile", str(handed)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # The password is 192 random bits: stretching it would only make each connection slower.
        command += ["-c", "scram_iterations=64"]
        command += [] if self.durable else ["--no-sync", "--wal-segsize=1"]
        done = subprocess.run(
            self._as_account(command, tied=False),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=_environment(),
        )
        handed.unlink()
        if done.returncode:
            raise PrivateServerError(f"initdb in {self.home} failed:\n{done.stderr.strip()}")
        _write_private(self.home / "password", password)
        partial.rename(self._cluster.data)

    def _launch(self, binaries: Binaries) -> bool:
        """Start it once; `False` when it ended before it was ready."""
        port = _free_port(self._port())
        _write_private(self.home / "port", str(port))
        settings = _ALWAYS | (_SAFE if self.durable else _QUICK) | {"port": str(port)} | self.settings
        command = [binaries.program("postgres"), "-D", str(self._cluster.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        _write_private(self.home / "owner", str(0 if self.detached else os.getpid()))
        self._spawn(self._as_account(command, tied=not self.detached))
        for _ in range(_READY_LOOKS):
            if self._ended.wait(LOOK):
                return False
            if self._server is not None and self._cluster.is_ready(self._server.pid):
                return True
        self._end()
        return False

    def _spawn(self, command: list[str]) -> None:
        """Start `command` from a thread that lives as long as it does.

        The kernel ties a child to the *thread* that made it. Started from a passing one (a pool's),
        the server would end with that; this one ends only with the server, or with the process.
        """
        started = threading.Event()
        self._ended = ended = threading.Event()

        def keep() -> None:
            with (self.home / "server.log").open("wb") as log:
                server = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C is for us: we stop the server when we are done with it
                )
            self._server = server
            started.set()
            server.wait()
            ended.set()

        threading.Thread(target=keep, name="private-postgres", daemon=True).start()
        started.wait()

    def _as_account(self, command: list[str], *, tied: bool) -> list[str]:
        uid, gid = (self._account.uid, self._account.gid) if self._account else (-1, -1)
        launcher = [sys.executable, "-I", "-S", str(pg_launch.__file__)]
        return [*launcher, str(uid), str(gid), str(os.getpid() if tied else 0), *command]

    def _end(self) -> None:
        pid = self._cluster.server()
        if pid is not None:
            self._cluster.stop(pid)
        if self._server is not None and self._server.pid == pid:
            self._ended.wait()  # until it is reaped

    def _log_end(self) -> str:
        with suppress(FileNotFoundError):
            lines = (self.home / "server.log").read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(lines[-12:])
        return "(empty)"

    def _psql(self, statement: str) -> None:
        options = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(self._port()), "-U", USER]
        done = subprocess.run(
            [find_binaries().program("psql"), *options, "-d", "postgres", "-c", statement],
            capture_output=True,
            text=True,
            check=False,
            env=_environment() | {"PGPASSWORD": self._password(), "PGSSLMODE": "disable"},
        )
        if done.returncode:
            raise PrivateServerError(f"{statement}: {done.stderr.strip()}")


def shutdown(folder: Path) -> bool:
    """End the server of `folder`, whoever started it; `False` when none was running."""
    server = PrivatePostgres(folder)
    with server._alone():
        running = server._cluster.server() is not None
        server._end()
    return running


def _checked(name: str) -> str:
    if not _DATABASE_NAME.fullmatch(name):
        raise PrivateServerError(
            f"{name!r} is no name for a database: use at most 63 lower-case letters, digits and underscores"
        )
    return name


def _environment() -> dict[str, str]:
    """Ours without what PostgreSQL's programs would read from it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def _free_port(wanted: int) -> int:
    """`wanted` when it is free, else any port that is; 0 wants any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _write_private(path: Path, text: str) -> None:
    """Put `text` into a file that only its owner may read, from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
