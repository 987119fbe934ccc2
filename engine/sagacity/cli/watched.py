"""A worker that is watched: its metrics, and whether it is well, on a port of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sagacity.errors import ConfigError
from sagacity.runtime.worker import Worker
from sagacity.telemetry.watching import Meter
from sagacity.web.port import JSON, Page, watched_at


@contextmanager
def watched(port: str, make: Callable[[Meter], Worker]) -> Iterator[tuple[Worker, str]]:
    """The worker that `make` makes, watched at `port` for as long as this lasts, and the port's address.

    `/health`: the process answers. `/ready`: 200 while the worker's lease holds, so it reaches its store;
    else 503.

    Raises:
        ConfigError: the port cannot be used, or Prometheus' client is not installed.
    """
    try:
        from sagacity.web.metrics import CONTENT_TYPE, WorkerMetrics, text
    except ImportError as error:
        raise ConfigError(f"metrics need {error.name}: pip install 'sagacity[server]'") from None
    metrics = WorkerMetrics()
    worker = make(metrics)
    metrics.watch(in_hand=lambda: worker.active, lease_holds=lambda: worker.lease_holds)

    def ready() -> tuple[int, str, bytes]:
        if worker.lease_holds:
            return 200, JSON, b'{"ok":true}'
        return (
            503,
            JSON,
            b'{"ok":false,"detail":"this worker has no lease: it has not begun, or lost its store"}',
        )

    pages: dict[str, Page] = {
        "/metrics": lambda: (200, CONTENT_TYPE, text(metrics.registry)),
        "/health": lambda: (200, JSON, b'{"ok":true}'),
        "/ready": ready,
    }
    with watched_at(port, pages) as url:
        yield worker, url
