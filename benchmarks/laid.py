"""Sagas as the engine would have written them: its own decisions, lines, hashes and rows.

Nothing is copied from a template: every saga goes through the same pure functions as in a worker, only that
the outside answers at once. So what is filled in verifies, and costs to read what real history costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from sagacity.chain import extend
from sagacity.decide.begin import ask_locks, begin, start_message
from sagacity.decide.draft import Draft, RunStep, Scope
from sagacity.decide.finish import finish
from sagacity.decide.forward import advance
from sagacity.decide.outcomes import settle
from sagacity.ids import derived_id
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.outcome import Completed
from sagacity.model.record import Record, Staged
from sagacity.model.unit import ChainHead, LogRow, Message, ObjectState, Unit

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
"""When the first saga is started; each one a second later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """One saga with all that belongs to it."""

    record: Record
    start: Message
    signals: tuple[Message, ...]
    objects: tuple[ObjectState, ...]


class Laid:
    """One saga on its way: `units` are what a worker would hand to its committer, one by one.

    Subclasses say of which flow, with which input, and what the outside answers.

    Args:
        scope: see `scope`.
        saga: its id.
        name: its key.
        n: which one it is; decides its instants.
        since: when the first one is started.

    Attributes:
        flow: the `Saga` class.
        participants: participant classes by type.
        answers: each step's result.
        signals: what it is told, in order; where these end it stays asleep.
    """

    flow: ClassVar[Any]
    participants: ClassVar[Mapping[str, Any]]
    answers: ClassVar[Mapping[str, Json]]
    signals: ClassVar[tuple[str, ...]] = ()

    def __init__(self, scope: Scope, saga: UUID, name: str, n: int, *, since: datetime = START) -> None:
        self._scope = scope
        self._now = since + timedelta(seconds=n)
        self._told: list[Message] = []
        self.name, self.n = name, n
        data = canonical(self.given())
        self.start = start_message(scope.flow, saga=saga, key=name, data=data, now=self._now)
        self._draft = begin(scope, self.start, now=self._now)
        self._draft.consumed.append(saga)
        ask_locks(self._draft, granted=True, now=self._now)

    @classmethod
    def scope(cls, tenant: str) -> Scope:
        """What decisions about these sagas need."""
        return Scope(flow=cls.flow.flow, participants=cls.participants, tenant=tenant, lane="live")

    def given(self) -> Any:
        """Its input."""
        raise TypeError(f"{type(self).__name__} says nothing of its input")

    def staged(self, step: str) -> tuple[Staged, ...]:
        """What a step stages."""
        return ()

    def before(self) -> tuple[ObjectState, ...]:
        """The objects that it changes, as they are before."""
        return ()

    def after(self) -> tuple[ObjectState, ...]:
        """All objects that it locks, as they are once it is over."""
        return ()

    def units(self) -> Iterator[Unit]:
        """Its moves up to the end, or up to the sleep that nobody ends."""
        waiting = list(self.signals)
        while True:
            moves = self._moves()
            if moves.steps:
                if moves.intends:
                    yield self._unit()
                self._does(moves.steps[0])
            elif moves.finish:
                finish(self._draft, {state.object: state for state in self.before()}, now=self._now)
                yield self._unit(release=True)
                return
            else:
                assert moves.sleep is not None
                self._draft.add(L.Slept(waits_for=moves.sleep, due_at=moves.due_at, at=self._now))
                yield self._unit(release=True)
                if not waiting:
                    return
                self._draft.mail.append(self._signal(waiting.pop(0)))

    def _moves(self) -> Any:
        self._now += timedelta(milliseconds=2)
        return advance(self._draft, now=self._now)

    def _does(self, run: RunStep) -> None:
        name = run.step.name
        outcome = Completed(result=self.answers[name], staged=self.staged(name))
        settle(self._draft, run.step, visit=run.visit, attempt=run.attempt, outcome=outcome, now=self._now)

    def _signal(self, name: str) -> Message:
        saga = self.start.id
        message = Message(
            id=derived_id(saga, name), kind="signal", saga=saga, name=name, data=NULL, arrived_at=self._now
        )
        self._told.append(message)
        return message

    def _unit(self, *, release: bool = False) -> Unit:
        unit = self._draft.unit(epoch=1, release=release)
        self._draft = Draft(self._scope, unit.record, self._draft.mail)
        return unit

    def filled(self) -> Filled:
        """The saga and its rows, once `units` has ended."""
        record = self._draft.record
        return Filled(record=record, start=self.start, signals=tuple(self._told), objects=self.after())


def empty(name: str) -> ObjectState:
    """An object that nobody has changed yet."""
    return ObjectState(object=name, version=0, state=NULL)


def batches(
    sagas: Sequence[Laid], head: ChainHead, *, tenant: str
) -> Iterator[tuple[tuple[LogRow, ...], ChainHead]]:
    """The lines of sagas that run side by side on one chain, batch by batch, and the head behind each."""
    running = [saga.units() for saga in sagas]
    while running:
        units: list[Unit] = []
        left = []
        for moving in running:
            unit = next(moving, None)
            if unit is not None:
                units.append(unit)
                left.append(moving)
        running = left
        if units:
            rows = extend(head, units, tenant=tenant, lane="live")
            head = ChainHead(id=head.id, epoch=head.epoch, position=rows[-1].position, hash=rows[-1].hash)
            yield rows, head
