"""Tell listeners of ends: committed, rolled back, stuck. At least once, per saga in order.

A notice is a row written with the very line it tells of; it is acknowledged only after every
listener has returned. A listener that raises is told again later.
"""

from collections.abc import Awaitable, Callable, Sequence

from sagacity.model.unit import Notice
from sagacity.store.base import Store
from sagacity.telemetry import tell, traced

Listener = Callable[[Notice], Awaitable[None] | None]


async def relay(store: Store, listeners: Sequence[Listener], *, limit: int = 200) -> int:
    """Tell what has not been told yet; returns how many notices were acknowledged."""
    sent = []
    for id, notice in await store.notices(limit=limit):
        if await _told(listeners, notice):
            sent.append(id)
    if sent:
        await store.notices_sent(sent)
    return len(sent)


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
