"""What is known of one saga at one moment: the frozen record that decisions are made on.

A record is never edited. It is what `fold` makes of the saga's log lines, so the row in
the database and the story in the log cannot tell different things.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from sagacity.model.canonical import NULL, Json


class Status(StrEnum):
    """Where a saga stands. The last three are final; `stuck` is left only by an operator."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    STUCK = "stuck"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    ABANDONED = "abandoned"

    @property
    def final(self) -> bool:
        """Nothing moves it any more."""
        return self in FINAL


FINAL = frozenset({Status.COMMITTED, Status.ROLLED_BACK, Status.ABANDONED})


class WaitsFor(StrEnum):
    """What would move a waiting saga."""

    LOCK = "lock"
    SIGNAL = "signal"
    APPROVAL = "approval"
    TIMER = "timer"
    RETRY = "retry"
    CHILD = "child"


class Lane(StrEnum):
    """Live does it; dry rehearses it. Every row carries one of the two."""

    LIVE = "live"
    DRY = "dry"


Mode = Literal["exclusive", "shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A participant and how it is to be locked: `object` is `type:id`."""

    object: str
    mode: Mode = "exclusive"

    @property
    def type(self) -> str:
        """The part before the colon."""
        return self.object.partition(":")[0]

    @property
    def object_id(self) -> str:
        """The part behind the colon."""
        return self.object.partition(":")[2]


@dataclass(frozen=True, kw_only=True)  # copied by `changed`
class Held:
    """A lock that this saga has asked for.

    Attributes:
        granted: False while it stands in the queue.
        late: taken inside the flow, not at the start; only such can close a cycle.
    """

    object: str
    mode: Mode = "exclusive"
    granted: bool = False
    late: bool = False


class Phase(StrEnum):
    """Where one execution of a step stands."""

    OPEN = "open"  # intent written, outcome not recorded
    RETRY = "retry"  # failed, due again at `due_at`
    GAVE_UP = "gave_up"  # out of attempts, and its effect may have landed
    CHILDREN = "children"  # its child sagas have not all ended


@dataclass(frozen=True, kw_only=True)  # copied by `changed`
class Run:
    """The step that is being executed in one region of the machine.

    Attributes:
        visit: which execution of this step in this saga, from 1 (loops and restarts count up).
        attempt: which try of this visit, from 1.
        since: when the first attempt began.
        due_at: when the next attempt may begin; None unless `phase` is RETRY.
        unknown: an effect of an earlier attempt may have landed.
        base: attempts that the retry policy does not count (before an operator's retry, lost workers).
        asked: it had given up, and the probe has been asked since.
        signal: a signal that makes it due before `due_at` (the step asked for it).
        children: ids of child sagas that this step started.
    """

    step: str
    visit: int = 1
    attempt: int = 1
    phase: Phase
    since: datetime
    due_at: datetime | None = None
    error: str | None = None
    unknown: bool = False
    base: int = 0
    asked: bool = False
    signal: str | None = None
    children: tuple[UUID, ...] = ()


class EffectStatus(StrEnum):
    """The life of one effect and of the compensation registered for it."""

    ARMED = "armed"  # registered; the effect may or may not have been tried
    LANDED = "landed"  # the effect is known to have happened
    VOID = "void"  # the effect is known not to have happened: nothing to undo
    UNDONE = "undone"  # the compensation has run
    GAVE_UP = "gave_up"  # the compensation ran out of attempts


CLOSED = (EffectStatus.UNDONE, EffectStatus.VOID)
"""Of these effects nothing stands outside."""


@dataclass(frozen=True, kw_only=True)  # copied by `changed`
class Effect:
    """One effect on the outside, and how it is made good.

    Attributes:
        n: place among the saga's effects, from 1; undo runs from the highest down.
        key: idempotency key handed to the external, the same on every attempt.
        undo: name of the compensation or `External.method`; None where the step says `final=True`.
        safe_on_nothing: the undo may run although the effect may never have happened.
        landed: it is known to have happened, whatever became of it since.
        result: what the step returned (JSON null until it landed).
        undo_due_at: when a failed undo may be tried again.
        children: for a step that starts child sagas: which ones; undoing it is undoing them.
    """

    n: int
    step: str
    visit: int
    key: str
    undo: str | None
    safe_on_nothing: bool = False
    status: EffectStatus = EffectStatus.ARMED
    landed: bool = False
    result: Json = NULL
    undo_attempts: int = 0
    undo_since: datetime | None = None
    undo_due_at: datetime | None = None
    error: str | None = None
    children: tuple[UUID, ...] = ()

    @property
    def undo_key(self) -> str:
        """Idempotency key of the compensation."""
        return f"{self.key}/undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """An operation that will be applied to a participant at commit.

    Attributes:
        object: `type:id`.
        operation: name of the operation on the participant's class.
        args: canonical JSON object of its arguments.
    """

    object: str
    operation: str
    args: Json
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something from outside that the saga awaits in its present state.

    Attributes:
        name: the name the flow gave it (`deliver_by`).
        state: the leaf state it belongs to; leaving that state ends the wait.
        kind: signal, approval or timer.
        signal: name of the signal; None for a timer.
        until: the deadline, or the instant of a timer.
    """

    name: str
    state: str
    kind: WaitsFor
    signal: str | None
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """One object that a rollback after commit has to bring back.

    `before`, `after` and `version` are those of the original's commit; `operations` what it did.
    """

    object: str
    version: int
    before: Json
    after: Json
    operations: tuple[Staged, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glass:
    """An act that needed a second person and was done without; open until somebody else acknowledges it."""

    plan: UUID | None
    actor: str | None
    verb: str
    at: datetime


@dataclass(frozen=True, kw_only=True)  # copied by `changed`
class Record:
    """One saga.

    Attributes:
        state: ids of the active leaf states, sorted.
        reason: why it was cancelled, rolled back or is stuck.
        revision: grows with every unit (it is `seq`); every write is fenced by it.
        seq: the number the next log line takes.
        visits: how often each step has been executed.
        results: step or wait name → canonical JSON of its latest result.
        locked: all of `locks` are granted.
        cancelling: why it is to go back as soon as no effect's outcome is open; None: it is not.
        goes_back_for: while it is stuck on its way back, why it goes back: `reason` says why it is stuck.
        called_off: why somebody asked for it (it is no step's giving up): a retry keeps that.
        restarting: once it is back it starts anew (a deadlock's victim).
        backward: it is going back (`compensating`, or stuck on the way).
        pivoted: the point of no return is behind.
        restarts: how often it was rolled back to the start as a deadlock's victim.
        interrupted: how often in a row a worker fell silent with it in hand, with no answer in between.
        restores: only for a rollback after commit: what to bring back.
        trace: the W3C `traceparent` that its work stands below; whoever resumes it goes on there.
        adopter, adopter_step: a saga that is told of its end like a parent, although it did not start it.
        due_at: when something moves it by itself; None if nothing will.
        paused: an operator stopped it: it begins nothing until it is resumed.
        released: locks that an operator took from it; it asks for them again, and waits, before it goes on.
        acked: kinds of attention that an operator has acknowledged → seq after that; empty once it moves.
        glass: acts without the second person that they needed, not acknowledged yet.
    """

    id: UUID
    definition: str
    version: int
    definition_hash: str
    key: str
    input: Json
    state: tuple[str, ...]
    status: Status = Status.RUNNING
    waits_for: WaitsFor | None = None
    reason: str | None = None
    paused: bool = False
    revision: int = 0
    seq: int = 0
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None = None
    parent: UUID | None = None
    parent_step: str | None = None
    rolls_back: UUID | None = None
    locks: tuple[Held, ...] = ()
    runs: tuple[Run, ...] = ()
    visits: dict[str, int]
    results: dict[str, Json]
    staged: tuple[Staged, ...] = ()
    effects: tuple[Effect, ...] = ()
    waits: tuple[Wait, ...] = ()
    restores: tuple[Restore, ...] = ()
    cancelling: str | None = None
    restarting: bool = False
    backward: bool = False
    pivoted: bool = False
    restarts: int = 0
    interrupted: int = 0
    called_off: str | None = None
    goes_back_for: str | None = None
    adopter: UUID | None = None
    adopter_step: str | None = None
    released: tuple[Lock, ...] = ()
    acked: dict[str, int] = field(default_factory=dict)
    glass: tuple[Glass, ...] = ()
    trace: str | None = None

    @property
    def locked(self) -> bool:
        """All locks asked for are granted."""
        return all(lock.granted for lock in self.locks)

    def run_of(self, step: str) -> Run | None:
        """The open execution of a step, if there is one."""
        return next((run for run in self.runs if run.step == step), None)

    def effect_of(self, step: str, visit: int) -> Effect | None:
        """The effect of one execution of a step, if it has one."""
        return next((e for e in self.effects if e.step == step and e.visit == visit), None)
