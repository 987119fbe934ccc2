"""Put what the tests of reliability counted into docs/guarantees.md: `python -m tools.figures`.

Each run of `python -m tests.chaos NAME` leaves `.sagacity/chaos/NAME.json`. A test that has not run here
keeps the row that stands in the page.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
RESULTS = ROOT / ".sagacity" / "chaos"

_BEGIN = "<!-- figures: begin"
_END = "<!-- figures: end -->"
_HEAD = "| test | form, seed | what it counted | seconds | |\n| --- | --- | --- | --- | --- |"


def page_with(page: str, results: list[dict[str, Any]]) -> str:
    """The page with a row for each result, by name; rows of other tests stay."""
    before, begin, rest = page.partition(_BEGIN)
    marker, _, rest = rest.partition("\n")
    told, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no {_BEGIN} … {_END}")
    rows = {row.split("|")[1].strip(): row for row in told.splitlines() if row.startswith("| ")}
    rows = {name: row for name, row in rows.items() if name not in ("test", "---")}
    rows |= {result["test"]: _row(result) for result in results}
    table = "\n".join([_HEAD, *(rows[name] for name in sorted(rows, key=_order))]) if rows else ""
    return f"{before}{begin}{marker}\n{table}\n{end}{after}" if table else page


def _row(result: dict[str, Any]) -> str:
    figures = "; ".join(
        f"{name}: {_shown(value)}" for name, value in result["figures"].items() if _small(value)
    )
    verdict = "passed" if result["passed"] else "**failed**"
    form = f"{result['form']}, {result['seed']}"
    return f"| {result['test']} | {form} | {figures} | {result['seconds']:.0f} | {verdict} |"


def _small(value: Any) -> bool:
    return not isinstance(value, dict | list) or len(value) <= 6


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value).replace("|", "/")


def _order(name: str) -> tuple[int, str]:
    digits = name.removeprefix("T")
    return (int(digits) if digits.isdigit() else 1_000, name)


def main() -> int:
    """The command."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    PAGE.write_text(page_with(PAGE.read_text(), results))
    print(f"{len(results)} results put into {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
