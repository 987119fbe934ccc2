"""Tell listeners of ends: committed, rolled back, stuck. At least once, per saga in order.

A notice is a row written with the very line it tells of; it is acknowledged only after every
listener has returned. A listener that raises is told again later.
"""

from collections.abc import Awaitable, Callable, Sequence

from sagacity.model.unit import Notice
from sagacity.store.base import Store
from sagacity.telemetry import tell, traced

Listener = Callable[[Notice], Awaitable[None] | None]


class Relay:
    """Tells listeners of one store's notices, a portion at a time.

    Portions go round by key, so keys whose listener always fails are asked again in their turn and
    keep nobody else waiting.
    """

    def __init__(self, store: Store, listeners: Sequence[Listener], *, limit: int = 200) -> None:
        self._store = store
        self._listeners = listeners
        self._limit = limit
        self._after = ""

    async def __call__(self) -> int:
        """Tell the next portion of what has not been told yet; returns how many were acknowledged."""
        found = await self._store.notices(limit=self._limit, after=self._after)
        sent = [id for id, notice in found if await _told(self._listeners, notice)]
        if sent:
            await self._store.notices_sent(sent)
        self._after = found[-1][1].key if len(found) == self._limit else ""
        return len(sent)

    async def rest(self) -> None:
        """Tell everything once more, each key at least once; for a stop. The caller limits the time."""
        self._after = ""
        while await self() or self._after:
            pass


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
