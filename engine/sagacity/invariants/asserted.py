"""What the engine asks of itself before it writes: I4, I10, I15, I17 and I23, of every line; always on.

A line that may not stand there is refused before it is in a batch. The saga it belongs to stops for an
operator; the worker and all other sagas go on.
"""

from sagacity.definition.flow import Flow
from sagacity.invariants.broken import Violated
from sagacity.invariants.machine import Relation
from sagacity.invariants.moves import NUMBERS, RULES, Rule
from sagacity.model.lines import Applied, Completed, Forced, Joined, Line, Restarted, Signalled, TimedOut
from sagacity.model.record import Record
from sagacity.model.unit import ObjectChange

ASSERTED = frozenset({"I4", "I10", "I15", "I17", "I23"})

_RULES: dict[str, tuple[tuple[str, Rule], ...]] = {
    kind: tuple((NUMBERS[rule], rule) for rule in rules if NUMBERS[rule] in ASSERTED)
    for kind, rules in RULES.items()
}
_MOVES = frozenset(kind.kind for kind in (Completed, Signalled, TimedOut, Joined, Restarted, Forced))
_RELATIONS: dict[int, Relation] = {}


def assert_line(flow: Flow, record: Record, line: Line) -> None:
    """`line` may follow what `record` tells.

    Raises:
        Violated: it may not.
    """
    for number, rule in _RULES.get(line.kind, ()):
        why = rule(record, line)
        if why is not None:
            raise Violated(number, why)
    if line.kind in _MOVES and record.definition_hash == flow.hash:
        relation = _RELATIONS.get(id(flow))
        if relation is None:
            relation = _RELATIONS[id(flow)] = Relation(flow, asks_guards=False)
        why = relation.i10_in_relation(record, line)  # type: ignore[arg-type]
        if why is not None:
            raise Violated("I10", why)


def assert_change(lines: list[Line], change: ObjectChange) -> None:
    """I23: an object's row changes together with the line that says so, and as it says.

    Raises:
        Violated: no line of the unit tells of this version.
    """
    for line in reversed(lines):
        if isinstance(line, Applied) and (line.object, line.version) == (change.object, change.version):
            return
    raise Violated("I23", f"{change.object} would become version {change.version}, and no line says so")
