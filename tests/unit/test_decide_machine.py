"""Decisions under anything that may happen: a saga is driven by chance beside a model of the world outside.

The model knows what really happened to every effect; the saga is only told what a worker would
tell it. Whatever comes in whatever order, the log tells the record, nothing is left standing
behind a rolled-back saga, and nothing is undone that never happened unless that is safe.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sagacity.decide.draft import Draft, Moves, RunStep, RunUndo
from sagacity.definition.saga import Saga
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical
from sagacity.model.record import EffectStatus, Phase, Status, WaitsFor
from sagacity.model.unit import Message, ObjectState
from tests.unit.small_flows import Behind, Flat, Late, Numbered, Parent, Probed, Side, Waiter
from tests.unit.story import Story, rollback_of

LEGAL = {
    Status.RUNNING: set(Status) - {Status.PENDING, Status.ABANDONED},
    Status.WAITING: set(Status) - {Status.PENDING, Status.ABANDONED},
    Status.COMPENSATING: set(Status) - {Status.PENDING, Status.ABANDONED, Status.COMMITTED},
    Status.STUCK: set(Status) - {Status.PENDING, Status.ABANDONED},
}
FLOWS: tuple[type[Saga], ...] = (Flat, Waiter, Side, Parent, Late, Behind, Probed)
SIGNALS = ("boss", "go", "heard", "called_off", "gone_fishing", "ready")
PROBED = frozenset({"file_it"})
SPANS = tuple(timedelta(seconds=s) for s in (1, 10, 400, 4_000, 100_000))


def result_of(step: str, n: int) -> Any:
    """A result that fits the step."""
    if step == "children":
        return [{"n": i} for i in range(n % 3)]
    if step == "ask":
        return {"big": n > 5}
    return {"id": f"r{n}"} if step in _WITH_ID else None


_WITH_ID = frozenset(
    {"take", "keep", "look", "left_one", "left_two", "right_one", "make_ready", "settle_down"}
)
_WITH_ID |= PROBED


class Driven(RuleBasedStateMachine):
    """One saga, its worker, and the world outside."""

    def __init__(self) -> None:
        super().__init__()
        self.landed: set[str] = set()
        self.undone: set[str] = set()
        self.flights: dict[str, RunStep] = {}
        self.undo: RunUndo | None = None
        self.children: dict[UUID, Status | None] = {}
        self.asked_back: set[UUID] = set()
        self.holding = False
        self.stored: list[Message] = []
        self.before = Status.RUNNING
        self.seen = 0

    @initialize(flow=st.sampled_from(FLOWS), n=st.sampled_from((1, 3, 7, 11, 12, 99)), granted=st.booleans())
    def start(self, flow: type[Saga], n: int, granted: bool) -> None:
        self.n = n
        self.story = Story(flow, Numbered(n=n), granted=granted)
        self.go()

    # --- what a worker does ---------------------------------------------------------------------

    def go(self) -> None:
        """Decide, make durable, launch: until something is in flight or the saga sleeps or rests."""
        for _ in range(50):
            if self.undo is not None:
                return
            moves = self.story.advance(busy=frozenset(self.flights), holding=self.holding)
            if not self.carry_out(moves):
                return
        raise AssertionError("it does not come to rest")

    def carry_out(self, moves: Moves) -> bool:
        if moves.finish:
            self.commit()
            self.story.finish({name: self.box(name) for name in self.boxes()})
            self.commit()
        elif moves.restart:
            self.commit()
        elif moves.sleep is not None:
            assert not self.flights, "who sleeps is let go of"
            assert moves.due_at is None or moves.due_at > self.story.now, "it would wake at once"
            if not self.asleep(moves):
                self.story.sleep(moves)
            self.commit()
            return False
        elif moves.rest:
            assert not self.flights
            self.commit()
            return False
        else:
            if moves.intends:
                self.commit()
            self.launch(moves)
            assert self.flights or self.undo
            return False
        return True

    def asleep(self, moves: Moves) -> bool:
        record = self.story.record
        same = record.due_at == moves.due_at and (record.backward or record.waits_for == moves.sleep)
        return same and not self.story.draft.posts

    def launch(self, moves: Moves) -> None:
        for run in moves.steps:
            assert run.step.name not in self.flights
            assert not self.story.record.backward, "no step starts once it goes back (I17)"
            if run.step.effectful:
                open_run = self.story.record.run_of(run.step.name)
                assert open_run is not None
                assert open_run.phase is Phase.OPEN, "its intent is written"
            self.flights[run.step.name] = run
        self.undo = moves.undo

    def commit(self) -> None:
        unit = self.story.commit()
        if unit is None:
            return
        for post in unit.posts:
            if post.kind == "start":
                self.children.setdefault(post.saga, None)
            elif post.kind == "rollback":
                self.asked_back.add(post.saga)
        self.stored = [message for message in self.stored if message.id not in unit.consumes]
        if unit.admit:
            self.holding = False

    def boxes(self) -> set[str]:
        return {staged.object for staged in self.story.record.staged}

    def box(self, name: str) -> ObjectState:
        return ObjectState(object=name, version=1, state=canonical({"n": 0}))

    def arrive(self, kind: Any, *, name: str | None = None, data: Any = None) -> None:
        message = self.story.message(kind, name=name, data=data)
        self.stored.append(message)
        self.story.draft.mail.append(message)
        self.go()

    # --- what may happen ------------------------------------------------------------------------

    def answer(self, data: st.DataObject, how: str, really: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.flights)))
        run = self.flights.pop(name)
        self.story.settle(run, self.outcome(run, how, really))
        self.go()

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def a_step_succeeds(self, data: st.DataObject) -> None:
        self.answer(data, "yes", True)

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), really=st.booleans())
    def nobody_knows_how_a_step_went(self, data: st.DataObject, really: bool) -> None:
        self.answer(data, "unknown", really)

    @precondition(lambda self: self.flights)
    @rule(
        data=st.data(),
        how=st.sampled_from(("no", "down", "broken", "later", "not tried")),
        really=st.booleans(),
    )
    def a_step_fails(self, data: st.DataObject, how: str, really: bool) -> None:
        self.answer(data, how, really)

    def outcome(self, run: RunStep, how: str, really: bool) -> O.Outcome:
        """What the executor reports; the world changes along."""
        done = O.Completed(result=canonical(result_of(run.step.name, self.n)))
        if not run.step.effectful:
            return {"no": O.Failed(error="no", final=True), "down": O.Failed(error="down")}.get(how, done)
        probed = run.settle and run.step.name in PROBED
        if probed and run.key in self.landed and how != "not tried":
            return done
        if probed and run.back and how in ("yes", "no"):
            return O.Failed(error="it had not landed", final=True)
        if run.ask:
            return O.Unknown(error="cannot tell")
        if how == "yes":
            self.landed.add(run.key)
            return done
        if how == "unknown":
            self.landed |= {run.key} if really else set()
            return O.Unknown(error="no answer")
        if how == "no" and run.key in self.landed:
            return done  # under the same key the outside says what it said before
        until = self.story.now + timedelta(minutes=1)
        if how == "later":
            self.landed |= {run.key} if really else set()
            return O.Waiting(signal="ready", until=until, tried=really)
        others: dict[str, O.Outcome] = {
            "no": O.Failed(error="no", final=True),
            "down": O.Failed(error="down", tried=really),
            "broken": O.Failed(error="refused before the call", final=True, tried=False),
            "not tried": O.NotTried(why="handed back"),
        }
        return others[how]

    @precondition(lambda self: self.undo is not None)
    @rule(how=st.sampled_from(("yes", "yes", "yes", "down", "no", "unknown")), really=st.booleans())
    def an_undo_answers(self, how: str, really: bool) -> None:
        assert self.undo is not None
        undo, self.undo = self.undo, None
        key = undo.effect.key
        assert key in self.landed or undo.effect.safe_on_nothing, "nothing is undone on a guess"
        outcomes: dict[str, O.Outcome] = {
            "yes": O.Completed(),
            "down": O.Failed(error="down"),
            "no": O.Failed(error="no", final=True),
            "unknown": O.Unknown(error="no answer"),
        }
        if how == "yes" or (how == "unknown" and really):
            self.undone.add(key)
        self.story.settle_undo(Moves(undo=undo), outcomes[how])
        self.go()

    @rule(really=st.booleans())
    def the_worker_is_lost(self, really: bool) -> None:
        """What was not written is gone; an effect in flight may have landed."""
        for run in self.flights.values():
            if run.step.effectful and really and not (run.ask or run.back):
                self.landed.add(run.key)
        self.flights, self.undo = {}, None
        story = self.story
        written = story.units[-1].record
        story.draft = Draft(story.scope, written, self.stored)
        self.go()

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.story.passes(span)
        self.go()

    @precondition(lambda self: self.story.scope.flow.awaits or self.story.record.runs)
    @rule(name=st.sampled_from(SIGNALS), yes=st.booleans())
    def a_signal_arrives(self, name: str, yes: bool) -> None:
        self.arrive("signal", name=name, data={"approved": yes} if name == "boss" else None)

    @rule(kind=st.sampled_from(("cancel", "retry")))
    def somebody_acts(self, kind: str) -> None:
        self.arrive(kind, data="they have their reasons")

    @precondition(lambda self: self.story.record.waits_for is WaitsFor.LOCK)
    @rule()
    def a_deadlock_is_seen(self) -> None:
        self.arrive("restart", data="deadlock")

    @precondition(lambda self: self.story.record.waits_for is WaitsFor.LOCK)
    @rule()
    def it_comes_to_the_front(self) -> None:
        self.holding = True
        self.go()

    @precondition(lambda self: any(status is None for status in self.children.values()))
    @rule(data=st.data(), status=st.sampled_from((Status.COMMITTED, Status.COMMITTED, Status.ROLLED_BACK)))
    def a_child_ends(self, data: st.DataObject, status: Status) -> None:
        running = sorted(child for child, ended in self.children.items() if ended is None)
        child = data.draw(st.sampled_from(running))
        self.children[child] = status
        self.arrive("child", name="children", data={"child": str(child), "status": status.value})

    @precondition(lambda self: self.asked_back)
    @rule(status=st.sampled_from((Status.COMMITTED, Status.COMMITTED, Status.ROLLED_BACK)))
    def a_childs_rollback_ends(self, status: Status) -> None:
        child = min(self.asked_back)
        self.asked_back.remove(child)
        ended = {"child": str(rollback_of(child)), "status": status.value}
        self.arrive("child", name="children", data=ended)

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def the_log_tells_the_record(self) -> None:
        self.story.check()

    @invariant()
    def it_says_what_it_waits_for_exactly_when_it_waits(self) -> None:
        record = self.story.record
        assert (record.status is Status.WAITING) == (record.waits_for is not None)
        assert record.due_at is None or record.status in (Status.WAITING, Status.COMPENSATING)

    @invariant()
    def it_ends_once_and_moves_as_it_may(self) -> None:
        ends = [line for line in self.story.told if isinstance(line, (L.Committed, L.RolledBack))]
        record = self.story.record
        assert len(ends) == (1 if record.status.final else 0)
        if self.before.final:
            assert record.status is self.before
        elif record.status is not self.before:
            assert record.status in LEGAL[self.before]
        self.before = record.status

    @invariant()
    def undos_run_in_exact_reverse_order(self) -> None:
        """Since it turned: what was undone is a prefix of what stood, latest first (I15)."""
        expected: list[int] = []
        undone: list[int] = []
        turned = False
        statuses = self.statuses()
        for line in self.story.told:
            if isinstance(line, L.Compensating):
                turned, expected, undone = True, next(statuses), []
            elif isinstance(line, L.Restarted):
                assert undone == expected
                turned = False
            elif isinstance(line, L.Undone):
                undone.append(line.n)
            elif turned:
                assert not isinstance(line, (L.Intent, L.Completed, L.Spawned)), "only undo (I17)"
        assert undone == expected[: len(undone)]
        if self.story.record.status is Status.ROLLED_BACK and turned:
            assert undone == expected

    def statuses(self) -> Any:
        """At each turn: effects that stood, latest first."""
        from sagacity.fold import folded

        told = self.story.told
        for n, line in enumerate(told, 1):
            if isinstance(line, L.Compensating):
                effects = folded(self.story.record.id, told[:n]).effects
                gone = (EffectStatus.VOID, EffectStatus.UNDONE)
                yield [effect.n for effect in reversed(effects) if effect.status not in gone]

    @invariant()
    def behind_the_pivot_there_is_only_forward(self) -> None:
        if self.story.record.pivoted:
            assert not self.story.record.backward
            assert self.story.record.status is not Status.ROLLED_BACK

    @invariant()
    def nothing_is_left_standing(self) -> None:
        record = self.story.record
        if record.status is Status.ROLLED_BACK:
            keys = {effect.key for effect in record.effects}
            assert self.landed & keys <= self.undone
        if record.status is Status.COMMITTED:
            assert not record.runs
            assert all(effect.status is not EffectStatus.ARMED for effect in record.effects)


TestDriven = Driven.TestCase
TestDriven.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
