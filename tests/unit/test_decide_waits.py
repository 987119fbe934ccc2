"""Signals, approvals, deadlines, timers, and cancels in every phase."""

from datetime import timedelta

from sagacity.decide.draft import Moves
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical
from sagacity.model.record import EffectStatus, Status, WaitsFor
from tests.unit.small_flows import Flat, Numbered, Waiter
from tests.unit.story import NOON, Story, kept

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def flat() -> Story:
    return Story(Flat, Numbered())


def completed(value: object = None) -> O.Completed:
    return O.Completed(result=canonical(value))


def asking(n: int = 7) -> Story:
    """A saga that waits for the boss (n > 5) or rests (n <= 5)."""
    story = Story(Waiter, Numbered(n=n))
    story.does(kept(1), {"big": n > 5})
    return story


def test_a_guard_sees_what_the_step_has_just_returned() -> None:
    assert asking(7).record.state == ("asked",)
    assert asking(3).record.state == ("allowed",)


def test_where_no_guard_lets_it_pass_the_saga_goes_back() -> None:
    story = asking(11)
    story.tell("signal", name="boss", data={"approved": True})
    story.advance()
    story.passes(5 * MINUTE)
    story.advance()
    assert story.record.state == ("rested",)
    refused = story.tell("signal", name="go")
    story.advance()
    [line] = story.of(L.ActRefused)
    assert (line.message, line.act) == (refused.id, "signal go")
    assert "no guard" in line.why
    assert story.record.state == ("rested",)


def test_it_listens_from_reaching_the_state_and_sleeps_until_the_deadline() -> None:
    story = asking()
    moves = story.advance()
    assert moves == Moves(sleep=WaitsFor.APPROVAL, due_at=NOON + HOUR)
    assert [wait.name for wait in story.record.waits] == ["allowance", "called_off"]
    story.sleep(moves)
    assert story.record.waits_for is WaitsFor.APPROVAL
    assert story.advance() == moves
    assert story.draft.lines == []


def test_an_approval_moves_it_and_says_who() -> None:
    story = asking()
    story.advance()
    told = story.tell("signal", name="boss", data={"approved": True})
    story.advance()
    [signalled] = story.of(L.Signalled)
    assert (signalled.wait, signalled.actor, signalled.message) == ("allowance", "somebody", told.id)
    assert story.record.state == ("allowed",)
    assert story.draft.consumed == [told.id]
    assert "allowance" in story.record.results


def test_a_refused_approval_goes_where_otherwise_says_with_its_reason() -> None:
    story = asking()
    story.tell("signal", name="boss", data={"approved": False, "reason": "too dear"})
    moves = story.advance()
    assert story.record.reason == "boss was refused: too dear"
    assert moves.undo is not None


def test_a_signal_that_comes_early_stays_until_it_is_awaited() -> None:
    story = Story(Waiter, Numbered(n=7))
    early = story.tell("signal", name="boss", data={"approved": True})
    run = story.runs()
    assert story.draft.mail == [early]
    assert story.units[-1].consumes == ()
    story.settle(run, completed(kept(1)))
    story.does({"big": True})
    story.advance()
    assert early.id in story.draft.consumed
    assert story.record.state == ("allowed",)


def test_of_two_signals_the_older_one_counts() -> None:
    story = asking()
    story.tell("signal", name="called_off")
    story.tell("signal", name="boss", data={"approved": True})
    story.advance()
    [signalled] = story.of(L.Signalled)
    assert signalled.signal == "called_off"
    assert story.record.backward


def test_a_signal_that_nothing_will_ever_await_is_refused_by_name() -> None:
    story = asking()
    told = story.tell("signal", name="gone_fishing")
    story.advance()
    [line] = story.of(L.ActRefused)
    assert line.message == told.id
    assert "go" in line.why


def test_a_signal_that_carries_the_wrong_thing_is_refused_and_the_wait_goes_on() -> None:
    story = asking()
    story.tell("signal", name="boss", data={"approved": "perhaps"})
    assert story.advance().sleep is WaitsFor.APPROVAL
    [line] = story.of(L.ActRefused)
    assert "approved" in line.why


def test_a_deadline_leads_where_otherwise_says() -> None:
    story = asking()
    story.advance()
    story.passes(HOUR)
    moves = story.advance()
    assert moves.undo is not None
    assert story.record.reason == "boss did not arrive until 2026-03-01T13:00:00+00:00"


