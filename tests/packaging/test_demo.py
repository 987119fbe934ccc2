"""`make demo`: three sagas that need a human, all that runs them, and an end that ends exactly that."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).resolve().parents[2]


class Demo:
    """The demo in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SAGACITY_")}
        self._env = kept | {"PYTHONPATH": os.pathsep.join([str(ROOT / "engine"), str(folder)])}
        for name in ("sagas", "compensations"):
            shutil.copytree(ROOT / name, folder / name)

    def says(self, *command: str, expect: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    def pids(self) -> dict[str, str]:
        return {file.stem: file.read_text() for file in (self.folder / ".sagacity").glob("*.pid")}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.says("sagas.demo", "stop")


@pytest.mark.timeout(240)
def test_the_stuck_saga_of_the_demo_is_mended_by_the_commands_that_it_prints(demo: Demo) -> None:
    said = demo.says("sagas.demo", "start", "--port", "0")
    url = said.split("the console: ")[1].split("/ ")[0]
    with httpx2.Client(base_url=url, trust_env=False, timeout=20) as web:
        waiting = {saga["key"]: saga for saga in web.get("/v1/sagas").json()["items"]}
        assert waiting["A-1002"]["status"] == "stuck"
        assert waiting["T-1001"]["waits_for"] == "approval"
        assert waiting["T-1002"]["waits_for"] == "lock"
        assert waiting["A-1001"]["status"] == "committed"
        assert "sagacity_stuck_sagas 1.0" in web.get("/metrics").text

    began = demo.pids()
    assert set(began) == {"demo-services", "demo-worker", "demo-serve"}
    assert url in demo.says("sagas.demo", "start"), "a second start says where the first one is"
    assert demo.pids() == began

    lines = [line.split(" ", 1)[1] for line in said.splitlines() if "sagacity" in line and " retry " in line]
    assert len(lines) == 1
    demo.says("sagas.demo", "mend")
    store = "sqlite:///.sagacity/demo/sagacity.db"
    assert f"--store {store}" in lines[0]
    demo.says("sagacity", "retry", "A-1002", "--reason", "the provider refunds again", "--store", store)
    with httpx2.Client(base_url=url, trust_env=False, timeout=60) as web:
        deadline = time.monotonic() + 40
        while web.get("/v1/sagas/A-1002").json()["status"] != "rolled_back" and time.monotonic() < deadline:
            time.sleep(0.1)
    assert "rolled_back" in demo.says("sagacity", "show", "A-1002", "--store", store)

    ended = demo.says("sagas.demo", "stop")
    assert all(f"ended {name.removeprefix('demo-')} " in ended for name in began)
    assert demo.pids() == {}
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{url}/health", trust_env=False, timeout=5)


def test_stopping_leaves_alone_a_process_that_merely_has_the_number(demo: Demo) -> None:
    (demo.folder / ".sagacity").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        file = demo.folder / ".sagacity" / "demo-worker.pid"
        file.write_text(f'{{"pid": {other.pid}, "born": "of another time"}}')
        assert "does not run" in demo.says("sagas.demo", "stop")
        assert other.poll() is None
        assert other.stdin is not None
        other.stdin.close()


def test_mending_what_does_not_run_says_how_to_begin(demo: Demo) -> None:
    demo.says("sagas.demo", "mend", expect=1)
