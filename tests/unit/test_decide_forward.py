"""Forward: one step after the other, unknown outcomes, retries, and what is told to others."""

from datetime import timedelta

import pytest

from sagacity.decide.begin import merged
from sagacity.decide.draft import Moves
from sagacity.errors import InputError
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical
from sagacity.model.record import EffectStatus, Phase, Status, WaitsFor
from tests.unit.small_flows import Flat, Numbered, Picky, Side, Waiter
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


def test_a_saga_goes_step_by_step_to_its_end() -> None:
    story = flat()
    story.does(kept(1), kept(2), None, None)
    assert story.advance() == Moves(finish=True)
    story.finish()
    assert story.record.status is Status.COMMITTED
    assert story.kinds == [
        *("started", "locked", "intent", "completed", "intent", "completed"),
        *("intent", "completed", "intent", "completed", "committed"),
    ]
    assert (story.record.locks, story.record.pivoted) == ((), True)
    assert story.advance() == Moves(rest=True)


def test_the_intent_registers_the_compensation_before_the_step_is_tried() -> None:
    story = flat()
    [run] = story.advance().steps
    [intent] = story.of(L.Intent)
    assert (intent.undo, intent.safe_on_nothing, intent.key) == ("Depot.give_back", False, run.key)
    [effect] = story.record.effects
    assert (effect.status, effect.n, effect.undo) == (EffectStatus.ARMED, 1, "Depot.give_back")
    assert story.commit() is not None
    assert story.units[-1].effects == (effect,)


def test_a_key_is_the_same_on_every_attempt_and_another_on_every_visit() -> None:
    story = asking(12)
    story.tell("signal", name="boss", data={"approved": True})
    story.advance()
    story.passes(6 * MINUTE)
    story.advance()
    scope, id = story.scope, story.record.id
    assert scope.key(id, "look", 1) == f"t:live:{id}:look"
    assert scope.key(id, "look", 2) == f"t:live:{id}:look:2"
    story = flat()
    first = story.runs()
    story.settle(first, O.Failed(error="down"))
    story.passes(MINUTE)
    second = story.runs()
    assert (second.attempt, second.visit, second.key) == (2, 1, first.key)
    assert len(story.record.effects) == 1


def test_a_failure_is_tried_again_when_it_is_due_and_not_before() -> None:
    story = flat()
    story.settle(story.runs(), O.Failed(error="down"))
    due = NOON + timedelta(seconds=10)
    moves = story.advance()
    assert moves == Moves(sleep=WaitsFor.RETRY, due_at=due)
    story.sleep(moves)
    assert (story.record.status, story.record.waits_for) == (Status.WAITING, WaitsFor.RETRY)
    assert story.record.due_at == due
    story.now = due - timedelta(microseconds=1)
    assert story.advance().steps == ()
    story.now = due
    assert story.runs().attempt == 2
    assert story.record.status is Status.RUNNING


def test_the_outsides_own_wish_says_when_to_try_again() -> None:
    story = flat()
    story.settle(story.runs(), O.Failed(error="busy", retry_after=HOUR))
    assert story.advance().due_at == NOON + HOUR


def test_a_final_failure_goes_back_at_once() -> None:
    story = flat()
    story.settle(story.runs(), O.Failed(error="no", final=True))
    assert story.advance() == Moves(rest=True)
    assert (story.record.status, story.record.reason) == (Status.ROLLED_BACK, "take: no")
    assert story.record.effects[0].status is EffectStatus.VOID


def test_out_of_attempts_goes_back() -> None:
    story = flat()
    for _ in range(2):
        story.settle(story.runs(), O.Failed(error="down"))
        story.passes(MINUTE)
    assert story.advance().rest
    assert story.record.status is Status.ROLLED_BACK


