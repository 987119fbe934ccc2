"""One saga driven by hand: the decisions are asked, and what a worker would do is done in memory.

Everything that is written is folded again and compared, so no test of decisions can pass on a
record that its log does not tell.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from sagacity.decide import backward
from sagacity.decide.begin import ask_locks, begin, start_message
from sagacity.decide.draft import Draft, Moves, RunStep, Scope
from sagacity.decide.finish import finish
from sagacity.decide.forward import advance
from sagacity.decide.orders import ordered
from sagacity.decide.outcomes import settle
from sagacity.definition.saga import Saga
from sagacity.fold import folded
from sagacity.ids import derived_id
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.operating import Verb
from sagacity.model.record import Record, Restore, Status
from sagacity.model.unit import Message, ObjectState, Unit
from tests.unit.small_flows import Box

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTICIPANTS = {"box": Box}


class Story:
    """A saga from its start message on. `now` is moved by hand; `units` is what was written."""

    def __init__(
        self,
        flow: type[Saga],
        given: BaseModel,
        *,
        payload: Json = NULL,
        granted: bool = True,
        notices: bool = False,
    ) -> None:
        self.now = NOON
        self.scope = Scope(
            flow=flow.flow, participants=PARTICIPANTS, tenant="t", lane="live", notices=notices
        )
        self.lines: list[L.Line] = []
        self.units: list[Unit] = []
        self._numbers = iter(range(1, 1_000_000))
        message = start_message(flow.flow, saga=UUID(int=7), key="k", data=canonical(given), now=NOON)
        self.draft = begin(self.scope, replace(message, payload=payload), now=NOON)
        ask_locks(self.draft, granted=granted, now=NOON)
        self.commit()

    # --- what it is -----------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        return self.draft.record

    @property
    def told(self) -> list[L.Line]:
        """The whole story so far, written or not."""
        return [*self.lines, *self.draft.lines]

    @property
    def kinds(self) -> list[str]:
        return [line.kind for line in self.told]

    def of(self, kind: type[L.Line]) -> list[Any]:
        return [line for line in self.told if isinstance(line, kind)]

    def check(self) -> None:
        """The log tells what the record says (I5)."""
        assert folded(self.record.id, self.told) == self.record
        assert self.record.seq == self.record.revision == len(self.told)

    # --- what a worker does ---------------------------------------------------------------------

    def advance(self, *, busy: frozenset[str] = frozenset(), holding: bool = False) -> Moves:
        moves = advance(self.draft, now=self.now, busy=busy, holding=holding)
        self.check()
        return moves

    def settle(self, run: RunStep, outcome: O.Outcome) -> None:
        settle(self.draft, run.step, visit=run.visit, attempt=run.attempt, outcome=outcome, now=self.now)
        self.check()

    def settle_undo(self, moves: Moves, outcome: O.Outcome) -> None:
        assert moves.undo is not None
        backward.settle_undo(self.draft, moves.undo, outcome, now=self.now)
        self.check()

    def sleep(self, moves: Moves) -> None:
        assert moves.sleep is not None
        self.draft.add(L.Slept(waits_for=moves.sleep, due_at=moves.due_at, at=self.now))
        self.commit()

    def finish(self, states: Mapping[str, ObjectState] | None = None) -> None:
        finish(self.draft, states or {}, now=self.now)
        self.check()

    def commit(self) -> Unit | None:
        """Write the draft; what follows builds on it."""
        self.check()
        if not self.draft.lines:
            return None
        unit = self.draft.unit(epoch=1)
        self.units.append(unit)
        self.lines += unit.lines
        self.draft = Draft(self.scope, unit.record, self.draft.mail)
        return unit

    # --- what arrives ---------------------------------------------------------------------------

    def message(self, kind: Any, *, name: str | None = None, data: Any = None) -> Message:
        return Message(
            id=UUID(int=1_000 + next(self._numbers)),
            kind=kind,
            saga=self.record.id,
            name=name,
            data=canonical(data),
            actor="somebody",
            arrived_at=self.now,
        )

    def tell(self, kind: Any, *, name: str | None = None, data: Any = None) -> Message:
        message = self.message(kind, name=name, data=data)
        self.draft.mail.append(message)
        return message

    def acts(self, verb: str, *, actor: str = "local:ana", **told: Any) -> Message:
        """An operator's act arrives; `told` as for `ordered`."""
        message = replace(self.message("act", name=verb), data=ordered(Verb(verb), **told), actor=actor)
        self.draft.mail.append(message)
        return message

    def acts_early(self, signal: str, data: Any, *, actor: str = "local:ana", **told: Any) -> Message:
        """A signal of a plan's arrives, made before the saga began; `told` as for `ordered`."""
        payload = ordered(Verb.SIGNAL, revision=0, **told)
        message = replace(self.message("signal", name=signal, data=data), payload=payload, actor=actor)
        self.draft.mail.append(message)
        return message

    def child_ends(self, child: UUID, status: Status, *, step: str = "children") -> None:
        self.tell("child", name=step, data={"child": str(child), "status": status.value})

    def passes(self, time: timedelta) -> None:
        self.now += time

    # --- shorthands -----------------------------------------------------------------------------

    def runs(self) -> RunStep:
        """The one step that is to run now, its intent written."""
        moves = self.advance()
        assert len(moves.steps) == 1, moves
        self.commit()
        return moves.steps[0]

    def does(self, *results: Any) -> None:
        """The next steps end well, one by one, with these results."""
        for result in results:
            self.settle(self.runs(), O.Completed(result=canonical(result)))


def kept(n: int) -> dict[str, str]:
    """A result of any effect."""
    return {"id": f"r{n}"}


def box(n: int, *, version: int, holds: int, object: str | None = None) -> ObjectState:
    state = canonical({"n": holds}) if version else NULL
    return ObjectState(object=object or f"box:{n}", version=version, state=state)


def restore(
    n: int, *operations: tuple[str, dict[str, int]], version: int, before: int, after: int
) -> Restore:
    from sagacity.model.record import Staged

    name = f"box:{n}"
    return Restore(
        object=name,
        version=version,
        before=canonical({"n": before}),
        after=canonical({"n": after}),
        operations=tuple(
            Staged(object=name, operation=operation, args=canonical(args), step="s")
            for operation, args in operations
        ),
    )


def child_of(story: Story, n: int = 0) -> UUID:
    """The id of a child that the story's saga has started."""
    [spawned] = story.of(L.Spawned)
    found: UUID = spawned.children[n]
    return found


def rollback_of(child: UUID) -> UUID:
    return derived_id(child, "rollback")
