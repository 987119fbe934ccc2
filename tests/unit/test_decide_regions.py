"""Regions side by side, locks taken late, restarts, and child sagas."""

from datetime import timedelta
from uuid import UUID

from sagacity.decide.draft import Moves
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical
from sagacity.model.record import EffectStatus, Status, WaitsFor
from tests.unit.small_flows import Distracted, Flat, Late, Numbered, Parent, Side, Waiter
from tests.unit.story import NOON, Story, child_of, kept

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


def test_steps_of_regions_run_side_by_side_and_fold_into_one_decision() -> None:
    story = Story(Side, Numbered(n=9))
    story.does(None)
    moves = story.advance()
    assert [run.step.name for run in moves.steps] == ["left_one", "right_one"]
    story.commit()
    assert len(story.units[-1].effects) == 2
    left, right = moves.steps
    story.settle(left, completed(kept(1)))
    story.settle(right, completed(kept(2)))
    story.tell("signal", name="heard")
    [more] = story.advance().steps
    assert more.step.name == "left_two"
    story.settle(more, completed(kept(3)))
    [count] = story.advance().steps
    assert count.step.name == "count_many"
    assert [line.of for line in story.of(L.Joined)] == ["work"]


def test_the_choice_at_the_end_of_regions_is_made_by_its_guard() -> None:
    for n, name in ((9, "many"), (3, "few")):
        story = Story(Side, Numbered(n=n))
        story.does(None)
        story.tell("signal", name="heard")
        for run in story.advance().steps:
            story.settle(run, completed(kept(1)))
        for run in story.advance().steps:
            story.settle(run, completed(kept(1)))
        story.advance()
        assert story.record.state == (name,)


def test_one_regions_failure_waits_for_what_is_in_flight_beside_it() -> None:
    story = Story(Side, Numbered())
    story.does(None)
    left, right = story.advance().steps
    story.commit()
    story.settle(left, O.Failed(error="no", final=True))
    assert story.advance(busy=frozenset({"right_one"})) == Moves()
    story.settle(right, completed(kept(2)))
    moves = story.advance()
    assert moves.undo is not None
    assert moves.undo.effect.step == "right_one"


def test_a_region_sleeps_with_the_reason_that_comes_first() -> None:
    story = Story(Side, Numbered())
    story.does(None)
    left, right = story.advance().steps
    story.commit()
    story.settle(left, O.Failed(error="down"))
    story.settle(right, O.Failed(error="down", retry_after=2 * HOUR))
    assert story.advance() == Moves(sleep=WaitsFor.RETRY, due_at=NOON + timedelta(seconds=10))


def test_late_locks_are_asked_for_before_anything_is_begun() -> None:
    story = Story(Late, Numbered())
    story.does(None)
    assert story.advance() == Moves(sleep=WaitsFor.LOCK)
    assert story.of(L.Intent) == []
    [late] = story.of(L.Locked)[1:]
    assert [(lock.object, lock.mode, lock.late) for lock in late.locks] == [("box:2", "exclusive", True)]
    unit = story.commit()
    assert unit is not None
    assert [lock.object for lock in unit.admit] == ["box:2"]
    assert story.advance() == Moves(sleep=WaitsFor.LOCK)
    moves = story.advance(holding=True)
    assert [run.step.name for run in moves.steps] == ["left_one", "right_one"]
    assert story.record.locked


def queueing() -> Story:
    """A saga that queues for a late lock, and waits for word in another region."""
    story = Story(Distracted, Numbered())
    story.does(None)
    moves = story.advance()
    assert moves == Moves(sleep=WaitsFor.LOCK, due_at=NOON + HOUR)
    story.sleep(moves)
    assert story.advance() == moves
    return story


def test_a_deadline_comes_in_time_also_while_one_queues_for_a_late_lock() -> None:
    story = queueing()
    story.passes(HOUR)
    assert story.advance() == Moves(rest=True)
    assert story.record.status is Status.ROLLED_BACK
    assert (story.record.reason or "").startswith("word did not arrive")


def test_a_signal_is_heard_also_while_one_queues_for_a_late_lock() -> None:
    story = queueing()
    story.tell("signal", name="word")
    assert story.advance() == Moves(sleep=WaitsFor.LOCK)
    assert [line.signal for line in story.of(L.Signalled)] == ["word"]
    assert [run.step.name for run in story.advance(holding=True).steps] == ["left_one"]