def test_a_step_may_ask_to_be_tried_later_or_at_a_signal() -> None:
    story = flat()
    run = story.runs()
    for _ in range(5):  # it does not count as an attempt
        story.settle(run, O.Waiting(signal="ready", until=story.now + HOUR))
        assert story.advance() == Moves(sleep=WaitsFor.RETRY, due_at=story.now + HOUR)
        told = story.tell("signal", name="ready")
        run = story.runs()
        assert told.id in story.units[-1].consumes
    assert (run.attempt, story.record.cancelling) == (6, None)


def test_a_call_that_was_not_made_is_made_again_and_does_not_count() -> None:
    story = flat()
    for attempt in range(1, 5):
        run = story.runs()
        assert (run.attempt, run.settle) == (attempt, False)
        story.settle(run, O.NotTried(why="the worker is stopping"))
        assert story.record.effects[0].status is EffectStatus.VOID
    story.settle(story.runs(), completed(kept(1)))
    assert story.record.effects[0].status is EffectStatus.LANDED


def test_a_lost_worker_leaves_an_outcome_that_is_asked_for_first() -> None:
    story = flat()
    lost = story.runs()
    again = story.runs()
    assert (again.key, again.attempt, again.settle) == (lost.key, 2, True)
    [failed] = story.of(L.Failed)
    assert (failed.landed, failed.counts) == ("unknown", False)
    story.settle(again, completed(kept(1)))
    assert story.record.effects[0].status is EffectStatus.LANDED
    assert story.record.runs == ()


def test_an_effect_that_turns_out_unmade_needs_no_undo() -> None:
    story = flat()
    story.settle(story.runs(), O.Completed(result=canonical(kept(1)), landed=False))
    assert story.record.effects[0].status is EffectStatus.VOID


def test_an_unknown_outcome_is_driven_forward_under_its_key() -> None:
    story = flat()
    first = story.runs()
    story.settle(first, O.Unknown(error="no answer"))
    story.passes(MINUTE)
    again = story.runs()
    assert (again.key, again.settle) == (first.key, True)
    story.settle(again, O.Failed(error="down"))  # of this attempt; the first is as unknown as before
    assert story.of(L.Failed)[-1].landed == "unknown"
    assert story.record.runs[0].unknown


def test_a_definite_no_under_the_same_key_speaks_for_earlier_attempts_too() -> None:
    story = flat()
    story.settle(story.runs(), O.Unknown(error="no answer"))
    story.passes(MINUTE)
    story.settle(story.runs(), O.Failed(error="no", final=True))
    assert story.record.effects[0].status is EffectStatus.VOID
    assert story.advance().rest
    assert story.record.status is Status.ROLLED_BACK


def test_a_no_before_the_call_says_nothing_of_earlier_attempts() -> None:
    story = flat()
    story.settle(story.runs(), O.Unknown(error="no answer"))
    story.passes(MINUTE)
    story.settle(story.runs(), O.Failed(error="the stage refused", final=True, tried=False))
    assert story.record.runs[0].unknown
    assert story.record.effects[0].status is EffectStatus.ARMED


def test_asking_for_later_says_nothing_of_earlier_attempts() -> None:
    story = flat()
    story.settle(story.runs(), O.Unknown(error="no answer"))
    story.passes(MINUTE)
    story.settle(story.runs(), O.Waiting(signal="ready", until=story.now + HOUR))
    assert story.record.runs[0].unknown


def test_asking_for_later_after_the_call_leaves_its_outcome_open() -> None:
    story = flat()
    story.settle(story.runs(), O.Waiting(signal="ready", until=story.now + HOUR, tried=True))
    assert story.record.runs[0].unknown
    story.passes(HOUR)
    assert story.runs().settle


def test_a_step_without_an_effect_leaves_nothing_unknown() -> None:
    story = asking()
    [ask] = story.of(L.Completed)[-1:]
    assert ask.step == "ask"
    story = Story(Side, Numbered())
    story.settle(story.runs(), O.Unknown(error="odd"))
    assert story.of(L.Failed)[-1].landed == "none"
    assert not story.record.runs[0].unknown


