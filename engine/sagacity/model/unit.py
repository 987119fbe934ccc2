"""What goes to the database together, and what comes back.

A unit is one atomic move of one saga. The committer puts many units into one batch; the
store writes a batch all or nothing, and when it refuses, it names the members that are to
blame, so one failing member fails alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from sagacity.model.canonical import NULL, Json, JsonText
from sagacity.model.lines import Line
from sagacity.model.record import Effect, Lock, Record

MessageKind = Literal["start", "signal", "cancel", "retry", "child", "rollback", "restart", "adopt", "act"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One row of the inbox: something that came in from outside and outlives its saga.

    Attributes:
        id: made by the sender; a second insert of the same id is a repeat and does nothing.
        saga: the saga it is for; for a start, the id that the saga will have (= `id`).
        definition, version, key, request_hash: only for a start; (definition, key) is unique among starts.
        name: the signal's name; for a child's end, the parent's step; for an `act`, the verb.
        data: for a start the input; for a signal what it carries; for a cancel or retry its reason; for an
            `act` an object of args, plan, revision, reason, approver, ticket, break_glass.
        payload: for a start what the engine needs beside the input (parent, rollback plan); for a signal that
            an operator planned before its saga began, who and why (as an `act`'s data); else null.
    """

    id: UUID
    kind: MessageKind
    saga: UUID
    definition: str | None = None
    version: int | None = None
    key: str | None = None
    request_hash: str | None = None
    name: str | None = None
    data: Json = NULL
    payload: Json = NULL
    actor: str | None = None
    arrived_at: datetime


