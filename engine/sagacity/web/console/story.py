"""What a saga's log says about its way: states and how long it stood in each, and spans of time for a chart.

Pure functions of stored lines. A story can be long: pages hand in its last lines only, and what is
told then begins where they begin.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import log2
from typing import Any

import orjson

from sagacity.cli.words import length, name
from sagacity.model.by_hand import Forced
from sagacity.model.record import EffectStatus, Record
from sagacity.model.views import HistoryLine
from sagacity.web.console.svg import Walk

_MOVES = frozenset({"completed", "signalled", "timed_out", "joined", "restarted", "started", "forced"})
WIDTH = 1000.0
"""Units of a chart, across."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time. `kind`: step, wait, retry, lock, undo or act (an act is an instant)."""

    row: str
    kind: str
    begin: datetime
    end: datetime
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A span as it is drawn, in units of the chart."""

    kind: str
    x: float
    width: float
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All spans of one step or wait. `took` is their length together."""

    name: str
    bars: tuple[Bar, ...]
    begin: datetime
    took: timedelta


def _content(line: HistoryLine) -> dict[str, Any]:
    return dict(orjson.loads(line.data)) if line.data is not None else {}


def moves(story: Sequence[HistoryLine]) -> Iterator[tuple[datetime, tuple[str, ...], bool]]:
    """When it reached which state, and whether it was moved there by hand."""
    for line in story:
        if line.kind in _MOVES:
            state = _content(line).get("state")
            if state:
                yield line.at, tuple(state), line.kind == Forced.kind


def walk(record: Record, story: Sequence[HistoryLine], now: datetime) -> Walk:
    """Where it stands in its flow, and how it came there."""
    reached = list(moves(story))
    end = record.updated_at if record.status.final else now
    spent: Counter[str] = Counter()
    visits: Counter[str] = Counter()
    for (at, state, _), (until, after, _) in pairwise([*reached, (end, (), False)]):
        for leaf in state:
            spent[leaf] += max(0.0, (until - at).total_seconds())  # type: ignore[assignment]
            visits[leaf] += leaf not in after or not after
    edges = (_content(line).get("edge") for line in story if line.kind == Forced.kind)
    ways = {
        (a, b)
        for (_, old, _), (_, new, by_hand) in pairwise(reached)
        if not by_hand
        for a in old
        if a not in new
        for b in new
        if b not in old
    }
    here = frozenset(record.state)
    notes = {
        leaf: length(timedelta(seconds=seconds)) + (f" · {visits[leaf]} visits" if visits[leaf] > 1 else "")
        for leaf, seconds in spent.items()
        if seconds >= 1 or visits[leaf] > 1
    }
    return Walk(
        here=here,
        been=frozenset(leaf for _, state, _ in reached for leaf in state) | here,
        notes=notes,
        undo=_undo(record) if record.backward else {},
        ways=frozenset(ways),
        forced=frozenset(edge for edge in edges if edge),
    )


def _undo(record: Record) -> Mapping[str, str]:
    said = {EffectStatus.UNDONE: "undone", EffectStatus.GAVE_UP: "gave_up"}
    return {
        effect.step: said.get(effect.status, "open")
        for effect in record.effects
        if effect.undo is not None and effect.status is not EffectStatus.VOID
    }


