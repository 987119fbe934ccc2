"""Why a saga waits, to the end of the chain: A waits for a lock of B, which waits for a signal."""

from collections.abc import Sequence
from uuid import UUID

from sagacity.decide import explain
from sagacity.errors import NotFound
from sagacity.model.operating import Link
from sagacity.model.record import Record, Status, WaitsFor
from sagacity.model.unit import holders
from sagacity.store.base import Store

_LONGEST = 20
"""Links that are followed; behind that the chain is told of as it is."""


async def waits_for(store: Store, saga: UUID) -> list[Link]:
    """The saga itself, then who holds the lock that the one before waits for; a circle ends where it closes.

    Raises:
        NotFound: no such saga.
    """
    found: list[Link] = []
    seen: set[UUID] = set()
    object: str | None = None
    while len(found) < _LONGEST:
        row = (await store.sagas_by_id([saga])).get(saga)
        if row is None:
            if not found:
                await _check_known(store, saga, found)
            return found
        found.append(_link(row.record, object))
        if saga in seen or (held := await _holder(store, row.record)) is None:
            return found
        seen.add(saga)
        object, saga = held
    return found


async def _check_known(store: Store, saga: UUID, found: list[Link]) -> None:
    """A saga that is still in the inbox is a chain of one."""
    known = (await store.statuses([saga])).get(saga)
    if known is None:
        raise NotFound(f"no saga {saga}")
    text = "no worker has looked at it yet"
    found.append(Link(saga=saga, definition=known.definition, key=known.key, object=None, text=text))


async def _holder(store: Store, record: Record) -> tuple[str, UUID] | None:
    """The first object that it waits for, and who has that; None: it waits for no lock."""
    if record.waits_for is not WaitsFor.LOCK:
        return None
    wanted = [lock.object for lock in record.locks if not lock.granted]
    states = await store.objects(wanted)
    for object in wanted:
        for holder in holders(states[object].queue):
            if holder != record.id:
                return object, holder
    return None


def _link(record: Record, object: str | None) -> Link:
    text = explain.why(record)
    if record.status is Status.STUCK:
        text = f"stuck: {text}"
    return Link(saga=record.id, definition=record.definition, key=record.key, object=object, text=text)


def said(chain: Sequence[Link]) -> str:
    """The chain in one sentence."""
    parts = []
    for link in chain:
        by = f"{link.object} is held by " if link.object is not None else ""
        parts.append(f"{by}{link.definition} {link.key}: {link.text}")
    return "; ".join(parts)
