"""From a file of JSON lines to sagas, a batch at a time.

A line that cannot be taken costs only itself: it is named with its file, number and reason, and
the rest runs.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sagacity.errors import InputError, SagacityError
from sagacity.model.canonical import MAX_PAYLOAD, parsed

if TYPE_CHECKING:
    from sagacity.orchestrator import Orchestrator

BATCH = 200
"""Lines that are started in one call."""

_LONGEST_LINE = 4 * MAX_PAYLOAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A line that reads well: number from 1, the key of its saga, its input."""

    number: int
    key: str
    input: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A line that cannot be taken, and why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A line that has its saga. `new`: it was started just now."""

    number: int
    saga: UUID
    new: bool


def read_lines(file: Path, *, key: str) -> Iterator[Taken | Rejected]:
    """The lines of `file`, empty ones left out.

    Args:
        file: JSON lines, UTF-8.
        key: the field whose value is the saga's key.

    Raises:
        OSError: the file cannot be read.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _read(line, number, key)


def _read(line: bytes, number: int, key: str) -> Taken | Rejected:
    if len(line) > _LONGEST_LINE:
        return Rejected(number=number, reason=f"{len(line)} bytes is over the limit of {MAX_PAYLOAD}")
    try:
        value = parsed(line.strip())
        if not isinstance(value, dict):
            raise InputError(f"a line is one JSON object, not {_kind(value)}")
        return Taken(number=number, key=_key(value, key), input=value)
    except InputError as error:
        return Rejected(number=number, reason=str(error))


def _key(value: dict[str, Any], field: str) -> str:
    found = value.get(field)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        said = "is missing" if field not in value else "is no text and no whole number"
        raise InputError(f"the key's field {field!r} {said}")
    return str(found)


def _kind(value: Any) -> str:
    names: dict[type, str] = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


async def begun(
    sagas: "Orchestrator", definition: str, lines: Iterator[Taken | Rejected], *, ignore_unknown: bool
) -> AsyncIterator[Begun | Rejected]:
    """Start a saga for each line, `BATCH` at a time; what becomes of each, in the file's order.

    Raises:
        StoreError: the database refused or failed; what was told before has been stored.
    """
    while batch := list(islice(lines, BATCH)):
        taken = [line for line in batch if isinstance(line, Taken)]
        given = [(line.key, line.input) for line in taken]
        answers = await sagas.start_many(definition, given, ignore_unknown=ignore_unknown) if given else []
        for told in _paired(batch, dict(zip((line.number for line in taken), answers, strict=True))):
            yield told


def _paired(batch: Sequence[Taken | Rejected], answers: dict[int, Any]) -> Iterator[Begun | Rejected]:
    for line in batch:
        if isinstance(line, Rejected):
            yield line
            continue
        answer = answers[line.number]
        if isinstance(answer, SagacityError):
            yield Rejected(number=line.number, reason=str(answer))
        else:
            yield Begun(number=line.number, saga=answer.id, new=answer.new)
