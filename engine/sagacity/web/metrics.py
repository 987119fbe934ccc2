"""What Prometheus is told: a worker's own work, and what a whole store holds, each in a registry of its own.

No metric is labelled with a saga, for there are too many of them; whoever wants one asks for it. The dry lane
is never counted.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sagacity.model import lines as L
from sagacity.model.gauges import Gauges
from sagacity.model.record import Status
from sagacity.model.unit import Unit
from sagacity.telemetry.doing import Doing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The text format, as every Prometheus reads it."""

_BATCH = (1, 2, 5, 10, 20, 50, 100, 200)
_COMMIT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_ATTEMPT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LOCK = (0.01, 0.1, 1, 10, 60, 600, 3600, 86400)
_ENDS: dict[type[L.Line], Status] = {
    L.Committed: Status.COMMITTED,
    L.RolledBack: Status.ROLLED_BACK,
    L.Stuck: Status.STUCK,
}


class WorkerMetrics:
    """One worker's own work; see `Meter`.

    Attributes:
        registry: what `/metrics` of the worker's port shows.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: Any = {"registry": self.registry, "namespace": "sagacity"}
        self._batches = Histogram(
            "batch_units", "Units (moves of one saga each) in one durable write.", buckets=_BATCH, **made
        )
        self._commits = Histogram(
            "batch_seconds",
            "From a batch's first unit to its answer that it is durable.",
            buckets=_COMMIT,
            **made,
        )
        self._started = Counter(
            "sagas_started", "Sagas that this worker has written first.", ["definition"], **made
        )
        self._ended = Counter(
            "sagas_ended",
            "Sagas that this worker has brought to an end, or to a stop that needs a human (stuck).",
            ["definition", "status"],
            **made,
        )
        self._attempts = Counter(
            "attempts",
            "Attempts of steps and compensations, by what became of them.",
            ["definition", "step", "kind", "outcome"],
            **made,
        )
        self._took = Histogram(
            "attempt_seconds", "How long an attempt took.", ["definition", "kind"], buckets=_ATTEMPT, **made
        )
        self._waited = Histogram(
            "lock_wait_seconds",
            "From a saga's first line until all its locks were granted, where it had to queue for them.",
            ["definition"],
            buckets=_LOCK,
            **made,
        )

    def watch(self, *, in_hand: Callable[[], int], lease_holds: Callable[[], bool]) -> None:
        """Show also what a worker is asked for when somebody looks. Call it once."""
        made: Any = {"registry": self.registry, "namespace": "sagacity"}
        Gauge("sagas_in_hand", "Sagas that this worker runs right now.", **made).set_function(in_hand)
        lease = Gauge("lease_holds", "1 while this worker's lease holds, else 0: others take over.", **made)
        lease.set_function(lambda: float(lease_holds()))

    def written(self, units: Sequence[Unit], seconds: float) -> None:
        """See `Meter`."""
        self._batches.observe(len(units))
        self._commits.observe(seconds)
        for unit in units:
            for line in unit.lines:
                self._line(unit, line)

    def _line(self, unit: Unit, line: L.Line) -> None:
        record = unit.record
        if isinstance(line, L.Started):
            self._started.labels(record.definition).inc()
        elif isinstance(line, L.Granted) and not record.restarts:
            # A restart, or a lock taken inside of the flow, began to wait later than its first line.
            if not any(held.late for held in record.locks):
                self._waited.labels(record.definition).observe((line.at - record.created_at).total_seconds())
        elif (status := _ENDS.get(type(line))) is not None:
            self._ended.labels(record.definition, status.value).inc()

    def attempted(self, doing: Doing, outcome: str, seconds: float) -> None:
        """See `Meter`."""
        kind = "undo" if doing.undo else "step"
        self._attempts.labels(doing.definition, doing.step, kind, outcome).inc()
        self._took.labels(doing.definition, kind).observe(seconds)


class StoreMetrics(Collector):
    """What one look at a store gave; `show` puts in the newest."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._seen: Gauges | None = None
        self._took = 0.0
        self._age: Callable[[], float] = lambda: 0.0

    def show(self, seen: Gauges, *, took: float, age: Callable[[], float]) -> None:
        """From now on this is shown; it took so many seconds to count, and is `age()` seconds old."""
        self._seen, self._took, self._age = seen, took, age

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told."""
        seen = self._seen
        if seen is None:
            return
        yield _sagas(seen)
        yield _one(
            "stuck_sagas", "Sagas that nothing moves by itself: each needs a human.", seen.of(Status.STUCK)
        )
        yield _one("lock_waits", "Sagas that stand in the queue of a lock.", seen.lock_waits)
        yield _one(
            "oldest_runnable_age_seconds",
            "For how long the oldest saga that could go on has waited for a worker; 0: none waits. "
            "Of many that were rung, the first 500 are asked, so it is at least that.",
            _age(seen.runnable_since, seen.at),
        )
        yield _one("workers_alive", "Workers whose lease holds.", seen.workers)
        yield _one("outbox_unsent", "Notices that no listener has acknowledged yet.", seen.unsent)
        yield _one(
            "outbox_age_seconds",
            "Age of the oldest notice that no listener has acknowledged; 0: there is none. Of more than 500, "
            "at least that.",
            _age(seen.unsent_since, seen.at),
        )
        yield _one("count_seconds", "How long it took to count what is shown here.", self._took)
        yield _one("count_age_seconds", "How long ago that was: a count is kept for a while.", self._age())


def _sagas(seen: Gauges) -> Metric:
    family = GaugeMetricFamily(
        "sagacity_sagas",
        "Sagas by definition and status, exact, all counted at one moment; lane live only. What is open is "
        "counted from its indexes; committed is all others of the definition.",
        labels=["definition", "status"],
    )
    for (definition, status), number in sorted(seen.sagas.items()):
        family.add_metric([definition, status.value], number)
    return family


def _one(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sagacity_{name}", about, value=value)


def _age(since: datetime | None, at: datetime) -> float:
    return 0.0 if since is None else max(0.0, (at - since).total_seconds())


def text(registry: CollectorRegistry) -> bytes:
    """The registry in the text format."""
    return generate_latest(registry)
