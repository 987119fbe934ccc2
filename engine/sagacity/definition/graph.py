"""What can come after what in a machine: the few questions that checks and injection ask.

Reaching is computed to a fixpoint over nodes. Loose reaching answers "may come after": it
follows one region alone and takes a join as soon as one region is through.
"""

from collections.abc import Iterable, Set
from functools import partial

from sagacity.definition.machine import Machine, path


def reached(
    machine: Machine, start: Iterable[str], *, barred: Set[str] = frozenset(), loose: bool = False
) -> frozenset[str]:
    """Nodes that can be active once the nodes of `start` are.

    Args:
        machine: its nodes, edges and joins.
        start: nodes to begin with.
        barred: events that never happen.
        loose: follow only what may come after, not what runs beside.
    """
    found: set[str] = set()
    enter = partial(_enter, machine, found, loose=loose)
    for node in start:
        enter(node)
    size = -1
    while size != len(found):
        size = len(found)
        for event, edges in machine.edges.items():
            for edge in edges:
                if event not in barred and edge.source in found:
                    enter(edge.target)
        for node, edges in machine.joins.items():
            if node in found and _done(machine, found, node, loose=loose):
                for edge in edges:
                    enter(edge.target)
    return frozenset(found)


def after(machine: Machine, events: Iterable[str]) -> frozenset[str]:
    """Nodes that may be active at some time after one of `events` happened."""
    targets = [edge.target for event in events for edge in machine.edges.get(event, ())]
    return reached(machine, targets, loose=True)


def without(machine: Machine, events: Set[str]) -> frozenset[str]:
    """Nodes that can be active although none of `events` ever happened."""
    return reached(machine, machine.tops[:1], barred=events)


def depths(machine: Machine) -> dict[str, int]:
    """Node → fewest transitions to it from the start."""
    found: dict[str, int] = {}
    front: set[str] = set(machine.tops[:1])
    depth = 0
    edges = [edge for group in (machine.edges, machine.joins) for some in group.values() for edge in some]
    while front:
        active: set[str] = set()
        for node in front:
            _enter(machine, active, node, loose=False)
        fresh = active - found.keys()
        found.update(dict.fromkeys(fresh, depth))
        front = {edge.target for edge in edges if edge.source in fresh}
        depth += 1
    return found


def _enter(machine: Machine, found: set[str], node: str, *, loose: bool) -> None:
    nodes = machine.nodes
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        waiting += nodes[here].initial
        parent = nodes[here].parent
        if parent is not None and parent not in found:
            found.add(parent)
            if nodes[parent].kind == "parallel" and not loose:
                waiting += nodes[parent].children
            waiting += _above(machine, found, parent, loose=loose)


def _above(machine: Machine, found: set[str], node: str, *, loose: bool) -> list[str]:
    """Mark the ancestors of `node`; returns the regions that are entered with them."""
    waiting: list[str] = []
    for ancestor in path(machine.nodes, node)[1:]:
        found.add(ancestor)
        if machine.nodes[ancestor].kind == "parallel" and not loose:
            waiting += machine.nodes[ancestor].children
    return waiting


def _done(machine: Machine, found: Set[str], node: str, *, loose: bool) -> bool:
    here = machine.nodes[node]
    if here.kind == "parallel":
        enough = any if loose else all
        return enough(_done(machine, found, child, loose=loose) for child in here.children)
    return any(machine.nodes[child].final and child in found for child in here.children)
