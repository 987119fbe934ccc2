"""Tell listeners of ends (committed, rolled back, stuck) and of what needs a human: at least once, in order.

A notice is a row written with the very line it tells of, or by the alarm; it is acknowledged only after every
listener has returned, and every outlet has got rid of it. A listener that raises is told again later.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from uuid import UUID

from sagacity.model.unit import Notice
from sagacity.store.base import Store
from sagacity.telemetry import tell, traced

Listener = Callable[[Notice], Awaitable[None] | None]


class Outlet(Protocol):
    """A way out of the process, which gathers what it is given and may be away for long."""

    def wants(self, notice: Notice) -> bool:
        """Whether it is to get this one."""

    async def send(self, found: Sequence[tuple[UUID, Notice]], *, at_once: bool = False) -> list[UUID]:
        """Send what is due of these; the ids of those that have arrived. The rest is given again."""


class Relay:
    """Tells listeners of one store's notices, a portion at a time.

    Portions go round by key, so keys whose listener always fails are asked again in their turn and
    keep nobody else waiting.
    """

    def __init__(
        self,
        store: Store,
        listeners: Sequence[Listener],
        *,
        outlets: Sequence[Outlet] = (),
        limit: int = 200,
    ) -> None:
        self._store = store
        self._listeners = listeners
        self._outlets = outlets
        self._limit = limit
        self._after = ""
        self._heard: dict[str, UUID] = {}

    async def __call__(self, *, at_once: bool = False) -> int:
        """Tell the next portion of what has not been told yet; returns how many were acknowledged."""
        found = await self._store.notices(limit=self._limit, after=self._after)
        heard = [(id, notice) for id, notice in found if await self._listened(id, notice)]
        gone = [id for id, _ in heard]
        for outlet in self._outlets:
            wanted = [(id, notice) for id, notice in heard if outlet.wants(notice)]
            arrived = set(await outlet.send(wanted, at_once=at_once))
            kept = {id for id, _ in wanted} - arrived
            gone = [id for id in gone if id not in kept]
        if gone:
            await self._store.notices_sent(gone)
        self._remember(heard, set(gone))
        self._after = found[-1][1].key if len(found) == self._limit else ""
        return len(gone)

    async def rest(self) -> None:
        """Tell everything once more, each key at least once; for a stop. The caller limits the time."""
        self._after = ""
        while await self(at_once=True) or self._after:
            pass

    async def _listened(self, id: UUID, notice: Notice) -> bool:
        """Every listener has returned; of what waits for an outlet they are not told again."""
        return self._heard.get(notice.key) == id or await _told(self._listeners, notice)

    def _remember(self, heard: Sequence[tuple[UUID, Notice]], gone: set[UUID]) -> None:
        for id, notice in heard:
            if id in gone:
                self._heard.pop(notice.key, None)
            else:
                self._heard[notice.key] = id


async def _told(listeners: Sequence[Listener], notice: Notice) -> bool:
    for listener in listeners:
        try:
            answer = listener(notice)
            if answer is not None:
                await answer
        except Exception as error:
            tell("listener.failed", saga=str(notice.saga), kind=notice.kind, trace=traced(error))
            return False
    return True
