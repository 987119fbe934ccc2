"""A worker inside this process, and the signals that end it.

SIGTERM and Ctrl-C ask, they do not break off: what is in flight ends, or is handed back, within
the grace time.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sagacity.cli.anchoring import worker_anchoring
from sagacity.cli.outlets import dry_outlets, live_outlets
from sagacity.config import Settings
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.worker import Worker
from sagacity.telemetry import tell
from sagacity.telemetry.otel import OtelTracer
from sagacity.telemetry.watching import Meter


@contextmanager
def told_to_stop(*, tied: bool = False) -> Iterator[asyncio.Event]:
    """An event that is set by SIGTERM or SIGINT; with `tied` also when standard input ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stdin = sys.stdin.fileno() if tied else None

    def read() -> None:
        if stdin is not None and not os.read(stdin, 64):
            loop.remove_reader(stdin)
            stop.set()

    if stdin is not None:
        loop.add_reader(stdin, read)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if stdin is not None:
            loop.remove_reader(stdin)


def worker_for(sagas: Orchestrator, settings: Settings, *, meter: Meter | None = None) -> Worker:
    """A worker for `sagas`, set up as `settings` say.

    Raises:
        ConfigError: who is to be told cannot be.
    """
    outlets = live_outlets(sagas.project, settings)
    return Worker(
        sagas.store,
        sagas.project.flows,
        sagas.project.participants,
        settings=WorkerSettings(
            name=f"{os.uname().nodename}/{os.getpid()}",
            lease=settings.lease,
            poll=settings.poll,
            concurrency=settings.concurrency,
            anchor_every=settings.anchor_every,
            attention_every=settings.attention_every,
        ),
        listeners=outlets.listeners,
        hook=outlets.hook,
        dry=dry_outlets(sagas.project, settings),
        anchoring=worker_anchoring(sagas.store, settings),
        meter=meter,
        tracer=OtelTracer() if settings.traces else None,
    )


def _collect_seldom() -> None:
    """This process is the worker's: sagas leave much behind that is soon gone, and what is loaded stays.

    To look for cycles every 700 objects, through all that was ever imported, takes a tenth of its time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def work(
    sagas: Orchestrator, settings: Settings, stop: asyncio.Event, *, grace: timedelta | None = None
) -> None:
    """Execute sagas until `stop` is set, then end cleanly within `grace`.

    Raises:
        Whatever ends the worker by itself (a lost history, a database that is gone for good).
    """
    _collect_seldom()
    if settings.metrics is None:
        await _work(sagas, worker_for(sagas, settings), settings, stop, grace)
        return
    from sagacity.cli.watched import watched

    with watched(settings.metrics, lambda meter: worker_for(sagas, settings, meter=meter)) as (worker, url):
        tell("worker.watched", url=url)
        await _work(sagas, worker, settings, stop, grace)


async def _work(
    sagas: Orchestrator, worker: Worker, settings: Settings, stop: asyncio.Event, grace: timedelta | None
) -> None:
    sagas.worker = worker
    running = asyncio.create_task(worker.run())
    stopped = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(worker.ready.wait())
    try:
        await asyncio.wait([running, stopped, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            tell("worker.started", definitions=sorted(sagas.project.flows))
            await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        ready.cancel()
        sagas.worker = None
        begun = worker.ready.is_set()
        if begun:
            tell("worker.stopping")
        await worker.stop(grace=settings.grace if grace is None else grace)
        await running
        if begun:
            tell("worker.stopped")
