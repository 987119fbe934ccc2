"""That something has moved, told to open pages as server-sent events.

The stream carries no contents. A page that hears that something moved asks for itself again, and so
shows what its reader may see, and nothing else. What moved is read off the heads of the log: no write
can happen without one of them going on.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from sagacity.clock import Clock, SystemClock
from sagacity.errors import SagacityError
from sagacity.web.console.frame import Frame
from sagacity.web.events import AT_MOST, LISTENERS

EVERY, AT_LEAST = 1.0, 15.0
"""Seconds between two looks at the log, and after which a page is told something although nothing moved."""


class Pulse:
    """Looks at the heads of the log for all open pages together; looks at nothing while there are none."""

    def __init__(self, frame: Frame, clock: Clock) -> None:
        self._store, self._clock = frame.sagas.store, clock
        self._looked: float | None = None
        self._sum = 0
        self._turn = asyncio.Lock()
        self.open = 0

    async def look(self) -> int:
        """How many lines all logs have together: it grows with each write. -1 where the store is away."""
        async with self._turn:
            now = self._clock.monotonic()
            if self._looked is None or now - self._looked >= EVERY:
                try:
                    self._sum = sum(head.position for head in await self._store.heads())
                except SagacityError:
                    self._sum = -1
                self._looked = now
            return self._sum

    async def events(self) -> AsyncIterator[str]:
        """One event for each time that something moved, and one every 15 seconds at least.

        After a minute it ends and the page asks again, so nobody listens longer than they are let in.
        """
        self.open += 1
        try:
            async for event in self._minute():
                yield event
        finally:
            self.open -= 1

    async def _minute(self) -> AsyncIterator[str]:
        seen, told = await self.look(), self._clock.monotonic()
        began = told
        yield f"retry: 3000\nevent: here\ndata: {seen}\n\n"
        while self._clock.monotonic() - began < AT_MOST:
            await self._clock.sleep(EVERY)
            count = await self.look()
            if count != seen:
                seen, told = count, self._clock.monotonic()
                yield f"event: moved\ndata: {count}\n\n"
            elif self._clock.monotonic() - told >= AT_LEAST:
                told = self._clock.monotonic()
                yield f"event: tick\ndata: {count}\n\n"


def pages(frame: Frame, *, clock: Clock | None = None) -> APIRouter:
    """The routes of this module."""
    router = frame.router()
    pulse = Pulse(frame, clock or SystemClock())

    @router.get("/console/events")
    async def events(request: Request) -> Response:
        if pulse.open >= LISTENERS:
            return Response(status_code=503, headers={"retry-after": "10"})
        return StreamingResponse(
            pulse.events(), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    return router
