"""Operators' acts on one saga: what is taken, what is refused, and what is written of it."""

from datetime import timedelta
from uuid import UUID

import pytest

from sagacity.decide.operating import allowed, preview, refusal
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical, loaded
from sagacity.model.operating import Verb
from sagacity.model.record import Status, WaitsFor
from tests.unit.small_flows import Flat, Numbered, Waiter
from tests.unit.story import Story, kept

PLAN = UUID(int=77)
MINUTE = timedelta(minutes=1)


def running(done: int = 1) -> Story:
    story = Story(Flat, Numbered())
    story.does(*(kept(n) for n in range(done)))
    return story


def retrying() -> Story:
    story = running()
    story.settle(story.runs(), O.Failed(error="down"))
    story.sleep(story.advance())
    return story


def asking() -> Story:
    """It waits for an approval, or for being called off."""
    story = Story(Waiter, Numbered(n=7))
    story.does(kept(1), {"big": True})
    story.sleep(story.advance())
    return story


def refused(story: Story) -> str:
    [line] = story.of(L.ActRefused)
    assert not story.of(L.Act)
    return str(line.why)


# --- the line `act` -----------------------------------------------------------------------------------


def test_an_act_is_written_with_who_why_and_what_it_changes_and_its_lines_stand_right_behind() -> None:
    story = retrying()
    seq = story.record.seq
    message = story.acts(
        *("retry",), plan=PLAN, revision=seq, reason="the depot is back", approver="oidc:bo", ticket="OPS-7"
    )
    story.advance()
    [act] = story.of(L.Act)
    assert (act.verb, act.actor, act.approver, act.reason) == (
        *("retry", "local:ana"),
        *("oidc:bo", "the depot is back"),
    )
    assert (act.plan, act.ticket, act.break_glass, act.message) == (PLAN, "OPS-7", False, message.id)
    assert (loaded(act.before), loaded(act.after)) == ("waiting in taken", "running in taken")
    assert story.kinds[seq : seq + 2] == ["act", "retried"]
    unit = story.commit()
    assert unit is not None
    assert (unit.consumes, [line.kind for line in unit.lines][:2]) == ((message.id,), ["act", "retried"])


def test_an_act_is_refused_where_the_saga_moved_since_the_plan() -> None:
    story = retrying()
    seq = story.record.seq
    story.acts("retry", revision=seq - 2)
    story.advance()
    assert refused(story) == f"it moved since the plan (planned at revision {seq - 2}, now {seq})"


def test_of_two_acts_planned_at_one_revision_only_the_first_is_taken() -> None:
    story = retrying()
    seq = story.record.seq
    story.acts("pause", revision=seq)
    story.acts("cancel", revision=seq)
    story.advance()
    assert [act.verb for act in story.of(L.Act)] == ["pause"]
    assert "it moved since the plan" in story.of(L.ActRefused)[0].why


def test_an_act_planned_before_it_began_is_taken_while_nothing_of_it_is_done() -> None:
    story = Story(Flat, Numbered())
    story.acts("cancel", revision=0, plan=PLAN, reason="not wanted")
    assert story.advance().rest
    assert story.kinds == ["started", "locked", "act", "cancel_asked", "compensating", "rolled_back"]
    assert story.of(L.Act)[0].plan == PLAN


def test_an_act_planned_before_it_began_is_refused_once_something_of_it_is_done() -> None:
    story = running()
    story.acts("cancel", revision=0, plan=PLAN, reason="not wanted")
    story.advance()
    assert "it moved since the plan (it had not begun" in refused(story)


