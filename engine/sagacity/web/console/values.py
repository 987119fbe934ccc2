"""How values stand on a page: statuses, instants, stored JSON.

What users stored is canonical JSON text and stays text: numbers are taken out of it as they are
written, never read as numbers, so 0.10 and 9007199254740993 are shown, and copied, unchanged.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from sagacity.cli import words
from sagacity.model.record import EffectStatus, Status, WaitsFor

MARKS: dict[Status, str] = {
    Status.PENDING: "◌",
    Status.RUNNING: "▸",
    Status.WAITING: "◷",
    Status.COMPENSATING: "↶",
    Status.STUCK: "▲",
    Status.COMMITTED: "✓",
    Status.ROLLED_BACK: "↺",
    Status.ABANDONED: "✕",
}
"""A shape for each status beside its word and its colour."""

EFFECT: dict[EffectStatus, str] = {
    EffectStatus.ARMED: "called; the answer is not known",
    EffectStatus.LANDED: "happened",
    EffectStatus.VOID: "did not happen",
    EffectStatus.UNDONE: "made good",
    EffectStatus.GAVE_UP: "not made good: its undo gave up",
}


class _Digits(str):
    """A number as it is written."""

    __slots__ = ()


def chip(status: Status, waits_for: WaitsFor | None = None) -> Markup:
    """A status: a shape, a word and a colour, so that no one of them is needed."""
    word = status.value.replace("_", " ") + (f" · {waits_for.value}" if waits_for else "")
    return Markup('<span class="chip {}"><span aria-hidden="true">{}</span> {}</span>').format(
        status.value, MARKS[status], word
    )


def instant(at: datetime) -> Markup:
    """An instant to the second, in UTC; the exact one is in its attribute."""
    return Markup('<time datetime="{}">{}</time>').format(_iso(at), words.clock(at))


def ago(at: datetime, now: datetime) -> Markup:
    """How long ago; the exact instant is its title, and what a script counts on from."""
    gap = words.length(now - at)
    return Markup('<time datetime="{}" title="{}" data-since>{}</time>').format(
        _iso(at), words.clock(at), gap
    )


def ahead(at: datetime | None, now: datetime) -> Markup:
    """A deadline with its distance; nothing where there is none."""
    if at is None or words.endless(at, now):
        return Markup("")
    late = at < now
    said = f"overdue {words.length(now - at)}" if late else f"in {words.length(at - now)}"
    return Markup('<time class="{}" datetime="{}" title="{}">{}</time>').format(
        "late" if late else "due", _iso(at), words.clock(at), said
    )


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def tree(text: str | None) -> Markup:
    """Stored JSON, indented, each digit as it was stored; copying it gives JSON again."""
    if text is None:
        return Markup('<p class="quiet">erased on request</p>')
    value = json.loads(text, parse_int=_Digits, parse_float=_Digits)
    return Markup(
        '<pre class="json" tabindex="0" role="group" aria-label="stored value"><code>{}</code></pre>'
    ).format(Markup("").join(_lines(value, 0)))


def _lines(value: Any, depth: int) -> Iterator[Markup]:
    pad, inner = "  " * depth, "  " * (depth + 1)
    if isinstance(value, dict) and value:
        yield Markup("{{\n").format()
        for number, (key, item) in enumerate(value.items()):
            yield Markup('{}<span class="k">{}</span>: ').format(inner, json.dumps(key, ensure_ascii=False))
            yield from _lines(item, depth + 1)
            yield Markup(",\n" if number < len(value) - 1 else "\n")
        yield Markup("{}}}").format(pad)
    elif isinstance(value, list) and value:
        yield Markup("[\n")
        for number, item in enumerate(value):
            yield Markup("{}").format(inner)
            yield from _lines(item, depth + 1)
            yield Markup(",\n" if number < len(value) - 1 else "\n")
        yield Markup("{}]").format(pad)
    else:
        yield _scalar(value)


def _scalar(value: Any) -> Markup:
    if isinstance(value, _Digits):
        return Markup('<span class="n">{}</span>').format(str(value))
    if isinstance(value, str):
        return Markup('<span class="s">{}</span>').format(json.dumps(value, ensure_ascii=False))
    return Markup('<span class="c">{}</span>').format(json.dumps(value))


def sized(text: str | None) -> str:
    """How large a stored text is, in bytes."""
    return "erased" if text is None else f"{len(text.encode()):,} B".replace(",", " ")


def short(id: Any) -> Markup:
    """An id, whole for whoever copies it, its end for whoever reads."""
    text = str(id)
    return Markup('<span class="id" title="{}">{}</span>').format(text, text[-12:])


def safe(text: str) -> Markup:
    """Text of ours or of others, escaped."""
    return escape(text)
