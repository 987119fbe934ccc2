"""A class body half read: its machine, what is bound to which event, and the faults found so far.

Reading goes on after a fault, with whatever can still be made sense of, so that one error tells
the user everything that is wrong.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.state import State
from statemachine.transition_list import TransitionList

from sagacity.definition import graph
from sagacity.definition.flow import CANCEL
from sagacity.definition.machine import Machine, leaves
from sagacity.definition.params import Wishes, wishes_of
from sagacity.definition.step import MARKS, StepMark, WaitMark
from sagacity.errors import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDraft:
    """A method that is a step: `event` is its transition's."""

    name: str
    event: str
    function: Any
    mark: StepMark
    wishes: Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitDraft:
    """A wait: `event` None cancels; `otherwise` is an event, CANCEL or None; `states` are leaves."""

    name: str
    event: str | None
    otherwise: str | None
    states: tuple[str, ...]
    mark: WaitMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Producer:
    """Something whose result later functions may take by type."""

    name: str
    event: str
    type: Any
    certain: bool


@dataclass(slots=True, kw_only=True)
class Draft:
    """What is known of a class while it is made. `self_` is what its methods are bound to."""

    cls: Any
    self_: Any
    where: str
    namespace: Mapping[str, Any]
    input: Any = None
    machine: Machine = field(default_factory=Machine)
    steps: dict[str, StepDraft] = field(default_factory=dict)
    waits: dict[str, WaitDraft] = field(default_factory=dict)
    producers: list[Producer] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _after: dict[str, frozenset[str]] = field(default_factory=dict)

    def blame(self, name: str, what: str, fix: str) -> None:
        """Keep one fault; the same one is kept once."""
        fault = Fault(where=self.where, name=name, what=what, fix=fix)
        if fault not in self.faults:
            self.faults.append(fault)

    def after(self, event: str) -> frozenset[str]:
        """Nodes that may be active after `event`."""
        if event not in self._after:
            self._after[event] = graph.after(self.machine, [event])
        return self._after[event]

    @property
    def pivots(self) -> frozenset[str]:
        """Events of pivots."""
        return frozenset(step.event for step in self.steps.values() if step.mark.pivot)

    def behind(self, states: Iterable[str]) -> bool:
        """Whether one of `states` may be reached after a pivot."""
        return any(state in self.after(event) for event in self.pivots for state in states)

    def sources(self, event: str) -> tuple[str, ...]:
        """Nodes that the edges of `event` leave."""
        return tuple(dict.fromkeys(edge.source for edge in self.machine.edges.get(event, ())))


def read_steps(draft: Draft) -> None:
    """Find the steps of the class body and the event of each."""
    taken: dict[str, str] = {}
    for name, value in draft.namespace.items():
        marks: tuple[StepMark, ...] = getattr(value, MARKS, ()) if inspect.isroutine(value) else ()
        if not marks:
            continue
        if len(marks) > 1 or not inspect.isfunction(value):
            draft.blame(name, "a step is one plain method for one transition.", "Write a method for each.")
        event = event_of(draft, name, marks[0].event)
        if event is None:
            continue
        if event in taken:
            draft.blame(
                name, f"{event!r} has the step {taken[event]!r} already.", "Give each step its own event."
            )
            continue
        taken[event] = name
        wishes = wishes_of(value, draft.namespace, draft.blame, returns=True)
        draft.steps[name] = StepDraft(name=name, event=event, function=value, mark=marks[0], wishes=wishes)


def read_waits(draft: Draft) -> None:
    """Find the waits of the class body, their events and the states in which they listen."""
    taken = {step.event: step.name for step in draft.steps.values()}
    for name, value in draft.namespace.items():
        if not isinstance(value, WaitMark):
            continue
        cancels = isinstance(value.event, str) and value.event == CANCEL
        event = None if cancels else event_of(draft, name, value.event)
        if event is None and not cancels:
            continue
        if event in taken:
            draft.blame(
                name, f"{event!r} has the step {taken[event]!r}.", "Give the wait an event of its own."
            )
        otherwise = None
        if isinstance(value.otherwise, str) and value.otherwise == CANCEL:
            otherwise = CANCEL
        elif value.otherwise is not None:
            otherwise = event_of(draft, name, value.otherwise)
        states = _during(draft, name, value) if cancels else draft.machine.sources(event or "")
        draft.waits[name] = WaitDraft(name=name, event=event, otherwise=otherwise, states=states, mark=value)


def event_of(draft: Draft, name: str, said: Any) -> str | None:
    """The event that `said` (a transition of the class body) carries; None after blaming."""
    found: set[str | None] = set()
    if isinstance(said, TransitionList) and len(said):
        found = {draft.machine.events.get(id(transition)) for transition in said}
    event = found.pop() if len(found) == 1 else None
    if event is None:
        draft.blame(
            name,
            f"it is bound to {_told(said)}, which is no named transition of this class.",
            "Declare `go = here.to(there)` in this class, and pass `go`.",
        )
    elif event not in draft.machine.edges:
        draft.blame(name, f"{event!r} cannot be used.", "A join fires by itself; bind to a plain transition.")
        return None
    return event


def _told(said: Any) -> str:
    if isinstance(said, TransitionList):
        return (
            " | ".join(f"{t.source.id or '?'} → {t.target.id if t.target else '?'}" for t in said)
            or "nothing"
        )
    return repr(said)


def _during(draft: Draft, name: str, mark: WaitMark) -> tuple[str, ...]:
    found: list[str] = []
    for state in mark.during:
        node = draft.machine.names.get(id(state)) if isinstance(state, State) else None
        if node is None:
            draft.blame(
                name, f"during={state!r} is no state of this class.", "Name states: `during=(paid,)`."
            )
        else:
            found += leaves(draft.machine.nodes, node)
    return tuple(dict.fromkeys(found))