def test_a_signal_planned_before_it_began_is_kept_and_when_it_is_heard_the_log_says_by_whom() -> None:
    story = Story(Waiter, Numbered(n=7))
    message = story.acts_early("boss", {"approved": True}, plan=PLAN, reason="seen by hand")
    story.does(kept(1), {"big": True})
    assert story.draft.mail == [message]
    story.advance()
    [act] = story.of(L.Act)
    assert (act.verb, act.actor, act.plan, act.reason, act.message) == (
        *("signal", "local:ana", PLAN),
        *("seen by hand", message.id),
    )
    assert loaded(act.args) == {"name": "boss", "data": {"approved": True}}
    [heard] = story.of(L.Signalled)
    assert (heard.message, heard.actor) == (None, "local:ana")
    assert story.kinds.index("signalled") == story.kinds.index("act") + 1
    unit = story.commit()
    assert unit is not None
    assert message.id in unit.consumes


@pytest.mark.parametrize(
    ("verb", "data"), [("dance", {}), ("retry", "so"), ("retry", {"args": 3}), ("retry", {"plan": "x"})]
)
def test_an_act_that_cannot_be_read_is_refused_and_not_left_in_the_mail(verb: str, data: object) -> None:
    story = retrying()
    story.tell("act", name=verb, data=data)
    story.advance()
    assert "the act cannot be read" in refused(story)
    assert not story.draft.mail


# --- pause and resume ---------------------------------------------------------------------------------


def test_a_paused_saga_begins_no_step_and_nobody_is_to_wake_it() -> None:
    story = running()
    story.acts("pause")
    moves = story.advance()
    assert (moves.rest, moves.steps) == (True, ())
    story.commit()
    assert (story.record.paused, story.record.due_at, story.record.status) == (True, None, Status.RUNNING)
    story.acts("resume")
    assert story.advance().steps[0].step.name == "keep"
    assert story.kinds[-3:] == ["act", "resumed", "intent"]


def test_a_paused_saga_begins_no_compensation() -> None:
    story = running()
    story.tell("cancel", data="stop")
    story.acts("pause")
    moves = story.advance()
    assert (moves.rest, moves.undo) == (True, None)
    story.acts("resume")
    undo = story.advance().undo
    assert undo is not None
    assert undo.effect.step == "take"


def test_what_is_in_flight_while_it_is_paused_is_recorded() -> None:
    story = running()
    run = story.runs()
    story.acts("pause")
    assert story.advance(busy=frozenset({"keep"})).rest is False
    story.settle(run, O.Completed(result=canonical(kept(2))))
    assert story.advance().rest
    assert (story.record.state, story.record.paused) == (("kept",), True)


def test_what_was_in_flight_in_a_lost_worker_is_written_as_unknown_and_not_tried_again() -> None:
    story = running()
    story.runs()
    story.acts("pause")
    assert story.advance().rest
    [run] = story.record.runs
    assert run.unknown
    story.acts("resume")
    [step] = story.advance().steps
    assert step.settle


def test_nothing_that_falls_due_happens_while_it_is_paused_and_it_comes_at_once_when_it_is_resumed() -> None:
    story = asking()
    story.acts("pause")
    story.advance()
    story.commit()
    story.passes(timedelta(days=3))
    assert story.advance().rest
    assert not story.of(L.TimedOut)
    story.acts("resume")
    story.advance()
    assert [line.wait for line in story.of(L.TimedOut)] == ["allowance"]


def test_a_signal_that_arrives_while_it_is_paused_stays_unread_and_is_taken_when_it_is_resumed() -> None:
    story = asking()
    story.acts("pause")
    story.tell("signal", name="boss", data={"approved": True})
    story.advance()
    assert not story.of(L.Signalled)
    assert [message.kind for message in story.draft.mail] == ["signal"]
    story.acts("resume")
    story.advance()
    assert [line.signal for line in story.of(L.Signalled)] == ["boss"]


def test_a_cancel_while_it_is_paused_is_noted_and_done_once_it_is_resumed() -> None:
    story = running()
    story.acts("pause")
    story.tell("cancel", data="not wanted")
    assert story.advance().rest
    assert story.record.cancelling == "not wanted"
    assert not story.of(L.Compensating)
    story.acts("resume")
    assert story.advance().undo is not None