NO_LINE = -1
"""The `seq` of a notice that tells of no line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One row of the outbox: what listeners are told. Per `key` they are sent in order of `seq`.

    Attributes:
        saga: the one it is about; for a plan that touches several, the first of them.
        seq: the line that it tells of, or `NO_LINE`.
        kind: the line's, or `attention` for what came to need a human with time.
        data: JSON. Always `definition`, `key`, `status`, `reason`, `at`; for what needs a human `attention`
            (its kind), `fingerprint` and `state`; with `NO_LINE` also `plan` and `told_at`.
    """

    key: str
    saga: UUID
    seq: int
    kind: str
    data: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """The new state of one participant.

    Attributes:
        version: the version it will have; the store refuses the unit unless the present one is `version - 1`.
        state: canonical JSON; JSON null for rows of the user's own tables.
    """

    object: str
    version: int
    state: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One atomic move of one saga.

    Attributes:
        record: the saga after the move; `record.seq` is one past the last of `lines`.
        before: revision that must stand in the row; None: the row is inserted.
        epoch: the lease's fencing number that must stand in the row (or will, on insert).
        arrivals: the count of bells that must stand in the row; None: any. Given when going to sleep.
        release: give up ownership in the same move (asleep, stuck or ended).
        lines: what happened, in order; never empty.
        admit: locks to queue for (appended to the objects' queues).
        optimistic: the unit holds only if it is granted all of `admit` at once.
        free: locks to remove from the queues.
        changes: participants' new states.
        effects: compensation rows to write (inserted or replaced by (saga, n)).
        start: for a saga that did not come through the inbox: its row there, written along.
        consumes: inbox rows that this move marks done.
        posts: inbox rows for other sagas; a repeat of an id is ignored.
        notices: outbox rows.
    """

    record: Record
    before: int | None
    epoch: int
    arrivals: int | None = None
    release: bool = False
    lines: tuple[Line, ...]
    admit: tuple[Lock, ...] = ()
    optimistic: bool = False
    free: tuple[Lock, ...] = ()
    changes: tuple[ObjectChange, ...] = ()
    effects: tuple[Effect, ...] = ()
    start: Message | None = None
    consumes: tuple[UUID, ...] = ()
    posts: tuple[Message, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def saga(self) -> UUID:
        """Whose move it is."""
        return self.record.id


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """Where a chain stands: its last position (0: empty) and that line's hash (b"" at 0)."""

    id: int
    epoch: int
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One row of the log, as stored.

    `digest` is SHA-256 over `data`; `hash` covers the line before, all columns and the digest.
    `data` is None once it was erased.
    """

    chain: int
    position: int
    saga: UUID
    seq: int
    kind: str
    object: str | None
    version: int | None
    schema_version: int
    at: datetime
    data: JsonText | None
    digest: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Units that are written together on one chain: at most one per saga, and per changed object.

    Attributes:
        head: where the chain must stand.
        rows: the lines of all units in order, positions and hashes set.
        worker: the owner written on inserted sagas.
    """

    head: ChainHead
    rows: tuple[LogRow, ...]
    units: tuple[Unit, ...]
    worker: UUID

    @property
    def new_head(self) -> ChainHead:
        """Where the chain stands once the batch is written."""
        last = self.rows[-1]
        return ChainHead(id=self.head.id, epoch=self.head.epoch, position=last.position, hash=last.hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectState:
    """A participant as stored: version 0 and JSON null where it was never changed."""

    object: str
    version: int
    state: Json
    queue: "Sequence[QueueEntry]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEntry:
    """One place in an object's lock queue.

    Attributes:
        ticket: the fencing number: grows with each entry of that object, so a later holder's is higher.
        since: when it was queued.
    """

    saga: UUID
    mode: Literal["exclusive", "shared"]
    ticket: int
    since: datetime


def holders(queue: Sequence[QueueEntry]) -> tuple[UUID, ...]:
    """Who holds the lock: the first entry, or the leading run of shared ones."""
    if not queue or queue[0].mode == "exclusive":
        return tuple(entry.saga for entry in queue[:1])
    found: list[UUID] = []
    for entry in queue:
        if entry.mode == "exclusive":
            break
        found.append(entry.saga)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitGraph:
    """Who waits for whom, on one snapshot.

    Attributes:
        waiting: sagas that wait for a lock.
        queues: object → its queue, of every object that one of them has asked for.
    """

    waiting: frozenset[UUID]
    queues: Mapping[str, Sequence[QueueEntry]]


class Loss(StrEnum):
    """Why a member of a batch lost."""

    STALE = "stale"  # revision or epoch moved: another worker has the saga; drop the result
    ARRIVALS = "arrivals"  # a bell rang while going to sleep: read the mail and decide anew
    BUSY = "busy"  # not first in all queues: ask again, queued
    VERSION = "version"  # an object's version moved: read it and decide anew
    KNOWN = "known"  # a start whose (definition, key) or id exists already
    TAKEN = "taken"  # an inbox row was consumed by somebody else


class BatchRefused(Exception):
    """Nothing of the batch was written; `losers` are to blame, the rest may be sent again."""

    def __init__(self, losers: dict[UUID, Loss]) -> None:
        super().__init__(", ".join(f"{saga}: {loss}" for saga, loss in losers.items()))
        self.losers = losers


class HeadMoved(Exception):
    """The chain does not stand where the batch says: somebody fenced it. Nothing was written."""


class OutcomeUnknown(Exception):
    """The connection broke under the batch: only `Store.fence` tells whether it landed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a batch's write told.

    Attributes:
        arrivals: saga → bells so far, for every unit.
        objects: each object whose queue or state the batch touched, as it now is.
    """

    arrivals: dict[UUID, int]
    objects: dict[str, ObjectState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A saga that a worker now owns.

    Attributes:
        epoch: the fencing number of this lease.
        arrivals: bells rung when the mail was read.
        mail: its unread inbox rows, oldest first.
        orphaned: the last one to have it in hand was taken over (`Store.take_over`).
    """

    record: Record
    epoch: int
    arrivals: int
    mail: tuple[Message, ...]
    orphaned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A process that executes sagas. `definitions`: name → (version, hash)."""

    id: UUID
    name: str
    definitions: dict[str, tuple[int, str]]
    started_at: datetime
    lease_until: datetime


Statement = Any
"""A SQLAlchemy executable; opaque above the store."""
