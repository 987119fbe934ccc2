"""Override edges: ways that only operators take, read from the class body and checked like all others."""

from typing import Any

from statemachine.state import State

from sagacity.definition.draft import Draft
from sagacity.definition.flow import Override
from sagacity.definition.machine import Machine, path
from sagacity.definition.step import OverrideMark


def read_overrides(draft: Draft) -> tuple[Override, ...]:
    """The override edges of the class body, in declared order; what is wrong with one is blamed."""
    found: dict[tuple[str, str], Override] = {}
    for name, value in draft.namespace.items():
        if not isinstance(value, OverrideMark):
            continue
        source, target = (_node(draft, name, end) for end in (value.source, value.target))
        why = value.why.strip() if isinstance(value.why, str) else ""
        if not why:
            draft.blame(
                name, "it does not say what it is for.", 'Write `why="…"`: an operator reads it at night.'
            )
        if source is None or target is None:
            continue
        _check_ends(draft, name, source, target)
        if (source, target) in found:
            other = found[source, target].name
            draft.blame(name, f"{other} leads from {source} to {target} too.", "Keep one of them.")
        found[source, target] = Override(name=name, source=source, target=target, why=why)
    return tuple(found.values())


def _node(draft: Draft, name: str, said: Any) -> str | None:
    node = draft.machine.names.get(id(said)) if isinstance(said, State) else None
    if node is None:
        draft.blame(
            name, f"{said!r} is no state of this class.", 'Name two states: `override(here, there, why="…")`.'
        )
    return node


def _check_ends(draft: Draft, name: str, source: str, target: str) -> None:
    nodes = draft.machine.nodes
    if nodes[source].final and nodes[source].parent is None:
        draft.blame(name, f"{source} is an end: nothing leaves it.", "Leave another state.")
    if source in path(nodes, target):
        draft.blame(name, f"{target} lies in {source}: it would lead nowhere.", "Name another target.")
    if _regions(draft.machine, source) != _regions(draft.machine, target):
        draft.blame(
            name,
            f"it crosses the frame of a region ({source} → {target}).",
            "Stay in the region; enter and leave a parallel state as a whole.",
        )


def _regions(machine: Machine, node: str) -> list[str]:
    """The regions of parallel states that `node` lies in, innermost first."""
    nodes = machine.nodes
    above = path(nodes, node)
    return [n for n in above if (over := nodes[n].parent) is not None and nodes[over].kind == "parallel"]
