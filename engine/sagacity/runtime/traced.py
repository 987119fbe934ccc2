"""A saga in a worker's hands as one span of the saga's trace.

One span from start to end would be lost with the first process that dies. So each time a worker has the saga
in hand is a span of its own; where the first of them stands is written into the saga's first line, and all
later ones, by whatever worker, hang below it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from sagacity.model.canonical import canonical, loaded
from sagacity.model.record import Record
from sagacity.model.unit import Message
from sagacity.runtime.drive import Drive
from sagacity.runtime.short import Short
from sagacity.telemetry.watching import Span, Tracer


def begun(tracer: Tracer | None, message: Message) -> tuple[Message, Span | None]:
    """The start with the trace that its saga is to keep: below the caller's, or a new one."""
    if tracer is None:
        return message, None
    payload = loaded(message.payload) or {}
    span = tracer.saga(
        definition=message.definition or "",
        saga=str(message.saga),
        key=message.key or str(message.saga),
        trace=payload.get("trace"),
        resumed=False,
    )
    kept = canonical({**payload, "trace": span.traceparent}, limit=None)
    return replace(message, payload=kept), span


def resumed(tracer: Tracer | None, record: Record) -> Span | None:
    """The span of a saga that was claimed, below the one that it began with."""
    if tracer is None:
        return None
    return tracer.saga(
        definition=record.definition, saga=str(record.id), key=record.key, trace=record.trace, resumed=True
    )


async def spanned(span: Span | None, drive: Drive | Short, work: Callable[[], Awaitable[None]]) -> None:
    """`work` below `span`, which ends with it and says where the saga stands by then.

    `work` is called only once this runs: a task that is cancelled before it began leaves nothing unawaited.
    """
    if span is None:
        await work()
        return
    try:
        with span.current():
            await work()
    finally:
        draft = getattr(drive, "draft", None)
        span.ended("interrupted" if draft is None else draft.record.status.value)
