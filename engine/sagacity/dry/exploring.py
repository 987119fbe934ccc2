"""Exploring a flow: playing it once for every failure point, and judging what each leaves behind.

It begins with the path on which nothing fails. Whatever comes up on a path for the first time gets all its
faults, one at a time, behind those that led there; so undos, other branches and the way back are explored
too.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sagacity.clock import Clock, SystemClock
from sagacity.dry.faults import Fault
from sagacity.dry.live import Live
from sagacity.dry.play import Played, Scene, play
from sagacity.dry.points import Spot, points_of
from sagacity.dry.report import Verdict, embedded, verdict_of
from sagacity.model import lines as L
from sagacity.model.canonical import JsonText, canonical
from sagacity.model.record import EffectStatus, Status
from sagacity.store.memory import MemoryDatabase

DEEPEST = 2
"""Faults that lead to a point at the most; the point's own comes on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way through the flow.

    Attributes:
        faults: what went wrong, the failure point itself last; empty: nothing did.
        route: the states that it went through, and behind `back` what was undone.
        standing: what is left outside that should not be.
        told: it ended stuck because the outside refused an undo for good, and the log names all that stands.
        reached: its fault came up.
    """

    faults: tuple[Fault, ...]
    verdict: Verdict
    why: str | None
    route: tuple[str, ...]
    undone: tuple[str, ...]
    standing: tuple[str, ...]
    refusals: tuple[str, ...]
    told: bool
    reached: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Nothing is left standing that nobody knows of."""
        if self.verdict in ("would commit", "would roll back"):
            return not self.standing
        return self.told


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """All paths. `took`: real seconds."""

    definition: str
    version: int
    key: str
    paths: tuple[Path, ...]
    took: float

    @property
    def failing(self) -> tuple[Path, ...]:
        """Those that leave something standing, or come to no end."""
        return tuple(path for path in self.paths if not path.ok)

    @property
    def ok(self) -> bool:
        """No path fails."""
        return not self.failing

    def json(self) -> JsonText:
        """All of it as canonical JSON."""
        paths = [
            {**embedded(path), "faults": [str(fault) for fault in path.faults], "ok": path.ok}
            for path in self.paths
        ]
        told: dict[str, Any] = {
            "schema_version": 1,
            "definition": self.definition,
            "version": self.version,
            "key": self.key,
            "seconds": round(self.took, 3),
            "ok": self.ok,
            "paths": paths,
        }
        return canonical(told, limit=None)

    def text(self) -> str:
        """The table for a person, 80 columns wide."""
        from sagacity.dry.table import explored_text

        return explored_text(self)


def explore(
    scene: Scene,
    live: Live,
    *,
    clock: Clock | None = None,
    each: Callable[[int], None] | None = None,
) -> Explored:
    """Play all failure points. Blocks; on a thread without a running loop.

    Args:
        scene: what is played; its own faults are part of every path.
        live: what lies under it.
        clock: measures how long it takes.
        each: told of the number of paths played so far.
    """
    measured = clock or SystemClock()
    begun = measured.monotonic()
    database = MemoryDatabase()
    paths: list[Path] = []
    try:
        for path in walked(scene, live, database):
            paths.append(path)
            if each is not None:
                each(len(paths))
    finally:
        database.close()
    return Explored(
        definition=scene.flow.name,
        version=scene.flow.version,
        key=scene.key,
        paths=tuple(paths),
        took=measured.monotonic() - begun,
    )


def walked(scene: Scene, live: Live, database: MemoryDatabase) -> Iterator[Path]:
    """Every path, the one without a fault first, then as their points come up."""
    seen: set[Spot] = set()
    waiting: deque[tuple[Fault, ...]] = deque([()])
    while waiting:
        faults = waiting.popleft()
        played = play(replace(scene, faults=(*scene.faults, *faults)), live, database)
        yield path_of(played, faults)
        if len(faults) <= DEEPEST:
            for spot, more in points_of(scene, played):
                if spot not in seen:
                    seen.add(spot)
                    waiting.extend((*faults, fault) for fault in more)


def path_of(played: Played, faults: Iterable[Fault]) -> Path:
    """What one played path tells."""
    faults = tuple(faults)
    verdict, why = verdict_of(played)
    standing = tuple(played.standing)
    route, undone = _route(played)
    return Path(
        faults=faults,
        verdict=verdict,
        why=why,
        route=route,
        undone=undone,
        standing=standing,
        refusals=tuple(f"{refusal.what} ({refusal.where})" for refusal in played.outside.refusals),
        told=_told(played, faults),
        reached=all(fault in played.outside.fired for fault in faults),
        seconds=round(played.seconds, 3),
    )


def _route(played: Played) -> tuple[tuple[str, ...], tuple[str, ...]]:
    states: list[str] = []
    undone: list[str] = []
    for line in played.stories[played.saga]:
        said = L.read_line(
            line.kind, line.data or "null", at=line.at, object=line.object, version=line.version
        )
        if isinstance(said, L.Undone):
            undone.append(said.step)
        state = "+".join(getattr(said, "state", ()))
        if state and (not states or states[-1] != state):
            states.append(state)
    return tuple(states), tuple(undone)


def _told(played: Played, faults: tuple[Fault, ...]) -> bool:
    """An undo was refused for good; somebody must decide, and the log names everything that stands."""
    if not any(fault.where == "undo" and fault.kind == "refused" for fault in faults):
        return False
    stuck = [r for r in played.records.values() if r.status is Status.STUCK]
    known = {
        e.key
        for record in played.records.values()
        for e in record.effects
        if e.status not in (EffectStatus.UNDONE, EffectStatus.VOID)
    }
    landed = [x for x in played.outside.ledger.landed if x.undoes is None and not x.undone]
    strays = any(x.stray is not None for x in played.outside.ledger.landed)
    return bool(stuck) and not strays and all(x.key in known for x in landed)