class _Spans:
    """Reads lines in order and keeps what has begun and not ended."""

    def __init__(self) -> None:
        self.done: list[Span] = []
        self._open: dict[tuple[str, str], datetime] = {}

    def begin(self, row: str, kind: str, at: datetime) -> None:
        self._open.setdefault((row, kind), at)

    def end(self, row: str, kind: str, at: datetime, said: str = "") -> None:
        begun = self._open.pop((row, kind), at)
        self.done.append(Span(row=row, kind=kind, begin=begun, end=at, said=said))

    def cut(self, row: str, kind: str, at: datetime, said: str = "") -> None:
        """End it if it has begun."""
        if (row, kind) in self._open:
            self.end(row, kind, at, said)

    def close(self, at: datetime) -> None:
        for row, kind in list(self._open):
            self.end(row, kind, at, "until now")

    def read(self, line: HistoryLine) -> None:
        said, at = _content(line), line.at
        reader = getattr(self, f"_on_{line.kind}", None)
        if reader is not None:
            reader(said, at)
        elif line.kind in _ACTS:
            self.cut("stuck", "act", at, "nothing moved it")
            self.done.append(Span(row="operators", kind="act", begin=at, end=at, said=name(line.kind)))

    def _on_intent(self, said: dict[str, Any], at: datetime) -> None:
        self.cut(said["step"], "retry", at, "waited to try again")
        self.begin(said["step"], "step", at)

    def _on_spawned(self, said: dict[str, Any], at: datetime) -> None:
        self.begin(said["step"], "step", at)

    def _on_completed(self, said: dict[str, Any], at: datetime) -> None:
        self.cut(said["step"], "retry", at, "waited to try again")
        self.end(said["step"], "step", at, f"done on try {said['attempt']}")

    def _on_failed(self, said: dict[str, Any], at: datetime) -> None:
        self.cut(said["step"], "retry", at, "waited to try again")
        self.end(said["step"], "step", at, f"try {said['attempt']} failed")
        if said["retry_at"] is not None:
            self.begin(said["step"], "retry", at)

    def _on_not_tried(self, said: dict[str, Any], at: datetime) -> None:
        self.end(said["step"], "step", at, "not tried")

    def _on_awaiting(self, said: dict[str, Any], at: datetime) -> None:
        for wait in said["waits"]:
            self.begin(wait["name"], "wait", at)

    def _on_signalled(self, said: dict[str, Any], at: datetime) -> None:
        self._waits_over(at, said["wait"], f"got {said['signal']}")

    def _on_timed_out(self, said: dict[str, Any], at: datetime) -> None:
        self._waits_over(at, said["wait"], "its time was over")

    def _waits_over(self, at: datetime, wait: str, said: str) -> None:
        self.end(wait, "wait", at, said)
        for row, kind in [key for key in self._open if key[1] == "wait"]:
            self.cut(row, kind, at, "the other came first")

    def _on_locked(self, said: dict[str, Any], at: datetime) -> None:
        if not said["granted"]:
            self.begin("locks", "lock", at)

    def _on_granted(self, said: dict[str, Any], at: datetime) -> None:
        self.cut("locks", "lock", at, "queued")

    def _on_paused(self, said: dict[str, Any], at: datetime) -> None:
        self.begin("paused", "wait", at)

    def _on_resumed(self, said: dict[str, Any], at: datetime) -> None:
        self.cut("paused", "wait", at, "resumed")

    def _on_stuck(self, said: dict[str, Any], at: datetime) -> None:
        self.begin("stuck", "act", at)

    def _on_compensating(self, said: dict[str, Any], at: datetime) -> None:
        for row, kind in list(self._open):
            self.cut(row, kind, at, "broken off: it goes back")

    def _on_undone(self, said: dict[str, Any], at: datetime) -> None:
        self.end(f"undo {said['step']}", "undo", at, f"{said['undo']} done on try {said['attempt']}")

    def _on_undo_failed(self, said: dict[str, Any], at: datetime) -> None:
        row = f"undo {said['step']}"
        self.end(row, "undo", at, f"{said['undo']} failed on try {said['attempt']}")
        if said["retry_at"] is not None:
            self.begin(row, "undo", at)


_ACTS = frozenset({"retried", "cancel_asked", "rollback_asked", "act", "act_refused"})


def chart(story: Sequence[HistoryLine], end: datetime) -> list[Row]:
    """The story as rows of bars. Long stretches are drawn shorter than they were, none is left out.

    Args:
        story: lines of one saga, in order.
        end: where spans that have not ended are cut: now, or when the saga was over.
    """
    spans = _Spans()
    for line in story:
        spans.read(line)
    spans.close(end)
    scale = _Scale([edge for span in spans.done for edge in (span.begin, span.end)])
    rows: dict[str, list[Span]] = {}
    for span in spans.done:
        rows.setdefault(span.row, []).append(span)
    return [
        Row(
            name=name(row),
            bars=tuple(scale.bar(span) for span in found),
            begin=found[0].begin,
            took=sum((span.end - span.begin for span in found), timedelta()),
        )
        for row, found in rows.items()
    ]


class _Scale:
    """Instants to units: between two neighbours the room grows with the logarithm of the time."""

    def __init__(self, edges: Sequence[datetime]) -> None:
        known = sorted(set(edges))
        weights = [1.0 + log2(1 + (b - a).total_seconds() * 100) for a, b in pairwise(known)]
        unit, at = WIDTH / (sum(weights) or 1.0), 0.0
        self._at: dict[datetime, float] = {}
        for instant, weight in zip(known, [*weights, 0.0], strict=True):
            self._at[instant] = at
            at += weight * unit

    def bar(self, span: Span) -> Bar:
        begin, end = self._at[span.begin], self._at[span.end]
        took = span.end - span.begin
        said = span.said + (f", {length(took)}" if took >= timedelta(seconds=1) else "")
        return Bar(kind=span.kind, x=min(begin, WIDTH - 4), width=max(end - begin, 4.0), said=said)
