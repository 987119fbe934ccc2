"""The failure points of a path: every place at which something can go wrong on it, and every way.

They are read off a path that was played. A point that only comes up once something else has gone wrong (an
undo, a second branch) is found on the path on which it came up.
"""

from collections.abc import Iterator

from pydantic import ValidationError

from sagacity.definition.flow import Await
from sagacity.dry.faults import CHAOS, KINDS, Fault, Where
from sagacity.dry.marks import moved_by
from sagacity.dry.play import Played, Scene
from sagacity.model import lines as L
from sagacity.model.canonical import canonical
from sagacity.model.record import WaitsFor

Spot = tuple[Where, str]
"""Where, and what it is called."""


def points_of(scene: Scene, played: Played) -> Iterator[tuple[Spot, tuple[Fault, ...]]]:
    """Each spot on the path, in the order in which it came up, with the faults that it can have."""
    spots: dict[Spot, tuple[Fault, ...]] = {}
    for asked in played.outside.calls:
        if asked.step is not None:
            where: Where = "undo" if asked.undoes else "effect"
            spots.setdefault((where, asked.step), _all(where, asked.step))
    spots |= {("wait", name): faults for name, faults in _waits(scene, played)}
    for name in _moves(played):
        spots.setdefault(("cancel", name), _all("cancel", name))
    for label in played.stores:
        spots.setdefault(("crash", label), _all("crash", label))
    yield from spots.items()


def _all(where: Where, name: str) -> tuple[Fault, ...]:
    return tuple(
        Fault(where=where, name=name, kind=kind) for kind in KINDS[where] if (where, kind) not in CHAOS
    )


def _waits(scene: Scene, played: Played) -> Iterator[tuple[str, tuple[Fault, ...]]]:
    """What was awaited on the path: what came can fail to, and what did not come can."""
    came = {name for _, name, how in played.came if how != "early"}
    awaited: dict[str, Await] = {}
    for saga, record in played.records.items():
        flow = scene.project.flows[record.definition]
        for line in played.stories[saga]:
            if line.kind == L.Awaiting.kind and line.data is not None:
                said = L.read_line(line.kind, line.data, at=line.at)
                assert isinstance(said, L.Awaiting)
                awaited.update({wait.name: flow.awaits[wait.name] for wait in said.waits})
    for name, wait in awaited.items():
        if wait.kind is not WaitsFor.TIMER:
            kinds = _kinds(wait) if name in came else ("comes",)
            yield name, tuple(Fault(where="wait", name=name, kind=kind) for kind in kinds)


def _kinds(wait: Await) -> tuple[str, ...]:
    try:
        wait.data.validate_json(canonical({"dry": ["garbled"]}))
    except ValidationError:
        return "missing", "twice", "early", "garbled"
    return "missing", "twice", "early"


def _moves(played: Played) -> Iterator[str]:
    """What the sagas did going forward, one after the other."""
    for unit in played.units:
        for line in unit.lines:
            name = moved_by(line)
            if name is not None:
                yield name
