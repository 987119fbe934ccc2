"""Which participants a saga locks, as its flow says it.

Locks are always handled in the order of their keys: queues are then consistent with one
another, and taking all of a saga's locks at once cannot deadlock.
"""

from collections.abc import Iterable
from typing import Any

from sagacity.errors import InputError
from sagacity.model.record import Lock


def exclusive(type: str, id: object) -> Lock:
    """A lock that nobody else has beside this saga: needed to change the participant."""
    return Lock(object=object_name(type, id), mode="exclusive")


def shared(type: str, id: object) -> Lock:
    """A lock that other sagas may share: the participant stays as it is meanwhile."""
    return Lock(object=object_name(type, id), mode="shared")


def object_name(type: str, id: object) -> str:
    """`type:id`, the name of one participant everywhere.

    Raises:
        InputError: the type is empty or has a colon, or the id is empty or has a NUL.
    """
    text = str(id)
    if not type or ":" in type:
        raise InputError(f"participant type {type!r} must be a word without a colon")
    if not text or "\x00" in text or id is None:
        raise InputError(f"participant {type}: {id!r} is no id: give the object's own, not an empty one")
    return f"{type}:{text}"


def in_order(locks: Iterable[Any] | None, *, said_by: str) -> tuple[Lock, ...]:
    """`locks` in key order, each object once; exclusive wins over shared.

    Raises:
        InputError: something else than a lock was yielded; `said_by` names the method.
    """
    found: dict[str, Lock] = {}
    for lock in locks or ():
        if not isinstance(lock, Lock):
            raise InputError(f"{said_by} yielded {lock!r}: yield `exclusive(type, id)` or `shared(type, id)`")
        if lock.object not in found or lock.mode == "exclusive":
            found[lock.object] = lock
    return tuple(found[name] for name in sorted(found))
