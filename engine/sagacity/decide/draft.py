"""The unit that is being made: lines are added, the record follows, nothing is written yet.

A draft lives from one commit of its saga to the next. Whatever the decisions add to it goes
to the database together or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sagacity.decide.attention import fingerprint
from sagacity.definition.flow import Flow, Step, Undo
from sagacity.definition.participant import Participant
from sagacity.fold import begun, fold
from sagacity.ids import derived_id
from sagacity.invariants.asserted import assert_change, assert_line
from sagacity.model import lines as L
from sagacity.model.canonical import canonical
from sagacity.model.record import Effect, EffectStatus, Lock, Record, Status, WaitsFor
from sagacity.model.unit import Message, Notice, ObjectChange, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What decisions about one definition's sagas need beside the record.

    Attributes:
        participants: participant classes by type.
        notices: whether ends are put into the outbox.
    """

    flow: Flow
    participants: Mapping[str, type[Participant]]
    tenant: str
    lane: str
    notices: bool = False

    def key(self, saga: UUID, step: str, visit: int) -> str:
        """The idempotency key of a step's effect: the same on every attempt, another on every visit."""
        base = f"{self.tenant}:{self.lane}:{saga}:{step}"
        return base if visit == 1 else f"{base}:{visit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """Run a step's function.

    Attributes:
        settle: an earlier attempt's effect may have landed: ask the probe first.
        back: the saga goes back: what has not landed is not to be made now.
        ask: the step has given up: ask the probe, and make no call.
    """

    step: Step
    visit: int
    attempt: int
    key: str
    settle: bool = False
    back: bool = False
    ask: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUndo:
    """Run the compensation of an effect. `result` None: the outcome is unknown."""

    effect: Effect
    undo: Undo
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What to do next, once the draft's lines are written where that is needed.

    Attributes:
        steps: steps to run now.
        undo: the compensation to run now.
        finish: the end is reached: apply what is staged (or restore) and commit.
        sleep: what to wait for when nothing else is to be done; None: something is in flight or `rest`.
        due_at: when a sleeper moves by itself.
        rest: the saga is at an end, or stuck.
        restart: it is back at its start and stands in the queues for its locks anew.
    """

    steps: tuple[RunStep, ...] = ()
    undo: RunUndo | None = None
    finish: bool = False
    sleep: WaitsFor | None = None
    due_at: datetime | None = None
    rest: bool = False
    restart: bool = False

    @property
    def intends(self) -> bool:
        """Something leaves the process, so what the draft says must be durable first."""
        return self.undo is not None or any(run.step.effectful for run in self.steps)


_FREEING = (L.Committed, L.RolledBack, L.Restarted, L.Abandoned)
"""Lines with which a saga gives up all its locks."""


