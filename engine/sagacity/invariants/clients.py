"""What clients were told, against what is there (I7, I11).

Format of a history: JSON lines, one per call that has returned, as Jepsen writes them:

    op      start, signal or cancel
    id      of the message: for a start, the saga's id
    key     for a start: the key (together with `definition` where several flows share keys)
    result  ok: it was acknowledged; fail: it was refused; info: nobody knows, and both readings are allowed
    at      when the answer came; optional
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from uuid import UUID

import orjson

from sagacity.invariants.broken import Broken

Kind = Literal["start", "signal", "cancel"]
Result = Literal["ok", "fail", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One call of a client; see the module."""

    op: Kind
    id: UUID
    key: str | None = None
    definition: str | None = None
    result: Result
    at: str | None = None


_FIELDS = frozenset(Op.__dataclass_fields__)


def read_ops(lines: Iterable[bytes | str], *, name: str = "history") -> tuple[list[Op], list[Broken]]:
    """The calls that the lines of a history file hold, and what is no such line."""
    ops: list[Op] = []
    found: list[Broken] = []
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            ops.append(_op(orjson.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            found.append(Broken(invariant="I7", where=f"{name} line {n}", why=f"no history line: {error}"))
    return ops, found


def _op(content: Any) -> Op:
    if not isinstance(content, dict):
        raise TypeError("not an object")
    if content["op"] not in get_args(Kind) or content["result"] not in get_args(Result):
        raise ValueError(f"op {content['op']!r} with result {content['result']!r}")
    kept = {name: value for name, value in content.items() if name in _FIELDS}
    return Op(**kept | {"id": UUID(content["id"])})


@dataclass(slots=True)
class Clients:
    """What the log has taken in, and what clients say."""

    sagas: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    messages: dict[UUID, str] = field(default_factory=dict)
    _keys: dict[tuple[str, str], UUID] = field(default_factory=dict)

    def started(self, saga: UUID, definition: str, key: str, where: str) -> Iterator[Broken]:
        """I11: one (definition, key) starts one saga."""
        known = self._keys.setdefault((definition, key), saga)
        self.sagas[saga] = (definition, key)
        if known != saga:
            yield Broken(
                invariant="I11", where=where, saga=saga, why=f"{definition} {key!r} started {known} too"
            )

    def consumed(self, message: UUID, where: str, saga: UUID) -> Iterator[Broken]:
        """I30: a message has its effect once."""
        known = self.messages.setdefault(message, where)
        if known != where:
            why = f"message {message} was taken already at {known}"
            yield Broken(invariant="I30", where=where, saga=saga, why=why)

    def compared(self, ops: Iterable[Op], stored: Collection[UUID]) -> Iterator[Broken]:
        """I7, I11: what was acknowledged is in the log, or lies in the inbox; what was refused is in neither.

        Args:
            ops: what clients were told.
            stored: ids of the messages that lie in the inbox, read or not.
        """
        told: dict[tuple[str | None, str], UUID] = {}
        for op in ops:
            where = f"{op.op} {op.id}"
            there = op.id in self.messages or op.id in self.sagas or op.id in stored
            if op.result == "ok" and not there:
                yield Broken(invariant="I7", where=where, why="it was acknowledged, and it is not there")
            if op.result == "fail" and op.id in self.sagas:
                yield Broken(invariant="I7", where=where, why="it was refused, and yet it happened")
            if op.op == "start" and op.result == "ok" and op.key is not None:
                first = told.setdefault((op.definition, op.key), op.id)
                if first != op.id:
                    why = f"{op.key!r} was answered with saga {first} before"
                    yield Broken(invariant="I11", where=where, saga=op.id, why=why)
