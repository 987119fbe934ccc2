"""Sagacity: long-lived business transactions as persisted finite-state machines.

What a flow is written with. Each name is imported when it is first asked for: the command line, and
whoever imports one module of ours, must not wait for all the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagacity.definition.compensation import Compensation
    from sagacity.definition.external import External, ExternalSettings, Landed, NotLanded, effect, read
    from sagacity.definition.locks import exclusive, shared
    from sagacity.definition.params import About
    from sagacity.definition.participant import Participant, operation
    from sagacity.definition.saga import Saga, State
    from sagacity.definition.secret import Secret
    from sagacity.definition.stage import Stage
    from sagacity.definition.step import awaits, cancel, override, spawns, step
    from sagacity.errors import Refused, Unavailable
    from sagacity.model.record import Lock

__all__ = [
    "About",
    "Compensation",
    "External",
    "ExternalSettings",
    "Landed",
    "Lock",
    "NotLanded",
    "Participant",
    "Refused",
    "Saga",
    "Secret",
    "Stage",
    "State",
    "Unavailable",
    "awaits",
    "cancel",
    "effect",
    "exclusive",
    "operation",
    "override",
    "read",
    "shared",
    "spawns",
    "step",
]

_HOMES = {
    "definition.compensation": ("Compensation",),
    "definition.external": ("External", "ExternalSettings", "Landed", "NotLanded", "effect", "read"),
    "definition.locks": ("exclusive", "shared"),
    "definition.params": ("About",),
    "definition.participant": ("Participant", "operation"),
    "definition.saga": ("Saga", "State"),
    "definition.secret": ("Secret",),
    "definition.stage": ("Stage",),
    "definition.step": ("awaits", "cancel", "override", "spawns", "step"),
    "errors": ("Refused", "Unavailable"),
    "model.record": ("Lock",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Hidden from type checkers: they would take any name for granted.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import `name` from its home; from then on it is an attribute like any other."""
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return found

    def __dir__() -> list[str]:
        """Say what there is, imported already or not."""
        return sorted({*globals(), *__all__})
