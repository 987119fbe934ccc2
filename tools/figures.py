"""Put what the tests of reliability counted into docs/guarantees.md: `python -m tools.figures`.

Each run of `python -m tests.chaos NAME` leaves `.sagacity/chaos/NAME.json`. A test that has not run here
keeps the entry that stands in the page.
"""

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
RESULTS = ROOT / ".sagacity" / "chaos"

_BEGIN = "<!-- figures: begin"
_END = "<!-- figures: end -->"
_ENTRY = re.compile(r"^- \*\*(\w+)\*\*.*?(?=^- \*\*|\Z)", re.M | re.S)
_WIDTH = 120
_WEIGHT = "taken by others meanwhile"  # of how busy the machine was, not of us


def page_with(page: str, results: list[dict[str, Any]]) -> str:
    """The page with an entry for each result, by name; entries of other tests stay."""
    before, begin, rest = page.partition(_BEGIN)
    marker, _, rest = rest.partition("\n")
    told, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no {_BEGIN} … {_END}")
    entries = {found[1]: found[0].strip() for found in _ENTRY.finditer(told.strip())}
    entries |= {result["test"]: _entry(result) for result in results}
    text = "\n".join(entries[name] for name in sorted(entries, key=_order))
    return f"{before}{begin}{marker}\n{text}\n{end}{after}" if entries else page


def _entry(result: dict[str, Any]) -> str:
    figures = "; ".join(
        f"{name}: {_shown(value)}"
        for name, value in result["figures"].items()
        if _small(value) and not name.startswith(_WEIGHT)
    )
    verdict = "passed" if result["passed"] else "**failed**"
    form = f"{result['form']} form, seed {result['seed']}"
    text = f"- **{result['test']}**, {form}, {result['seconds']:.0f} s, {verdict}. {figures}."
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False)


def _small(value: Any) -> bool:
    return not isinstance(value, dict | list) or len(value) <= 6


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return f"{value:.3g}" if isinstance(value, float) and value < 1_000 else f"{value}"


def _order(name: str) -> tuple[int, str]:
    digits = name.removeprefix("T")
    return (int(digits) if digits.isdigit() else 1_000, name)


def results_in(folder: Path) -> list[dict[str, Any]]:
    """What runs have left there; the list of planted bugs lies beside them and is none."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [one for one in found if "test" in one]


def main() -> int:
    """The command."""
    results = results_in(RESULTS)
    PAGE.write_text(page_with(PAGE.read_text(), results))
    print(f"{len(results)} results put into {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
