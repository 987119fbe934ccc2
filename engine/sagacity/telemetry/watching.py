"""Who watches a worker at its work: meters count, tracers draw spans. Absent, they cost nothing.

The runtime tells them what happened and never asks them anything. What they raise is theirs, so an
implementation must not raise.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sagacity.clock import Clock
from sagacity.model.outcome import Completed, Failed, NotTried, Outcome, Unknown, Waiting
from sagacity.model.record import Record
from sagacity.model.unit import Unit
from sagacity.telemetry.doing import DOING, Doing

OUTCOMES: dict[type, str] = {
    Completed: "completed",
    Failed: "failed",
    Waiting: "waiting",
    Unknown: "unknown",
    NotTried: "not_tried",
}
"""What an attempt's outcome is called on a metric or a span."""


class Meter(Protocol):
    """Counts. Called on the worker's loop: it returns at once."""

    def written(self, units: Sequence[Unit], seconds: float) -> None:
        """One batch is durable; it took so long from the first look to the answer."""

    def attempted(self, doing: Doing, outcome: str, seconds: float) -> None:
        """One attempt of a step or compensation has ended."""


class Span(Protocol):
    """One attempt, or one saga in this worker's hands, as a tracer sees it."""

    traceparent: str

    def ended(self, outcome: str, *, error: str | None = None) -> None:
        """It has come to its end."""

    def current(self) -> AbstractContextManager[None]:
        """While this lasts, spans made by anybody in this task stand below it."""


class Tracer(Protocol):
    """Draws spans."""

    def saga(self, *, definition: str, saga: str, key: str, trace: str | None, resumed: bool) -> Span:
        """A saga in this worker's hands, from now on; below `trace` where there is one."""

    def attempt(self, doing: Doing) -> Span:
        """An attempt, below the current span, or below the saga's trace where there is none."""


class Watching:
    """Tells meter and tracer of attempts. Without both it only notes what is being done."""

    def __init__(self, *, clock: Clock, meter: Meter | None = None, tracer: Tracer | None = None) -> None:
        self._clock = clock
        self._meter = meter
        self._tracer = tracer

    @contextmanager
    def attempt(self, record: Record, *, step: str, attempt: int, undo: bool = False) -> Iterator["Attempt"]:
        """One attempt; whoever runs it says its outcome."""
        doing = Doing(
            saga=str(record.id),
            definition=record.definition,
            key=record.key,
            step=step,
            attempt=attempt,
            undo=undo,
            trace=record.trace,
        )
        running = Attempt()
        if self._meter is None and self._tracer is None:
            token = DOING.set(doing)
            try:
                yield running
            finally:
                DOING.reset(token)
            return
        since = self._clock.monotonic()
        with self._drawn(doing, running):
            yield running
        if self._meter is not None:
            self._meter.attempted(doing, running.named, self._clock.monotonic() - since)

    @contextmanager
    def _drawn(self, doing: Doing, running: "Attempt") -> Iterator[None]:
        span = None if self._tracer is None else self._tracer.attempt(doing)
        if span is None:
            token = DOING.set(doing)
            try:
                yield
            finally:
                DOING.reset(token)
            return
        token = DOING.set(_below(doing, span))
        try:
            with span.current():
                yield
        finally:
            DOING.reset(token)
            span.ended(running.named, error=running.error)


def _below(doing: Doing, span: Span) -> Doing:
    return Doing(
        saga=doing.saga,
        definition=doing.definition,
        key=doing.key,
        step=doing.step,
        attempt=doing.attempt,
        undo=doing.undo,
        trace=span.traceparent,
    )


class Attempt:
    """What became of an attempt; without a word it was interrupted."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: Outcome | None = None

    @property
    def named(self) -> str:
        """The outcome's name."""
        return "interrupted" if self.outcome is None else OUTCOMES[type(self.outcome)]

    @property
    def error(self) -> str | None:
        """What went wrong, if anything did."""
        return getattr(self.outcome, "error", None)
