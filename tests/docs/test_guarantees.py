"""Each promise of docs/guarantees.md names what proves it, and what it names is there."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.__main__ import TESTS
from tests.chaos.bugs import BUGS
from tests.chaos.plants import PLANTS
from tests.chaos.t31 import HUNTERS
from tests.docs.blocks import ROOT
from tools.figures import PAGE, page_with, results_in

_PATH = re.compile(r"`(tests/[\w/*]+\.py)(?:::(\w+))?`")
_CHAOS = re.compile(r"(?<![\w-])(T\d+)(?!\w)")


def _promises() -> list[str]:
    """Bullets with a bold sentence, between the first section and what one may not rely on."""
    text = PAGE.read_text(encoding="utf-8").partition("## What happens once")[2].partition("## Check it")[0]
    return re.findall(r"^- \*\*.*?(?=^- \*\*|^## |\Z)", text, flags=re.M | re.S)


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_promise_names_its_proof() -> None:
    promises = _promises()
    assert len(promises) >= 20
    without = [promise[:60] for promise in promises if not promise.partition("Proof:")[2].strip(" .\n")]
    assert without == []


def test_each_test_that_is_named_exists() -> None:
    named = _PATH.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) >= 20
    missing = []
    for path, function in named:
        found = sorted(ROOT.glob(path))
        if not found or (function and function not in _functions(found[0])):
            missing.append(f"{path}::{function}")
    assert missing == []


def test_each_test_of_reliability_that_is_named_can_be_run() -> None:
    named = {name for promise in _promises() for name in _CHAOS.findall(promise)}
    assert named
    assert sorted(named - set(TESTS)) == []
    assert "`stores`" in PAGE.read_text(encoding="utf-8")
    assert "stores" in TESTS


def _result(**more: Any) -> dict[str, Any]:
    plain = {"test": "T6", "seed": 7, "form": "short", "figures": {"lost": 0, "rate": 1.5, "rows": [1] * 9}}
    return plain | {"passed": True, "seconds": 61.2} | more


def test_figures_of_a_run_are_put_into_the_page_and_others_stay() -> None:
    page = "before\n<!-- figures: begin; so -->\n<!-- figures: end -->\nafter\n"
    first = page_with(page, [_result()])
    entry = "- **T6**, short form, seed 7, 61 s, passed. lost: 0; rate: 1.5."
    assert f"{entry}\n<!-- figures: end -->\nafter\n" in first
    second = page_with(first, [_result(test="T31", passed=False), _result(test="stores")])
    assert re.findall(r"^- \*\*(\w+)", second, flags=re.M) == ["T6", "T31", "stores"]
    assert "**failed**" in second
    assert page_with(second, []) == second
    with pytest.raises(ValueError, match="figures: begin"):
        page_with("no place", [_result()])


def test_the_list_of_planted_bugs_beside_the_results_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "T6.json").write_text(json.dumps(_result()))
    (tmp_path / "bugs.json").write_text(json.dumps({"undo-forward": ["T3"]}))
    assert [one["test"] for one in results_in(tmp_path)] == ["T6"]


def test_the_page_of_finds_has_every_real_bug_and_every_planted_one() -> None:
    page = (ROOT / "docs" / "found.md").read_text()
    for row in json.loads((ROOT / "tests" / "chaos" / "found.json").read_text()):
        assert f"| {row['invariant']} | {row['test']}, seed {row['seed']} | {row['what']} |" in page
    for bug in BUGS:
        assert f"| `{bug.name}` | {', '.join(bug.breaks)} | {bug.what} |" in page
    assert {bug.name for bug in BUGS} == set(PLANTS) == set(HUNTERS)
