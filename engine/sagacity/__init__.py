"""Sagacity: long-lived business transactions as persisted finite-state machines."""

from sagacity.definition.compensation import Compensation
from sagacity.definition.external import External, effect, read
from sagacity.definition.locks import exclusive, shared
from sagacity.definition.params import About
from sagacity.definition.participant import Participant, operation
from sagacity.definition.saga import Saga, State
from sagacity.definition.stage import Stage
from sagacity.definition.step import awaits, cancel, spawns, step
from sagacity.errors import Refused, Unavailable

__all__ = [
    "About",
    "Compensation",
    "External",
    "Participant",
    "Refused",
    "Saga",
    "Stage",
    "State",
    "Unavailable",
    "awaits",
    "cancel",
    "effect",
    "exclusive",
    "operation",
    "read",
    "shared",
    "spawns",
    "step",
]
