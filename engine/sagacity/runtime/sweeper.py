"""What mends what time broke: dead workers' sagas, bells not rung, and cycles of late locks."""

from collections.abc import Mapping, Sequence
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
    victims = [_youngest(cycle, records) for cycle in cycles(edges)]
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
    index: dict[UUID, int] = {}
    low: dict[UUID, int] = {}
    stack: list[UUID] = []
    found: list[tuple[UUID, ...]] = []
    for root in sorted(edges):
        if root not in index:
            _connect(root, edges, index, low, stack, found)
    return found


def _connect(
    root: UUID,
    edges: Mapping[UUID, frozenset[UUID]],
    index: dict[UUID, int],
    low: dict[UUID, int],
    stack: list[UUID],
    found: list[tuple[UUID, ...]],
) -> None:
    work = [(root, iter(sorted(edges.get(root, ()))))]
    index[root] = low[root] = len(index)
    stack.append(root)
    while work:
        node, targets = work[-1]
        for target in targets:
            if target not in edges:
                continue
            if target not in index:
                index[target] = low[target] = len(index)
                stack.append(target)
                work.append((target, iter(sorted(edges[target]))))
                break
            if target in stack:
                low[node] = min(low[node], index[target])
        else:
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                group = _popped(stack, node)
                if len(group) > 1:
                    found.append(group)


def _popped(stack: list[UUID], node: UUID) -> tuple[UUID, ...]:
    group: list[UUID] = []
    while True:
        top = stack.pop()
        group.append(top)
        if top == node:
            return tuple(sorted(group))


def _youngest(cycle: Sequence[UUID], records: Mapping[UUID, Record]) -> Record:
    # One that is behind its point of no return cannot go back, so it is nobody's victim.
    able = [records[saga] for saga in cycle if not records[saga].pivoted] or [records[cycle[0]]]
    return max(able, key=lambda record: (record.created_at, record.id))


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
