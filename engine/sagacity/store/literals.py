"""Columns of a batch as texts that PostgreSQL reads as arrays.

The driver looks at every element of an array argument twice to find nested arrays, which took a
sixth of a worker's time; a text it takes as it is. Numbers, ids, instants and bytes go as array
literals, which need no quoting. Texts are joined by a character that none of them contains.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any
from uuid import UUID

Column = Sequence[Any]

_MARKS = (range(0x1C, 0x20), range(0xE000, 0xF8FF), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


def marks(texts: Iterable[str | None]) -> tuple[str, str]:
    """Two characters that stand in none of `texts`: one goes between them, one stands for null.

    Raises:
        ValueError: every control and private character is used somewhere.
    """
    everything = "".join(filter(None, texts))
    free = (mark for code in chain(*_MARKS) if (mark := chr(code)) not in everything)
    try:
        return next(free), next(free)
    except StopIteration:
        raise ValueError("its texts use every private character there is") from None


def expression(kind: str, parameter: str, between: str, null: str) -> str:
    """The SQL that makes an array of type `kind` of a text parameter; the last two are parameters too."""
    if kind != "text":
        return f"{parameter}::text::{kind}[]"
    # The first element is ours: a single empty text would else be no element at all.
    return f"(string_to_array({parameter}::text, {between}::text, {null}::text))[2:]"


def joined(column: Column, between: str, null: str) -> str:
    """A column of texts."""
    return between.join(["", *[null if text is None else text for text in column]]) if column else ""


def literal(kind: str, column: Column) -> str:
    """A column of anything but text."""
    if not column:
        return "{}"
    write = _WRITERS[kind]
    return f"{{{','.join(['NULL' if value is None else write(value) for value in column])}}}"


def _bytes(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


def _hex(value: UUID) -> str:
    return value.hex


@lru_cache(maxsize=256)
def _instant(value: datetime) -> str:
    return value.isoformat()


_WRITERS: dict[str, Callable[[Any], str]] = {
    "int": str,
    "bigint": str,
    "boolean": str,
    "uuid": _hex,
    "bytea": _bytes,
    "timestamptz": _instant,
}
