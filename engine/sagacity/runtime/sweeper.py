"""What mends what time broke: dead workers' sagas, bells not rung, and cycles of late locks."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sagacity.ids import derived_id
from sagacity.model.canonical import canonical
from sagacity.model.record import Record
from sagacity.model.unit import Message, ObjectState
from sagacity.store.base import Store


async def break_cycles(store: Store, now: datetime) -> list[UUID]:
    """Find sagas that wait for one another, on one snapshot, and send the youngest of each cycle back.

    Also rings sagas that stand first in all their queues and still sleep: whoever should have
    woken them died in between. Returns the victims.
    """
    waiting = await store.wait_graph()
    front = [record.id for record, objects in waiting if not blockers(record, objects)]
    if front:
        await store.ring_sagas(front)
    edges = {record.id: blockers(record, objects) for record, objects in waiting}
    records = {record.id: record for record, _ in waiting}
    chosen = (_youngest(cycle, records) for cycle in cycles(edges))
    victims = [victim for victim in chosen if victim is not None]
    if victims:
        await store.put([_restart(victim, edges, now) for victim in victims])
    return [victim.id for victim in victims]


def blockers(record: Record, objects: Mapping[str, ObjectState]) -> frozenset[UUID]:
    """Whom the saga waits for: in each queue, everybody before it that is incompatible with it."""
    found: set[UUID] = set()
    for lock in record.locks:
        if lock.granted:
            continue
        ahead: list[tuple[UUID, str]] = []
        for entry in objects[lock.object].queue:
            if entry.saga == record.id:
                break
            ahead.append((entry.saga, entry.mode))
        if lock.mode == "exclusive" or any(mode == "exclusive" for _, mode in ahead):
            found.update(saga for saga, _ in ahead)
    return frozenset(found - {record.id})


def cycles(edges: Mapping[UUID, frozenset[UUID]]) -> list[tuple[UUID, ...]]:
    """Strongly connected groups of more than one (Tarjan 1972), iterative, in a stable order."""
    search = _Search(edges)
    for root in sorted(edges):
        if root not in search.index:
            search.from_(root)
    return search.found


class _Search:
    """Tarjan's search over `edges`: what was seen, and the groups found."""

    def __init__(self, edges: Mapping[UUID, frozenset[UUID]]) -> None:
        self.edges = edges
        self.index: dict[UUID, int] = {}
        self.found: list[tuple[UUID, ...]] = []
        self._low: dict[UUID, int] = {}
        self._stack: list[UUID] = []
        self._on_stack: set[UUID] = set()
        self._work: list[tuple[UUID, Iterator[UUID]]] = []

    def from_(self, root: UUID) -> None:
        """Follow everything that `root` leads to."""
        self._enter(root)
        while self._work:
            node, targets = self._work[-1]
            target = next((t for t in targets if t in self.edges), None)
            if target is None:
                self._leave()
            elif target not in self.index:
                self._enter(target)
            elif target in self._on_stack:
                self._low[node] = min(self._low[node], self.index[target])

    def _enter(self, node: UUID) -> None:
        self.index[node] = self._low[node] = len(self.index)
        self._stack.append(node)
        self._on_stack.add(node)
        self._work.append((node, iter(sorted(self.edges[node]))))

    def _leave(self) -> None:
        node, _ = self._work.pop()
        if self._work:
            above = self._work[-1][0]
            self._low[above] = min(self._low[above], self._low[node])
        if self._low[node] != self.index[node]:
            return
        first = self._stack.index(node)
        group = self._stack[first:]
        del self._stack[first:]
        self._on_stack.difference_update(group)
        if len(group) > 1:
            self.found.append(tuple(sorted(group)))


def _youngest(cycle: Sequence[UUID], records: Mapping[UUID, Record]) -> Record | None:
    """The victim; None where all are behind their point of no return, and an operator must act."""
    able = [records[saga] for saga in cycle if not records[saga].pivoted]
    return max(able, key=lambda record: (record.created_at, record.id), default=None)


def _restart(victim: Record, edges: Mapping[UUID, frozenset[UUID]], now: datetime) -> Message:
    others = ", ".join(str(saga) for saga in sorted(edges[victim.id]))
    return Message(
        id=derived_id(victim.id, "restart", victim.seq),
        kind="restart",
        saga=victim.id,
        data=canonical(f"deadlock: it waits for {others}, which wait for it; it is the youngest"),
        actor="engine",
        arrived_at=now,
    )
