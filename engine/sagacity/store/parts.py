"""A batch arranged by table, in key order: what is left for a database is to carry it out.

Both stores write from the same arrangement, so they cannot differ in what a batch means. Every
part is sorted by its table's key: two writers that take row locks in this order never deadlock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from sagacity.model.canonical import Json
from sagacity.model.record import Effect, Lock
from sagacity.model.unit import Batch, Message, Notice, ObjectChange, Unit
from sagacity.store.types import micros


class Admitted(NamedTuple):
    """A place to append to an object's queue.

    Attributes:
        who: mode and saga, 37 characters, as a stored entry begins.
        since: microseconds since 1970: the unit's `record.updated_at`, so the log tells the same.
    """

    saga: UUID
    who: str
    since: int


class Consumed(NamedTuple):
    """An inbox row that a unit marks done."""

    id: UUID
    saga: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMove:
    """The net change of one object in a batch.

    Attributes:
        freed: beginnings (37 characters) of the entries to remove from the queue as it was.
        admitted: entries to append then, in the order of the units.
        change: its new state, and the saga that changes it.
        optimistic: sagas that must be holders afterwards.
    """

    object: str
    freed: tuple[str, ...]
    admitted: tuple[Admitted, ...]
    optimistic: tuple[UUID, ...]
    changer: UUID | None
    version: int | None
    state: Json | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A batch by table; every tuple in key order."""

    consumed: tuple[Consumed, ...]
    starts: tuple[Message, ...]
    inserted: tuple[Unit, ...]
    updated: tuple[Unit, ...]
    objects: tuple[ObjectMove, ...]
    effects: tuple[tuple[UUID, Effect], ...]
    posts: tuple[Message, ...]
    notices: tuple[Notice, ...]


def who(saga: UUID, lock: Lock) -> str:
    """What identifies a place in a queue: the mode and the saga."""
    return f"{'x' if lock.mode == 'exclusive' else 's'}{saga}"


def arrange(batch: Batch) -> Parts:
    """The batch by table, in key order.

    Raises:
        ValueError: two units of one saga, or two changes of one object: a fault of the committer.
    """
    units = sorted(batch.units, key=lambda unit: unit.record.id)
    for one, other in pairwise(units):
        if one.saga == other.saga:
            raise ValueError(f"two units of saga {one.saga} in one batch")
    posts = {message.id: message for unit in units for message in unit.posts}
    return Parts(
        consumed=tuple(sorted(Consumed(id, unit.saga) for unit in units for id in unit.consumes)),
        starts=tuple(
            sorted((unit.start for unit in units if unit.start is not None), key=lambda start: start.id)
        ),
        inserted=tuple(unit for unit in units if unit.before is None),
        updated=tuple(unit for unit in units if unit.before is not None),
        objects=_objects(batch.units),
        effects=tuple(
            (unit.saga, effect) for unit in units for effect in sorted(unit.effects, key=lambda e: e.n)
        ),
        posts=tuple(posts[id] for id in sorted(posts)),
        notices=tuple(notice for unit in units for notice in unit.notices),
    )


class _Net:
    """What the units of a batch do to one object, while it is gathered."""

    __slots__ = ("admitted", "change", "changer", "freed", "optimistic")

    def __init__(self) -> None:
        self.freed: list[str] = []
        self.admitted: list[Admitted] = []
        self.optimistic: list[UUID] = []
        self.change: ObjectChange | None = None
        self.changer: UUID | None = None


def _objects(units: Sequence[Unit]) -> tuple[ObjectMove, ...]:
    found: dict[str, _Net] = {}
    for unit in units:
        for lock in unit.free:
            found.setdefault(lock.object, _Net()).freed.append(who(unit.saga, lock))
        for lock in unit.admit:
            net = found.setdefault(lock.object, _Net())
            net.admitted.append(Admitted(unit.saga, who(unit.saga, lock), micros(unit.record.updated_at)))
            if unit.optimistic:
                net.optimistic.append(unit.saga)
        for change in unit.changes:
            net = found.setdefault(change.object, _Net())
            if net.change is not None:
                raise ValueError(f"two changes of object {change.object} in one batch")
            net.change, net.changer = change, unit.saga
    return tuple(
        ObjectMove(
            object=object,
            freed=tuple(net.freed),
            admitted=tuple(net.admitted),
            optimistic=tuple(net.optimistic),
            changer=net.changer,
            version=None if net.change is None else net.change.version,
            state=None if net.change is None else net.change.state,
        )
        for object, net in sorted(found.items())
    )
