"""What bad input gets on the command line: one or two lines that name the fix, a code, and nothing stored."""

import json
import socket
import sqlite3
import subprocess
import sys

import pytest

from tests.edges.shop import Shop

SALE = {"sale_id": "s1", "amount": "9.90"}


def start(shop: Shop, given: str, flow: str = "Sale", *more: str) -> tuple[int, str]:
    said = shop.says("start", flow, "--input", given, *more)
    assert len(said.err.strip().splitlines()) <= 2, said.err
    assert "Traceback" not in said.err
    return said.code, said.err


def stored(shop: Shop) -> list[str]:
    return shop.says("list", "-o", "ids").lines


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('{"sale_id": "s1", "amount": ', "not JSON"),
        ("[1, 2]", "Sale"),
        ('{"sale_id": "s1", "amount": "9.90", "colour": "red"}', "colour: unknown field"),
        ('{"sale_id": "s1", "amount": "much"}', "amount"),
        ('{"sale_id": 5, "amount": "9.90"}', "sale_id"),
        ('{"amount": "9.90"}', "sale_id: Field required"),
        ('{"sale_id": "s1", "amount": "9.90", "at": "2026-01-01T00:00:00"}', "at"),
        ('{"sale_id": "s1", "amount": NaN}', "NaN is not a number"),
        ('{"sale_id": "s1", "amount": "NaN"}', "amount"),
        ('{"sale_id": "s1", "sale_id": "s2", "amount": "1"}', "same key twice"),
        ('{"sale_id": "s\\u0000", "amount": "1"}', "NUL"),
    ],
)
def test_an_input_that_cannot_be_taken_is_a_usage_error_and_leaves_nothing(
    shop: Shop, given: str, told: str
) -> None:
    code, err = start(shop, given)
    assert code == 2
    assert told in err
    assert stored(shop) == []


def test_a_payload_over_256_kib_is_refused_with_the_way_out(shop: Shop) -> None:
    given = json.dumps({**SALE, "note": "x" * 300_000})
    code, err = start(shop, given)
    assert code == 2
    assert "over the limit of 262144 bytes" in err
    assert "pass a reference" in err
    assert stored(shop) == []


def test_an_unknown_definition_is_answered_with_the_known_ones(shop: Shop) -> None:
    code, err = start(shop, "{}", "Sail")
    assert code == 4
    assert "Sale" in err


def test_a_key_with_another_input_is_a_conflict(shop: Shop) -> None:
    assert start(shop, json.dumps(SALE))[0] == 0
    code, err = start(shop, json.dumps({**SALE, "amount": "1"}))
    assert code == 5
    assert "already started" in err
    assert len(stored(shop)) == 1


def test_a_definition_that_no_worker_runs_is_stored_and_the_fix_is_named(shop: Shop) -> None:
    said = shop.says("start", "Sale", "--input", json.dumps(SALE))
    assert said.code == 0
    assert "sagacity worker" in said.err
    assert "sagacity worker" in shop.says("show", "s1").out
    assert len(stored(shop)) == 1


def test_a_missing_external_names_its_variable_and_loses_nothing(shop: Shop) -> None:
    said = shop.run("Distant", {"name": "n1"})
    assert said.code == 2
    assert "SAGACITY_FAR_URL" in said.err
    assert len(stored(shop)) == 1


def test_an_unreachable_database_is_temporary(shop: Shop) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = shop.says("list", "--store", f"postgresql://nobody:secret@127.0.0.1:{port}/none")
    assert said.code == 8
    assert "cannot be reached" in said.err
    assert "secret" not in said.err


def test_a_store_of_an_unknown_kind_is_a_usage_error(shop: Shop) -> None:
    said = shop.says("list", "--store", "mysql://127.0.0.1/none")
    assert said.code == 2
    assert "sqlite:///FILE" in said.err


def test_a_file_that_cannot_be_written_is_refused(shop: Shop) -> None:
    assert shop.says("migrate").code == 0
    code, err = start(
        shop, json.dumps(SALE), "Sale", "--store", "sqlite:///file:sagacity.db?mode=ro&uri=true"
    )
    assert code == 6
    assert "write permission" in err
    assert stored(shop) == []


