"""The benchmark: what is made of figures, who is absent, and that the whole of it still runs."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contender import Task, closed_loop, quantile
from benchmarks.install import PEERS, install
from benchmarks.machine import machine
from benchmarks.measure import Contender, ContenderFailed, contender, cpu_of, cpu_per_saga, medians, ratio
from benchmarks.place import sweep
from benchmarks.rounds import SMOKE, cases_of, rounds
from benchmarks.steps import Order, order
from benchmarks.summary import summary
from sagacity.store.private import PrivatePostgres

ROOT = Path(__file__).resolve().parents[2]


def figures(per_second: float, p50: float = 0.01) -> dict[str, float]:
    return {"per_second": per_second, "p50": p50}


def test_medians_are_taken_number_by_number() -> None:
    rounds = [{"per_second": 10.0, "p50": 3.0}, {"per_second": 30.0, "p50": 1.0}, {"per_second": 20.0}]
    assert medians(rounds) == {"per_second": 20.0, "p50": 2.0}


def test_a_ratio_needs_both_sides() -> None:
    assert ratio(30.0, 2.0) == 15.0
    assert ratio(2.0, 3.0) == 0.667
    assert ratio(None, 2.0) is None
    assert ratio(2.0, None) is None
    assert ratio(2.0, 0.0) is None


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert quantile([1.0], 0.99) == 1.0
    assert quantile([], 0.5) == 0.0


def test_the_summary_holds_the_ratios_of_the_medians() -> None:
    found = {
        "cases": {
            "A": {"ours": figures(2000.0), "dbos": figures(100.0), "restate": figures(500.0)},
            "B": {"ours": figures(1.0, 0.002), "dbos": figures(1.0, 0.01), "restate": figures(1.0, 0.008)},
            "F": {"ours-sqlite": figures(1400.0), "dbos-sqlite": figures(70.0)},
        },
        "E": {
            "1": {"sagas": 1000.0, "cpu": 1.0, "server_cpu": 1.0, "per_second": 1000.0},
            "2": {"sagas": 2000.0, "cpu": 2.2, "server_cpu": 2.2, "per_second": 1700.0},
        },
        "cores": 4,
    }
    said = summary(found)
    assert (said["a_vs_dbos"], said["a_vs_restate"]) == (20.0, 4.0)
    assert (said["b_p50_vs_best"], said["f_vs_dbos_sqlite"]) == (0.25, 20.0)
    assert (said["e_cpu_2_vs_1"], said["e_rate_2_vs_1"]) == (1.1, 1.7)
    assert said["e_share_of_cores"] == 0.935


def test_what_was_not_measured_is_null_and_not_guessed() -> None:
    alone = summary({"cases": {"A": {"ours": figures(2000.0)}, "B": {"ours": figures(1.0)}}})
    assert {"a_vs_dbos", "a_vs_restate", "b_p50_vs_best", "f_vs_dbos_sqlite"} <= alone.keys()
    assert {"e_cpu_2_vs_1", "growth_1m"} <= alone.keys()
    assert set(alone.values()) == {None}
    assert set(summary({}).values()) == {None}
    with_one = summary({"cases": {"B": {"ours": figures(1.0, 0.004), "dbos": figures(1.0, 0.01)}}})
    assert with_one["b_p50_vs_best"] == 0.4


def test_processor_time_is_unknown_where_the_servers_is() -> None:
    assert cpu_per_saga({"sagas": 10.0, "cpu": 1.0}) is None
    assert cpu_per_saga({"sagas": 10.0, "cpu": 1.0, "server_cpu": 1.0}) == 0.2
    assert cpu_of(None) is None


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.2, 20), (1.0, 100)])
def test_as_many_orders_are_refused_as_were_asked_for(share: float, count: int) -> None:
    assert sum(order("r", n, refused=share).refused for n in range(100)) == count


def test_without_hot_objects_no_two_orders_want_the_same() -> None:
    assert len({order("r", n).account for n in range(1000)}) == 1000
    hot = [order("r", n, hot=0.5).account for n in range(1000)]
    assert 450 < sum(int(account.split("-")[1]) < 10 for account in hot) < 550


def test_only_ours_is_measured_on_what_the_peers_do_not_have() -> None:
    assert cases_of("ours", ["A", "D", "F"]) == ["A", "D"]
    assert cases_of("dbos", ["A", "D", "F"]) == ["A"]
    assert cases_of("dbos-sqlite", ["A", "D", "F"]) == ["F", "FB"]


async def test_the_loop_keeps_so_many_under_way_and_counts_each_once() -> None:
    now = most = 0

    async def run(order: Order) -> bool:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return not order.refused

    took = await closed_loop(run, Task(seconds=60, at_once=7, refused=0.25, sagas=100))
    assert (took.sagas, took.rolled_back, most) == (100, 25, 7)
    assert len(took.latencies) == 100


async def test_a_saga_that_ends_the_wrong_way_ends_the_measurement() -> None:
    async def run(order: Order) -> bool:
        return False

    with pytest.raises(ExceptionGroup) as failed:
        await closed_loop(run, Task(seconds=60, at_once=1, sagas=1))
    assert "ended the wrong way" in str(failed.value.exceptions[0])


async def test_a_contender_that_cannot_begin_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no licence today')"]
    with pytest.raises(ContenderFailed, match="no licence today"):
        async with contender(command, tmp_path / "log"):
            pass


class Stand:
    """Stands in for a place in which one contender cannot be run."""

    def __init__(self, folder: Path, refuses: str) -> None:
        self.folder, self.refuses, self.absent = folder, refuses, dict[str, str]()

    def has(self, who: str) -> bool:
        return who in ("dbos", "ours") and who not in self.absent

    def gone(self, who: str, why: str) -> None:
        self.absent[who] = why

    @asynccontextmanager
    async def contender(self, who: str) -> AsyncIterator[Contender]:
        works = """
