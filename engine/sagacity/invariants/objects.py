"""Objects and their versions: each exactly once, each made of the one before, all of a saga's or none."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from sagacity.invariants.broken import Broken
from sagacity.invariants.cycles import cycle_of
from sagacity.model.canonical import NULL
from sagacity.model.lines import Applied

Told = tuple[UUID, int | None, int | None]
"""Who wrote a version, and the hashes of what it found and left (None: not told)."""


@dataclass(slots=True)
class _Versions:
    """One object: its dense versions up to `top`, and those seen that do not join on yet."""

    top: int = 0
    left: int | None = field(default_factory=lambda: hash(NULL))
    waiting: dict[int, Told] = field(default_factory=dict)


class Objects:
    """What the `applied` lines say, in whatever order they come.

    `linked`: each begins where the one before it ended.
    """

    def __init__(self, *, in_order: bool, linked: bool = True) -> None:
        self._in_order = in_order
        self._linked = linked
        self._known: dict[str, _Versions] = {}
        self._reads: list[tuple[UUID, str, int]] = []
        self._writers: dict[str, dict[int, UUID]] = {}

    def told(self, saga: UUID, line: Applied) -> Iterator[Broken]:
        """One more version, in full."""
        linked = self._linked and not line.own_table
        found, left = (hash(line.before), hash(line.after)) if linked else (None, None)
        yield from self._put(line.object, line.version, (saga, found, left))

    def erased(self, saga: UUID, name: str, version: int) -> Iterator[Broken]:
        """One more version whose content was erased."""
        yield from self._put(name, version, (saga, None, None))

    def _put(self, name: str, version: int, told: Told) -> Iterator[Broken]:
        """I23, I26: each version is written once, behind the one before it, on what that one left."""
        known = self._known.setdefault(name, _Versions())
        saga = told[0]
        if version <= known.top or version in known.waiting:
            yield _broken("I23", name, saga, f"version {version} was written twice: a stale write passed")
            return
        if self._in_order and version != known.top + 1:
            yield _broken("I23", name, saga, f"version {version} follows {known.top}")
        known.waiting[version] = told
        while (told_next := known.waiting.pop(known.top + 1, None)) is not None:
            writer, found, left = told_next
            known.top += 1
            if found is not None and known.left is not None and found != known.left:
                why = f"version {known.top} was made of something else than version {known.top - 1}"
                yield _broken("I26", name, writer, why)
            known.left = left

    def version_of(self, name: str) -> int:
        """The highest version up to which there is no gap."""
        return self._known[name].top if name in self._known else 0

    def names(self) -> set[str]:
        """Every object that was ever changed."""
        return set(self._known)

    def gaps(self) -> Iterator[Broken]:
        """I23: after the last line no version is missing."""
        for name, known in self._known.items():
            if known.waiting:
                why = f"version {known.top + 1} has no line, {min(known.waiting)} has"
                yield _broken("I23", name, known.waiting[min(known.waiting)][0], why)

    # --- who read what ------------------------------------------------------------------------------

    def wrote(self, saga: UUID, name: str, version: int) -> None:
        """Remember the writer, for the graph of dependencies."""
        self._writers.setdefault(name, {})[version] = saga

    def read(self, saga: UUID, name: str, version: int) -> None:
        """A saga, or somebody outside, saw this version."""
        self._reads.append((saga, name, version))

    def cycles(self) -> Iterator[Broken]:
        """I27: sagas over objects can be put into one order."""
        cycle = cycle_of(self._writers, self._reads)
        if cycle:
            names = " -> ".join(str(saga) for saga in (*cycle, cycle[0]))
            yield Broken(invariant="I27", where="objects", saga=cycle[0], why=f"no order explains {names}")


def _broken(invariant: str, name: str, saga: UUID, why: str) -> Broken:
    return Broken(invariant=invariant, where=f"object {name}", saga=saga, why=why)
