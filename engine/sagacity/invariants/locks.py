"""Who holds what, as the log tells it: exclusive locks are alone (I21), and every lock has an owner (I24).

In commit order, batch by batch, this is exact: what a batch frees is free before what it asks for is asked.
Where only each chain's own order is known, spans are compared by their instants, and an overlap counts from
`SLACK` on: a unit's instants are older than its write by as long as the write had to wait.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sagacity.invariants.broken import Broken
from sagacity.model.record import Record
from sagacity.model.unit import ObjectState, holders

SLACK = timedelta(seconds=60)
"""How long two exclusive spans may seem to overlap where the order of commits is not known."""

_Span = tuple[datetime, datetime, str, UUID]


@dataclass(slots=True)
class Locks:
    """Locks held now, and the spans of those that were."""

    exact: bool
    held: dict[str, dict[UUID, tuple[str, datetime]]] = field(default_factory=dict)
    _spans: dict[str, list[_Span]] = field(default_factory=dict)

    def freed(self, record: Record, at: datetime) -> None:
        """The saga let go of everything."""
        for lock in record.locks:
            holding = self.held.get(lock.object)
            taken = holding.pop(record.id, None) if holding else None
            if holding is not None and not holding:
                del self.held[lock.object]
            if taken is not None and not self.exact:
                self._spans.setdefault(lock.object, []).append((taken[1], at, taken[0], record.id))

    def granted(self, record: Record, at: datetime) -> Iterator[Broken]:
        """I21: no two live sagas ever hold a lock on one object of which one is exclusive."""
        for lock in record.locks:
            if not lock.granted:
                continue
            holding = self.held.setdefault(lock.object, {})
            if record.id in holding:
                continue
            if self.exact:
                for other, (mode, _) in holding.items():
                    if "exclusive" in (mode, lock.mode):
                        yield _twice(lock.object, record.id, other)
            holding[record.id] = (lock.mode, at)

    def overlaps(self) -> Iterator[Broken]:
        """I21, by instants: for a log whose order of commits is known chain by chain only."""
        far = max((span[1] for spans in self._spans.values() for span in spans), default=None)
        for name in {*self._spans, *self.held}:
            spans = list(self._spans.get(name, ()))
            if far is not None:
                spans += [
                    (at, max(at, far), mode, saga) for saga, (mode, at) in self.held.get(name, {}).items()
                ]
            yield from _overlaps(name, sorted(spans, key=lambda span: (span[0], span[3])))


def _overlaps(name: str, spans: list[_Span]) -> Iterator[Broken]:
    last: dict[str, _Span] = {}
    for span in spans:
        start, end, mode, saga = span
        for other in [last.get("exclusive"), last.get("shared") if mode == "exclusive" else None]:
            if other is not None and other[3] != saga and min(end, other[1]) - start > SLACK:
                yield _twice(name, saga, other[3])
        if mode not in last or end > last[mode][1]:
            last[mode] = span


def _twice(name: str, saga: UUID, other: UUID) -> Broken:
    why = f"locked for {saga} while {other} holds it, and one of the two is exclusive"
    return Broken(invariant="I21", where=f"object {name}", saga=saga, why=why)


def i21_holds(record: Record, objects: Mapping[str, ObjectState]) -> str | None:
    """I21: what a record says it holds, it holds: it stands in front in the queue of each such object."""
    for lock in record.locks:
        state = objects.get(lock.object)
        if not lock.granted or state is None:
            continue
        front = holders(state.queue)
        if record.id not in front:
            return f"{lock.object} is granted to it, but it is not in front of its queue"
        if lock.mode == "exclusive" and len(front) > 1:
            return f"{lock.object} is its own exclusively, but {len(front)} stand in front"
    return None


def queue_faults(state: ObjectState) -> Iterator[tuple[str, UUID, str]]:
    """I23: places in a queue carry growing numbers, each saga one place; as (invariant, saga, why)."""
    seen: set[UUID] = set()
    last = 0
    for entry in state.queue:
        if entry.saga in seen:
            yield "I21", entry.saga, "it stands twice in the queue"
        if entry.ticket <= last:
            yield "I23", entry.saga, f"its fencing number {entry.ticket} does not grow behind {last}"
        seen.add(entry.saga)
        last = entry.ticket
