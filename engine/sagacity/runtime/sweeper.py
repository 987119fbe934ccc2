"""What mends what time broke: dead workers' sagas, bells not rung, and cycles of late locks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sagacity.ids import derived_id
from sagacity.model.canonical import canonical
from sagacity.model.record import Record
from sagacity.model.unit import Message, QueueEntry, WaitGraph
from sagacity.store.base import Store


async def break_cycles(store: Store, now: datetime) -> list[UUID]:
    """Find sagas that wait for one another, on one snapshot, and send one of each cycle back.

    It is the one that has begun anew least often; of those, one that waits for a late lock, as at least one
    in each cycle does; and of those the youngest. A saga that only queues for its first locks may stand in a
    cycle, but to send it back frees nothing and teaches it nothing. Whoever began anew with late locks asks
    for all of them at once, so it closes no cycle again: each saga is sent back once at most (where its locks
    depend on nothing that it does).

    Also rings sagas that stand first in all their queues and still sleep: whoever should have
    woken them died in between. Returns the victims.
    """
    graph = await store.wait_graph()
    front = sorted(graph.waiting - blockers(graph.queues.values()).keys())
    if front:
        await store.ring_sagas(front)
    edges = _among_waiting(graph)
    found = cycles(edges)
    if not found:
        return []
    victims: list[Record] = []
    for cycle in found:
        rows = [await store.saga(saga) for saga in cycle]
        victim = _victim([row.record for row in rows if row is not None])
        if victim is not None:
            victims.append(victim)
    # The records are younger than the snapshot: a victim of the sweep before may have gone back in between.
    still = {saga for cycle in cycles(_among_waiting(await store.wait_graph())) for saga in cycle}
    victims = [victim for victim in victims if victim.id in still]
    if victims:
        await store.put([_restart(victim, edges, now) for victim in victims])
    return [victim.id for victim in victims]


def _among_waiting(graph: WaitGraph) -> dict[UUID, frozenset[UUID]]:
    """Whoever moves, or goes back already, will leave its places by itself: no cycle goes through it."""
    return blockers(
        [entry for entry in queue if entry.saga in graph.waiting] for queue in graph.queues.values()
    )


def blockers(queues: Iterable[Sequence[QueueEntry]]) -> dict[UUID, frozenset[UUID]]:
    """Whom each saga that does not hold waits for: in each queue, the run of places right before its own.

    A run is one exclusive place, or neighbours that share. Whoever stands further ahead is waited for by
    way of those between, so the edges stay as few as the places, and their cycles the same.
    """
    edges: dict[UUID, set[UUID]] = {}
    for queue in queues:
        before: list[UUID] = []
        for exclusive, places in groupby(queue, key=lambda entry: entry.mode == "exclusive"):
            for run in ([entry.saga] for entry in places) if exclusive else ([e.saga for e in places],):
                if before:
                    for saga in run:
                        edges.setdefault(saga, set()).update(before)
                before = run
    return {saga: frozenset(found) for saga, found in edges.items()}


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


def _victim(cycle: Sequence[Record]) -> Record | None:
    """Who starts anew; None where no one can, and an operator must act.

    None of these can: who is behind the point of no return, who is going back, as a rollback is from the
    start, and who is to go back but waits for a lock that was taken from it.
    """
    able = [one for one in cycle if not (one.pivoted or one.backward or one.cancelling is not None)]
    return max(able, key=_readiness, default=None)


def _readiness(record: Record) -> tuple[int, bool, datetime, UUID]:
    """The higher, the sooner it is sent back."""
    late = any(lock.late and not lock.granted for lock in record.locks)
    return -record.restarts, late, record.created_at, record.id


def _restart(victim: Record, edges: Mapping[UUID, frozenset[UUID]], now: datetime) -> Message:
    others = ", ".join(str(saga) for saga in sorted(edges[victim.id]))
    return Message(
        id=derived_id(victim.id, "restart", victim.seq),
        kind="restart",
        saga=victim.id,
        payload=canonical({"seq": victim.seq}),
        data=canonical(f"deadlock: it waits for {others}, which wait for it; it has begun anew least often"),
        actor="engine",
        arrived_at=now,
    )
