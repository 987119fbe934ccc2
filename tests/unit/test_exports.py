"""What `from sagacity import …` offers: everything a flow is written with, each when it is asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sagacity

ROOT = Path(__file__).parents[2]
FLOWS = [*(ROOT / "sagas").glob("*.py"), *(ROOT / "compensations").glob("*.py")]


@pytest.mark.parametrize("name", sagacity.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert getattr(sagacity, name).__doc__
    assert name in dir(sagacity)


def test_what_type_checkers_see_is_what_there_is() -> None:
    source = ast.parse((ROOT / "engine" / "sagacity" / "__init__.py").read_text())
    [checked] = [node for node in source.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    seen = {
        (alias.name, node.module)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(name, f"sagacity.{home}") for name, home in sagacity._HOME_OF.items()}
    assert sorted(name for name, _ in seen) == sorted(sagacity.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sage'"):
        getattr(sagacity, "Sage")  # noqa: B009 - a type checker knows that it is not there


def test_a_flow_is_written_with_these_names_alone() -> None:
    below = {
        f"{path.name}: {node.module}"
        for path in FLOWS
        if path.name not in ("run.py", "demo.py")  # they run flows, and write none
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sagacity.")
    }
    assert below == {"outside.py: sagacity.errors"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, sagacity; "
        "print([m for m in ('pydantic', 'statemachine', 'sqlalchemy', 'tenacity') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
