"""How values are said to people: names, times, ages and stored JSON in one line.

Pure text functions. The rule: what a person reads can be copied back into a command, so ids,
keys and numbers are printed as they are; only times and lengths are shortened.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

_ENDLESS = timedelta(days=50 * 365)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def clock(at: datetime) -> str:
    """An instant to the second, in UTC: `2026-11-21 05:40:01Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def length(span: timedelta) -> str:
    """A length of time in its two largest units: `3d 4h`, `12m 5s`, `0s`."""
    left = int(abs(span).total_seconds())
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    shown = [part for part in parts[:2] if not part.startswith("0")]
    return " ".join(shown) or "0s"


def until(at: datetime, now: datetime) -> str:
    """A deadline with its distance: `2026-11-21 05:40:01Z (in 3d)`."""
    gap = at - now
    return f"{clock(at)} ({'in ' + length(gap) if gap >= timedelta(0) else 'overdue by ' + length(gap)})"


def endless(at: datetime, since: datetime) -> bool:
    """Whether a deadline is so far ahead of `since` that it is none: another wait has one."""
    return at - since > _ENDLESS


def name(identifier: str) -> str:
    """A step's or state's name as words: `take_money` is "take money"."""
    return identifier.replace("_", " ").strip() or identifier


def state(leaves: Iterable[str]) -> str:
    """The active states of a machine."""
    return " + ".join(leaves) or "(none)"


def listed(items: Iterable[str], *, last: str = "and") -> str:
    """`a, b and c`."""
    found = list(items)
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} {last} {found[-1]}"


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def brief(text: str | None, *, limit: int = 160) -> str:
    """Stored JSON in one readable line: `amount 17.57, order_id 7a41`; nothing for null."""
    if text is None:
        return "(erased)"
    value = json.loads(text, parse_float=Decimal)
    if value is None or value in ({}, []):
        return ""
    return cut(_said(value), limit)


def _said(value: Any, depth: int = 0) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{key} {_said(item, depth + 1)}" for key, item in value.items())
        return inner if depth == 0 else "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_said(item, depth + 1) for item in value) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return str(value) or "''"


def operations(text: str | None) -> str:
    """Applied operations, stored as JSON, in one readable line: `credit (amount 17.57)`."""
    if text is None:
        return ""
    applied = json.loads(text, parse_float=Decimal) or []
    said = (
        f"{name(one['operation'])} ({_said(one['args'])})" if one["args"] else name(one["operation"])
        for one in applied
    )
    return cut(listed(said), 200)


def cut(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters, control characters shown instead of sent."""
    line = "".join(char if char.isprintable() else " " for char in text.strip())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def sentence(text: str) -> str:
    """`text` without its closing stop, to stand inside another sentence."""
    return text.strip().rstrip(".")
