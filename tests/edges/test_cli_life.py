"""The command line on a real store: run, look, act, repair, and the forms of what is printed."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from sagacity.cli.call import Call
from sagacity.cli.failures import MEANINGS
from tests.edges.shop import Shop

SALES = [{"sale_id": f"s{n}", "amount": f"{n}.10"} for n in range(1, 6)]
REFUSED = {"sale_id": "poor", "amount": "5000"}
LABELS = [
    "started",
    "committed",
    "rolled_back",
    "abandoned",
    "waiting",
    "stuck",
    "rejected",
    "log_lines",
    "locks_held",
    "sagas_per_second",
]


@contextmanager
def process(shop: Shop, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A `sagacity` process in the shop's folder; ended when the block is left."""
    command = [sys.executable, "-m", "sagacity", *arguments]
    with subprocess.Popen(
        command, cwd=shop.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def until_said(running: subprocess.Popen[str], text: str) -> str:
    """The line on stderr that says `text`."""
    assert running.stderr is not None
    said = ""
    for line in running.stderr:
        said += line
        if text in line:
            return line
    raise AssertionError(f"it never said {text!r}, but: {said}")


def test_a_run_ends_with_a_summary_and_a_second_run_starts_nothing(shop: Shop) -> None:
    first = shop.run("Sale", *SALES, REFUSED)
    assert first.code == 0
    assert list(first.numbers) == LABELS
    assert first.numbers["started"] == "6"
    assert (first.numbers["committed"], first.numbers["rolled_back"]) == ("5", "1")
    assert first.numbers["locks_held"] == "0"
    assert re.fullmatch(r"\d+\.\d", first.numbers["sagas_per_second"])
    second = shop.run("Sale", *SALES, REFUSED)
    assert second.numbers["started"] == "0"
    assert second.numbers["sagas_per_second"] == "0.0"
    for label in LABELS[1:-1]:
        assert second.numbers[label] == first.numbers[label]


def test_the_summary_counts_the_lines_of_the_files_own_sagas(shop: Shop) -> None:
    shop.run("Sale", *SALES)
    said = shop.run("Sale", SALES[0])
    assert int(said.numbers["log_lines"]) == len(shop.says("log", "s1").lines)


def test_a_run_ends_when_the_rest_waits_for_a_signal(shop: Shop) -> None:
    said = shop.run("Order", {"order_id": "o1", "amount": "3"})
    assert said.code == 0
    assert said.numbers["waiting"] == said.numbers["locks_held"] == "1"
    assert shop.says("signal", "o1", "parcel.fetched").code == 0
    assert shop.run("Order", {"order_id": "o1", "amount": "3"}).numbers["committed"] == "1"


def test_a_run_that_leaves_something_stuck_is_1_also_with_rejected_lines(shop: Shop) -> None:
    said = shop.run("Jammed", {"sale_id": "j1"}, "{broken")
    assert said.code == 1
    assert said.numbers["stuck"] == said.numbers["rejected"] == "1"
    screen = shop.says("show", "j1").out
    assert "stuck" in screen
    assert "NOT made good" in screen
    assert "sagacity retry j1" in screen
    assert "STUCK, a person must look" in shop.says("log", "j1").out


def test_progress_goes_to_stderr_and_only_the_summary_to_stdout(shop: Shop) -> None:
    said = shop.run("Sale", *SALES)
    assert [line.split()[0] for line in said.lines] == LABELS
    assert "Sale: 5 of 5 ended: committed 5" in said.err


def test_show_fits_80_columns_and_takes_key_or_id(shop: Shop) -> None:
    shop.run("Sale", *SALES, REFUSED)
    by_key = shop.says("show", "poor")
    assert by_key.code == 0
    assert all(len(line) <= 80 for line in by_key.lines)
    assert "the customer has not got so much" in by_key.out
    [id_] = shop.says("show", "poor", "-o", "ids").lines
    assert f"id        {id_}" in by_key.lines
    by_id = shop.says("show", id_)
    assert [line for line in by_id.lines if not line.startswith("age")] == [
        line for line in by_key.lines if not line.startswith("age")
    ]


def test_the_log_of_a_rolled_back_sale_tells_its_story(shop: Shop) -> None:
    shop.run("Sale", REFUSED)
    story = shop.says("log", "poor")
    assert story.code == 0
    order = [
        "started Sale version 1 with key poor",
        "take money: about to call till; if the saga goes back, Till.give_back makes it good",
        "failed: the customer has not got so much",
        "nothing happened outside",
        "goes back, because",
        "rolled back: every effect was made good",
    ]
    places = [story.out.index(text) for text in order]
    assert places == sorted(places)
    raw = [json.loads(line) for line in shop.says("log", "poor", "--raw").lines]
    assert [line["seq"] for line in raw] == list(range(len(story.lines)))


def test_the_forms_of_output_are_table_json_jsonl_and_ids(shop: Shop) -> None:
    shop.run("Sale", *SALES)
    table = shop.says("list", "--limit", "2")
    assert table.lines[0].split() == ["KEY", "DEFINITION", "STATUS", "STATE", "AGE", "WHY"]
    assert "--before" in table.err
    whole = json.loads(shop.says("-o", "json", "list", "--limit", "2").out)
    assert whole["schema_version"] == 1
    rows = [json.loads(line) for line in shop.says("list", "-o", "jsonl", "--limit", "2").lines]
    ids = shop.says("list", "-o", "ids", "--limit", "2").lines
    assert [row["id"] for row in rows] == [item["id"] for item in whole["items"]] == ids
    rest = json.loads(shop.says("list", "-o", "json", "--before", whole["next"]).out)
    assert len(rest["items"]) == 3
    assert rest["next"] is None


def test_a_list_is_narrowed_by_status_definition_and_key(shop: Shop) -> None:
    shop.run("Sale", *SALES, REFUSED)
    assert len(shop.says("list", "-s", "rolled_back", "-o", "ids").lines) == 1
    assert len(shop.says("list", "-s", "rolled_back", "-s", "committed", "-o", "ids").lines) == 6
    assert shop.says("list", "-d", "Order", "-o", "ids").lines == []
    assert len(shop.says("list", "--key", "s3", "-o", "ids").lines) == 1


def test_numbers_come_out_as_they_were_stored(shop: Shop) -> None:
    shop.run("Sale", {"sale_id": "s1", "amount": "0.10"})
    assert '"takings":"0.10"' in shop.says("object", "books:s1").out
    assert "9007199254740993" in shop.says("object", "books:s1", "-o", "json").out
    history = json.loads(shop.says("object", "books:s1", "--history", "-o", "json").out)
    assert history["items"][0]["state"] == {"big": 9007199254740993, "takings": "0.10"}
    assert shop.says("object", "books:s1", "--at", "7").code == 4
    assert shop.says("object", "books:none").code == 4


def test_locks_show_who_holds_and_an_object_says_that_it_is_in_transaction(shop: Shop) -> None:
    shop.run("Order", {"order_id": "o1", "amount": "3"})
    held = shop.says("locks").lines
    assert held[1].split()[:5] == ["shelf:o1", "holds", "exclusive", "Order", "o1"]
    assert "in transaction with Order o1" in shop.says("object", "shelf:o1").out
    assert len(shop.says("locks", "--saga", "o1").lines) == 2
    assert shop.says("locks", "--object", "shelf:o2").out == ""


def test_a_cancel_needs_a_reason_that_stands_in_the_log(shop: Shop) -> None:
    shop.run("Order", {"order_id": "o1", "amount": "3"})
    assert shop.says("cancel", "o1").code == 3
    assert shop.says("cancel", "o1", "--reason", " ").code == 3
    assert shop.says("cancel", "o1", "--reason", "called off by phone").code == 0
    assert shop.run("Order", {"order_id": "o1", "amount": "3"}).numbers["rolled_back"] == "1"
    assert "called off by phone" in shop.says("log", "o1").out
    assert shop.says("cancel", "o1", "--reason", "again").code == 6


def test_a_retry_where_there_is_nothing_to_retry_is_refused(shop: Shop) -> None:
    shop.run("Sale", SALES[0])
    assert shop.says("retry", "s1").code == 6
    assert shop.says("retry", "nobody").code == 4


def test_a_rollback_is_previewed_confirmed_and_carried_out_by_a_linked_saga(shop: Shop) -> None:
    shop.run("Sale", SALES[0])
    preview = shop.says("rollback", "s1", "--preview")
    assert preview.code == 0
    assert "books:s1" in preview.out
    alone = shop.says("rollback", "s1", "--reason", "returned", "--yes", "-o", "ids")
    assert alone.code == 3
    done = shop.says("rollback", "s1", "--reason", "returned", "--yes", "--break-glass")
    assert done.code == 0
    assert "WITHOUT a second person" in done.out
    with process(shop, "worker", "--module", shop.flow("Sale")) as worker:
        until_said(worker, "saga.")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    assert "undone by" in shop.says("show", "s1").out
    assert shop.says("rollback", "s1", "--reason", "again once more", "--yes").code == 6


def test_a_worker_ends_with_0_on_sigterm(shop: Shop) -> None:
    shop.says("start", "Order", "--input", '{"order_id": "o1", "amount": "3"}')
    with process(shop, "worker", "--module", shop.flow("Order"), "--grace", "5") as worker:
        until_said(worker, "worker.started")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        assert "worker.stopped" in (worker.stderr.read() if worker.stderr else "")
        assert (worker.stdout.read() if worker.stdout else "") == ""


def test_an_interrupted_run_hands_back_and_is_130(shop: Shop) -> None:
    lines = [{"sale_id": f"s{n}", "amount": "1"} for n in range(2_000)]
    file = shop.file("many.jsonl", *lines)
    with process(shop, "run", shop.flow("Sale"), "--input", str(file)) as running:
        until_said(running, "Sale: ")
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 130
        assert "Traceback" not in (running.stderr.read() if running.stderr else "")
    assert shop.run("Sale", *lines).numbers["committed"] == str(len(lines))
    assert shop.says("verify").code == 0


def test_a_run_that_is_killed_goes_on_where_it_was(shop: Shop) -> None:
    lines = [{"sale_id": f"s{n}", "amount": "1"} for n in range(1_000)]
    file = shop.file("many.jsonl", *lines)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SAGACITY_LEASE", "3")  # of the one that is killed: so long its sagas are its own
        with process(shop, "run", shop.flow("Sale"), "--input", str(file)) as running:
            until_said(running, "Sale: ")
            running.kill()
            running.wait(10)
    said = shop.run("Sale", *lines)
    assert said.numbers["committed"] == "1000"


def test_verify_is_clean_and_names_a_line_that_was_tampered_with(shop: Shop) -> None:
    shop.run("Sale", *SALES)
    clean = shop.says("verify")
    assert clean.code == 0
    assert "nothing wrong" in clean.out
    with sqlite3.connect(shop.folder / "sagacity.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE log SET data = replace(data, '1.10', '9.10') WHERE position = 1")
    said = shop.says("verify")
    assert said.code == 1
    assert "1" in said.out


def test_rebuild_folds_the_log_into_an_empty_store(shop: Shop) -> None:
    shop.run("Sale", *SALES, REFUSED)
    assert shop.says("rebuild", "--into", "sqlite:///again.db").code == 0
    before, after = (
        [row | {"created_at": ""} for row in map(json.loads, shop.says(*call).lines)]
        for call in (
            ("list", "-o", "jsonl"),
            ("list", "-o", "jsonl", "--store", "sqlite:///again.db"),
        )
    )
    assert before == after
    assert shop.says("rebuild", "--into", "sqlite:///again.db").code == 5


def test_check_finds_a_definition_that_changed_without_a_new_version(shop: Shop) -> None:
    assert shop.says("check").code == 0
    assert shop.says("check", "--lock").code == 0
    lock = shop.folder / "sagas.lock"
    lock.write_text(re.sub(r'"[0-9a-f]{8}', '"00000000', lock.read_text()))
    said = shop.says("check")
    assert said.code == 1
    assert "version=2" in said.out
    assert shop.says("check", "nowhere.py").code == 2
    assert shop.says("check", "Nowhere").code == 4


def test_check_prints_every_fault_of_a_broken_flow_at_once(shop: Shop) -> None:
    broken = shop.folder / f"broken_{shop.module}.py"
    broken.write_text(
        "from pydantic import BaseModel\n"
        "from sagacity import Saga, State\n"
        "class Broken(Saga, version=1):\n"
        "    class Input(BaseModel):\n"
        "        name: str\n"
        "    first = State(initial=True)\n"
        "    second = State()\n"
        "    lost = State()\n"
        "    last = State(final=True)\n"
        "    go = first.to(second)\n"
        "    on = second.to(last)\n"
    )
    said = shop.says("check", broken.name)
    assert said.code == 1
    for word in ("lost", "go", "Fix:"):
        assert word in said.out


def test_check_finds_a_definition_that_differs_from_the_stores(shop: Shop) -> None:
    shop.run("Sale", SALES[0])
    with sqlite3.connect(shop.folder / "sagacity.db") as database:
        database.execute("UPDATE saga SET definition_hash = replace(definition_hash, 'a', 'b')")
    said = shop.says("check")
    assert said.code == 1
    assert "the store" in said.out


def test_a_diagram_is_drawn_in_three_forms_and_of_a_saga(shop: Shop) -> None:
    assert "stateDiagram" in shop.says("diagram", "Sale", "--format", "mermaid").out
    assert "digraph" in shop.says("diagram", shop.flow("Sale"), "-f", "dot").out
    shop.run("Order", {"order_id": "o1", "amount": "3"})
    assert "the saga is here" in shop.says("diagram", "o1").out
    assert shop.says("diagram", "nobody").code == 4


def test_migrate_prints_sql_and_changes_nothing_the_second_time(shop: Shop) -> None:
    assert "CREATE TABLE" in shop.says("migrate", "--sql").out
    assert not (shop.folder / "sagacity.db").exists()
    assert shop.says("migrate").code == 0
    assert "nothing to do" in shop.says("migrate").out


def test_init_lays_out_a_project_and_overwrites_nothing(shop: Shop) -> None:
    said = shop.says("init", "store")
    assert said.code == 0
    assert {"store/pyproject.toml", "store/README.md", "store/.gitignore", "store/sagas/order.py"} <= set(
        said.lines
    )
    again = shop.says("init", "store")
    assert again.code == 5
    assert "nothing was written" in again.err
    assert shop.says("init", "9 lives").code == 2


def test_a_server_answers_on_loopback_and_ends_with_0_on_sigterm(shop: Shop) -> None:
    shop.run("Sale", SALES[0])
    with process(shop, "serve", "--port", "0") as server:
        url = until_said(server, "serving").split()[1].removesuffix("/v1/")
        with httpx2.Client(trust_env=False) as client:
            assert client.get(f"{url}/v1/sagas/s1").json()["status"] == "committed"
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


@pytest.mark.parametrize(("answer", "code"), [("s2", 3), ("", 3), ("s1", 0)])
def test_at_a_terminal_a_rollback_wants_the_key_typed_and_does_what_it_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    shop.run("Sale", SALES[0])
    monkeypatch.setattr(Call, "at_terminal", property(lambda _: True))
    monkeypatch.setattr("typer.prompt", lambda *_, **__: answer)
    assert shop.says("rollback", "s1", "--reason", "returned", "--break-glass").code == code
    assert shop.run("Sale", SALES[0]).code == 0
    assert shop.says("locks").out == ""
    kinds = [json.loads(line)["kind"] for line in shop.says("log", "s1", "--raw").lines]
    assert ("rollback_asked" in kinds) == (answer == "s1")


def test_python_m_sagacity_is_the_same_command(shop: Shop) -> None:
    with process(shop, "--version") as running:
        out, _ = running.communicate(timeout=20)
    assert running.returncode == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", out)


def test_every_exit_code_has_a_meaning() -> None:
    assert {int(code) for code in MEANINGS} == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 130}
