"""The states and transitions of a class body as plain nodes and edges.

Reads the library's objects before the library judges them: it stops at its first fault, we tell
all. Whatever the engine would not carry out (callbacks, history, transitions without an event)
is refused here rather than silently ignored.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine import State
from statemachine.event import Event
from statemachine.state import HistoryState
from statemachine.states import States
from statemachine.transition import Transition
from statemachine.transition_list import TransitionList

from sagacity.definition.flow import Edge, Guard, Node
from sagacity.definition.params import Blame

JOIN = "done_state_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a class body says of its states.

    Attributes:
        nodes: by id, in document order.
        edges: by event; per source in the order in which they are tried.
        joins: node id → edges that fire when it is done.
        events: `id()` of a transition → its event.
        names: `id()` of a state → its node's id.
        tops: initial states of the outermost level; exactly one unless at fault.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[str, tuple[Edge, ...]] = field(default_factory=dict)
    joins: dict[str, tuple[Edge, ...]] = field(default_factory=dict)
    events: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    tops: list[str] = field(default_factory=list)

    @property
    def start(self) -> tuple[str, ...]:
        """Leaf states entered at the beginning."""
        return entered(self.nodes, self.tops[0]) if self.tops else ()

    def sources(self, event: str) -> tuple[str, ...]:
        """Leaf states that `event` may leave."""
        found = [leaf for edge in self.edges.get(event, ()) for leaf in leaves(self.nodes, edge.source)]
        return tuple(dict.fromkeys(found))


def path(nodes: Mapping[str, Node], node: str) -> tuple[str, ...]:
    """`node` and its ancestors, innermost first."""
    found = [node]
    while (parent := nodes[found[-1]].parent) is not None:
        found.append(parent)
    return tuple(found)


def leaves(nodes: Mapping[str, Node], node: str) -> tuple[str, ...]:
    """The leaf states in `node`, itself if it is one."""
    children = nodes[node].children
    return tuple(leaf for child in children for leaf in leaves(nodes, child)) if children else (node,)


def entered(nodes: Mapping[str, Node], node: str) -> tuple[str, ...]:
    """The leaf states entered with `node`, sorted."""
    initial = nodes[node].initial
    return tuple(sorted(leaf for child in initial for leaf in entered(nodes, child))) if initial else (node,)


def read_machine(namespace: Mapping[str, Any], self_: Any, blame: Blame) -> Machine:
    """The machine that a class body describes.

    Args:
        namespace: the class body.
        self_: what guards are bound to.
        blame: told of everything the engine could not carry out.
    """
    machine = Machine()
    states: list[Any] = []
    for name, value in namespace.items():
        if isinstance(value, HistoryState):
            blame(name, "history states do not survive a restart.", "Write a plain state for each way back.")
        elif isinstance(value, State):
            states += _read_state(machine, name, value, None, blame)
            if value.initial:
                machine.tops.append(name)
        elif isinstance(value, States):
            blame(name, "a collection of states hides their names.", "Declare each: `placed = State()`.")
    _name_events(machine, namespace, blame)
    for state in states:
        for transition in state.transitions:
            if not transition.initial:
                _read_transition(machine, transition, namespace, self_, blame)
    return machine


def _read_state(machine: Machine, name: str, state: Any, parent: str | None, blame: Blame) -> list[Any]:
    """Add a state and what is in it; returns them in document order."""
    if id(state) in machine.names:
        blame(name, f"the same state is called {machine.names[id(state)]!r} too.", "Declare each state once.")
        return []
    if name in machine.nodes:
        blame(name, "two states have this name.", "Give states on all levels names of their own.")
        return []
    machine.names[id(state)] = name
    _refuse_unrun(name, state, blame)
    machine.nodes[name] = Node(id=name, parent=parent)  # holds its place in document order
    found, children = [state], []
    for child in state.states:
        inside = _read_state(machine, child.id, child, name, blame)
        found += inside
        children += [child.id] if inside else []
    marked = [child.id for child in state.states if child.initial and child.id in children]
    if len(marked) > 1 and not state.parallel:
        blame(
            name, f"it has several initial states ({', '.join(marked)}).", "Mark one `State(initial=True)`."
        )
    kind: Any = "parallel" if state.parallel else "compound" if children else "atomic"
    machine.nodes[name] = Node(
        id=name,
        kind=kind,
        final=state.final,
        parent=parent,
        children=tuple(children),
        initial=tuple(children) if state.parallel else tuple((marked or children)[:1]),
    )
    return found


def _refuse_unrun(name: str, state: Any, blame: Blame) -> None:
    """Blame what the library would do in a state and the engine does not."""
    if state.value not in (None, name):
        blame(
            name, "a state's `value` is stored nowhere.", "Drop `value=`; the state's name is what is stored."
        )
    if list(state._specs) or state._callbacks:
        blame(name, "callbacks on a state are not run by the engine.", "Write a `@step` on a transition.")
    for history in state.history:
        blame(
            history.id, "history states do not survive a restart.", "Write a plain state for each way back."
        )


def _name_events(machine: Machine, namespace: Mapping[str, Any], blame: Blame) -> None:
    for name, value in namespace.items():
        if isinstance(value, Event):
            blame(name, "an `Event` object hides its transitions.", f"Write `{name} = here.to(there)`.")
        if hasattr(value, "_transitions") and inspect.isfunction(value):
            blame(name, "a transition as a decorator is not run by the engine.", "Use `@step(transition)`.")
        if not isinstance(value, TransitionList):
            continue
        for transition in value:
            other = machine.events.setdefault(id(transition), name)
            if other != name:
                blame(
                    name, f"a transition of it carries the event {other!r} too.", "Declare it once for each."
                )
            if id(transition.source) not in machine.names:
                told = getattr(transition.source, "id", "") or type(transition.source).__name__
                blame(
                    name,
                    f"it leaves {told!r}, which is no state of this class.",
                    "Name own states as sources.",
                )


def _read_transition(
    machine: Machine, transition: Transition, namespace: Mapping[str, Any], self_: Any, blame: Blame
) -> None:
    source = machine.names[id(transition.source)]
    event = machine.events.get(id(transition))
    if event is None:
        blame(
            source,
            "a transition from it has no event of this class.",
            "Name it in the class body: `go = here.to(there)`; in a region `go = work.one.a.to(work.one.b)`.",
        )
        return
    targets = [machine.names.get(id(target)) for target in transition.targets]
    if len(targets) != 1 or targets[0] is None:
        blame(
            event,
            "it must lead to exactly one state of this class.",
            "Write `here.to(there)` for each target.",
        )
        return
    if transition.internal:
        blame(event, "internal transitions are not carried out.", "Drop `internal=True`.")
    guards = tuple(_guards(transition, event, namespace, self_, blame))
    edge = Edge(event=event, source=source, target=targets[0], guards=guards)
    if event.startswith(JOIN):
        _read_join(machine, edge, blame)
    else:
        machine.edges[event] = (*machine.edges.get(event, ()), edge)


def _read_join(machine: Machine, edge: Edge, blame: Blame) -> None:
    of = edge.event.removeprefix(JOIN)
    if of != edge.source or not machine.nodes[edge.source].children:
        blame(
            edge.event,
            f"`{edge.event}` fires when {of!r} is done, and leaves {edge.source!r}.",
            f"Write `{JOIN}work = work.to(…)` for a compound or parallel state `work`.",
        )
        return
    machine.joins[of] = (*machine.joins.get(of, ()), edge)


def _guards(
    transition: Transition, event: str, namespace: Mapping[str, Any], self_: Any, blame: Blame
) -> Iterator[Guard]:
    conditions = list(transition.cond)
    if len(list(transition._specs)) > len(conditions):
        blame(event, "callbacks on a transition are not run by the engine.", "Write a `@step` on it.")
    for spec in conditions:
        name = spec.func
        if not isinstance(name, str) or not name.isidentifier():
            blame(
                event, f"its guard {name!r} is not a method's name.", 'Write `cond="method"`, and the method.'
            )
        elif not inspect.isfunction(function := namespace.get(name)):
            blame(
                event,
                f"its guard {name!r} is no method of this class.",
                f"Write `def {name}(self, …) -> bool`.",
            )
        elif inspect.iscoroutinefunction(function):
            blame(name, "a guard must be a plain function: it only looks.", f"Write `def {name}(self, …)`.")
        else:
            bound: Callable[..., bool] = function.__get__(self_)
            yield Guard(name=name, expected=bool(spec.expected_value), call=bound, params=())
