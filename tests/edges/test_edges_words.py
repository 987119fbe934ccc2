"""Small promises of the edges: settings, events, the page of the command line, words and JSON shapes."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from sagacity import cli, errors, telemetry
from sagacity.cli import shapes, words
from sagacity.cli.failures import FAILURES, FAULT, Exit, failure_of
from sagacity.cli.table import COMMANDS, page
from sagacity.config import DEFAULT_STORE, load
from sagacity.errors import ConfigError
from sagacity.model.canonical import JsonText
from sagacity.model.unit import Notice
from sagacity.model.views import ObjectView

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


@pytest.fixture
def told() -> Iterator[io.StringIO]:
    """What is told from here on; the process's logging is put back afterwards."""
    root, own = logging.getLogger(), logging.getLogger(telemetry.LOGGER)
    before = root.handlers[:], root.level, own.level
    yield io.StringIO()
    root.handlers[:], root.level, own.level = before
    structlog.reset_defaults()


def test_what_two_tasks_say_of_one_outage_is_told_once_and_is_no_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = [errors.StoreUnavailable("the database cannot be reached"), errors.StoreUnavailable("it is away")]
    assert cli.told(ExceptionGroup("run and worker", [away[0], ExceptionGroup("", [away[1]])])) == 8
    assert capsys.readouterr().err == "sagacity: the database cannot be reached\n"


def test_a_fault_among_expected_errors_stays_a_fault(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    both = [errors.StoreUnavailable("it is away"), ZeroDivisionError("ours")]
    assert cli.told(ExceptionGroup("run and worker", both)) == Exit.FAULT
    assert "a fault of ours" in capsys.readouterr().err


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == page(), (
        "make it anew: python -m sagacity.cli.table > docs/cli.md"
    )


def test_every_command_is_in_the_table_once() -> None:
    names = [command.name for command in COMMANDS]
    assert sorted(names) == sorted(
        [
            "run",
            "anchor",
            "worker",
            "serve",
            "start",
            "signal",
            "cancel",
            "retry",
            *("pause", "resume", "skip", "force", "abandon", "release-lock", "ack"),
            *("attention", "select", "plan", "ops", "audit", "whoami", "can"),
            "show",
            "list",
            "log",
            "object",
            "locks",
            "rollback",
            "check",
            "verify",
            "rebuild",
            "migrate",
            "diagram",
            "dry-run",
            "init",
            "token issue",
            "token list",
            "token revoke",
        ]
    )


def test_every_error_of_the_tree_has_a_meaning_at_the_edges() -> None:
    known = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    for cls in known:
        nearest = next(FAILURES[base] for base in cls.__mro__ if base in FAILURES)
        assert nearest is not FAULT or cls is errors.SagacityError, cls


def test_an_error_that_nobody_planned_is_a_fault_of_ours() -> None:
    assert failure_of(RuntimeError("x")).exit is Exit.FAULT
    assert failure_of(errors.StoreReadOnly("x")).exit is Exit.REFUSED
    assert failure_of(errors.StoreUnavailable("x")).retry_after == 1


def test_help_starts_without_the_heavy_modules() -> None:
    code = (
        "import sys; from sagacity.cli import main; main(['--help']); "
        "print([m for m in ('sqlalchemy', 'alembic', 'asyncpg', 'fastapi', 'structlog', 'pydantic', "
        "'statemachine', 'rich') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_settings_come_from_variables_and_what_is_given_stands_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGACITY_STORE", raising=False)
    assert load(store=None).store == DEFAULT_STORE
    monkeypatch.setenv("SAGACITY_STORE", "sqlite:///other.db")
    monkeypatch.setenv("SAGACITY_LEASE", "2.5")
    assert load(store=None).store == "sqlite:///other.db"
    assert load(store="sqlite:///mine.db").store == "sqlite:///mine.db"
    assert load().lease == timedelta(seconds=2.5)


@pytest.mark.parametrize(("name", "value"), [("GRACE", "-1"), ("CONCURRENCY", "many"), ("POLL", "inf")])
def test_a_setting_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SAGACITY_{name}", value)
    with pytest.raises(ConfigError, match=f"SAGACITY_{name}={value}"):
        load()


def test_events_are_one_json_object_a_line_where_there_is_no_terminal(told: io.StringIO) -> None:
    telemetry.set_up(stream=told)
    telemetry.tell("saga.stuck", saga="s1", why="Refund gave up")
    structlog.get_logger("sagacity.worker").info("claimed", saga="s2")
    stuck, claimed = [json.loads(line) for line in told.getvalue().splitlines()]
    assert (stuck["event"], stuck["saga"], stuck["level"]) == ("saga.stuck", "s1", "warning")
    assert (claimed["event"], claimed["saga"], claimed["logger"]) == ("claimed", "s2", "sagacity.worker")
    assert stuck["timestamp"].endswith("Z")


def test_events_below_the_level_are_not_told(told: io.StringIO) -> None:
    telemetry.set_up(level="warning", stream=told)
    telemetry.tell("worker.started")
    structlog.get_logger("sagacity.worker").info("claimed")
    assert told.getvalue() == ""


def test_a_notice_becomes_one_event(told: io.StringIO) -> None:
    telemetry.set_up(stream=told)
    saga = UUID(int=7)
    telemetry.on_notice(
        Notice(key="Sale:s1", saga=saga, seq=4, kind="rolled_back", data=JsonText('{"reason":"declined"}'))
    )
    line = json.loads(told.getvalue())
    assert (line["event"], line["saga"], line["reason"]) == ("saga.rolled_back", str(saga), "declined")
    assert line["event"] in telemetry.EVENTS


def test_importing_the_package_changes_nobodys_logging() -> None:
    code = "import logging, sagacity, sagacity.telemetry; print(logging.getLogger().handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(minutes=12, seconds=5), "12m 5s"),
        (timedelta(hours=3), "3h"),
        (timedelta(days=2, hours=1, minutes=9), "2d 1h"),
        (timedelta(days=1, seconds=4), "1d"),
    ],
)
def test_a_length_of_time_has_at_most_two_units(span: timedelta, said: str) -> None:
    assert words.length(span) == said


def test_a_deadline_says_how_far_it_is() -> None:
    assert words.until(AT + timedelta(hours=1), AT).endswith("(in 1h)")
    assert words.until(AT - timedelta(hours=1), AT).endswith("(overdue by 1h)")


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (None, "(erased)"),
        ("null", ""),
        ("{}", ""),
        ('{"a":1.50,"b":[true,null],"c":{"d":"x"}}', "a 1.50, b [yes, none], c {d x}"),
        ('"text"', "text"),
        ('{"n":9007199254740993}', "n 9007199254740993"),
    ],
)
def test_stored_json_is_said_in_one_line_with_its_digits(stored: str | None, said: str) -> None:
    assert words.brief(stored) == said


def test_views_become_json_with_stored_values_untouched() -> None:
    view = ObjectView(
        object="books:s1",
        version=1,
        state=JsonText('{"big":9007199254740993,"sum":1.10}'),
        in_transaction=False,
        locks=(),
    )
    text = shapes.dump(shapes.document(view)).decode()
    assert '"state":{"big":9007199254740993,"sum":1.10}' in text
    assert shapes.instant(AT) == "2026-03-01T08:30:00.000000Z"
    described = shapes.schema_of(ObjectView).model_json_schema()
    assert set(described["properties"]) == {"schema_version", *ObjectView.__dataclass_fields__}