class Draft:
    """One saga's unit in the making.

    Attributes:
        fences: object → the fencing number of this saga's place in its queue, where an act asks for it.
    """

    __slots__ = ("_before", "_changes", "_posts", "consumed", "fences", "lines", "mail", "record", "scope")

    def __init__(self, scope: Scope, record: Record, mail: Sequence[Message]) -> None:
        self.scope = scope
        self._before: Record | None = record
        self.record = record
        self.mail = list(mail)
        self.lines: list[L.Line] = []
        self.fences: dict[str, int] = {}
        self.consumed: list[UUID] = []
        self._changes: list[ObjectChange] = []
        self._posts: list[Message] = []

    @classmethod
    def first(cls, scope: Scope, saga: UUID, line: L.Started, mail: Sequence[Message] = ()) -> "Draft":
        """The draft of a saga that is not stored yet."""
        draft = cls(scope, begun(saga, line), mail)
        draft._before = None
        draft.lines.append(line)
        return draft

    @property
    def flow(self) -> Flow:
        """The definition that this saga runs."""
        return self.scope.flow

    def add(self, line: L.Line) -> None:
        """Something happened.

        Raises:
            Violated: it may not; the draft is left as it was.
        """
        assert_line(self.scope.flow, self.record, line)
        self.record = fold(self.record, line)
        self.lines.append(line)

    def consume(self, message: Message) -> None:
        """The unit marks this inbox row done."""
        self.mail.remove(message)
        self.consumed.append(message.id)

    def change(self, change: ObjectChange) -> None:
        """The unit gives a participant a new state; the line that says so was added before.

        Raises:
            Violated: it was not.
        """
        assert_change(self.lines, change)
        self._changes.append(change)

    def post(self, message: Message) -> None:
        """The unit sends this to another saga."""
        self._posts.append(message)

    @property
    def admits(self) -> bool:
        """Locks are asked for in this unit."""
        return bool(self._asked())

    @property
    def posts(self) -> bool:
        """Something is to be sent to another saga."""
        return bool(self._posts)

    def _asked(self) -> tuple[Lock, ...]:
        """Locks asked for in this unit and not given up again in it."""
        asked: tuple[Lock, ...] = ()
        for line in self.lines:
            if isinstance(line, L.Locked):
                asked += tuple(Lock(object=held.object, mode=held.mode) for held in line.locks)
            elif isinstance(line, L.LockReleased):
                asked = tuple(lock for lock in asked if lock.object != line.object)
            elif isinstance(line, _FREEING):
                asked = ()
        return asked

    def _freed(self) -> tuple[Lock, ...]:
        """Locks held or queued for before this unit and given up in it."""
        if self._before is None:
            return ()
        gone = {line.object for line in self.lines if isinstance(line, L.LockReleased)}
        if not gone and not any(isinstance(line, _FREEING) for line in self.lines):
            return ()
        every = any(isinstance(line, _FREEING) for line in self.lines)
        return tuple(
            Lock(object=held.object, mode=held.mode)
            for held in self._before.locks
            if every or held.object in gone
        )

    def mark(self) -> tuple[int, ...]:
        """Where the draft stands, for `back_to`."""
        return (
            len(self.lines),
            len(self.consumed),
            len(self._changes),
            len(self._posts),
        )

    def back_to(self, mark: tuple[int, ...], record: Record) -> None:
        """Forget what was added since `mark`, when `record` stood."""
        for items, size in zip((self.lines, self.consumed, self._changes, self._posts), mark, strict=True):
            del items[size:]  # type: ignore[attr-defined]
        self.record = record

    def unit(
        self,
        *,
        epoch: int,
        arrivals: int | None = None,
        release: bool = False,
        optimistic: bool = False,
        start: Message | None = None,
    ) -> Unit:
        """The unit as it is to be written; the draft is left as it is."""
        before, record = self._before, self.record
        known = before.effects if before is not None else ()
        return Unit(
            record=record,
            before=before.revision if before is not None else None,
            epoch=epoch,
            arrivals=arrivals,
            release=release,
            lines=tuple(self.lines),
            admit=self._asked(),
            optimistic=optimistic,
            free=self._freed(),
            changes=tuple(self._changes),
            effects=tuple(e for n, e in enumerate(record.effects) if n >= len(known) or known[n] is not e),
            start=start,
            consumes=tuple(self.consumed),
            posts=(*self._posts, *self._to_parent()),
            notices=self._notices(),
        )

    def _to_parent(self) -> tuple[Message, ...]:
        record = self.record
        if not record.status.final:
            return ()
        told = ((record.parent, record.parent_step), (record.adopter, record.adopter_step))
        return tuple(
            Message(
                id=derived_id(parent, record.id, "ended"),
                kind="child",
                saga=parent,
                name=step,
                data=canonical({"child": str(record.id), "status": record.status.value}),
                arrived_at=record.updated_at,
            )
            for parent, step in told
            if parent is not None
        )

    def _notices(self) -> tuple[Notice, ...]:
        if not self.scope.notices:
            return ()
        record = self.record
        first = record.seq - len(self.lines)
        return tuple(
            Notice(
                key=str(record.id),
                saga=record.id,
                seq=seq,
                kind=line.kind,
                data=canonical(
                    {
                        "definition": record.definition,
                        "key": record.key,
                        "status": record.status.value,
                        "reason": record.reason,
                        "at": line.at,
                    }
                    | _matter(record, line)
                ),
            )
            for seq, line in enumerate(self.lines, first)
            if isinstance(line, (L.Committed, L.RolledBack, L.Abandoned, L.Stuck))
        )


def _matter(record: Record, line: L.Line) -> dict[str, str]:
    """For what needs a human: its kind of attention, and what is the same for all that look alike."""
    if not isinstance(line, L.Stuck):
        return {}
    gave_up = any(effect.status is EffectStatus.GAVE_UP for effect in record.effects)
    kind, state = "undo_failed" if gave_up else "stuck", " ".join(record.state)
    return {
        "attention": kind,
        "fingerprint": fingerprint(kind, record.definition, state, record.reason),
        "state": state,
    }


def ended(record: Record) -> bool:
    """No decision moves it any more: it is final, or an operator must act."""
    return record.status.final or record.status is Status.STUCK


def refuse(draft: Draft, message: Message, why: str, now: datetime) -> None:
    """The message cannot be taken; the log says why, and it is done with."""
    draft.consume(message)
    name = f"{message.kind} {message.name}" if message.name else message.kind
    if message.kind == "act":
        name = message.name or "act"
    draft.add(L.ActRefused(act=name, why=why, message=message.id, at=now))