def test_a_deadline_is_never_early() -> None:
    story = asking()
    story.advance()
    story.passes(HOUR - timedelta(microseconds=1))
    assert story.advance().sleep is WaitsFor.APPROVAL


def test_a_signal_in_the_mail_goes_before_a_deadline_that_has_passed() -> None:
    story = asking()
    story.advance()
    story.tell("signal", name="boss", data={"approved": True})
    story.passes(2 * HOUR)
    story.advance()
    assert story.record.state == ("allowed",) or "rested" in story.record.state
    assert story.of(L.Signalled)


def test_a_timer_moves_it_by_itself() -> None:
    story = asking(3)
    moves = story.advance()
    # It may be called off meanwhile, so what it waits for is the signal; the timer only says until when.
    assert moves == Moves(sleep=WaitsFor.SIGNAL, due_at=NOON + 5 * MINUTE)
    story.sleep(moves)
    story.passes(5 * MINUTE)
    story.advance()
    assert story.record.state == ("rested",)


def test_a_wait_begins_anew_when_its_state_is_reached_again() -> None:
    story = asking(12)
    story.tell("signal", name="boss", data={"approved": True})
    story.advance()
    story.passes(5 * MINUTE)
    story.advance()
    story.tell("signal", name="go")  # twelve goes round
    moves = story.advance()
    assert story.record.state == ("allowed",)
    assert moves.due_at == story.now + 5 * MINUTE


def test_a_cancel_while_it_queues_ends_it_at_once() -> None:
    story = Story(Flat, Numbered(), granted=False)
    assert story.record.waits_for is WaitsFor.LOCK
    assert story.advance() == Moves(sleep=WaitsFor.LOCK)
    story.tell("cancel", data="not any more")
    assert story.advance().rest
    assert (story.record.status, story.record.reason) == (Status.ROLLED_BACK, "not any more")
    unit = story.commit()
    assert unit is not None
    assert [lock.object for lock in unit.free] == ["box:1", "box:2"]


def test_a_cancel_while_a_step_runs_waits_for_its_outcome() -> None:
    story = flat()
    run = story.runs()
    told = story.tell("cancel", data="stop")
    assert story.advance(busy=frozenset({"take"})) == Moves()
    assert told.id in story.draft.consumed
    story.settle(run, completed(kept(1)))
    moves = story.advance()
    assert moves.undo is not None
    assert moves.undo.effect.step == "take"


def test_a_cancel_before_the_call_undoes_nothing() -> None:
    story = flat()
    run = story.runs()
    story.tell("cancel", data="stop")
    story.settle(run, O.NotTried(why="a cancel came in"))
    assert story.advance().rest
    assert story.record.status is Status.ROLLED_BACK
    assert story.of(L.Undone) == []


def test_a_cancel_while_it_waits_for_a_retry_goes_back() -> None:
    story = flat()
    story.settle(story.runs(), O.Failed(error="down"))
    story.sleep(story.advance())
    story.tell("cancel", data="stop")
    assert story.advance().rest
    assert story.record.effects[0].status is EffectStatus.VOID


def test_a_cancel_that_the_pivot_overtakes_is_forgotten() -> None:
    story = flat()
    story.does(kept(1), kept(2))
    run = story.runs()
    story.tell("cancel", data="stop")
    story.advance(busy=frozenset({"tell"}))
    story.settle(run, completed())
    assert story.record.cancelling is None
    [thank] = story.advance().steps
    assert thank.step.name == "thank"


def test_behind_the_pivot_a_cancel_is_refused() -> None:
    story = flat()
    story.does(kept(1), kept(2), None)
    told = story.tell("cancel", data="stop")
    [run] = story.advance().steps
    [line] = story.of(L.ActRefused)
    assert (line.message, run.step.name) == (told.id, "thank")
    assert "point of no return" in line.why


def test_behind_the_pivot_a_final_no_is_stuck_and_never_undone() -> None:
    story = flat()
    story.does(kept(1), kept(2), None)
    story.settle(story.runs(), O.Failed(error="no", final=True))
    assert story.advance().rest
    assert story.record.status is Status.STUCK
    assert story.of(L.Compensating) == []
    story.tell("retry")
    assert story.runs().step.name == "thank"


def test_a_cancel_of_what_is_over_is_refused() -> None:
    story = flat()
    story.settle(story.runs(), O.Failed(error="no", final=True))
    story.advance()
    story.tell("cancel", data="stop")
    story.advance()
    assert story.of(L.ActRefused)[0].why == "it is rolled_back already"
