"""Changes of sagas as server-sent events: one look at the log's heads for all who listen.

An event's id is where the listener stands in every chain of the log: who comes back with it misses nothing.
What a change says of a saga is where that saga stands now; what it holds is asked for with the usual calls.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from sagacity.cli import shapes
from sagacity.clock import Clock
from sagacity.errors import InputError, SagacityError
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Store
from sagacity.web.guard.caller import caller_of
from sagacity.web.seen import Seen, seen

EVERY, HEARTBEAT, AT_MOST = 0.5, 15.0, 60.0
"""Seconds between two looks, between two signs of life, and after which a listener must sign in again."""
LINES = 5_000
"""Lines that one listener can have missed; of more it is told to read everything anew."""
LISTENERS, EACH = 200, 20
"""Streams at the same time, in all and for one credential."""
_REMEMBERED = 16

Cut = Mapping[int, int]
"""Chain → position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A saga moved. `kinds`: the lines that it got, in order."""

    saga: UUID
    definition: str
    status: Status
    state: tuple[str, ...]
    updated_at: datetime
    kinds: tuple[str, ...]


class Poller:
    """Looks for all listeners together; looks at nothing while there are none."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self.clock = store, clock
        self._turn = asyncio.Lock()
        self._looked: float | None = None
        self._cut: Cut = {}
        self._known: OrderedDict[tuple[str, str], tuple[Change, ...] | None] = OrderedDict()
        self.listening: Counter[str] = Counter()

    async def cut(self) -> Cut:
        """Where the log stands; at most `EVERY` old."""
        async with self._turn:
            now = self.clock.monotonic()
            if self._looked is None or now - self._looked >= EVERY:
                self._cut = {head.id: head.position for head in await self._store.heads()}
                self._looked = self.clock.monotonic()
            return self._cut

    async def between(self, before: Cut, after: Cut) -> tuple[Change, ...] | None:
        """What moved from one cut to another, each saga once; None: more than `LINES` lines."""
        key = written(before), written(after)
        async with self._turn:
            if key not in self._known:
                self._known[key] = await self._read(before, after)
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            return self._known[key]

    async def _read(self, before: Cut, after: Cut) -> tuple[Change, ...] | None:
        gaps = [(chain, before.get(chain, 0), upto) for chain, upto in after.items()]
        if sum(max(0, upto - since) for _, since, upto in gaps) > LINES:
            return None
        kinds: dict[UUID, list[str]] = {}
        for chain, since, upto in gaps:
            if upto > since:
                async for page in self._store.chain_links(chain, after=since, upto=upto):
                    for link in page:
                        kinds.setdefault(UUID(str(link[1])), []).append(link[3])
        known = await self._store.statuses(list(kinds)) if kinds else {}
        return tuple(
            Change(
                saga=id,
                definition=known[id].definition,
                status=known[id].status,
                state=known[id].state,
                updated_at=known[id].updated_at,
                kinds=tuple(told),
            )
            for id, told in kinds.items()
            if id in known
        )


def written(cut: Cut) -> str:
    """A cut as an event's id: `1.40,2.7`."""
    return ",".join(f"{chain}.{position}" for chain, position in sorted(cut.items()))


def read(id: str) -> Cut:
    """An event's id as the cut that it is.

    Raises:
        InputError: it is none of ours.
    """
    try:
        pairs = (part.split(".") for part in id.split(",") if part)
        cut = {int(chain): int(position) for chain, position in pairs}
    except ValueError:
        raise InputError("Last-Event-ID is none of this stream: leave it out") from None
    if any(not 0 <= number < 1 << 62 for pair in cut.items() for number in pair):
        raise InputError("Last-Event-ID is none of this stream: leave it out")
    return cut


def _event(name: str, id: str, data: bytes) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id.encode(), name.encode(), data)


def _changes(mine: Seen, changes: Iterable[Change], id: str) -> Iterable[bytes]:
    for change in changes:
        if mine.holds(change.definition):
            yield _event("saga", id, shapes.dump(change))


async def stream(poller: Poller, mine: Seen, since: Cut | None) -> AsyncIterator[bytes]:
    """The events, from `since` on or from now, for at most a minute."""
    clock = poller.clock
    began = spoke = clock.monotonic()
    at = since if since is not None else await poller.cut()
    yield b"retry: 1000\n" + _event("here", written(at), b"{}")
    while clock.monotonic() - began < AT_MOST:
        try:
            now = await poller.cut()
            moved = await poller.between(at, now) if now != at else ()
        except SagacityError:
            now, moved = at, ()  # the database is away: it is asked again
        id = written(now)
        told = [_event("reset", id, b"{}")] if moved is None else list(_changes(mine, moved, id))
        at = now
        if not told and clock.monotonic() - spoke >= HEARTBEAT:
            told = [b": alive\n\n"]
        for text in told:
            spoke = clock.monotonic()
            yield text
        await clock.sleep(EVERY)


def events(sagas: Orchestrator, clock: Clock) -> APIRouter:
    """`/v1/events`."""
    router = APIRouter(tags=["look"])
    poller = Poller(sagas.store, clock)

    @router.get(
        "/events",
        summary="Changes of sagas, as they happen",
        responses={200: {"description": "a stream", "content": {"text/event-stream": {}}}},
    )
    async def listen(
        request: Request,
        last_event_id: Annotated[
            str | None, Header(max_length=10_000, description="go on from there")
        ] = None,
    ) -> StreamingResponse:
        """Event `saga` for each that moved; `reset`: read everything anew, too much was missed."""
        since = read(last_event_id) if last_event_id else None
        who = caller_of(request).credential
        if poller.listening.total() >= LISTENERS or poller.listening[who] >= EACH:
            raise HTTPException(429, "too many streams are open: close one", headers={"retry-after": "5"})
        return StreamingResponse(
            _counted(poller, who, stream(poller, seen(request, sagas), since)),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return router


async def _counted(poller: Poller, who: str, told: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    poller.listening[who] += 1
    try:
        async for text in told:
            yield text
    finally:
        poller.listening[who] -= 1
        if not poller.listening[who]:
            del poller.listening[who]
