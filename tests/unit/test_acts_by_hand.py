"""Acts that take over from the machine: skip, force, abandon, release-lock, and the broken glass."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from sagacity import Saga, State, override, step
from sagacity.decide.acts import take_acts
from sagacity.decide.operating import preview, refusal
from sagacity.invariants.by_hand import i41_by_hand
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import NULL, canonical, loaded
from sagacity.model.operating import Verb
from sagacity.model.record import EffectStatus, Status, WaitsFor
from tests.unit.small_flows import TWICE, Depot, Flat, Kept, Numbered, Parent, Probed, Side, Taken
from tests.unit.story import Story, child_of, kept
from tests.unit.test_acts import asking, refused, retrying, running

HOUR = timedelta(hours=1)
LOST = O.Unknown(error="no answer")


class Ways(Saga, version=1):
    """Two effects, and two ways that only an operator takes."""

    Input = Numbered

    begun = State(initial=True)
    taken = State()
    kept = State()
    closed = State(final=True)

    do_take = begun.to(taken)
    do_keep = taken.to(kept)
    do_close = kept.to(closed)
    past_the_depot = override(taken, kept, why="the depot keeps it without being asked")
    for_good = override(taken, closed, why="nobody wants it any more")

    @step(do_take, undo=Depot.give_back, retry=TWICE)
    async def take(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    @step(do_keep, undo=Depot.drop, retry=TWICE)
    async def keep(self, given: Numbered, depot: Depot) -> Kept:
        return await depot.keep(given.n)

    @step(do_close)
    def close(self) -> None:
        """Nothing to do."""


def stuck_unknown() -> Story:
    """Whether `file_it` happened is not known, and nobody can tell."""
    story = Story(Probed, Numbered())
    for _ in range(2):
        story.settle(story.runs(), LOST)
        story.passes(HOUR)
    story.settle(story.runs(), LOST)
    story.advance()
    assert story.record.status is Status.STUCK
    story.commit()
    return story


def stuck_undo(*, done: int = 2) -> Story:
    """It goes back, and its first undo gave up."""
    story = running(done)
    story.tell("cancel", data="stop")
    moves = story.advance()
    story.settle_undo(moves, O.Failed(error="no such thing", final=True))
    story.advance()
    assert story.record.status is Status.STUCK
    story.commit()
    return story


def behind_the_pivot() -> Story:
    """A step behind the point of no return was refused for good."""
    story = running(2)
    story.does(None)
    story.settle(story.runs(), O.Failed(error="no", final=True))
    story.advance()
    assert story.record.status is Status.STUCK
    story.commit()
    return story


def ways() -> Story:
    story = Story(Ways, Numbered())
    story.does(kept(1))
    return story


# --- skip, forward ------------------------------------------------------------------------------------


def test_a_skipped_step_has_the_result_that_was_given_and_the_saga_goes_on() -> None:
    story = retrying()
    story.acts("skip", args={"landed": "yes", "result": {"id": "by hand"}}, reason="told by phone")
    [run] = story.advance().steps
    assert run.step.name == "tell"
    assert story.kinds[-4:] == ["act", "skipped", "completed", "intent"]
    assert loaded(story.record.results["keep"]) == {"id": "by hand"}
    assert story.record.effects[1].status is EffectStatus.LANDED


def test_what_a_skip_says_did_not_happen_is_never_undone() -> None:
    story = retrying()
    story.acts("skip", args={"landed": "no", "result": {"id": "x"}})
    story.advance()
    assert (story.record.effects[1].status, story.record.effects[1].landed) == (EffectStatus.VOID, False)


def test_a_skip_settles_what_nobody_could_tell() -> None:
    story = stuck_unknown()
    story.acts("skip", args={"landed": "yes", "result": {"id": "f"}})
    assert story.advance().finish
    assert (story.record.status, story.record.cancelling) == (Status.RUNNING, None)


def test_a_skip_leads_on_behind_the_point_of_no_return() -> None:
    story = behind_the_pivot()
    why = refusal(story.record, Flat.flow, Verb.SKIP, {"landed": "yes"})
    assert why == "thank was not tried, so nothing is there to undo: say `landed` no"
    story.acts("skip", args={"landed": "no"})
    assert story.advance().finish


def test_a_skip_does_not_take_back_a_cancel_that_somebody_asked_for() -> None:
    story = Story(Probed, Numbered())
    run = story.runs()
    story.tell("cancel", data="stop")
    story.settle(run, LOST)
    while not (moves := story.advance()).rest:
        story.settle(moves.steps[0], LOST) if moves.steps else story.passes(HOUR)
    story.acts("skip", args={"landed": "yes", "result": {"id": "f"}})
    undo = story.advance().undo
    assert undo is not None
    assert undo.effect.result == canonical({"id": "f"})


def called_off(flow: Any, *, done: int) -> Story:
    """Stuck on an outcome that nobody knows, and somebody has asked to cancel it."""
    story = Story(flow, Numbered())
    for n in range(done):
        story.does(kept(n))
    run = story.runs()
    story.tell("cancel", data="stop")
    story.settle(run, LOST)
    while not (moves := story.advance()).rest:
        story.settle(moves.steps[0], LOST) if moves.steps else story.passes(HOUR)
    return story


def test_what_a_skip_becomes_with_a_cancel_behind_it_is_shown_before() -> None:
    shown = preview(
        called_off(Probed, done=0).record, Probed.flow, Verb.SKIP, {"landed": "yes", "result": {"id": "f"}}
    )
    assert shown.after.startswith("compensating")
    assert "! it goes back at once: somebody asked to cancel it" in shown.effects


def test_a_skip_of_the_pivot_says_that_the_cancel_is_dropped_and_needs_the_effect_to_have_happened() -> None:
    record = called_off(Flat, done=2).record
    shown = preview(record, Flat.flow, Verb.SKIP, {"landed": "yes"})
    assert shown.effects[-1] == "! the cancel that somebody asked for is dropped: it can only go forward"
    why = refusal(record, Flat.flow, Verb.SKIP, {"landed": "no"})
    assert why == "tell never happened, and somebody asked to cancel: it would pass its point of no return"


SKIPS = [
    ({"landed": "yes", "result": {"nothing": 1}}, "the result of keep: id: field required"),
    ({"result": {"id": "x"}}, "say whether keep happened outside: `landed` yes or no"),
    ({"landed": "perhaps", "result": {"id": "x"}}, "say whether keep happened outside"),
    ({"landed": "yes", "step": "take", "result": {}}, "take is not held up (held up: keep)"),
]


@pytest.mark.parametrize(("args", "why"), SKIPS)
def test_a_skip_is_refused_where_what_it_says_does_not_fit(args: dict[str, Any], why: str) -> None:
    story = retrying()
    story.acts("skip", args=args)
    story.advance()
    assert why in refused(story)


def test_of_several_steps_that_are_held_up_the_one_must_be_named() -> None:
    story = Story(Side, Numbered())
    story.does(None)
    left, right = story.advance().steps
    story.commit()
    for run in (left, right):
        story.settle(run, O.Failed(error="down"))
    story.sleep(story.advance())
    said = {"landed": "no", "result": {"id": "x"}}
    assert refusal(story.record, Side.flow, Verb.SKIP, said) == "say which step: left_one, right_one"
    story.acts("skip", args={**said, "step": "right_one"})
    story.advance()
    assert story.record.state == ("h0", "l0", "r1")


def test_a_skip_while_it_is_paused_is_written_and_nothing_begins() -> None:
    story = retrying()
    story.acts("pause")
    story.acts("skip", args={"landed": "no", "result": {"id": "x"}})
    assert story.advance().rest
    assert (story.record.state, story.record.paused) == (("kept",), True)


# --- skip, going back ---------------------------------------------------------------------------------


def test_an_undo_that_gave_up_counts_as_done_and_the_next_follows() -> None:
    story = stuck_undo()
    story.acts("skip", args={"landed": "yes"})
    undo = story.advance().undo
    assert undo is not None
    assert undo.effect.step == "take"
    assert [e.status for e in story.record.effects] == [EffectStatus.LANDED, EffectStatus.UNDONE]
    assert story.kinds[-3:] == ["act", "skipped", "undone"]


def test_what_is_known_to_have_happened_cannot_be_said_not_to_have() -> None:
    story = stuck_undo()
    story.acts("skip", args={"landed": "no"})
    story.advance()
    assert "keep is known to have happened" in refused(story)


@pytest.mark.parametrize(("landed", "status"), [("yes", EffectStatus.UNDONE), ("no", EffectStatus.VOID)])
def test_going_back_a_skip_says_whether_an_unknown_effect_is_there(landed: str, status: EffectStatus) -> None:
    story = Story(Parent, Numbered())
    story.does(kept(1))
    story.tell("cancel", data="stop")
    story.advance()
    effect = replace(story.record.effects[0], status=EffectStatus.ARMED, landed=False, result=NULL)
    story.draft.record = replace(story.record, effects=(effect,), status=Status.STUCK)
    why = refusal(story.record, None, Verb.SKIP, {})
    assert why == "say whether make_ready happened outside: `landed` yes or no"
    story.acts("skip", args={"landed": landed})
    take_acts(story.draft, story.now)
    assert story.record.effects[0].status is status


# --- force --------------------------------------------------------------------------------------------


def test_a_force_along_a_declared_edge_leads_on_from_there() -> None:
    story = ways()
    story.settle(story.runs(), O.Failed(error="down"))
    story.sleep(story.advance())
    story.acts("force", args={"to": "kept"})
    [run] = story.advance().steps
    assert run.step.name == "close"
    [line] = story.of(L.Forced)
    assert (line.edge, line.state, line.left, line.void) == ("past_the_depot", ("kept",), ("keep",), (2,))
    assert story.record.effects[1].status is EffectStatus.VOID


def test_a_force_to_an_end_commits() -> None:
    story = ways()
    story.acts("pause")
    story.acts("force", args={"to": "closed"})
    story.acts("resume")
    assert story.advance().finish


def test_what_may_have_happened_in_a_state_that_is_left_must_be_said() -> None:
    story = ways()
    story.settle(story.runs(), LOST)
    story.sleep(story.advance())
    flow = Ways.flow
    why = refusal(story.record, flow, Verb.FORCE, {"to": "kept"})
    assert why == "say whether keep happened outside: `landed` yes or no"
    shown = preview(story.record, flow, Verb.FORCE, {"to": "kept", "landed": {"keep": "yes"}})
    assert shown.effects == ("! keep is given up", "+ keep counts as happened")
    assert shown.unknown[0] == "by past_the_depot, which is there for: the depot keeps it without being asked"
    story.acts("force", args={"to": "kept", "landed": "yes"})
    story.advance()
    assert story.record.effects[1].status is EffectStatus.LANDED
    story.tell("cancel", data="stop")
    undo = story.advance().undo
    assert undo is not None
    assert undo.effect.step == "keep"


def test_without_an_edge_the_glass_must_be_broken() -> None:
    story = ways()
    story.acts("pause")
    story.advance()
    flow = Ways.flow
    why = refusal(story.record, flow, Verb.FORCE, {"to": "begun"})
    assert why == "no override edge leads from taken to begun (declared: kept, closed)"
    story.acts("force", args={"to": "begun", "break_edge": True}, break_glass=True, plan=UUID(int=5))
    story.advance()
    assert (story.record.state, story.of(L.Forced)[0].edge) == (("begun",), None)


FORCES = [
    ({"to": "nowhere", "break_edge": True}, "Ways has no state 'nowhere'"),
    ({}, "Ways has no state None"),
    ({"to": "taken", "break_edge": True}, "it stands there already"),
]


@pytest.mark.parametrize(("args", "why"), FORCES)
def test_a_force_names_another_state_of_the_flow(args: dict[str, Any], why: str) -> None:
    story = ways()
    story.acts("pause")
    story.acts("force", args=args)
    story.advance()
    assert why in story.of(L.ActRefused)[0].why


def test_a_saga_at_work_is_not_moved_under_its_own_feet() -> None:
    story = ways()
    story.runs()
    assert refusal(story.record, Ways.flow, Verb.FORCE, {"to": "kept"}) == "it is running: pause it first"
    story.acts("pause")
    story.advance(busy=frozenset({"keep"}))
    why = refusal(story.record, Ways.flow, Verb.FORCE, {"to": "kept"})
    assert why == "keep is in flight: wait for its answer"


def test_forced_behind_the_point_of_no_return_there_is_only_forward() -> None:
    story = running(1)
    story.acts("pause")
    story.acts("force", args={"to": "told", "break_edge": True})
    story.acts("resume")
    story.advance()
    assert story.record.pivoted
    story.tell("cancel", data="stop")
    story.advance()
    assert "point of no return" in story.of(L.ActRefused)[0].why


def test_of_parallel_regions_only_the_one_that_is_named_moves() -> None:
    story = Story(Side, Numbered())
    story.does(None)
    story.acts("pause")
    story.acts("force", args={"to": "r1", "break_edge": True})
    story.advance()
    assert story.record.state == ("h0", "l0", "r1")


# --- abandon ------------------------------------------------------------------------------------------


def test_an_abandoned_saga_leaves_its_effects_frees_its_locks_and_tells_what_stands() -> None:
    story = Story(Flat, Numbered(), notices=True)
    story.does(kept(1))
    story.settle(story.runs(), LOST)
    story.sleep(story.advance())
    shown = preview(story.record, None, Verb.ABANDON, {})
    assert shown.effects == ("! take stays as it is, for ever",)
    assert shown.unknown == ("whether keep has happened outside",)
    story.acts("abandon", reason="the customer is gone")
    assert story.advance().rest
    [line] = story.of(L.Abandoned)
    assert (line.stands, line.unknown, line.reason) == ((1,), (2,), "the customer is gone")
    unit = story.commit()
    assert unit is not None
    assert [lock.object for lock in unit.free] == ["box:1", "box:2"]
    assert [notice.kind for notice in unit.notices] == ["abandoned"]
    assert (story.record.status, story.record.locks) == (Status.ABANDONED, ())


def test_nothing_moves_an_abandoned_saga_any_more() -> None:
    story = stuck_undo()
    story.acts("abandon")
    story.acts("retry")
    story.advance()
    assert story.of(L.ActRefused)[0].why == "nothing to retry: it is abandoned"


def test_a_parent_that_goes_back_is_stuck_where_a_child_was_abandoned() -> None:
    story = Story(Parent, Numbered())
    story.does(kept(1), [{"n": 1}])
    story.sleep(story.advance())
    child = child_of(story)
    story.child_ends(child, Status.ABANDONED)
    story.advance()
    assert story.record.status is Status.STUCK
    assert f"child saga {child} was abandoned" in str(story.record.reason)


# --- release-lock -------------------------------------------------------------------------------------


def lock(object: str = "box:1", *, fence: int = 4, holder: int = 7) -> dict[str, Any]:
    return {"object": object, "fence": fence, "holder": str(UUID(int=holder))}


def released() -> Story:
    story = stuck_undo()
    story.draft.fences = {"box:1": 4, "box:2": 9}
    story.acts("release-lock", args=lock())
    story.advance()
    return story


def test_a_lock_that_was_taken_is_freed_and_nothing_is_done_until_it_has_it_again() -> None:
    story = released()
    unit = story.commit()
    assert unit is not None
    assert ([held.object for held in unit.free], unit.admit) == (["box:1"], ())
    assert story.record.status is Status.STUCK
    story.tell("retry")
    moves = story.advance(holding=True)
    assert (moves.sleep, moves.undo) == (WaitsFor.LOCK, None)
    story.sleep(moves)
    assert [held.object for held in story.units[-1].admit] == ["box:1"]
    assert story.advance().undo is None
    undo = story.advance(holding=True).undo
    assert undo is not None
    assert (story.record.locked, story.record.released) == (True, ())


def test_freed_and_asked_for_in_one_unit_it_stands_at_the_end_of_the_queue() -> None:
    story = running()
    story.acts("pause")
    story.draft.fences = {"box:1": 4}
    story.acts("release-lock", args=lock())
    story.acts("resume")
    moves = story.advance(holding=True)
    assert (moves.sleep, moves.steps) == (WaitsFor.LOCK, ())
    unit = story.commit()
    assert unit is not None
    assert [held.object for held in unit.free] == [held.object for held in unit.admit] == ["box:1"]


def test_it_does_not_go_back_before_it_has_the_lock_again_even_when_it_is_cancelled_meanwhile() -> None:
    story = running()
    story.acts("pause")
    story.draft.fences = {"box:1": 4}
    story.acts("release-lock", args=lock())
    story.tell("cancel", data="stop")
    story.acts("resume")
    story.sleep(story.advance())
    assert story.advance().undo is None
    assert story.advance(holding=True).undo is not None


def test_whoever_is_to_go_back_once_it_has_the_lock_again_sleeps_past_its_deadlines() -> None:
    """None of them can be taken any more: were one slept for that has come, it would never sleep again."""
    story = asking()
    box = story.record.locks[0].object
    story.acts("pause")
    story.draft.fences = {box: 4}
    story.acts("release-lock", args=lock(box))
    story.tell("cancel", data="stop")
    story.acts("resume")
    moves = story.advance()
    assert (moves.sleep, moves.due_at) == (WaitsFor.LOCK, None)
    assert story.record.waits, "there is a deadline that it does not listen to"


LOCKS = [
    (lock(fence=5), "the lock's fencing number is 4, not 5"),
    (lock(holder=8), "and this is saga 00000000-0000-0000-0000-000000000007"),
    (lock("box:9"), "it has no lock on box:9 (it has: box:1, box:2)"),
    ({"object": "box:1"}, "fencing number"),
]


@pytest.mark.parametrize(("args", "why"), LOCKS)
def test_only_the_very_lock_that_was_seen_is_taken(args: dict[str, Any], why: str) -> None:
    story = stuck_undo()
    story.draft.fences = {"box:1": 4}
    story.acts("release-lock", args=args)
    story.advance()
    assert why in refused(story)


def test_no_lock_is_taken_from_a_saga_at_work() -> None:
    why = refusal(running().record, Flat.flow, Verb.RELEASE_LOCK, lock())
    assert why == "its holder is running: only of a stuck or paused saga a lock is taken"


# --- ack and the broken glass -------------------------------------------------------------------------


def test_what_was_acknowledged_stays_so_until_it_moves() -> None:
    story = stuck_undo()
    story.acts("ack", args={"kind": "stuck"})
    story.advance()
    assert list(story.record.acked) == ["stuck"]
    assert story.record.status is Status.STUCK
    story.acts("ack", args={"kind": "late"})
    story.advance()
    assert list(story.record.acked) == ["stuck", "late"]
    story.tell("retry")
    story.advance()
    assert story.record.acked == {}


def test_a_broken_glass_is_kept_until_somebody_else_acknowledges_it() -> None:
    story = stuck_undo()
    plan = UUID(int=5)
    story.acts("abandon", break_glass=True, plan=plan, actor="oidc:ana")
    story.advance()
    [glass] = story.record.glass
    assert (glass.plan, glass.actor, glass.verb) == (plan, "oidc:ana", "abandon")
    story.acts("ack", args={"kind": "break_glass"}, actor="oidc:ana")
    story.advance()
    assert "somebody else must" in story.of(L.ActRefused)[0].why
    story.acts("ack", args={"kind": "break_glass"}, actor="oidc:bo")
    story.advance()
    assert story.record.glass == ()


# --- I41 ----------------------------------------------------------------------------------------------


def test_nothing_is_changed_by_hand_without_its_act() -> None:
    story = running()
    story.acts("pause")
    story.advance()
    *_, act, paused = story.told
    assert i41_by_hand(act, paused) is None
    assert i41_by_hand(paused, paused) == "paused without the act that it is part of"
    told = L.Retried(reason=None, actor=None, at=story.now)
    assert i41_by_hand(act, told) == "retried without the act that it is part of"


def test_of_an_abandoned_way_back_it_is_not_said_that_the_effect_whose_turn_it_was_stands() -> None:
    story = stuck_undo()
    shown = preview(story.record, None, Verb.ABANDON, {})
    assert shown.unknown == ("whether Depot.drop has made good for keep all the same",)
    story.acts("abandon")
    story.advance()
    [line] = story.of(L.Abandoned)
    assert (line.stands, line.unknown) == ((1,), (2,))
