"""Whether a move is one that the pinned definition has (I10, I14)."""

from sagacity.definition.flow import Edge, Flow
from sagacity.definition.machine import path
from sagacity.definition.table import Facts, State, entered_by, fire, moved, nearest
from sagacity.model import lines as L
from sagacity.model.canonical import NULL
from sagacity.model.record import Record


class Relation:
    """The transition relation of one flow, remembered state by state.

    Args:
        flow: the definition.
        asks_guards: where several regions have guards for one event, ask them again; False: let it pass.
    """

    def __init__(self, flow: Flow, *, asks_guards: bool = True) -> None:
        self._flow = flow
        self._asks_guards = asks_guards
        self._known: dict[tuple[State, str], frozenset[State] | None] = {}

    def judged(self, record: Record, line: L.Line) -> list[tuple[str, str]]:
        """Every (invariant, why) that `line` breaks behind `record`."""
        if isinstance(line, (L.Intent, L.Spawned)):
            why = self.i14_in_its_state(record, line)
            if why is not None:
                return [("I14", why)]
        if isinstance(line, (L.Completed, L.Signalled, L.TimedOut, L.Joined, L.Restarted, L.Forced)):
            why = self.i10_in_relation(record, line)
            if why is not None:
                return [("I10", why)]
        return []

    def i14_in_its_state(self, record: Record, line: L.Intent | L.Spawned) -> str | None:
        """I14: a step is begun only where the machine stands, so only after all that leads there."""
        if record.run_of(line.step) is not None:
            return None  # begun before, and only to be settled
        for leaf in record.state:
            if any(step.name == line.step for step in self._flow.steps_at.get(leaf, ())):
                return None
        return f"{line.step} is no step of {', '.join(record.state)}"

    def i10_in_relation(
        self,
        record: Record,
        line: L.Completed | L.Signalled | L.TimedOut | L.Joined | L.Restarted | L.Forced,
    ) -> str | None:
        """I10: every move is in the transition relation of the definition."""
        if isinstance(line, L.Restarted):
            allowed = line.state == self._flow.start
        elif isinstance(line, L.Forced):
            allowed = line.state in self._forced(record.state, line.edge)
        elif isinstance(line, L.Joined):
            allowed = any(
                moved(self._flow.nodes, record.state, [e]) == line.state for e in self._joins(line.of)
            )
        else:
            allowed = line.state == record.state or any(
                self._reached(record, event, line) for event in self._events(line)
            )
        return None if allowed else f"no edge leads from {', '.join(record.state)} to {', '.join(line.state)}"

    def _forced(self, state: State, edge: str | None) -> set[State]:
        """Where an operator may move it: along a declared edge, or, the glass broken, to any leaf."""
        flow = self._flow
        if edge is None:
            targets = [node.id for node in flow.nodes.values() if not node.children]
            return {entered_by(flow, state, nearest(flow, state, to), to) for to in targets}
        above = {node for leaf in state for node in path(flow.nodes, leaf)}
        ways = [way for way in flow.overrides if way.name == edge and way.source in above]
        return {entered_by(flow, state, way.source, way.target) for way in ways}

    def _joins(self, node: str) -> tuple[Edge, ...]:
        return self._flow.joins.get(node, ())

    def _events(self, line: L.Completed | L.Signalled | L.TimedOut) -> list[str]:
        if isinstance(line, L.Completed):
            step = self._flow.steps.get(line.step)
            return [step.event] if step is not None else []
        wait = self._flow.awaits.get(line.wait)
        return [event for event in (wait.event, wait.otherwise) if event] if wait is not None else []

    def _reached(self, record: Record, event: str, line: L.Completed | L.Signalled | L.TimedOut) -> bool:
        targets = self._targets(record.state, event)
        if targets is not None:
            return line.state in targets
        if not self._asks_guards:
            return True
        results = dict(record.results)
        if isinstance(line, L.Completed):
            results[line.step] = line.result
        elif isinstance(line, L.Signalled):
            results[line.wait] = line.data
        try:
            return (
                fire(self._flow, record.state, event, Facts(self._flow, record.input, results)) == line.state
            )
        except Exception:  # a guard is the user's code: what it raises is not this line's fault
            return True

    def _targets(self, state: State, event: str) -> frozenset[State] | None:
        """Where `event` can lead from `state`; None where only the guards of several regions can tell."""
        at = (state, event)
        if at not in self._known:
            self._known[at] = self._found(state, event)
        return self._known[at]

    def _found(self, state: State, event: str) -> frozenset[State] | None:
        flow = self._flow
        edges = flow.edges.get(event, ())
        if not any(edge.guards for edge in edges):
            after = fire(flow, state, event, Facts(flow, NULL, {}))
            return frozenset() if after is None else frozenset({after})
        if len(state) > 1:
            return None
        above = path(flow.nodes, state[0])
        after_each = (moved(flow.nodes, state, [edge]) for edge in edges if edge.source in above)
        return frozenset(after for after in after_each if after is not None)
