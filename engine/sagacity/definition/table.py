"""Walking a compiled flow: pure functions over leaf states.

The library defines what a machine means; these few functions do the same with tables, several
hundred times faster. A property test holds them against the library, event for event.
"""

from collections.abc import Mapping

from sagacity.definition.facts import Facts
from sagacity.definition.flow import Edge, Flow, Node, Step
from sagacity.definition.machine import path

__all__ = ["Facts", "fire", "initial", "is_final", "joined", "next_steps"]

State = tuple[str, ...]
"""Ids of the active leaf states, sorted."""


def initial(flow: Flow) -> State:
    """The state of a new saga."""
    return flow.start


def is_final(flow: Flow, state: State) -> bool:
    """Whether the machine has reached an end."""
    return any(flow.nodes[leaf].final and flow.nodes[leaf].parent is None for leaf in state)


def fire(flow: Flow, state: State, event: str, facts: Facts) -> State | None:
    """The state after `event`, or None where no edge applies.

    Guards are asked in the order of declaration, innermost state first; those of several regions
    that have an edge for the event all move.
    """
    edges = flow.edges.get(event)
    if not edges:
        return None
    chosen: dict[tuple[str, str], Edge] = {}
    for leaf in _in_document_order(flow, state):
        edge = _first_edge(flow, leaf, edges, facts)
        if edge is not None:
            chosen[edge.source, edge.target] = edge
    return moved(flow.nodes, state, _without_conflicts(flow.nodes, state, list(chosen.values())))


def entered_by(flow: Flow, state: State, source: str, target: str) -> State:
    """The state after leaving `source`, an active node, for `target`, whatever the edges say."""
    after = moved(flow.nodes, state, [Edge(event="", source=source, target=target)])
    assert after is not None
    return after


def nearest(flow: Flow, state: State, to: str) -> str:
    """The active leaf that shares most with `to`: of parallel regions, the one it lies in."""
    above = path(flow.nodes, to)
    return max(state, key=lambda leaf: len(set(path(flow.nodes, leaf)) & set(above)))


def joined(flow: Flow, state: State, facts: Facts | None = None) -> tuple[str, State] | None:
    """One move out of a node that is done, as (node, new state); None when none is due.

    Call it until None after every event.
    """
    if not flow.joins:
        return None
    ready = [node for node in flow.joins if is_done(flow.nodes, state, node)]
    for node in sorted(ready, key=lambda name: -len(path(flow.nodes, name))):
        for edge in flow.joins[node]:
            if _passes(edge, facts):
                after = moved(flow.nodes, state, [edge])
                assert after is not None
                return node, after
    return None


def next_steps(flow: Flow, state: State, facts: Facts) -> tuple[Step, ...]:
    """Steps to run now: per active leaf at most one.

    Where several step events leave a leaf, the first with an edge whose guards pass now; where only
    one does, that one, since its guards may ask for what it is yet to return.
    """
    found: dict[str, Step] = {}
    for leaf in state:
        steps = flow.steps_at.get(leaf, ())
        for step in steps:
            if len(steps) == 1 or _first_edge(flow, leaf, flow.edges[step.event], facts) is not None:
                found[step.name] = step
                break
    return tuple(found.values())


def is_done(nodes: Mapping[str, Node], state: State, node: str) -> bool:
    """Whether a compound state rests in a final child, or a parallel one in all its regions."""
    here = nodes[node]
    if here.kind == "parallel":
        return all(is_done(nodes, state, child) for child in here.children)
    return any(nodes[child].final and child in state for child in here.children)


def moved(nodes: Mapping[str, Node], state: State, edges: list[Edge]) -> State | None:
    """The state after taking all of `edges` at once; None where there are none."""
    if not edges:
        return None
    first = nodes[edges[0].target]
    if len(state) == 1 and first.kind == "atomic" and first.parent is None:
        return (first.id,)  # the usual case, and the hot one
    left: set[str] = set()
    targets: list[tuple[str | None, str]] = []
    for edge in edges:
        domain = _domain(nodes, edge)
        left |= _exits(nodes, state, domain)
        targets.append((domain, edge.target))
    after = {leaf for leaf in state if leaf not in left}
    for domain, target in targets:
        after |= _entries(nodes, domain, target)
    return tuple(sorted(after))


def _in_document_order(flow: Flow, state: State) -> State:
    if len(state) == 1:
        return state
    return tuple(leaf for leaf in flow.nodes if leaf in state)


def _first_edge(flow: Flow, leaf: str, edges: tuple[Edge, ...], facts: Facts) -> Edge | None:
    for source in path(flow.nodes, leaf):
        for edge in edges:
            if edge.source == source and _passes(edge, facts):
                return edge
    return None


def _passes(edge: Edge, facts: Facts | None) -> bool:
    if not edge.guards:
        return True
    if facts is None:
        return False
    return all(bool(facts.call(guard.call, guard.params)) is guard.expected for guard in edge.guards)


def _domain(nodes: Mapping[str, Node], edge: Edge) -> str | None:
    """The innermost compound state around source and target; None: the whole machine."""
    inside = set(path(nodes, edge.target)[1:])
    for ancestor in path(nodes, edge.source)[1:]:
        if nodes[ancestor].kind == "compound" and ancestor in inside:
            return ancestor
    return None


def _exits(nodes: Mapping[str, Node], state: State, domain: str | None) -> set[str]:
    return {leaf for leaf in state if domain is None or domain in path(nodes, leaf)[1:]}


def _entries(nodes: Mapping[str, Node], domain: str | None, target: str) -> set[str]:
    """Leaf states entered with `target`, and with the other regions of parallel states above it."""
    after = set(_entered(nodes, target))
    below = target
    for ancestor in path(nodes, target)[1:]:
        if ancestor == domain:
            break
        if nodes[ancestor].kind == "parallel":
            for region in nodes[ancestor].children:
                if region != below:
                    after |= _entered(nodes, region)
        below = ancestor
    return after


def _entered(nodes: Mapping[str, Node], node: str) -> set[str]:
    initial = nodes[node].initial
    return set().union(*(_entered(nodes, child) for child in initial)) if initial else {node}


def _without_conflicts(nodes: Mapping[str, Node], state: State, edges: list[Edge]) -> list[Edge]:
    """Of edges that would leave the same states: the inner one, else the one that came first."""
    kept: list[Edge] = []
    for edge in edges:
        left = _exits(nodes, state, _domain(nodes, edge))
        rivals = [other for other in kept if left & _exits(nodes, state, _domain(nodes, other))]
        if all(other.source in path(nodes, edge.source)[1:] for other in rivals):
            kept = [other for other in kept if other not in rivals]
            kept.append(edge)
    return kept
