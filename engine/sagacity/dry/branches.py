"""The branches that a run did not take: at each state it stood in, where else the flow could have gone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sagacity.definition.flow import CANCEL, NO_DEADLINE, Await, Edge, Flow
from sagacity.model import lines as L
from sagacity.model.record import WaitsFor


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One way not taken. `when`: what would lead there; `leads_to`: a state, or `cancel`."""

    state: str
    when: str
    leads_to: str


def branches_of(flow: Flow, story: Sequence[L.Line]) -> Iterator[Branch]:
    """Ways out of the states that `story` stood in, without those that it went."""
    fired = {line.wait for line in story if isinstance(line, L.Signalled)}
    passed = {line.wait for line in story if isinstance(line, L.TimedOut)}
    done = {line.step for line in story if isinstance(line, L.Completed)}
    stood: dict[str, None] = {}
    for line in story:
        stood.update(dict.fromkeys(getattr(line, "state", ())))
    entered = set(stood)
    for leaf in stood:
        yield from _guards(flow, leaf, done, entered)
        for awaited in flow.awaits_at.get(leaf, ()):
            yield from _waits(flow, leaf, awaited, came=awaited.name in fired, over=awaited.name in passed)


def _guards(flow: Flow, leaf: str, done: set[str], entered: set[str]) -> Iterator[Branch]:
    """A step's transition that would have led elsewhere under another guard."""
    for step in flow.steps_at.get(leaf, ()):
        edges = [edge for edge in flow.edges[step.event] if edge.source == leaf]
        if step.name in done and len(edges) > 1:
            for edge in edges:
                if edge.target not in entered:
                    yield Branch(state=leaf, when=f"{step.name}{_if(edge, edges)}", leads_to=edge.target)


def _if(edge: Edge, edges: Sequence[Edge]) -> str:
    told = [guard.name if guard.expected else f"not {guard.name}" for guard in edge.guards]
    if not told:
        told = [f"not {guard.name}" for other in edges if other is not edge for guard in other.guards]
    return f" if {' and '.join(told)}" if told else ""


def _waits(flow: Flow, leaf: str, awaited: Await, *, came: bool, over: bool) -> Iterator[Branch]:
    if awaited.kind is not WaitsFor.TIMER and not came:
        yield Branch(
            state=leaf,
            when=f"{awaited.signal} comes ({awaited.name})",
            leads_to=_target(flow, leaf, awaited.event),
        )
    if awaited.otherwise is not None and not over and awaited.within < NO_DEADLINE:
        yield Branch(
            state=leaf,
            when=f"{awaited.signal} does not come within {_span(awaited.within)} ({awaited.name})",
            leads_to=_target(flow, leaf, awaited.otherwise),
        )
    if awaited.kind is WaitsFor.APPROVAL:
        yield Branch(
            state=leaf,
            when=f"{awaited.signal} is refused ({awaited.name})",
            leads_to=_target(flow, leaf, awaited.otherwise),
        )


def _target(flow: Flow, leaf: str, event: str | None) -> str:
    if event is None or event == CANCEL:
        return "cancel"
    edges = flow.edges.get(event, ())
    return next((edge.target for edge in edges if edge.source == leaf), edges[0].target if edges else event)


def _span(length: timedelta) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        whole, rest = divmod(length.total_seconds(), size)
        if whole and not rest:
            return f"{int(whole)} {unit}"
    return f"{length.total_seconds():g} s"
