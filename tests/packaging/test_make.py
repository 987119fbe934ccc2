"""What the targets of the Makefile do: `check` everything once, each alone its whole job."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def would_run(target: str) -> list[str]:
    """The commands of a target, none of them run; those that only set up `.venv` left out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, env=kept, capture_output=True, text=True, check=True
    )
    return [
        line for line in done.stdout.splitlines() if re.search(r"pytest|coverage|ruff|mypy|hatch|lint-", line)
    ]


def test_the_demo_begins_and_ends_with_one_command_each() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "demo", "demo-stop", "STORE=postgres"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        check=True,
    )
    commands = [line for line in done.stdout.splitlines() if "sagas.demo" in line]
    assert [line.split("sagas.demo ")[1].strip() for line in commands] == ['start --store "postgres"', "stop"]


def test_check_runs_every_test_once_and_keeps_its_floor() -> None:
    commands = would_run("check")
    traced, simulated = [command for command in commands if "pytest" in command]
    assert "--cov" in traced
    assert "--cov" not in simulated
    assert traced.endswith(' -m "not simulation"')
    assert simulated.endswith(" -m simulation")  # the two are all tests, each once
    assert not re.search(r"tests/|--ignore|--deselect| -k ", traced + simulated)
    [floor] = [command for command in commands if "coverage report" in command]
    assert int(re.findall(r"--fail-under=(\d+)", floor)[0]) >= 90
    for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports", "hatchling build"):
        assert sum(tool in command for command in commands) == 1, tool


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("docs", ["pytest -n 2 --dist worksteal tests/docs"]),
        ("wheel", ["hatchling build", "pytest tests/packaging"]),
        ("build", ["hatchling build"]),
    ],
)
def test_a_target_alone_does_its_whole_job(target: str, parts: list[str]) -> None:
    commands = would_run(target)
    assert len([command for command in commands if "pip" not in command]) == len(parts)
    assert all(part in command for part, command in zip(parts, commands, strict=True))
