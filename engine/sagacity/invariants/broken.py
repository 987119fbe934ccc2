"""What a judge answers: which invariant broke, where, and why."""

from dataclasses import dataclass
from uuid import UUID

from sagacity.errors import SagacityError


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One invariant that does not hold.

    Attributes:
        invariant: its number, such as `I15`.
        where: the line, saga, object or ledger it was seen at.
        saga: whose it is, where it is one saga's.
        why: one sentence.
    """

    invariant: str
    where: str
    saga: UUID | None = None
    why: str

    def __str__(self) -> str:
        """As one line for people."""
        return f"{self.invariant} at {self.where}: {self.why}"


class Violated(SagacityError):
    """The engine was about to write what no saga may say; it was not written, and the saga is stuck.

    This is a fault of the engine (or of a store edited behind its back), never of a flow. Look at the saga
    with `sagacity log`, run `sagacity verify`, and report it with both.
    """

    def __init__(self, invariant: str, why: str) -> None:
        super().__init__(f"{invariant}: {why}")
        self.invariant = invariant
        self.why = why
