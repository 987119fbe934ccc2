"""What happened when something was tried: closed unions. An action reports one; the machine decides."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sagacity.model.canonical import NULL, Json
from sagacity.model.record import Staged


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The step's function returned `result`. `landed`: its effect, if it has one, was made."""

    result: Json = NULL
    landed: bool = True
    staged: tuple[Staged, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It did not work, and no effect is standing.

    Attributes:
        final: trying again is useless.
        tried: False where the call was never made.
        retry_after: the outside's own wish for the next attempt.
    """

    error: str
    final: bool = False
    tried: bool = True
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The step itself asks to be woken by `signal`, or tried again at `until`.

    `tried`: its effect had left before it asked, so it may have landed.
    """

    signal: str
    until: datetime
    tried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """An effect left and its answer is not known (lost, timed out, or the code broke after it)."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTried:
    """The intent stands, and the call was not made."""

    why: str


Outcome = Completed | Failed | Waiting | Unknown | NotTried
