"""A flow drawn for people: mermaid, dot, or an outline in plain text.

Drawn from the compiled tables, so a picture shows what the engine will do, not what somebody
meant. With a saga's present state and path it shows where that saga stands.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Literal

from sagacity.definition.flow import CANCEL, NO_DEADLINE, Await, Edge, Flow, Node, Step
from sagacity.model.record import WaitsFor

Form = Literal["mermaid", "dot", "text"]
FORMS: tuple[Form, ...] = ("mermaid", "dot", "text")


def drawn(flow: Flow, form: Form = "text", *, state: Iterable[str] = (), path: Iterable[str] = ()) -> str:
    """The flow as text in one of `FORMS`.

    Args:
        flow: what to draw.
        form: mermaid, dot or text.
        state: leaf states in which a saga stands; they are marked.
        path: states it has been in; they are marked more lightly.
    """
    draw: dict[Form, Callable[[Flow, frozenset[str], frozenset[str]], Iterator[str]]] = {
        "mermaid": _mermaid,
        "dot": _dot,
        "text": _text,
    }
    here = frozenset(state)
    return "\n".join(draw[form](flow, here, frozenset(path) - here)) + "\n"


def _edges(flow: Flow) -> Iterator[Edge]:
    order = {name: n for n, name in enumerate(flow.nodes)}
    edges = [edge for table in (flow.edges, flow.joins) for group in table.values() for edge in group]
    yield from sorted(edges, key=lambda edge: order[edge.source])


def _label(flow: Flow, edge: Edge) -> str:
    """What moves the machine along an edge, in a few words."""
    step = next((step for step in flow.steps.values() if step.event == edge.event), None)
    said = [_step_label(step)] if step is not None else []
    said += [_wait_label(wait) for wait in flow.awaits.values() if wait.event == edge.event]
    said += [f"if {wait.name} does not come" for wait in flow.awaits.values() if wait.otherwise == edge.event]
    label = " or ".join(said) or "all done"
    if edge.guards:
        names = " and ".join(f"{'' if guard.expected else 'not '}{guard.name}" for guard in edge.guards)
        label += f" [{names}]"
    return label


def _step_label(step: Step) -> str:
    notes = [f"undo {step.undo.name}"] if step.undo is not None and step.child is None else []
    notes += ["pivot"] if step.pivot else []
    notes += ["final"] if step.final and not step.pivot else []
    notes += [f"each a {step.child.flow.name}"] if step.child is not None else []
    return f"{step.name} ({', '.join(notes)})" if notes else step.name


def _wait_label(wait: Await) -> str:
    if wait.kind is WaitsFor.TIMER:
        return f"after {_span(wait.within)}"
    kind = "approval" if wait.kind is WaitsFor.APPROVAL else "signal"
    return f"{kind} {wait.signal}"


def _span(span: timedelta) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count, rest = divmod(span.total_seconds(), size)
        if count and not rest:
            return f"{count:.0f} {unit}{'' if count == 1 else 's'}"
    return f"{span.total_seconds():g} seconds"


def _mermaid(flow: Flow, here: frozenset[str], been: frozenset[str]) -> Iterator[str]:
    yield "stateDiagram-v2"
    tops = [node for node in flow.nodes.values() if node.parent is None]
    for node in tops:
        yield from _mermaid_node(flow, node, "    ")
    first = _top_of(flow, flow.start[0]) if flow.start else None
    if first is not None:
        yield f"    [*] --> {first}"
    yield from _mermaid_edges(flow, None, "    ")
    for node in tops:
        if node.final:
            yield f"    {node.id} --> [*]"
    yield from _mermaid_cancels(flow)
    for way in flow.overrides:  # this notation has no dashed edges: a note and a word tell them apart
        yield f"    {way.source} --> {way.target}: by hand only ({way.name})"
    for name, style, states in (
        ("here", "fill:#f6c344,stroke:#7a5c00,color:#000", here),
        ("been", "fill:#e4f1e1,stroke:#4a7c43,color:#000", been),
    ):
        known = sorted(state for state in states if state in flow.nodes)
        if known:
            yield f"    classDef {name} {style}"
            yield f"    class {','.join(known)} {name}"


def _mermaid_node(flow: Flow, node: Node, indent: str) -> Iterator[str]:
    if not node.children:
        yield f"{indent}{node.id}"
        return
    yield f"{indent}state {node.id} {{"
    for n, child in enumerate(node.children):
        if node.kind == "parallel" and n:
            yield f"{indent}    --"
        yield from _mermaid_node(flow, flow.nodes[child], indent + "    ")
    if node.kind == "compound":
        yield f"{indent}    [*] --> {node.initial[0]}"
    yield from _mermaid_edges(flow, node.id, indent + "    ")
    yield f"{indent}}}"


def _mermaid_edges(flow: Flow, within: str | None, indent: str) -> Iterator[str]:
    """Edges whose both ends lie directly in `within`; what crosses a frame is drawn outside of all."""
    for edge in _edges(flow):
        parents = {flow.nodes[edge.source].parent, flow.nodes[edge.target].parent}
        if parents == {within} or (within is None and len(parents) > 1):
            yield f"{indent}{edge.source} --> {edge.target}: {_label(flow, edge)}"


def _mermaid_cancels(flow: Flow) -> Iterator[str]:
    """What sends the saga back, as a note on the state."""
    for leaf in flow.awaits_at:
        told = list(_cancels(flow, leaf))
        if told:
            yield f"    note right of {leaf}: goes back {' or '.join(told)}"


def _cancels(flow: Flow, leaf: str) -> Iterator[str]:
    for wait in flow.awaits_at[leaf]:
        if wait.event is None:
            yield f"on {_wait_label(wait)}"
        elif wait.otherwise == CANCEL and wait.within != NO_DEADLINE:
            yield f"without it in {_span(wait.within)}"


def _dot(flow: Flow, here: frozenset[str], been: frozenset[str]) -> Iterator[str]:
    yield f"digraph {_quoted(flow.name)} {{"
    yield "    rankdir=TB; compound=true;"
    yield '    node [shape=box, style="rounded,filled", fillcolor=white];'
    for node in flow.nodes.values():
        if node.parent is None:
            yield from _dot_node(flow, node, here, been, "    ")
    yield "    start [shape=point];"
    for leaf in flow.start:
        yield f"    start -> {_quoted(leaf)};"
    for edge in _edges(flow):
        yield f"    {_dot_ends(flow, edge.source, edge.target, _label(flow, edge))};"
    for way in flow.overrides:
        label = f"{way.name}: by hand only"
        yield f"    {_dot_ends(flow, way.source, way.target, label, 'style=dashed')};"
    yield "}"


def _dot_node(
    flow: Flow, node: Node, here: frozenset[str], been: frozenset[str], indent: str
) -> Iterator[str]:
    if node.children:
        yield f"{indent}subgraph {_quoted('cluster_' + node.id)} {{"
        yield f"{indent}    label={_quoted(node.id)};"
        for child in node.children:
            yield from _dot_node(flow, flow.nodes[child], here, been, indent + "    ")
        yield f"{indent}}}"
        return
    fill = "#f6c344" if node.id in here else "#e4f1e1" if node.id in been else "white"
    frame = ", peripheries=2" if node.final else ""
    yield f'{indent}{_quoted(node.id)} [fillcolor="{fill}"{frame}];'


def _dot_ends(flow: Flow, source: str, target: str, label: str, *more: str) -> str:
    """An edge between leaves, cut off at the frame of the state that it means."""
    marks = [f"label={_quoted(label)}", *more]
    ends = []
    for node, mark in ((source, "ltail"), (target, "lhead")):
        leaf = node
        while flow.nodes[leaf].children:
            leaf = flow.nodes[leaf].children[0]
        ends.append(_quoted(leaf))
        if leaf != node:
            marks.append(f"{mark}={_quoted('cluster_' + node)}")
    return f"{ends[0]} -> {ends[1]} [{', '.join(marks)}]"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(flow: Flow, here: frozenset[str], been: frozenset[str]) -> Iterator[str]:
    yield f"{flow.name}, version {flow.version}"
    if flow.doc:
        yield f"  {flow.doc.splitlines()[0]}"
    yield ""
    depth: dict[str, int] = {}
    for node in flow.nodes.values():
        depth[node.id] = 0 if node.parent is None else depth[node.parent] + 1
        indent = "  " * depth[node.id]
        mark = "●" if node.id in here else "✓" if node.id in been else "○"
        yield f"{indent}{mark} {node.id}{_kind(flow, node, here)}"
        for edge in _edges(flow):
            if edge.source == node.id:
                yield f"{indent}    {_label(flow, edge)} → {edge.target}"
        for way in flow.overrides:
            if way.source == node.id:
                yield f"{indent}    by hand only ({way.name}: {way.why}) ⇢ {way.target}"
        told = list(_cancels(flow, node.id)) if node.id in flow.awaits_at else []
        if told:
            yield f"{indent}    goes back {' or '.join(told)}"


def _kind(flow: Flow, node: Node, here: frozenset[str]) -> str:
    notes = ["start"] if node.id in flow.start and node.parent is None else []
    notes += ["all of these side by side"] if node.kind == "parallel" else []
    notes += ["end"] if node.final and node.parent is None else []
    notes += ["the saga is here"] if node.id in here else []
    return f" ({', '.join(notes)})" if notes else ""


def _top_of(flow: Flow, leaf: str) -> str:
    parent = flow.nodes[leaf].parent
    return leaf if parent is None else _top_of(flow, parent)
