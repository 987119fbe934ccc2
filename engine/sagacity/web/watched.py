"""`/metrics` of a whole store: counted seldom enough that watching never weighs on what is watched."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response

from sagacity.clock import Clock, SystemClock
from sagacity.orchestrator import Orchestrator
from sagacity.web.metrics import CONTENT_TYPE, StoreMetrics, text

FRESH_SECONDS = 5.0
"""For so long a count is shown again."""
SHARE = 20
"""A count is kept for so many times as long as it took: at most a twentieth of a connection's time."""


class Counted:
    """The newest count of a store, made anew when somebody asks and it is no longer fresh."""

    def __init__(self, sagas: Orchestrator, clock: Clock) -> None:
        self._store = sagas.store
        self._clock = clock
        self._metrics = StoreMetrics()
        self._until = 0.0
        self._counting = asyncio.Lock()

    async def text(self) -> bytes:
        """What Prometheus is told.

        Raises:
            StoreError: the store cannot be asked; an old count would look as if all were well.
        """
        async with self._counting:  # who comes meanwhile gets the same count
            since = self._clock.monotonic()
            if since >= self._until:
                seen = await self._store.gauges()
                counted = self._clock.monotonic()
                took = counted - since
                self._metrics.show(seen, took=took, age=lambda: self._clock.monotonic() - counted)
                self._until = counted + max(FRESH_SECONDS, SHARE * took)
        return text(self._metrics.registry)


def metrics(sagas: Orchestrator, *, clock: Clock | None = None) -> APIRouter:
    """`GET /metrics`."""
    router = APIRouter(tags=["health"])
    counted = Counted(sagas, clock or SystemClock())

    @router.get(
        "/metrics",
        summary="What Prometheus reads",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "in Prometheus' text format"}},
    )
    async def told() -> Response:
        return Response(await counted.text(), media_type=CONTENT_TYPE)

    return router
