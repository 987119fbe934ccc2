"""The tables that the engine walks move exactly as the state-machine library does."""

from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import event as seen
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from statemachine import State, StateMachine
from statemachine.exceptions import TransitionNotAllowed
from statemachine.orderedset import OrderedSet

from sagacity.definition.compile import compiled, drafted
from sagacity.definition.facts import Facts
from sagacity.definition.flow import Flow
from sagacity.definition.machine import path
from sagacity.definition.table import fire, initial, joined
from sagacity.model.canonical import canonical

GUARDS = ("g0", "g1", "g2")
NESTED: Any = type(State.Compound)
EVENTS = ("e0", "e1", "e2")


class Flags(BaseModel):
    """The input: which guards say yes."""

    yes: list[str]


@dataclass(frozen=True)
class Move:
    """One transition of a drawn machine: `unless` turns its guard around."""

    event: str
    source: str
    target: str
    guard: str | None
    unless: bool


@dataclass(frozen=True)
class Plan:
    """A drawn machine: top states, a compound state, a parallel one, one nested in a region, and moves."""

    tops: int
    compound: int
    regions: tuple[int, ...]
    nested: bool
    moves: tuple[Move, ...]
    joins: tuple[Move, ...]

    @property
    def top_names(self) -> list[str]:
        return [f"t{n}" for n in range(self.tops)]

    @property
    def inner(self) -> dict[str, list[str]]:
        found = {"c": [f"c{n}" for n in range(self.compound)]} if self.compound else {}
        if self.nested:
            found["n"] = ["n0", "n1"]
        regions = {f"r{r}": [f"r{r}s{n}" for n in range(size)] for r, size in enumerate(self.regions)}
        if self.nested:
            regions["r0"].insert(1, "n")
        return found | regions


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tops = draw(st.integers(2, 4))
    compound = draw(st.sampled_from([0, 2, 3]))
    regions = tuple(draw(st.sampled_from([[], [2, 2], [3, 2], [2, 3, 2]])))
    nested = bool(regions) and draw(st.booleans())
    bare = Plan(tops=tops, compound=compound, regions=regions, nested=nested, moves=(), joins=())
    wholes = (["c"] if compound else []) + (["p"] if regions else [])
    ends = {bare.top_names[-1], *(names[-1] for names in bare.inner.values())}
    everything = [*bare.top_names, *wholes, *(name for names in bare.inner.values() for name in names)]
    sources = [name for name in everything if name not in ends and name != "p"]
    moves = [*_spine(draw, bare, wholes)]
    for source in draw(st.lists(st.sampled_from(sources), max_size=8)):
        target = draw(st.sampled_from(everything))
        moves.append(_move(draw, draw(st.sampled_from(EVENTS)), source, target))
    joins = []
    for name, targets in [(whole, bare.top_names) for whole in wholes] + [
        ("n", bare.inner["r0"] if nested else [])
    ]:
        for guard in draw(st.sampled_from([(None,), (GUARDS[0], None), ()])) if targets else ():
            joins.append(Move(f"done_state_{name}", name, draw(st.sampled_from(targets)), guard, False))
    order = draw(st.permutations(moves))
    return replace(bare, moves=tuple(order), joins=tuple(joins))


def _spine(draw: st.DrawFn, plan: Plan, wholes: list[str]) -> list[Move]:
    """Moves that lead through everything, so that a machine is more than its first state."""
    rows = [[plan.top_names[0], *wholes], [*plan.top_names], *plan.inner.values()]
    return [
        _move(draw, draw(st.sampled_from(EVENTS)), source, target)
        for row in rows
        for source, target in pairwise(row)
        if source not in ("c", "p")
    ]


def _move(draw: st.DrawFn, event: str, source: str, target: str) -> Move:
    guard = draw(st.sampled_from([None, None, *GUARDS]))
    return Move(event, source, target, guard, draw(st.booleans()))


