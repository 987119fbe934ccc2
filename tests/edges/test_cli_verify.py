"""`sagacity verify` and `sagacity anchor` on a store with history, as an operator types them."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.fill import main as fill
from sagacity.anchor import anchor_of
from sagacity.model.unit import ChainHead
from sagacity.runtime.keys import read_key
from tests.edges.shop import Shop

Say = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three finished orders."""
    folder = tmp_path_factory.mktemp("past")
    assert fill(["--store", f"sqlite:///{folder}/store.db", "--sagas", "3", "--chains", "1"]) == 0
    return folder / "store.db"


@pytest.fixture
def folder(past: Path, tmp_path: Path) -> Path:
    (tmp_path / "store.db").write_bytes(past.read_bytes())
    return tmp_path


@pytest.fixture
def say(folder: Path) -> Say:
    def said(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "sagacity", *arguments, "--store", "sqlite:///store.db"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)

    return said


def tampered(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "store.db") as conn:
        conn.execute("DROP TRIGGER IF EXISTS log_no_update")
        conn.execute("DROP TRIGGER IF EXISTS log_no_delete")
        for statement in statements:
            conn.execute(statement)


def test_a_filled_store_verifies_and_is_anchored(folder: Path, say: Say) -> None:
    assert say("verify").stdout == "verified 60 lines, 3 sagas, 6 objects: nothing wrong\n"
    assert say("verify", "--chain").stdout == "verified 60 lines, 0 sagas, 0 objects: nothing wrong\n"
    assert say("anchor", "--to", "sink.jsonl").returncode == 2  # no key
    assert say("anchor", "--new-key", "key").returncode == 0
    sent = say("anchor", "--to", "sink.jsonl", "--key", "key", "--lines")
    assert sent.stdout == "anchored 1 chains, 60 lines sent\n"
    checked = say("verify", "--chain", "--anchor", "sink.jsonl", "--key", "key")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_history_that_was_cut_is_told_with_what_to_do(folder: Path, say: Say) -> None:
    say("anchor", "--new-key", "key")
    say("anchor", "--to", "sink.jsonl", "--key", "key")
    tampered(folder, "DELETE FROM log WHERE position > 50", "UPDATE chain SET position = 50")
    found = say("verify", "--chain", "--anchor", "sink.jsonl", "--key", "key", "-o", "json")
    assert found.returncode == 1
    told = {finding["invariant"]: finding["what"] for finding in json.loads(found.stdout)["findings"]}
    assert "10 lines were lost by a restore or failover" in told["I1"]
    assert "Stop the workers" in told["I1"]


def test_what_broke_is_named_with_its_number(folder: Path, say: Say) -> None:
    tampered(folder, "UPDATE saga SET reason = 'because' WHERE rowid = 1")
    found = say("verify")
    assert found.returncode == 1
    assert found.stdout.splitlines()[0].split() == ["BROKEN", "WHERE", "WHAT"]
    assert "I5" in found.stdout
    assert "reason in the table is not what its lines say" in " ".join(found.stdout.split())


def test_ledgers_and_histories_are_held_against_the_log(folder: Path, say: Say) -> None:
    with sqlite3.connect(folder / "store.db") as conn:
        keys = [
            str(key) for (key,) in conn.execute("SELECT key FROM compensation WHERE step = 'reserve_goods'")
        ]
        [(saga,), *_] = conn.execute("SELECT id FROM saga").fetchall()
    calls = [{"external": "warehouse", "call": "reserve", "key": key, "outcome": "landed"} for key in keys]
    ledger, history = folder / "warehouse.jsonl", folder / "clients.jsonl"
    ledger.write_text("".join(json.dumps(call) + "\n" for call in calls))
    ops = [{"op": "start", "id": saga, "key": "any", "result": "ok"}]
    history.write_text("".join(json.dumps(op) + "\n" for op in ops))
    whole = ("verify", "--ledger", "warehouse.jsonl", "--history", "clients.jsonl")
    assert say(*whole).returncode == 0

    ledger.write_text("".join(json.dumps(call) + "\n" for call in [*calls[1:], calls[1]]))
    ops.append({"op": "signal", "id": "00000000-0000-0000-0000-000000000007", "result": "ok"})
    history.write_text("".join(json.dumps(op) + "\n" for op in ops))
    found = json.loads(say(*whole, "-o", "json").stdout)["findings"]
    assert sorted(finding["invariant"] for finding in found) == ["I16", "I16", "I16", "I7"]
    assert say("verify", "--ledger", "nowhere.jsonl").returncode == 2


def test_a_worker_whose_store_is_behind_its_anchor_says_so_and_does_not_start(shop: Shop) -> None:
    shop.run("Sale", {"sale_id": "s1", "amount": "1.10"})
    assert shop.says("anchor", "--new-key", shop.folder / "key").code == 0
    lost = ChainHead(id=1, epoch=1, position=10_000, hash=b"x" * 32)
    key = read_key(shop.folder / "key")
    anchor = anchor_of([lost], tenant="main", lane="live", at=datetime(2026, 3, 1, tzinfo=UTC), key=key)
    (shop.folder / "sink.jsonl").write_bytes(anchor.line())
    settings = {"SAGACITY_ANCHOR_TO": "sink.jsonl", "SAGACITY_ANCHOR_KEY": "key"}
    command = [sys.executable, "-m", "sagacity", "worker", "--module", shop.flow("Sale").partition(":")[0]]
    worker = subprocess.run(
        command, cwd=shop.folder, env=os.environ | settings, capture_output=True, text=True, timeout=60
    )
    assert worker.returncode == 1
    assert "lines were lost by a restore or failover" in worker.stderr
    assert "sagacity verify --anchor" in worker.stderr


def test_moves_are_held_against_the_definitions_when_asked(shop: Shop) -> None:
    shop.run("Sale", {"sale_id": "s1", "amount": "1.10"})
    assert shop.says("verify", "--flows").code == 0
    moved = (shop.folder / f"{shop.module}.py").read_text().replace("paid", "charged")
    (shop.folder / f"{shop.module}_moved.py").write_text(moved)
    (shop.folder / "pyproject.toml").write_text(f'[tool.sagacity]\nmodules = ["{shop.module}_moved.py"]\n')
    command = [sys.executable, "-m", "sagacity", "verify", "--flows", "-o", "json"]
    found = subprocess.run(command, cwd=shop.folder, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr) == (1, "")
    assert {finding["invariant"] for finding in json.loads(found.stdout)["findings"]} == {"I13"}
