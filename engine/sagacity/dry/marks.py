"""What a run is told by: which wait is likeliest, which step a line tells of, what a write is called.

Faults name their places by these words, so they are the same wherever a path is played.
"""

from collections.abc import Sequence

from sagacity.definition.flow import Flow
from sagacity.definition.project import Project
from sagacity.dry.faults import Fault
from sagacity.dry.script import Script
from sagacity.model import lines as L
from sagacity.model.record import Record, Wait, WaitsFor
from sagacity.model.unit import Unit


def wanted_of(flow: Flow, record: Record, script: Script, faults: Sequence[Fault]) -> list[Wait]:
    """The waits of which one is to come true here, the likeliest first."""
    comes = {fault.name for fault in faults if fault.where == "wait" and fault.kind == "comes"}
    order = list(flow.awaits)

    def rank(wait: Wait) -> tuple[int, int]:
        said = 0 if wait.name in comes else 1 if wait.name in script.signals else 2
        return said, order.index(wait.name)

    likely = [
        wait
        for wait in record.waits
        if wait.kind is not WaitsFor.TIMER
        and (flow.awaits[wait.name].event is not None or wait.name in comes or wait.name in script.signals)
    ]
    return sorted(likely, key=rank)


def timeouts_of(project: Project) -> dict[str, tuple[float, float]]:
    """Step → seconds that its call may take, and its undo's."""
    steps = [step for flow in project.flows.values() for step in flow.steps.values()]
    return {
        s.name: (s.timeout.total_seconds(), (s.undo.timeout if s.undo else s.timeout).total_seconds())
        for s in steps
    }


_TELLING = (L.Completed, L.Intent, L.Failed, L.Undone, L.UndoFailed, L.Signalled, L.TimedOut)


def moved_by(line: L.Line) -> str | None:
    """The step or wait whose end a line tells of."""
    if isinstance(line, L.Completed):
        return line.step
    return line.wait if isinstance(line, L.Signalled) else None


def stored_as(units: Sequence[Unit]) -> str:
    """What a write holds, for a person: its first telling line."""
    for unit in units:
        for line in unit.lines:
            what = getattr(line, "step", None) or getattr(line, "wait", None)
            if isinstance(line, _TELLING):
                return f"{line.kind} {what}"
    return units[0].lines[0].kind
