"""Makes the pictures of the README: `python -m tests.docs.pictures` writes them, a test compares them.

The terminal shows a real run of one order that the carrier calls off; only ids of chance and times of day are
replaced, so that the same run gives the same picture.
"""

import json
import re
import sys
import tempfile
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sagas.order import Order
from sagas.run import SAMPLE
from tests.docs.blocks import ROOT
from tests.docs.drawings import diagram, terminal
from tests.shown.orders import make_run
from tests.shown.world import World

FLOW = ROOT / "docs" / "img" / "order.svg"
STORY = ROOT / "docs" / "img" / "rolled-back.svg"
KEY = "11f25782949ec095"
WIDTH = 104
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")
_DAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def flow_picture() -> str:
    """The flow of the reference order."""
    return diagram(Order.flow)


def story_picture(folder: Path) -> str:
    """What `show` and `log` say of an order that was called off; `folder` is an empty one to run it in."""
    world = World(folder)
    order = next(line for line in SAMPLE.read_text().splitlines() if json.loads(line)["order_id"] == KEY)
    alone = folder / "alone.jsonl"
    alone.write_text(f"{order}\n")
    make_run(world, alone)
    lines: list[str] = []
    for command in ("show", "log"):
        lines += [f"$ sagacity {command} {KEY}", *world.sagacity(command, KEY).splitlines(), ""]
    return terminal(tidied(lines[:-1]), title=f"sagacity show and sagacity log of order {KEY}")


def tidied(lines: list[str]) -> list[str]:
    """Lines without what differs from run to run, none longer than the picture is wide."""
    text = "\n".join(lines)
    times = sorted(datetime.fromisoformat(found) for found in _TIME.findall(text))

    def on_the_day(found: re.Match[str]) -> str:
        days = round((datetime.fromisoformat(found[0]) - times[0]) / timedelta(days=1))
        return f"{_DAY + timedelta(days=days):%Y-%m-%d %H:%M:%SZ}"

    text = _TIME.sub(on_the_day, text)
    text = re.sub(
        r"^(age +).*$", r"\g<1>3s, ended 1s ago (started 2026-03-02 09:00:00Z)", text, flags=re.MULTILINE
    )
    text = re.sub(r"^(id +).*$", r"\g<1>019caefd-6f00-7000-8000-000000000001", text, flags=re.MULTILINE)
    text = re.sub(r"((?:reservation|charge|booking)_id )[0-9a-f-]{36}", r"\g<1>6f3c…", text)
    return [part for line in text.splitlines() for part in _folded(line)]


def _folded(line: str) -> list[str]:
    indent = " " * (27 if _TIME.search(line[:30]) else 10)
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False) or [""]


def main() -> int:
    """Write both pictures."""
    FLOW.parent.mkdir(parents=True, exist_ok=True)
    FLOW.write_text(flow_picture(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        STORY.write_text(story_picture(Path(folder)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
