"""Which classes a project has made: sagas, participants, externals, compensations, by name.

Filled when the classes are made, so importing a module is all it takes. A class that is made
again under the same module and name (a reload) replaces itself; two different classes with one
name are both kept, and `check` tells of them.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["sagas", "participants", "externals", "compensations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Classes by kind and name; of several with one name the one made last comes last."""

    classes: dict[Kind, dict[str, tuple[type[Any], ...]]] = field(default_factory=dict)

    def add(self, kind: Kind, name: str, cls: type[Any]) -> None:
        """Keep `cls` under `name`; it replaces what had its module and qualified name."""
        of_kind = self.classes.setdefault(kind, {})
        others = tuple(known for known in of_kind.get(name, ()) if _origin(known) != _origin(cls))
        of_kind[name] = (*others, cls)

    def named(self, kind: Kind) -> dict[str, tuple[type[Any], ...]]:
        """All classes of a kind by name, in the order in which they were made."""
        return dict(self.classes.get(kind, {}))


def _origin(cls: type[Any]) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def place_of(cls: type[Any]) -> str:
    """Where a class is written, for messages: `sagas/order.py:Order`."""
    return f"{cls.__module__.replace('.', '/')}.py:{cls.__name__}"


REGISTRY = Registry()
"""The classes of this process."""


def declared() -> tuple[type[Any], ...]:
    """The sagas of this process, of several with one name the one made last."""
    return tuple(classes[-1] for classes in REGISTRY.named("sagas").values())