def test_a_retry_makes_a_waiting_attempt_due_and_counts_anew() -> None:
    story = flat()
    story.settle(story.runs(), O.Failed(error="down"))
    story.tell("retry", data="fixed")
    again = story.runs()
    assert again.attempt == 2
    story.settle(again, O.Failed(error="down"))  # the first that counts again
    assert story.record.runs[0].phase is Phase.RETRY


def test_where_there_is_nothing_to_retry_a_retry_is_refused() -> None:
    story = flat()
    story.tell("retry")
    story.advance()
    assert story.of(L.ActRefused)[0].why == "nothing to retry: it is running"


def test_a_retry_does_not_touch_what_is_in_flight_beside_it() -> None:
    story = Story(Side, Numbered())
    story.does(None)
    left, right = story.advance().steps
    story.commit()
    story.settle(left, O.Failed(error="down"))
    story.tell("retry")
    story.advance(busy=frozenset({"right_one"}))
    story.commit()
    run = story.record.run_of("right_one")
    assert run is not None
    assert run.phase is Phase.OPEN  # its worker may still be lost, and then nobody knows
    assert right.step.name == "right_one"


def test_a_retry_does_not_forget_a_cancel() -> None:
    story = flat()
    story.settle(story.runs(), O.Unknown(error="no answer"))
    story.tell("cancel", data="stop")
    assert story.advance().sleep is WaitsFor.RETRY
    story.tell("retry")
    [run] = story.advance().steps
    story.settle(run, completed(kept(1)))
    assert story.advance().undo is not None


def test_ends_are_put_into_the_outbox_where_somebody_listens() -> None:
    story = Story(Flat, Numbered(), notices=True)
    story.settle(story.runs(), O.Failed(error="no", final=True))
    story.advance()
    unit = story.commit()
    assert unit is not None
    [notice] = unit.notices
    assert (notice.kind, notice.seq) == ("rolled_back", unit.record.seq - 1)


def test_going_back_to_a_mark_forgets_what_was_added_since() -> None:
    story = flat()
    mark, record = story.draft.mark(), story.record
    story.advance()
    story.draft.back_to(mark, record)
    assert (story.draft.lines, story.record) == ([], record)


def test_what_yields_no_lock_is_refused() -> None:
    with pytest.raises(InputError, match="exclusive"):
        merged(["box:1"])  # type: ignore[list-item]


def test_stronger_locks_win_and_all_lie_in_key_order() -> None:
    story = flat()
    assert [(h.object, h.mode) for h in story.record.locks] == [("box:1", "exclusive"), ("box:2", "shared")]


# --- nothing to go on -------------------------------------------------------------------------------


def test_participants_that_cannot_be_told_end_it_before_it_began() -> None:
    story = Story(Picky, Numbered(n=0))
    assert story.record.status is Status.ROLLED_BACK
    assert story.record.reason == "participants: ValueError: nobody is nought"
    assert story.units[0].admit == ()


def test_a_step_after_which_no_guard_lets_it_pass_sends_it_back() -> None:
    story = Story(Picky, Numbered(n=11))
    story.does(None)
    assert story.advance().rest
    assert story.record.reason == "begin_it: no guard of 'do_begin' lets it pass"


def test_a_state_in_which_nothing_may_run_sends_it_back_rather_than_to_sleep() -> None:
    story = Story(Picky, Numbered(n=3))
    story.does(None)
    assert story.advance().rest
    assert (story.record.status, story.record.reason) == (
        Status.ROLLED_BACK,
        "in small: no step may run and nothing is awaited",
    )


def test_guards_choose_among_the_steps_of_a_state() -> None:
    for n, name in ((1, "one"), (2, "two")):
        story = Story(Picky, Numbered(n=n))
        story.does(None)
        assert story.runs().step.name == name
