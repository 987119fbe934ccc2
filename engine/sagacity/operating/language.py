"""The query language of lists and selections: `type:Order status:stuck -key:A-1 age:>30m error:"503"`.

Words joined by blanks must all hold; values joined by commas are alternatives; a `-` in front means not.
What no index can answer is refused with the reason, so a query never reads a million rows in silence.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sagacity.errors import InputError
from sagacity.model.record import Status, WaitsFor
from sagacity.store.office import Term

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(>=|<=|>|<)(\d{1,9})([smhdw])\Z")
_INDEXED = ("type", "status", "key", "waits", "due", "paused")
_HELP = "type, status, state, key, waits, age, due, error, paused"


@dataclass(frozen=True, slots=True)
class _Word:
    """One word of a query: where it begins (from 1), its name, its values."""

    column: int
    negated: bool
    name: str
    values: tuple[str, ...]


def parsed(text: str, now: datetime) -> tuple[Term, ...]:
    """The terms that `text` means at the instant `now`.

    Raises:
        InputError: where it cannot be read, which qualifiers there are, or which one an index needs.
    """
    words = _words(text)
    terms = tuple(_MEANING[word.name](word, now) for word in words)
    needy = next((word for word in words if word.name not in _INDEXED or word.negated), None)
    if needy is not None and not any(w.name in _INDEXED and not w.negated for w in words):
        shown = f"{'-' if needy.negated else ''}{needy.name}:"
        raise InputError(
            f"column {needy.column}: {shown} alone would read every saga: "
            f"add one of {', '.join(f'{name}:' for name in _INDEXED)}"
        )
    return terms


def _fail(column: int, what: str) -> InputError:
    return InputError(f"column {column}: {what}")


def _words(text: str) -> list[_Word]:
    found: list[_Word] = []
    place = 0
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text):
            return found
        word, place = _word(text, place)
        found.append(word)


def _word(text: str, start: int) -> tuple[_Word, int]:
    place = start
    negated = text[place] == "-"
    place += negated
    colon = place
    while colon < len(text) and (text[colon].isalnum() or text[colon] == "_"):
        colon += 1
    name = text[place:colon]
    if colon == len(text) or text[colon] != ":" or not name:
        raise _fail(start + 1, f"expected a qualifier and a colon, such as status:stuck (there are {_HELP})")
    if name not in _MEANING:
        raise _fail(start + 1, f"there is no qualifier {name}: (there are {_HELP})")
    values, place = [], colon
    while place < len(text) and (place == colon or text[place] == ","):
        value, place = _value(text, place + 1)
        values.append(value)
    if place < len(text) and not text[place].isspace():
        raise _fail(place + 1, f"unexpected {text[place]!r} behind a quoted text")
    return _Word(start + 1, negated, name, tuple(values)), place


def _value(text: str, start: int) -> tuple[str, int]:
    if start < len(text) and text[start] == '"':
        return _quoted(text, start)
    place = start
    while place < len(text) and not text[place].isspace() and text[place] not in ',"':
        place += 1
    if place == start:
        raise _fail(start + 1, "a value is missing")
    if place < len(text) and text[place] == '"':
        raise _fail(place + 1, "a quote may only stand at the beginning of a value")
    return text[start:place], place


def _quoted(text: str, start: int) -> tuple[str, int]:
    place = start + 1
    found: list[str] = []
    while place < len(text):
        char = text[place]
        if char == '"':
            if not found:
                raise _fail(start + 1, "a value is missing")
            return "".join(found), place + 1
        if char == "\\" and place + 1 < len(text):
            place += 1
            char = text[place]
        found.append(char)
        place += 1
    raise _fail(start + 1, "the quote is never closed")


# --- what the words mean ------------------------------------------------------------------------------


def _names(field: str) -> Callable[[_Word, datetime], Term]:
    def meaning(word: _Word, now: datetime) -> Term:
        del now
        for value in word.values:
            if "\x00" in value:
                raise _fail(word.column, "NUL characters are never stored")
        return Term(field=field, values=word.values, negated=word.negated)

    return meaning


def _one_of(field: str, known: Sequence[str]) -> Callable[[_Word, datetime], Term]:
    def meaning(word: _Word, now: datetime) -> Term:
        del now
        for value in word.values:
            if value not in known:
                raise _fail(word.column, f"{word.name}:{value} does not exist (there are {', '.join(known)})")
        return Term(field=field, values=word.values, negated=word.negated)

    return meaning


def _duration(word: _Word) -> tuple[str, timedelta]:
    found = _DURATION.match(word.values[0])
    if found is None or len(word.values) != 1:
        raise _fail(word.column, f"{word.name}: takes one comparison, such as {word.name}:>30m (s m h d w)")
    try:
        return found[1], timedelta(seconds=int(found[2]) * _UNITS[found[3]])
    except OverflowError:
        raise _fail(word.column, f"{word.name}:{word.values[0]} is longer than time itself") from None


def _shifted(word: _Word, now: datetime, by: timedelta) -> datetime:
    try:
        return now + by
    except OverflowError:
        raise _fail(word.column, f"{word.name}:{word.values[0]} is longer than time itself") from None


_FLIPPED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


def _age(word: _Word, now: datetime) -> Term:
    """Older than 30m: created before now - 30m."""
    compare, span = _duration(word)
    at = _shifted(word, now, -span)
    return Term(field="created", compare=_FLIPPED[compare], at=at, negated=word.negated)


def _due(word: _Word, now: datetime) -> Term:
    """Due in less than 10m: it wakes before now + 10m; `due:past`: it should have been taken up."""
    if word.values == ("past",):
        return Term(field="due", compare="<=", at=now, negated=word.negated)
    compare, span = _duration(word)
    return Term(field="due", compare=compare, at=_shifted(word, now, span), negated=word.negated)


def _paused(word: _Word, now: datetime) -> Term:
    del now
    if word.values not in (("yes",), ("no",)):
        raise _fail(word.column, "paused: takes yes or no")
    return Term(field="paused", values=("yes",), negated=word.negated != (word.values == ("no",)))


_SEARCHED = tuple(status.value for status in Status if status is not Status.PENDING)

_MEANING: dict[str, Callable[[_Word, datetime], Term]] = {
    "type": _names("definition"),
    "status": _one_of("status", _SEARCHED),
    "state": _names("state"),
    "key": _names("key"),
    "waits": _one_of("waits", [one.value for one in WaitsFor]),
    "age": _age,
    "due": _due,
    "error": _names("error"),
    "paused": _paused,
}