def test_a_schema_from_the_future_is_refused(shop: Shop) -> None:
    assert start(shop, json.dumps(SALE))[0] == 0
    with sqlite3.connect(shop.folder / "sagacity.db") as database:
        database.execute("UPDATE sagacity_version SET version_num = '9999'")
    said = shop.says("list")
    assert said.code == 6
    assert "upgrade this installation" in said.err


def test_lines_that_cannot_be_taken_are_named_and_the_rest_runs(shop: Shop) -> None:
    said = shop.run(
        "Sale",
        SALE,
        "{broken",
        {**SALE, "sale_id": "s2", "colour": "red"},
        {"amount": "1"},
        '{"sale_id": "s3", "amount": NaN}',
        "",
        {"sale_id": "s4", "amount": "2"},
        "[]",
        {"sale_id": "s1", "amount": "5"},
        {"sale_id": "s6", "amount": "1", "note": "x" * 300_000},
        {"sale_id": "s7", "amount": "1", "at": "2026-01-01T00:00:00"},
    )
    assert said.code == 7
    assert said.numbers["started"] == said.numbers["committed"] == "2"
    assert said.numbers["rejected"] == "8"
    for number, told in ((2, "not JSON"), (3, "colour: unknown field"), (4, "'sale_id' is missing")):
        assert any(f"Sale.jsonl:{number}: " in line and told in line for line in said.err.splitlines())
    assert "Sale.jsonl:6" not in said.err


def test_a_run_without_a_key_is_refused(shop: Shop) -> None:
    said = shop.run("NoKey", {"name": "n"})
    assert said.code == 2
    assert "--key FIELD" in said.err
    assert shop.run("NoKey", {"name": "n"}, more=("--key", "name")).code == 0


@pytest.mark.parametrize(
    "line",
    [
        ["show"],
        ["show", "a", "b"],
        ["lisst"],
        ["list", "--status", "asleep"],
        ["list", "--limit", "none"],
        ["list", "-o", "xml"],
        ["diagram", "Sale", "--format", "png"],
        ["object", "nocolon"],
        ["run", "nowhere.py:Sale", "--input", "x.jsonl"],
        ["rollback", "s1"],
        ["serve", "--host", "0.0.0.0"],
        ["serve", "--host", "example.org"],
    ],
)
def test_a_wrong_call_is_a_usage_error_in_two_lines(shop: Shop, line: list[str]) -> None:
    said = shop.says(*line)
    assert said.code == 2
    assert said.out == ""
    assert 1 <= len(said.err.strip().splitlines()) <= 2


def test_a_setting_that_cannot_be_names_its_variable(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGACITY_LEASE", "soon")
    said = shop.says("list")
    assert said.code == 2
    assert "SAGACITY_LEASE=soon" in said.err


def test_a_fault_of_ours_has_an_id_and_a_file_instead_of_a_traceback(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr("sagacity.cli.narrowing.narrowed", broken)
    said = shop.says("list")
    assert said.code == 70
    assert "Traceback" not in said.err
    [trace] = (shop.folder / ".sagacity" / "faults").iterdir()
    assert str(trace) in said.err
    assert "a wheel came off" in trace.read_text()
    assert trace.stat().st_mode & 0o077 == 0


def test_an_interrupt_is_130(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sagacity.cli.narrowing.narrowed", interrupted)
    assert shop.says("list").code == 130


def test_nothing_is_asked_without_a_terminal(shop: Shop) -> None:
    assert shop.run("Sale", SALE).code == 0
    said = shop.says("rollback", "s1", "--reason", "returned")
    assert said.code == 3
    assert "nothing was changed" in said.err
    assert "sagacity plan apply" in said.err
    assert "the approval of somebody else" in said.err
    assert len(stored(shop)) == 1


def test_a_reader_that_goes_away_is_no_fault(shop: Shop) -> None:
    command = [sys.executable, "-m", "sagacity", "check", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