def test_a_stuck_saga_stays_stuck_through_pause_and_resume() -> None:
    story = running()
    story.draft.add(L.Stuck(why="so", at=story.now))
    story.acts("pause")
    story.acts("resume")
    assert story.advance().rest
    assert (story.record.status, story.record.paused) == (Status.STUCK, False)


def test_a_saga_that_queues_keeps_its_place_while_it_is_paused_and_is_granted_nothing() -> None:
    story = Story(Flat, Numbered(), granted=False)
    story.acts("pause")
    assert story.advance(holding=True).rest
    assert not story.of(L.Granted)
    assert (story.record.status, story.record.waits_for) == (Status.WAITING, WaitsFor.LOCK)
    story.acts("resume")
    assert story.advance(holding=True).steps


# --- cancel, retry, signal ------------------------------------------------------------------------------


def test_a_cancel_by_plan_goes_back() -> None:
    story = running()
    story.acts("cancel", reason="customer called")
    story.advance()
    assert story.kinds[-3:] == ["act", "cancel_asked", "compensating"]
    assert story.record.reason == "customer called"


def test_a_signal_by_plan_moves_it_in_the_same_unit() -> None:
    story = asking()
    seq = story.record.seq
    story.acts("signal", args={"name": "boss", "data": {"approved": True}})
    story.advance()
    assert story.kinds[seq : seq + 2] == ["act", "signalled"]
    [line] = story.of(L.Signalled)
    assert (line.signal, line.message, line.actor) == ("boss", None, "local:ana")


SIGNALS = [
    ({"name": "nobody"}, "it does not wait for 'nobody' now (it waits for: boss, called_off)"),
    ({}, "it does not wait for None now"),
    ({"name": "boss", "data": {"approved": "perhaps"}}, "what it carries does not fit"),
]


@pytest.mark.parametrize(("args", "why"), SIGNALS)
def test_a_signal_that_would_not_be_taken_is_refused_before_anything_is_written(
    args: dict[str, object], why: str
) -> None:
    story = asking()
    story.acts("signal", args=args)
    story.advance()
    assert why in refused(story)


# --- plan and act ask the same ----------------------------------------------------------------------------

WHOLE = [running, retrying, asking]
ARGS: dict[Verb, dict[str, object]] = {Verb.SIGNAL: {"name": "boss", "data": {"approved": True}}}


@pytest.mark.parametrize("made", WHOLE)
@pytest.mark.parametrize("verb", [Verb.RETRY, Verb.PAUSE, Verb.RESUME, Verb.CANCEL, Verb.SIGNAL])
def test_what_a_plan_refuses_the_worker_refuses_with_the_same_words(made, verb: Verb) -> None:  # type: ignore[no-untyped-def]
    story: Story = made()
    args = ARGS.get(verb, {})
    why = refusal(story.record, story.scope.flow, verb, args)
    shown = preview(story.record, story.scope.flow, verb, args)
    assert (why is None) == (verb in allowed(story.record, story.scope.flow))
    story.acts(verb.value, args=args)
    story.advance()
    if why is not None:
        assert refused(story) == why
        return
    [act] = story.of(L.Act)
    assert (loaded(act.before), loaded(act.after)) == (shown.before, shown.after)


def test_without_the_definition_what_needs_it_is_refused_in_a_sentence() -> None:
    record = asking().record
    why = refusal(record, None, Verb.SIGNAL, ARGS[Verb.SIGNAL])
    assert why == "the definition Waiter@1 is not loaded here: name its module"
    assert refusal(record, None, Verb.PAUSE, {}) is None
    assert preview(record, None, Verb.CANCEL, {}).after == "compensating in asked"


def test_a_preview_says_what_a_cancel_makes_good_and_frees() -> None:
    shown = preview(running(2).record, Flat.flow, Verb.CANCEL, {})
    assert shown.effects == ("+ Depot.drop makes good for keep", "+ Depot.give_back makes good for take")
    assert shown.locks == ("box:1 is freed once it is back", "box:2 is freed once it is back")