def body(plan: Plan) -> dict[str, Any]:
    """A class body with the states and transitions of `plan`; fresh objects on every call."""
    names: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for n, name in enumerate(plan.top_names):
        found[name] = names[name] = State(initial=n == 0, final=n == plan.tops - 1)
    made: dict[str, Any] = {}
    for name, children in plan.inner.items():
        inside = {
            child: State(initial=n == 0, final=n == len(children) - 1) for n, child in enumerate(children)
        }
        inside |= {child: made[child] for child in children if child in made}
        made[name] = NESTED(name, (State.Compound,), inside)
        names |= inside
    if plan.compound:
        found["c"] = names["c"] = made["c"]
    if plan.regions:
        regions = {name: state for name, state in made.items() if name[0] == "r"}
        found["p"] = names["p"] = NESTED("p", (State.Parallel,), regions)
    for move in (*plan.moves, *plan.joins):
        guard = {} if move.guard is None else {"unless" if move.unless else "cond": move.guard}
        edge = names[move.source].to(names[move.target], **guard)
        found[move.event] = found[move.event] | edge if move.event in found else edge
    return found


def library_class(plan: Plan) -> Any:
    off = dict.fromkeys(
        ("validate_disconnected_states", "validate_trap_states", "validate_final_reachability"), False
    )
    guards = {name: _library_guard(name) for name in GUARDS}
    metaclass: Any = type("Lenient", (type(StateMachine),), off)
    return metaclass("Machine", (StateMachine,), body(plan) | guards)


def _library_guard(name: str) -> Any:
    def guard(self: Any) -> bool:
        return name in self.model.yes

    return guard


def _our_guard(name: str) -> Any:
    def guard(self: Any, flags: Flags) -> bool:
        return name in flags.yes

    guard.__name__ = name
    return guard


def our_flow(plan: Plan) -> Flow:
    namespace = body(plan) | {name: _our_guard(name) for name in GUARDS} | {"Input": Flags}
    cls = type("Machine", (), {"Input": Flags})
    draft = drafted(cls, namespace)
    flow = compiled(draft, name="Machine", version=1, key_field=None)
    assert not draft.faults
    return flow


def restored(cls: Any, flow: Flow, leaves: tuple[str, ...], yes: list[str]) -> Any:
    """The library's machine, brought to `leaves` through its model, ancestors included."""
    active = {node for leaf in leaves for node in path(flow.nodes, leaf)}
    ordered = [node for node in flow.nodes if node in active]
    model = SimpleNamespace(state=ordered[0] if len(ordered) == 1 else OrderedSet(ordered), yes=yes)
    return cls(model)


def library_leaves(machine: Any) -> tuple[str, ...]:
    return tuple(sorted(state.id for state in machine.configuration if not state.states))


def library_move(cls: Any, flow: Flow, leaves: tuple[str, ...], event: str, yes: list[str]) -> Any:
    machine = restored(cls, flow, leaves, yes)
    try:
        machine.send(event)
    except TransitionNotAllowed:
        return None
    return library_leaves(machine)


def our_move(flow: Flow, leaves: tuple[str, ...], event: str, yes: list[str]) -> Any:
    facts = Facts(flow, canonical(Flags(yes=yes)), {})
    after = fire(flow, leaves, event, facts)
    while after is not None and (move := joined(flow, after, facts)) is not None:
        seen("joined")
        after = move[1]
    return after


@settings(max_examples=300, deadline=None)
@given(
    plan=plans(),
    script=st.lists(
        st.tuples(st.sampled_from(EVENTS), st.lists(st.sampled_from(GUARDS), unique=True)),
        min_size=8,
        max_size=20,
    ),
)
def test_every_event_moves_the_table_as_it_moves_the_library(
    plan: Plan, script: list[tuple[str, list[str]]]
) -> None:
    flow, cls = our_flow(plan), library_class(plan)
    leaves = initial(flow)
    assert leaves == library_leaves(cls())
    for event, yes in script:
        if event not in flow.edges:
            continue
        ours = our_move(flow, leaves, event, yes)
        assert ours == library_move(cls, flow, leaves, event, yes)
        leaves = ours or leaves
        if any(flow.nodes[leaf].final and flow.nodes[leaf].parent is None for leaf in leaves):
            seen("came to an end")
            break
