"""What readers are shown: plain frozen records, the same for Python, HTTP and the CLI."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sagacity.model.canonical import Json
from sagacity.model.record import Effect, Held, Lane, Status, Wait, WaitsFor


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaSummary:
    """One line of a list."""

    id: UUID
    definition: str
    version: int
    key: str
    status: Status
    waits_for: WaitsFor | None
    state: tuple[str, ...]
    reason: str | None
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaView(SagaSummary):
    """One saga, whole.

    Attributes:
        why: one sentence: why it is where it is.
        next: one sentence: what will happen by itself next, or that nothing will.
        allowed: operator acts that its status admits.
    """

    input: Json
    results: dict[str, Json]
    effects: tuple[Effect, ...]
    locks: tuple[Held, ...]
    waits: tuple[Wait, ...]
    revision: int
    owner: UUID | None
    parent: UUID | None
    rolls_back: UUID | None
    rolled_back_by: UUID | None
    error: str | None
    why: str
    next: str
    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One line of a saga's story."""

    seq: int
    at: datetime
    kind: str
    data: Json | None
    object: str | None
    version: int | None
    chain: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockView:
    """One place in one object's queue: `held` tells holder from waiter; `fence` is the fencing number."""

    object: str
    saga: UUID
    definition: str | None
    key: str | None
    mode: str
    held: bool
    since: datetime
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """A participant's last committed value; `locks` tells which sagas have it in transaction."""

    object: str
    version: int
    state: Json
    in_transaction: bool
    locks: tuple[LockView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectVersion:
    """One line of an object's story."""

    version: int
    at: datetime
    saga: UUID
    state: Json | None
    operations: Json | None
    chain: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackItem:
    """One thing that a rollback after commit would do.

    Attributes:
        what: the object or the effect (`step: Compensation`).
        how: exact, counter-action, impossible, or changed (by others, and no counter-action is declared).
        detail: one sentence.
    """

    what: str
    how: str
    detail: str
    before: Json | None = None
    after: Json | None = None
    now: Json | None = None
    changed_since: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPreview:
    """What rolling back a committed saga would do; nothing was changed by asking."""

    saga: UUID
    possible: bool
    items: tuple[RollbackItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a saga ended, or where it stands."""

    saga: UUID
    status: Status
    waits_for: WaitsFor | None
    reason: str | None
    results: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that `verify` found wrong, and where.

    Attributes:
        invariant: the number of what broke, such as `I15` (see `docs/guarantees.md`).
        check: what was looked at: chain, story, tables, ledger, history, evidence.
    """

    invariant: str
    check: str
    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` looked at and found."""

    lines: int
    sagas: int
    objects: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many there are: `number`, or, where it is not `exact`, at least so many."""

    number: int
    exact: bool

    def __add__(self, other: "Count") -> "Count":
        return Count(number=self.number + other.number, exact=self.exact and other.exact)