def test_late_locks_are_not_asked_for_while_something_is_in_flight() -> None:
    story = Story(Late, Numbered())
    story.does(None)
    assert story.advance(busy=frozenset({"left_one"})) == Moves()
    assert "intent" not in story.kinds
    assert story.kinds.count("locked") == 1


def test_a_shared_lock_cannot_be_made_exclusive_on_the_way() -> None:
    story = Story(Late, Numbered(n=99))
    story.does(None)
    assert story.advance().rest
    assert story.record.status is Status.ROLLED_BACK
    assert "box:100" in str(story.record.reason)


def test_a_cancel_between_asking_and_being_written_leaves_no_lock_behind() -> None:
    story = Story(Late, Numbered())
    story.does(None)
    story.advance()
    story.tell("cancel", data="stop")
    story.advance()
    assert story.record.status is Status.ROLLED_BACK
    unit = story.commit()
    assert unit is not None
    assert unit.admit == ()
    assert [lock.object for lock in unit.free] == ["box:1", "box:100"]


def test_a_deadlocks_victim_starts_anew_with_nothing_done() -> None:
    story = Story(Flat, Numbered(), granted=False)
    story.tell("restart", data="deadlock: it waits for another")
    moves = story.advance()
    assert moves.restart
    assert (story.record.status, story.record.waits_for) == (Status.WAITING, WaitsFor.LOCK)
    assert (story.record.restarts, story.record.state) == (1, ("begun",))
    unit = story.commit()
    assert unit is not None
    assert [lock.object for lock in unit.free] == ["box:1", "box:2"]  # out of the queues, and in again,
    assert [lock.object for lock in unit.admit] == ["box:1", "box:2"]  # in one move: never without them


def test_a_deadlocks_victim_undoes_what_it_did_and_starts_anew_under_other_keys() -> None:
    story = Story(Late, Numbered())
    story.does(None)
    story.sleep(story.advance())
    moves = story.advance(holding=True)
    story.commit()
    first = moves.steps[0]
    story.settle(first, completed(kept(1)))
    story.settle(moves.steps[1], O.Failed(error="no", final=True))
    story.tell("restart", data="too late")
    undo = story.advance()
    assert story.of(L.ActRefused)[0].why == "the lock cycle is gone"
    story.settle_undo(undo, completed())
    assert story.advance().rest


def test_a_restart_is_refused_where_the_cycle_is_gone() -> None:
    story = flat()
    told = story.tell("restart", data="deadlock")
    assert story.advance().steps
    assert story.of(L.ActRefused)[0].message == told.id


def spawned(n: int = 2) -> Story:
    story = Story(Parent, Numbered(n=n))
    story.does(kept(1), [{"n": i} for i in range(n)])
    return story


def test_children_are_started_in_the_move_that_tells_of_them() -> None:
    story = spawned()
    moves = story.advance()
    assert moves == Moves(sleep=WaitsFor.CHILD)
    unit = story.commit()
    assert unit is not None
    assert [post.kind for post in unit.posts] == ["start", "start"]
    assert [post.saga for post in unit.posts] == [child_of(story, 0), child_of(story, 1)]
    assert unit.posts[0].definition == "Flat"
    assert [effect.undo for effect in unit.effects] == ["child"]


def test_a_parent_goes_on_when_all_its_children_are_committed() -> None:
    story = spawned()
    story.child_ends(child_of(story, 0), Status.COMMITTED)
    assert story.advance() == Moves(sleep=WaitsFor.CHILD)
    story.child_ends(child_of(story, 1), Status.COMMITTED)
    [run] = story.advance().steps
    assert run.step.name == "settle_down"
    assert story.record.effects[1].status is EffectStatus.LANDED


def test_without_children_to_start_it_goes_on_at_once() -> None:
    story = spawned(0)
    assert story.runs().step.name == "settle_down"


def test_a_child_that_went_back_takes_its_parent_with_it() -> None:
    story = spawned(1)
    story.child_ends(child_of(story), Status.ROLLED_BACK)
    moves = story.advance()
    assert moves.undo is not None
    assert moves.undo.effect.step == "make_ready"
    assert "is rolled_back" in str(story.record.reason)


def test_a_childs_end_tells_its_parent_once() -> None:
    story = Story(Flat, Numbered(), payload=canonical({"parent": str(UUID(int=3)), "parent_step": "x"}))
    story.settle(story.runs(), O.Failed(error="no", final=True))
    story.advance()
    unit = story.commit()
    assert unit is not None
    [post] = unit.posts
    assert (post.kind, post.saga, post.name) == ("child", UUID(int=3), "x")
