"""How text finds its place on a screen: tables, wrapped lines, long JSON.

Pure. The rule: an id or a key is there to be pasted, so no word is ever broken. Where a table is too
wide, texts wrap first, then columns that can be spared go, and last every item stands by itself.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_NARROWEST = 60
_GAP = "  "
_WRAPPED = 18

Segment = tuple[str, str]
"""A text and its style; styles are used at a terminal only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        title: its heading.
        text: how an item fills it.
        style: of the text, from the item.
        wraps: it may take several lines.
        spare: where a table is too wide, columns go in this order, 1 first; 0 never goes.
    """

    title: str
    text: Callable[[Any], str]
    style: Callable[[Any], str] = field(default=lambda _: "")
    wraps: bool = False
    spare: int = 0


def screen_width() -> int | None:
    """Columns of the screen; None where nobody said: whoever reads a pipe wants one line for each thing."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def hanging(head: str, text: str, *, width: int | None) -> str:
    """`head` and `text`, wrapped to `width` under the text's own beginning; one line without a width."""
    if width is None:
        return head + text
    lines = _wrapped(text, max(width - len(head), _WRAPPED))
    return ("\n" + " " * len(head)).join([head + lines[0], *lines[1:]])


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def table(
    items: Sequence[Any], columns: Sequence[Column], *, width: int | None
) -> Iterator[Sequence[Segment]]:
    """The lines of a table, heading first, none wider than `width` unless a single word is."""
    kept = list(columns)
    while width is not None and sum(_least(items, kept)) + len(_GAP) * (len(kept) - 1) > width:
        spare = [column for column in kept if column.spare]
        if not spare:
            yield from _one_by_one(items, columns, width)
            return
        kept.remove(min(spare, key=lambda column: column.spare))
    widths = _widths(items, kept, width)
    yield _joined([[column.title] for column in kept], ["bold"] * len(kept), widths, 0)
    for item in items:
        cells = [
            _wrapped(text, room) if column.wraps else [text]
            for column, text, room in zip(kept, _texts(item, kept), widths, strict=True)
        ]
        styles = [column.style(item) for column in kept]
        for line in range(max(len(cell) for cell in cells)):
            yield _joined(cells, styles, widths, line)


def _texts(item: Any, columns: Sequence[Column]) -> list[str]:
    return [column.text(item) for column in columns]


def _natural(items: Sequence[Any], columns: Sequence[Column]) -> list[int]:
    rows = [[column.title for column in columns], *(_texts(item, columns) for item in items)]
    return [max(len(cell) for cell in cells) for cells in zip(*rows, strict=True)]


def _least(items: Sequence[Any], columns: Sequence[Column]) -> list[int]:
    """What each column needs: its longest text, or its longest word where it wraps."""
    found = []
    for column, natural in zip(columns, _natural(items, columns), strict=True):
        words = [len(word) for item in items for word in column.text(item).split()] if column.wraps else []
        found.append(max([min(natural, _WRAPPED), *words]) if column.wraps else natural)
    return found


def _widths(items: Sequence[Any], columns: Sequence[Column], width: int | None) -> list[int]:
    """The least that each column needs; what is left goes to those that wrap, from the left."""
    natural = _natural(items, columns)
    if width is None:
        return natural
    found = _least(items, columns)
    left = width - sum(found) - len(_GAP) * (len(columns) - 1)
    for number, wish in enumerate(natural):
        more = min(wish - found[number], left)
        found[number] += more
        left -= more
    return found


def _joined(
    cells: Sequence[Sequence[str]], styles: Sequence[str], widths: Sequence[int], line: int
) -> list[Segment]:
    """One line of the screen; nothing follows the last text."""
    texts = [cell[line] if line < len(cell) else "" for cell in cells]
    last = max((number for number, text in enumerate(texts) if text), default=-1)
    found: list[Segment] = []
    for number in range(last + 1):
        pad = "" if number == last else " " * (widths[number] - len(texts[number])) + _GAP
        found += [(texts[number], styles[number]), (pad, "")]
    return found


def _one_by_one(items: Sequence[Any], columns: Sequence[Column], width: int) -> Iterator[Sequence[Segment]]:
    """Every item by itself: a line for each column that says something, a blank line between items."""
    label = max(len(column.title) for column in columns) + len(_GAP)
    for number, item in enumerate(items):
        if number:
            yield []
        for column, text in zip(columns, _texts(item, columns), strict=True):
            for row, part in enumerate(_wrapped(text, width - label) if text else []):
                head = column.title if row == 0 else ""
                yield [(head.ljust(label), "bold"), (part, column.style(item))]


def json_lines(text: str, *, width: int | None) -> str:
    """Stored JSON byte for byte; where it is wider than `width`, each of its own fields on a line."""
    if width is None or len(text) <= width or text[:1] not in "{[":
        return text
    depth, quoted, skip, found = 0, False, False, ""
    for char in text:
        closes = not quoted and char in "}]"
        depth -= closes
        found += "\n" if closes and depth == 0 else ""
        found += char
        if skip:
            skip = False
        elif char == "\\":
            skip = quoted
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in "{[":
            depth += 1
        if not quoted and depth == 1 and (char == "," or (char in "{[" and len(found) == 1)):
            found += "\n  "
    return found
