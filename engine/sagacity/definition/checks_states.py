"""What is refused of states and transitions: nothing unreachable, no dead end, no choice left to chance."""

from collections.abc import Iterator
from itertools import pairwise

from sagacity.definition import graph
from sagacity.definition.draft import Draft
from sagacity.definition.flow import Edge, Flow, Node
from sagacity.definition.machine import Machine, path


def check_states(draft: Draft, flow: Flow) -> None:
    """Add the faults of states and transitions."""
    machine = draft.machine
    if len(machine.tops) == 1:
        _check_reach(draft, machine)
    else:
        said = ", ".join(machine.tops) or "none"
        draft.blame(
            draft.cls.__name__, f"it has not one initial state ({said}).", "Mark one: `State(initial=True)`."
        )
    _check_ends(draft, machine)
    _check_regions(draft, machine)
    _check_edges(draft, machine)
    _check_choices(draft, flow)
    _check_driven(draft, machine)


def _check_reach(draft: Draft, machine: Machine) -> None:
    found = graph.reached(machine, machine.tops)
    for node in machine.nodes.values():
        if node.id not in found and (node.parent is None or node.parent in found):
            draft.blame(
                node.id, "no transition leads to it.", f"Lead one to it (`here.to({node.id})`), or drop it."
            )


def _check_ends(draft: Draft, machine: Machine) -> None:
    ends = {node.id for node in machine.nodes.values() if node.final and node.parent is None}
    if not ends:
        draft.blame(draft.cls.__name__, "it has no end.", "Mark one: `State(final=True)`.")
    sources = {edge.source for edges in machine.edges.values() for edge in edges}
    for node in machine.nodes.values():
        if node.final and node.children:
            draft.blame(
                node.id, "a state with states in it cannot be final.", "Lead on: `done_state_… = ….to(…)`."
            )
        elif node.final and node.id in sources:
            draft.blame(
                node.id, "it is final, and a transition leaves it.", "Drop `final=True` or the transition."
            )
        if node.children:
            continue
        if _is_dead_end(machine, node, sources):
            draft.blame(node.id, *_way_out(machine, node))
        elif ends and node.id not in ends and not ends & graph.reached(machine, [node.id], loose=True):
            draft.blame(node.id, "no way leads from it to an end.", "Lead a transition to a final state.")


def _is_dead_end(machine: Machine, node: Node, sources: set[str]) -> bool:
    if node.final and node.parent is None:
        return False
    above = path(machine.nodes, node.id)
    if any(place in sources for place in above):
        return False
    return not (node.final and _joined(machine, node))


def _joined(machine: Machine, leaf: Node) -> bool:
    """Whether something fires once `leaf`, a final state in another one, is reached."""
    parent = machine.nodes[leaf.parent or ""]
    above = machine.nodes.get(parent.parent or "")
    if above is not None and above.kind == "parallel":
        return above.id in machine.joins
    return parent.id in machine.joins


def _way_out(machine: Machine, node: Node) -> tuple[str, str]:
    if not node.final:
        return (
            "nothing leads out of it.",
            f"Lead a transition out of it, or write `{node.id} = State(final=True)`.",
        )
    parent = machine.nodes[node.parent or ""]
    above = machine.nodes.get(parent.parent or "")
    whole = above.id if above is not None and above.kind == "parallel" else parent.id
    return f"when {whole} is done nothing follows.", f"Write `done_state_{whole} = {whole}.to(…)`."


def _check_regions(draft: Draft, machine: Machine) -> None:
    nodes = machine.nodes
    for node in nodes.values():
        if node.kind != "parallel":
            continue
        for child in node.children:
            ends = [name for name in nodes[child].children if nodes[name].final]
            if not ends:
                draft.blame(
                    child,
                    f"it is a region of {node.id} without an end, so {node.id} is never done.",
                    f"Write `class {child}(State.Compound)` with a `State(final=True)` in it.",
                )
            if child in machine.joins:
                draft.blame(
                    child, "one region alone cannot move on.", f"Write `done_state_{node.id}` instead."
                )
    for event in machine.edges:
        _check_crossing(draft, machine, event)


def _check_crossing(draft: Draft, machine: Machine, event: str) -> None:
    seen: dict[str, str] = {}
    for edge in machine.edges[event]:
        if machine.nodes[edge.source].kind == "parallel":
            draft.blame(
                event,
                f"only being done leaves the parallel state {edge.source}.",
                f"Write `done_state_{edge.source} = {edge.source}.to(…)`.",
            )
        inside, target = dict(_regions(machine, edge.source)), dict(_regions(machine, edge.target))
        if inside != target:
            draft.blame(
                event,
                f"it crosses the frame of a region ({edge.source} → {edge.target}).",
                "Stay in the region; enter and leave a parallel state as a whole.",
            )
        for whole, region in inside.items():
            if seen.setdefault(whole, region) != region:
                draft.blame(
                    event,
                    f"two regions of {whole} share it.",
                    "Give each region's transition a name of its own.",
                )


def _regions(machine: Machine, node: str) -> Iterator[tuple[str, str]]:
    """(parallel state, its region) for each region that `node` lies in."""
    above = path(machine.nodes, node)
    for inner, outer in pairwise(above):
        if machine.nodes[outer].kind == "parallel":
            yield outer, inner


def _check_edges(draft: Draft, machine: Machine) -> None:
    for table in (machine.edges, machine.joins):
        for edges in table.values():
            for source in dict.fromkeys(edge.source for edge in edges):
                _check_order(draft, [edge for edge in edges if edge.source == source])
    for edges in machine.joins.values():
        if edges[-1].guards:
            draft.blame(
                edges[-1].event,
                "all its ways are guarded: if none lets it pass, nothing ever will.",
                "Leave the last one without a guard.",
            )


def _check_order(draft: Draft, edges: list[Edge]) -> None:
    for edge in edges[:-1]:
        if not edge.guards:
            draft.blame(
                edge.event,
                f"from {edge.source} it leads to {edge.target} always, and to {edges[-1].target} never.",
                'Guard all but the last: `here.to(there, cond="method") | here.to(elsewhere)`.',
            )
            return


def _check_choices(draft: Draft, flow: Flow) -> None:
    for leaf, steps in flow.steps_at.items():
        if flow.awaits_at.get(leaf):
            names = ", ".join([*(s.name for s in steps), *(w.name for w in flow.awaits_at[leaf])])
            draft.blame(
                leaf,
                f"it has steps and waits ({names}): the step would run and nobody would wait.",
                "Put a state between: the step leads to it, and the wait leaves it.",
            )
        above = path(flow.nodes, leaf)
        for step in steps[:-1]:
            if any(edge.source in above and not edge.guards for edge in flow.edges[step.event]):
                draft.blame(
                    step.event,
                    f"{leaf} always takes it, and {steps[-1].event} never.",
                    "Guard all but the last of the transitions that leave a state.",
                )


def _check_driven(draft: Draft, machine: Machine) -> None:
    driven = {step.event for step in draft.steps.values()}
    driven |= {wait.event for wait in draft.waits.values() if wait.event is not None}
    driven |= {wait.otherwise for wait in draft.waits.values() if wait.otherwise is not None}
    for event in machine.edges:
        if event not in driven:
            draft.blame(
                event,
                "neither a step nor a wait takes this transition.",
                f"Write `@step({event})` over a method, or `… = awaits({event}, signal=…, within=…)`.",
            )
