"""Rules about the files themselves: sizes, and words that must not land."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("engine", "sagas", "compensations", "migrations")
SOURCES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))
NOT_OURS = {".git", ".venv", ".sagacity", ".hypothesis", "dist", "build", "__pycache__"}
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 40

# Spelled in pieces, so that this file does not hold what it forbids.
MACHINE_PATHS = ("/wo" + "rk/", "/ro" + "ot/", "/fa" + "rm/", "/opt/" + "pypi")
REGISTRY_HOSTS = ("py" + "pi.org", "files.python" + "hosted", "registry.np" + "mjs", "deb.de" + "bian")
UNFINISHED = ("NotImplemented" + "Error", "TO" + "DO", "FIX" + "ME", "X" + "XX")


def _project_files() -> Iterator[Path]:
    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name in NOT_OURS or path.name.endswith("_cache") or path.suffix == ".svg":
                continue
            if path.is_dir():
                yield from walk(path)
            elif path.suffix not in {".db", ".pyc"} and not path.name.startswith(".coverage"):
                yield path

    yield from walk(ROOT)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring: what a contract says is not counted against it."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_no_source_file_is_longer_than_500_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(_text(path).splitlines()) for path in SOURCES}
    assert lengths, "no source was found: this test would judge nothing"
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_has_40_lines_or_more() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {_code_lines(function)} lines"
        for path in SOURCES
        for function in _functions(ast.parse(_text(path)))
        if _code_lines(function) >= MAX_FUNCTION_LINES
    ]
    assert long == []


def test_every_source_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if _text(path).strip() and ast.get_docstring(ast.parse(_text(path))) is None
    ]
    assert silent == []


@pytest.mark.parametrize("words", [MACHINE_PATHS, REGISTRY_HOSTS], ids=["machine-paths", "registry-hosts"])
def test_nothing_ties_the_project_to_one_machine_or_registry(words: tuple[str, ...]) -> None:
    pattern = re.compile("|".join(map(re.escape, words)))
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _project_files()
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def test_nothing_is_left_unfinished() -> None:
    pattern = re.compile("|".join(UNFINISHED))
    assert [str(path.relative_to(ROOT)) for path in SOURCES if pattern.search(_text(path))] == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    pattern = re.compile(r"mark\.(sk" + r"ip|xf" + r"ail)\b|pytest\.sk" + r"ip\(|assert Tr" + r"ue\b")
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert tests
    assert [str(path.relative_to(ROOT)) for path in tests if pattern.search(_text(path))] == []


def test_the_locked_requirements_name_no_address() -> None:
    text = _text(ROOT / "requirements" / "dev.txt")
    pins = [line for line in text.splitlines() if "==" in line]
    assert len(pins) > 40
    assert all(re.match(r"[a-z0-9._-]+==[^ ]+( ;.*)? \\$", line) for line in pins)
    assert "://" not in text
    assert not re.search(r"--(index|extra|find|trusted)", text)
