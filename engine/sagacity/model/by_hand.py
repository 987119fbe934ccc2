"""The lines that operators' acts leave: first `act`, who did what and why, then what the act itself did.

Both stand in one unit, so there is no change by hand without its author, and none that was only announced.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from sagacity.model.canonical import Json
from sagacity.model.line import Line
from sagacity.model.record import CLOSED, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Act(Line):
    """Somebody acted; the lines behind it, in the same unit, tell what came of it.

    Attributes:
        verb: what was done; a `Verb`.
        plan: the plan that was applied; None: it was told without one.
        break_glass: a second person was needed and not asked.
        before, after: where the saga stood and where the act was to bring it, in words (a JSON string).
        args: what the verb was given, a JSON object.
    """

    kind: ClassVar[str] = "act"
    verb: str
    actor: str | None
    approver: str | None
    reason: str | None
    plan: UUID | None
    ticket: str | None
    break_glass: bool
    before: Json
    after: Json
    args: Json
    message: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Line):
    """From here no step and no compensation begins; deadlines pass without anything happening."""

    kind: ClassVar[str] = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Line):
    """It goes on where it was paused."""

    kind: ClassVar[str] = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(Line):
    """A person answers for a step, or for a compensation; what they said stands in the line behind it.

    Attributes:
        n: going back: the effect whose undo counts as done; None: forward.
        landed: whether the effect happened outside.
    """

    kind: ClassVar[str] = "skipped"
    step: str
    n: int | None
    landed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced(Line):
    """Moved to `state` by hand.

    Attributes:
        edge: the declared override edge; None: the glass was broken, and there is none.
        left: steps that were under way in states that were left, and end here.
        landed, void: effects by number, settled by the operator's word.
        pivot: that state lies behind the point of no return.
    """

    kind: ClassVar[str] = "forced"
    state: tuple[str, ...]
    edge: str | None
    left: tuple[str, ...] = ()
    landed: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    pivot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned(Line):
    """The end by hand: effects stay as they are, nothing that was only noted is applied. Frees all locks.

    `stands`, `unknown`: the effects, by number, that are there, and those of which nobody knows.
    """

    kind: ClassVar[str] = "abandoned"
    reason: str
    stands: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReleased(Line):
    """One lock was taken from it by hand; it asks for it again before it does anything more.

    `fence`: the fencing number under which it had the lock, or stood in its queue.
    """

    kind: ClassVar[str] = "lock_released"
    object: str
    fence: int


def left_standing(record: Record) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Effects that are there, and those of which nobody knows, by number.

    Going back, the one whose turn it is is among the latter: its undo may have been called already.
    """
    open_ = [e for e in record.effects if e.status not in CLOSED]
    turn = open_[-1] if record.backward and open_ and open_[-1].undo is not None else None
    sure = tuple(e.n for e in open_ if e.landed and e is not turn)
    return sure, tuple(e.n for e in open_ if e.n not in sure)