import json, sys
print("{}", flush=True)
for line in iter(sys.stdin.readline, ""):
    print(json.dumps({"per_second": 1, "p50": 1, "p99": 1}), flush=True)
"""
        code = "raise SystemExit('no licence today')" if who == self.refuses else works
        async with contender([sys.executable, "-u", "-c", code], self.folder / f"{who}.log") as one:
            yield one


async def test_a_peer_that_does_not_run_is_absent_and_the_others_are_measured(tmp_path: Path) -> None:
    stand: Any = Stand(tmp_path, refuses="dbos")
    measured = await rounds(stand, replace(SMOKE, rounds=2), ["A"])
    assert list(measured["A"]) == ["ours"]
    assert len(measured["A"]["ours"]["rounds"]) == 2
    assert stand.absent == {"dbos": "no licence today"}


async def test_that_we_ourselves_do_not_run_is_no_result_but_a_failure(tmp_path: Path) -> None:
    stand: Any = Stand(tmp_path, refuses="ours")
    with pytest.raises(ContenderFailed, match="no licence today"):
        await rounds(stand, SMOKE, ["A"])


def test_what_a_killed_run_has_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f"run-{ended.pid}", f"pg-{ended.pid}", f"run-{os.getpid()}", "venv", "npm"):
        (tmp_path / name).mkdir()
    elsewhere = PrivatePostgres(tmp_path / f"pg-{ended.pid}").home
    (elsewhere / "data").mkdir()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"run-{os.getpid()}", "venv", "npm"}
    assert not elsewhere.exists()


def test_a_machine_tells_its_versions() -> None:
    known = machine()
    assert {"date", "processors", "PostgreSQL", "dbos", "restate-sdk", "restate-server"} <= known.keys()
    assert all(known.values())


def test_without_npm_there_is_no_restate_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "venv").mkdir()
    shutil.copy(PEERS / "requirements.txt", tmp_path / "venv")  # as if the others were there
    monkeypatch.setattr("benchmarks.install.shutil.which", lambda name: None)
    found = install(tmp_path)
    assert (found.python, found.restate) == (tmp_path / "venv" / "bin" / "python", None)
    assert found.absent == {"restate": "npm is not on this machine"}


def test_without_an_environment_every_peer_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.install.sys.executable", "false")
    found = install(tmp_path)
    assert found.python is None
    assert found.absent.keys() == {"dbos", "restate"}
    assert "ended with 1" in found.absent["dbos"]


@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_the_smoke_form_ends_with_one_line_of_json(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--smoke", "--only", "A,F", "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'engine'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert {"a_vs_dbos", "a_vs_restate", "b_p50_vs_best", "f_vs_dbos_sqlite"} <= last.keys()
    cases = json.loads(out.read_text())["cases"]
    assert cases["A"]["ours"]["sagas"] > 0
    assert cases["F"]["ours-sqlite"]["sagas"] > 0
