"""Spans: one for each time a worker has a saga, one for each attempt, all in the saga's own trace."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode

from sagacity import Saga, State, step
from sagacity.errors import Refused, Unavailable
from sagacity.model.record import Status
from sagacity.runtime.drive import Drive
from sagacity.runtime.traced import spanned
from sagacity.telemetry import traceparent
from sagacity.telemetry.otel import OtelTracer
from sagacity.testing import PATIENCE, running, until
from tests.runtime.conftest import House
from tests.runtime.flows import Errand, Fill

SEEN: dict[str, str | None] = {}


class Traced:
    """A provider of its own, and what it exported."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = OtelTracer(self.provider)

    def spans(self, starts: str = "") -> list[ReadableSpan]:
        return [span for span in self._kept.get_finished_spans() if span.name.startswith(starts)]

    def said(self, name: str, about: str) -> list[Any]:
        return [dict(span.attributes or {})[f"sagacity.{about}"] for span in self.spans(name)]


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.provider.shutdown()


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


def header(context: SpanContext) -> str:
    """As W3C wants it, made here once more."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


async def test_a_saga_and_each_of_its_attempts_are_spans_of_one_trace(house: House, traced: Traced) -> None:
    app = await house.open(Errand)
    house.town.meets("vault.charge", Unavailable("busy"), None)
    async with running(house.worker(tracer=traced.tracer)):
        handle = await app.start(Errand, {"name": "a"})
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    [saga] = traced.spans("saga ")
    assert saga.name == "saga Errand"
    attempts = traced.spans("step ")
    assert [span.name for span in attempts] == [
        *("step lend_it", "step pay_for_it", "step pay_for_it", "step send_it", "step fill_box"),
    ]
    assert traced.said("step pay_for_it", "attempt") == [1, 2]
    assert traced.said("step pay_for_it", "outcome") == ["failed", "completed"]
    assert [span.status.status_code for span in attempts].count(StatusCode.ERROR) == 1
    assert {trace_of(span) for span in attempts} == {trace_of(saga)}
    assert saga.context is not None
    for span in attempts:
        assert span.parent is not None
        assert span.parent.span_id == saga.context.span_id
        assert dict(span.attributes or {})["sagacity.saga"] == str(handle.id)
    assert traced.said("saga ", "status") == ["committed"]


async def test_compensations_are_spans_too_and_a_stuck_saga_is_an_error(house: House, traced: Traced) -> None:
    app = await house.open(Errand)
    house.town.meets("porter.send", Refused("no van"))
    house.town.meets("vault.refund", Refused("closed"))
    async with running(house.worker(tracer=traced.tracer)):
        handle = await app.start(Errand, {"name": "a"})
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.STUCK
        await app.retry(handle.id)
        await until(lambda: len(traced.spans("saga ")) == 2)
    assert [span.name for span in traced.spans("undo ")] == [
        "undo pay_for_it",
        "undo pay_for_it",
        "undo lend_it",
    ]
    first, second = traced.spans("saga ")
    assert first.status.status_code is StatusCode.ERROR
    assert traced.said("saga ", "status") == ["stuck", "rolled_back"]
    assert traced.said("saga ", "resumed") == [False, True]
    assert trace_of(first) == trace_of(second)


async def test_a_saga_that_another_worker_resumes_goes_on_in_its_trace(house: House, traced: Traced) -> None:
    app = await house.open(Errand)
    house.town.meets("porter.send", Refused("no van"))
    house.town.meets("vault.refund", Refused("closed"))
    async with running(house.worker(tracer=traced.tracer)):
        handle = await app.start(Errand, {"name": "a"})
        await handle.outcome(timeout=PATIENCE)
    other = Traced()
    await app.retry(handle.id)
    async with running(house.worker(tracer=other.tracer)):
        await until(lambda: other.spans("saga "))
    [began], [resumed] = traced.spans("saga "), other.spans("saga ")
    assert trace_of(resumed) == trace_of(began)
    assert began.context is not None
    assert resumed.parent is not None
    assert resumed.parent.span_id == began.context.span_id
    assert {trace_of(span) for span in other.spans()} == {trace_of(began)}


async def test_a_saga_hangs_below_the_span_of_whoever_started_it(house: House, traced: Traced) -> None:
    app = await house.open(Fill)
    tracer = traced.provider.get_tracer("the shop")
    with tracer.start_as_current_span("checkout") as checkout:
        handle = await app.start(Fill, {"name": "a", "box": "b"})
    async with running(house.worker(tracer=traced.tracer)):
        await handle.outcome(timeout=PATIENCE)
    [saga] = traced.spans("saga ")
    assert saga.parent is not None
    assert saga.parent.span_id == checkout.get_span_context().span_id
    assert trace_of(saga) == checkout.get_span_context().trace_id


async def test_a_span_made_inside_of_a_step_stands_below_the_attempt(house: House, traced: Traced) -> None:
    app = await house.open(Caller)
    async with running(house.worker(tracer=traced.tracer)):
        await (await app.start(Caller, {"name": "a"})).outcome(timeout=PATIENCE)
    for name in ("awaited", "plain"):
        [attempt] = traced.spans(f"step {name}")
        assert attempt.context is not None
        assert SEEN[name] == header(attempt.context)
    assert traceparent() is None, "outside of a step there is none"


async def test_without_a_tracer_the_callers_trace_is_kept_and_passed_on_all_the_same(
    house: House, traced: Traced
) -> None:
    app = await house.open(Caller)
    with traced.provider.get_tracer("the shop").start_as_current_span("checkout") as checkout:
        handle = await app.start(Caller, {"name": "a"})
    async with running(house.worker()):
        await handle.outcome(timeout=PATIENCE)
    assert SEEN["awaited"] == SEEN["plain"] == header(checkout.get_span_context())
    [line] = await house.lines(handle.id, "started")
    assert line["trace"] == SEEN["awaited"]
    assert traced.spans("saga ") == []


async def test_a_saga_outside_of_any_trace_sends_no_header(house: House) -> None:
    app = await house.open(Caller)
    async with running(house.worker()):
        await (await app.start(Caller, {"name": "a"})).outcome(timeout=PATIENCE)
    assert SEEN == {"awaited": None, "plain": None}


async def test_what_a_step_logs_says_which_saga_step_and_attempt_it_is(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from sagacity.telemetry import set_up

    root, ours = logging.getLogger(), logging.getLogger("sagacity")
    before = (root.handlers[:], root.level, ours.level)
    set_up(form="json", stream=sys.stdout)
    try:
        app = await house.open(Caller)
        async with running(house.worker()):
            handle = await app.start(Caller, {"name": "a"})
            await handle.outcome(timeout=PATIENCE)
    finally:
        root.handlers[:], root.level, ours.level = before
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    said = {line["step"]: line for line in lines if line["event"] == "calling the service"}
    for name in ("awaited", "plain"):
        line = said[name]
        assert (line["saga"], line["key"], line["definition"]) == (str(handle.id), "a", "Caller")
        assert (line["attempt"], line["level"], line["logger"]) == (1, "warning", "the.users.own")


def test_nothing_of_opentelemetry_is_imported_where_nobody_asked_for_traces() -> None:
    code = "import sagacity.runtime.worker, sagacity.orchestrator, sys; print('opentelemetry' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


class Caller(Saga, version=1, key="name"):
    """One step that awaits and one that does not; both look which trace they are in."""

    class Input(Fill.Input):
        box: str = "b"

    asked = State(initial=True)
    half = State()
    done = State(final=True)

    one = asked.to(half)
    other = half.to(done)

    @step(one)
    async def awaited(self, asked: Input) -> None:
        SEEN["awaited"] = traceparent()
        logging.getLogger("the.users.own").warning("calling the service")

    @step(other)
    def plain(self, asked: Input) -> None:
        SEEN["plain"] = traceparent()
        logging.getLogger("the.users.own").warning("calling the service")


async def test_a_drive_that_is_cancelled_before_it_began_leaves_nothing_unawaited() -> None:
    begun: list[str] = []

    async def work() -> None:
        begun.append("work")

    task = asyncio.create_task(spanned(None, cast(Drive, None), work))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert begun == []
