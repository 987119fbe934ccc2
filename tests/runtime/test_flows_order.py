"""Orders end to end: our sample on both databases, the real ones where they are, and a kill in the middle."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from sagacity.store.private import PrivatePostgres
from sagas.run import SAMPLE, without_password
from tests.shown.orders import (
    killed_midway,
    make_run,
    once_and_again,
    only_the_waiting_hold_locks,
    pasted,
)
from tests.shown.world import REAL_ORDERS, World, expected_ends

pytestmark = pytest.mark.timeout(300)


async def test_the_sample_ends_as_in_life_and_a_second_run_starts_nothing(tmp_path: Path) -> None:
    await once_and_again(World(tmp_path), SAMPLE)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account of the machine may enter: a private server runs under one of its own."""
    folder = Path(tempfile.mkdtemp(prefix="sagacity-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.postgres
async def test_the_sample_ends_alike_on_postgresql_with_two_workers(
    tmp_path: Path, open_folder: Path
) -> None:
    with PrivatePostgres(open_folder) as server:
        world = World(tmp_path, store=server.url())
        world.sagacity("migrate")
        await once_and_again(world, SAMPLE, "--workers", "2")


@pytest.mark.postgres
def test_a_private_server_comes_and_goes_with_the_run(open_folder: Path) -> None:
    world = World(open_folder, store="postgres")
    few = _few(open_folder)
    _, printed = make_run(world, few, "--workers", "2")
    shown = pasted(printed)
    assert shown
    assert all("--store postgres" in command for command in shown)
    assert _works(world, shown[0])
    again, _ = make_run(world, few)
    assert again["started"] == 0


def test_services_that_are_kept_up_are_used_by_the_next_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    few = _few(tmp_path)
    command = [sys.executable, "-m", "sagas.run", "--services-only", "--orders", str(few)]
    environment = {**world.environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, "--store", world.store], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as kept:
        assert kept.stdout is not None
        said = ""
        while "SAGACITY_CLUSTERS_URL" not in said:
            said += kept.stdout.readline()
        _, printed = make_run(world, few)
        assert "up already" in printed
        kept.send_signal(signal.SIGTERM)
        assert "the services end" in kept.stdout.read()
    assert kept.returncode == 0


def test_no_service_outlives_a_run_that_was_killed(tmp_path: Path) -> None:
    world = World(tmp_path)
    command = [sys.executable, "-m", "sagas.run", "--services-only", "--orders", str(_few(tmp_path))]
    environment = {**world.environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as kept:
        assert kept.stdout is not None
        address = ""
        while "SAGACITY_CARRIER_URL=" not in address:
            address = kept.stdout.readline()
        kept.kill()
    url = address.partition("=")[2].strip()
    for _ in range(100):
        try:
            httpx2.get(f"{url}/health", trust_env=False, timeout=1)
        except httpx2.TransportError:
            return
        time.sleep(0.1)
    pytest.fail("the services live on")


def test_no_password_is_printed_or_stands_in_an_argument() -> None:
    assert without_password("postgresql://me:secret@db/shop") == "postgresql://me:…@db/shop"
    assert without_password("sqlite:///shop.db") == "sqlite:///shop.db"


def _few(folder: Path) -> Path:
    """A dozen of the sample's orders, of every ending, in a file whose name has to be quoted."""
    wanted = {"delivered": 4, "shipped": 2, "canceled": 3, "unavailable": 1, "created": 1, "processing": 1}
    few = folder / "a few.jsonl"
    with few.open("w") as file:
        for line in SAMPLE.read_text().splitlines():
            status = json.loads(line)["status"]
            if wanted.get(status):
                wanted[status] -= 1
                file.write(f"{line}\n")
    return few


def _works(world: World, command: str) -> bool:
    done = subprocess.run(command, shell=True, cwd=world.folder, capture_output=True, timeout=world.limit)
    return done.returncode == 0


def test_the_flow_sees_neither_status_nor_time_stamps(tmp_path: Path) -> None:
    world = World(tmp_path)
    summary, _ = make_run(world, SAMPLE, "--blind")
    expected = expected_ends(SAMPLE)
    assert {name: summary[name] for name in expected} == expected
    [blind] = (tmp_path / ".sagacity" / "services").glob("*/blind.jsonl")
    assert not re.search("status|_at|payment", blind.read_text())


def test_what_make_run_says_to_try_next_works_as_pasted(tmp_path: Path) -> None:
    world = World(tmp_path)
    few = _few(tmp_path)
    first, printed = make_run(world, few)
    commands = pasted(printed)
    verbs = [re.findall(r"(?:sagacity |sagas\.)(\w+)", command)[0] for command in commands]
    assert verbs == ["show", "log", "signal", "run", "object", "verify"]
    assert [command for command in commands if not _works(world, command)] == []
    again, _ = make_run(world, few)
    assert again["committed"] == first["committed"] + 1, "the order that was signalled is delivered now"


def test_a_store_that_was_deleted_takes_its_ledgers_with_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    few = _few(tmp_path)
    first, _ = make_run(world, few)
    for file in tmp_path.glob("sagacity.db*"):
        file.unlink()
    again, printed = make_run(world, few)
    assert "set aside" in printed
    assert (again["started"], again["committed"]) == (first["started"], first["committed"])


async def test_a_worker_killed_in_the_middle_leaves_no_trace(tmp_path: Path) -> None:
    await killed_midway(World(tmp_path), SAMPLE, at=0.5)


@pytest.mark.skipif(not REAL_ORDERS.exists(), reason=f"the real orders are not here: {REAL_ORDERS.name}")
async def test_the_real_orders_end_as_in_life(tmp_path: Path) -> None:
    world = World(tmp_path, limit=280)
    summary, printed = await asyncio.to_thread(make_run, world, REAL_ORDERS)
    assert (summary["committed"], summary["rolled_back"], summary["waiting"]) == (1879, 25, 33), printed
    assert "ledgers agree" in printed
    await only_the_waiting_hold_locks(world, summary)
