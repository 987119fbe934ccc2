"""The drawing of a flow, as text: the same states, ways and words in the order in which they are read.

It is what a screen reader, a terminal browser or a narrow screen gets; the picture shows nothing that
does not stand here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sagacity.definition.flow import Flow
from sagacity.web.console.picture import Said, said_of, said_of_override
from sagacity.web.console.svg import Walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way out of a state.

    Attributes:
        gone: this saga went it.
        undo: what became of its compensation.
        why: only an operator goes it, and for this; None: the flow goes it.
    """

    target: str
    said: tuple[Said, ...]
    gone: bool
    undo: str | None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One state. `depth`: how many states it stands in; `where`: here, been or ahead."""

    state: str
    depth: int
    where: str
    note: str
    kind: str
    ways: tuple[Way, ...]


_UNDO = {"undone": "made good", "open": "to be made good", "gave_up": "its undo gave up"}


def of(flow: Flow, walk: Walk) -> list[Item]:
    """The flow, state by state, as far as `walk` has come."""
    return list(_items(flow, walk))


def _items(flow: Flow, walk: Walk) -> Iterator[Item]:
    depth: dict[str, int] = {}
    tables = (*flow.edges.values(), *flow.joins.values())
    edges = [edge for group in tables for edge in group]
    for node in flow.nodes.values():
        depth[node.id] = 0 if node.parent is None else depth[node.parent] + 1
        ways = []
        for edge in edges:
            if edge.source == node.id:
                steps = [step.name for step in flow.steps.values() if step.event == edge.event]
                undo = next((walk.undo[step] for step in steps if step in walk.undo), None)
                ways.append(
                    Way(
                        target=edge.target,
                        said=tuple(said_of(flow, edge)),
                        gone=(edge.source, edge.target) in walk.ways,
                        undo=_UNDO.get(undo or ""),
                    )
                )
        ways += [
            Way(
                target=way.target,
                said=(said_of_override(way),),
                gone=way.name in walk.forced,
                undo=None,
                why=way.why,
            )
            for way in flow.overrides
            if way.source == node.id
        ]
        kinds = {"parallel": "all of these side by side", "compound": "these, one after the other"}
        yield Item(
            state=node.id,
            depth=depth[node.id],
            where="here" if node.id in walk.here else "been" if node.id in walk.been else "ahead",
            note=walk.notes.get(node.id, ""),
            kind="the end" if node.final and node.parent is None else kinds.get(node.kind, ""),
            ways=tuple(ways),
        )
