"""OpenTelemetry spans: the one module that knows its interface, imported only where tracing was asked for.

`OtelTracer` draws what the runtime tells it. `caller_trace` reads the span that a program is in when it
starts a saga; where that program never loaded OpenTelemetry, nothing is imported to find that out.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from sagacity.errors import ConfigError
from sagacity.telemetry.doing import DOING, Doing

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

_SCOPE = "sagacity"
_WELL = frozenset({"completed", "waiting", "not_tried"})
"""Outcomes of an attempt that are no error."""


def caller_trace() -> str | None:
    """The `traceparent` of the span that this task is in: a step's own, or the host program's.

    None where there is none.
    """
    if (doing := DOING.get()) is not None:
        return doing.trace
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    return written(context) if context.is_valid else None


def written(context: "SpanContext") -> str:
    """A span's context as a W3C `traceparent`."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


class OtelTracer:
    """Spans through OpenTelemetry; see `Tracer`.

    Args:
        provider: a `TracerProvider`; by default the process's own, which its SDK set.

    Raises:
        ConfigError: OpenTelemetry's interface is not installed.
    """

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ConfigError(
                f"traces need {error.name}: pip install 'sagacity[otel]', and an SDK with its exporter"
            ) from None
        self._api = trace
        self._read = TraceContextTextMapPropagator().extract
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=provider)

    def saga(self, *, definition: str, saga: str, key: str, trace: str | None, resumed: bool) -> "OtelSpan":
        """See `Tracer`."""
        attributes: dict[str, Any] = {
            "sagacity.saga": saga,
            "sagacity.definition": definition,
            "sagacity.key": key,
            "sagacity.resumed": resumed,
        }
        # Not below whatever the loop is in: a saga belongs to its own trace, or begins one.
        context = self._read({"traceparent": trace} if trace else {}, context=self._nowhere())
        span = self._tracer.start_span(f"saga {definition}", context=context, attributes=attributes)
        return OtelSpan(self._api, span, well=None)

    def attempt(self, doing: Doing) -> "OtelSpan":
        """See `Tracer`."""
        context = None
        if doing.trace and not self._api.get_current_span().get_span_context().is_valid:
            context = self._read({"traceparent": doing.trace}, context=self._nowhere())
        attributes = {f"sagacity.{name}": value for name, value in doing.fields.items() if name != "trace_id"}
        name = f"undo {doing.step}" if doing.undo else f"step {doing.step}"
        span = self._tracer.start_span(name, context=context, attributes=attributes)
        return OtelSpan(self._api, span, well=_WELL)

    @staticmethod
    def _nowhere() -> Any:
        from opentelemetry.context import Context

        return Context()


class OtelSpan:
    """One span; see `Span`. `well`: outcomes that are no error; None: only what is stuck is one."""

    def __init__(self, api: Any, span: Any, *, well: frozenset[str] | None) -> None:
        self._api = api
        self._span = span
        self._well = well
        self.traceparent = written(span.get_span_context())

    def ended(self, outcome: str, *, error: str | None = None) -> None:
        """See `Span`."""
        name = "sagacity.status" if self._well is None else "sagacity.outcome"
        self._span.set_attribute(name, outcome)
        is_bad = outcome == "stuck" if self._well is None else outcome not in self._well
        if is_bad:
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, error or outcome))
        self._span.end()

    def current(self) -> AbstractContextManager[None]:
        """See `Span`."""
        return self._inside()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        with self._api.use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        ):
            yield
