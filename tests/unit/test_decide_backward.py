"""Going back: exact reverse order, none skipped, nothing undone on a guess, stuck with its locks."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sagacity.decide.begin import rollback_payload
from sagacity.decide.draft import Moves
from sagacity.decide.finish import check_restores, needs_check
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import Json, canonical
from sagacity.model.record import Effect, EffectStatus, Phase, Status, WaitsFor
from tests.unit.small_flows import Behind, Flat, Numbered, Parent, Probed, Side
from tests.unit.story import Story, box, child_of, kept, restore, rollback_of

HOUR = timedelta(hours=1)
DONE = O.Completed()


def going_back(*, done: int = 2) -> Story:
    """A flat saga with `done` effects, then cancelled."""
    story = Story(Flat, Numbered())
    story.does(*(kept(n) for n in range(done)))
    story.tell("cancel", data="stop")
    return story


def giving_up() -> tuple[Story, Moves]:
    """A saga whose first undo fails for good."""
    story = going_back()
    moves = story.advance()
    story.settle_undo(moves, O.Failed(error="no such thing", final=True))
    return story, story.advance()


def test_effects_are_undone_in_exact_reverse_order() -> None:
    story = going_back()
    undone = []
    while (moves := story.advance()).undo is not None:
        assert moves.intends
        undone.append((moves.undo.effect.step, moves.undo.undo.name, moves.undo.effect.undo_key))
        story.commit()
        story.settle_undo(moves, DONE)
    assert [(step, name) for step, name, _ in undone] == [("keep", "Depot.drop"), ("take", "Depot.give_back")]
    assert all(key.endswith("/undo") for _, _, key in undone)
    assert (story.record.status, story.record.reason) == (Status.ROLLED_BACK, "stop")
    assert {effect.status for effect in story.record.effects} == {EffectStatus.UNDONE}
    unit = story.commit()
    assert unit is not None
    assert [lock.object for lock in unit.free] == ["box:1", "box:2"]


def test_what_was_staged_is_dropped_when_it_turns() -> None:
    story = Story(Side, Numbered())
    story.does(None)
    story.tell("cancel", data="stop")
    story.advance()
    assert (story.record.staged, story.record.waits, story.record.runs) == ((), (), ())


def test_a_failed_undo_is_tried_again_when_due_with_its_own_attempts() -> None:
    story = going_back()
    first = story.advance()
    story.settle_undo(first, O.Unknown(error="no answer"))
    moves = story.advance()
    assert moves.sleep is WaitsFor.RETRY
    story.sleep(moves)
    assert (story.record.status, story.record.waits_for) == (Status.COMPENSATING, None)
    assert story.record.due_at == moves.due_at
    assert story.advance() == moves
    story.passes(HOUR)
    again = story.advance()
    assert again.undo is not None
    assert first.undo is not None
    assert (again.undo.attempt, again.undo.effect.undo_key) == (2, first.undo.effect.undo_key)
    story.settle_undo(again, DONE)
    assert story.of(L.Undone)[0].attempt == 2


def test_an_undo_may_ask_for_later() -> None:
    story = going_back()
    until = story.now + 3 * HOUR
    story.settle_undo(story.advance(), O.Waiting(signal="", until=until))
    assert story.advance().due_at == until


def test_an_undo_that_was_not_tried_is_tried() -> None:
    story = going_back()
    moves = story.advance()
    story.settle_undo(moves, O.NotTried(why="the worker is stopping"))
    assert story.advance() == moves


def test_an_undo_that_gives_up_is_stuck_with_its_locks_and_skips_nothing() -> None:
    story, moves = giving_up()
    assert moves == Moves(rest=True)
    assert story.record.status is Status.STUCK
    assert [lock.object for lock in story.record.locks] == ["box:1", "box:2"]
    assert [effect.status for effect in story.record.effects] == [EffectStatus.LANDED, EffectStatus.GAVE_UP]
    unit = story.commit()
    assert unit is not None
    assert unit.free == ()
    assert story.advance() == Moves(rest=True)


def test_ten_attempts_without_a_yes_give_up() -> None:
    story = going_back()
    for _ in range(10):
        story.settle_undo(story.advance(), O.Failed(error="down"))
        story.passes(HOUR)
    assert story.record.status is Status.STUCK
    assert "gave up after 10 attempts" in str(story.record.reason)


def test_retry_of_a_stuck_undo_ends_it() -> None:
    story, _ = giving_up()
    story.tell("retry", data="mended")
    for _ in range(2):
        story.settle_undo(story.advance(), DONE)
    assert story.advance().rest
    assert story.record.status is Status.ROLLED_BACK


def test_a_childs_end_does_not_wake_what_only_an_operator_may() -> None:
    story, _ = giving_up()
    story.child_ends(rollback_of(story.record.id), Status.COMMITTED)
    assert story.advance().rest
    assert story.record.status is Status.STUCK
    assert "child_ended" in story.kinds


# --- nothing is undone on a guess -------------------------------------------------------------------


def unknown(*, at: int) -> Story:
    """Step number `at` has an unknown outcome, and then somebody cancels."""
    story = Story(Flat, Numbered())
    story.does(*(kept(n) for n in range(at)))
    story.settle(story.runs(), O.Unknown(error="no answer"))
    story.tell("cancel", data="stop")
    return story


def test_an_unknown_effect_is_driven_until_it_is_known_and_then_undone() -> None:
    story = unknown(at=0)
    assert story.advance().sleep is WaitsFor.RETRY
    story.passes(HOUR)
    [run] = story.advance().steps
    assert (run.settle, run.back, run.ask) == (True, True, False)
    story.commit()
    story.settle(run, O.Completed(result=canonical(kept(1))))
    moves = story.advance()
    assert moves.undo is not None
    assert moves.undo.effect.result == canonical(kept(1))


def test_an_unknown_effect_that_proves_unmade_is_not_undone() -> None:
    story = unknown(at=0)
    story.passes(HOUR)
    [run] = story.advance().steps
    story.settle(run, O.Failed(error="it had not landed", final=True))
    assert story.advance().rest
    assert story.record.status is Status.ROLLED_BACK
    assert story.of(L.Undone) == []


def test_an_undo_that_is_safe_on_nothing_may_run_instead() -> None:
    story = unknown(at=1)
    moves = story.advance()
    assert moves.undo is not None
    assert (moves.undo.effect.step, moves.undo.effect.landed) == ("keep", False)
    story.settle_undo(moves, DONE)
    assert story.of(L.Undone)[0].empty


def test_what_stays_unknown_is_stuck_and_a_retry_drives_it_on() -> None:
    story = unknown(at=0)
    story.passes(HOUR)
    [run] = story.advance().steps
    story.settle(run, O.Unknown(error="no answer"))
    assert story.advance().rest
    assert story.record.status is Status.STUCK
    assert "whether it happened outside is unknown" in str(story.record.reason)
    assert story.of(L.Compensating) == []
    story.tell("retry")
    again = story.runs()
    assert (again.step.name, again.settle) == ("take", True)


def test_a_lost_worker_on_the_way_back_leaves_nothing_to_guess() -> None:
    story = Story(Flat, Numbered())
    run = story.runs()
    story.tell("cancel", data="stop")
    [again] = story.advance().steps
    assert (again.key, again.settle, again.back) == (run.key, True, True)
    assert story.of(L.Failed)[0].landed == "unknown"


def test_what_is_lost_beside_something_stuck_is_still_unknown_after_a_retry() -> None:
    story = Story(Side, Numbered())
    story.does(None)
    left, right = story.advance().steps
    story.commit()
    story.settle(left, O.Unknown(error="no answer"))
    story.passes(timedelta(seconds=10))
    [left] = story.advance(busy=frozenset({right.step.name})).steps
    story.commit()
    story.settle(left, O.Unknown(error="no answer"))
    assert story.advance().rest
    assert story.record.status is Status.STUCK
    assert story.kinds.count("intent") == 3
    story.tell("retry")
    runs = {run.step.name: run for run in story.advance().steps}
    assert runs["right_one"].settle


def test_one_that_gave_up_is_asked_for_once_where_there_is_a_probe() -> None:
    story = Story(Probed, Numbered())
    for _ in range(2):
        story.settle(story.runs(), O.Unknown(error="no answer"))
        story.passes(HOUR)
    assert story.record.runs[0].phase is Phase.GAVE_UP
    [run] = story.advance().steps
    assert (run.settle, run.back, run.ask) == (True, True, True)
    story.commit()
    story.settle(run, O.Unknown(error="it cannot tell"))
    assert story.advance().rest
    assert story.record.status is Status.STUCK
    story.tell("retry")
    assert not story.runs().ask


def test_what_a_probe_finds_is_undone() -> None:
    story = Story(Probed, Numbered())
    for _ in range(2):
        story.settle(story.runs(), O.Unknown(error="no answer"))
        story.passes(HOUR)
    [run] = story.advance().steps
    story.settle(run, O.Completed(result=canonical(kept(1))))
    assert story.advance().undo is not None


# --- restarts ---------------------------------------------------------------------------------------


def victim() -> Story:
    """A saga that waits for a late lock behind an effect, chosen as a deadlock's victim."""
    story = Story(Behind, Numbered(n=50))
    story.does(kept(1))
    story.sleep(story.advance())
    story.tell("restart", data="deadlock")
    return story


def test_a_restart_that_was_meant_for_the_time_before_the_last_one_is_refused() -> None:
    story = victim()
    moves = story.advance()
    story.commit()
    story.settle_undo(moves, DONE)
    assert story.advance().restart
    story.commit()
    late = story.message("restart", data="deadlock: seen before it went back")
    story.draft.mail.append(replace(late, payload=canonical({"seq": 1})))
    assert story.advance() == Moves(sleep=WaitsFor.LOCK)
    assert (story.record.restarts, [line.why for line in story.of(L.ActRefused)]) == (
        1,
        ["the lock cycle is gone"],
    )


def test_a_deadlocks_victim_is_undone_and_stands_in_the_queues_anew() -> None:
    story = victim()
    moves = story.advance()
    assert moves.undo is not None
    story.commit()
    story.settle_undo(moves, DONE)
    assert story.advance().restart
    unit = story.commit()
    assert unit is not None
    assert [lock.object for lock in unit.free] == ["box:50", "box:51"]
    assert [lock.object for lock in unit.admit] == ["box:50", "box:51"], "all at once this time"
    record = story.record
    assert (record.restarts, record.backward, record.restarting) == (1, False, False)
    [take] = story.advance(holding=True).steps
    assert moves.undo.effect.key != take.key
    assert (take.step.name, take.visit, story.record.effects[1].n) == ("take", 2, 2)


def test_a_cancel_that_joins_a_restart_ends_it() -> None:
    story = victim()
    moves = story.advance()
    story.tell("cancel", data="never mind")
    again = story.advance()
    assert again.undo == moves.undo
    story.settle_undo(again, DONE)
    assert story.advance().rest
    assert (story.record.status, story.record.reason) == (Status.ROLLED_BACK, "never mind")


# --- children ---------------------------------------------------------------------------------------


def parent() -> Story:
    story = Story(Parent, Numbered(n=2))
    story.does(kept(1), [{"n": 1}, {"n": 2}])
    story.sleep(story.advance())
    return story


def test_running_children_are_cancelled_and_committed_ones_rolled_back() -> None:
    story = parent()
    story.child_ends(child_of(story, 1), Status.COMMITTED)
    story.tell("cancel", data="stop")
    assert story.advance() == Moves(sleep=WaitsFor.CHILD)
    unit = story.commit()
    assert unit is not None
    assert [(post.kind, post.saga) for post in unit.posts] == [
        ("cancel", child_of(story, 0)),
        ("rollback", child_of(story, 1)),
    ]
    story.child_ends(child_of(story, 0), Status.ROLLED_BACK)
    assert story.advance().sleep is WaitsFor.CHILD
    story.child_ends(rollback_of(child_of(story, 1)), Status.COMMITTED)
    moves = story.advance()
    assert moves.undo is not None
    assert moves.undo.effect.step == "make_ready"


def test_a_child_that_commits_against_the_cancel_is_rolled_back() -> None:
    story = parent()
    story.tell("cancel", data="stop")
    story.advance()
    story.child_ends(child_of(story, 0), Status.COMMITTED)
    story.child_ends(child_of(story, 1), Status.ROLLED_BACK)
    assert story.advance().sleep is WaitsFor.CHILD
    assert [post.kind for post in story.draft.unit(epoch=1).posts].count("rollback") == 1


def test_a_child_that_cannot_be_rolled_back_leaves_it_stuck() -> None:
    story = parent()
    story.tell("cancel", data="stop")
    story.advance()
    story.child_ends(child_of(story, 0), Status.COMMITTED)
    story.child_ends(child_of(story, 1), Status.ROLLED_BACK)
    story.child_ends(rollback_of(child_of(story, 0)), Status.ROLLED_BACK)
    assert story.advance().rest
    assert story.record.status is Status.STUCK
    assert "could not be rolled back" in str(story.record.reason)


# --- rollback after commit --------------------------------------------------------------------------


def rolling_back(**options: bool) -> Story:
    """The saga that rolls back one which had `take` done and put 5 into box 1."""
    origin = Story(Flat, Numbered())
    origin.does(kept(1))
    payload = rollback_payload(
        saga=origin.record.id,
        effects=origin.record.effects,
        restores=[restore(1, ("into", {"n": 5}), version=1, before=0, after=5)],
    )
    return Story(Flat, Numbered(), payload=payload, **options)


def test_a_rollback_locks_what_it_brings_back_undoes_and_commits() -> None:
    story = rolling_back()
    assert (story.record.status, story.record.backward) == (Status.COMPENSATING, True)
    assert [lock.object for lock in story.record.locks] == ["box:1"]
    assert needs_check(story.record)
    assert check_restores(story.draft, {"box:1": box(1, version=1, holds=5)}, now=story.now)
    moves = story.advance()
    assert moves.undo is not None
    assert moves.undo.effect.result == canonical(kept(1))
    story.settle_undo(moves, DONE)
    assert not needs_check(story.record)
    assert story.advance() == Moves(finish=True)
    story.finish({"box:1": box(1, version=1, holds=5)})
    [applied] = story.of(L.Applied)
    assert (applied.version, applied.after) == (2, canonical({"n": 0}))
    assert story.record.status is Status.COMMITTED


def test_a_rollback_queues_like_everybody() -> None:
    story = rolling_back(granted=False)
    assert (story.record.status, story.record.waits_for) == (Status.WAITING, WaitsFor.LOCK)
    assert story.advance() == Moves(sleep=WaitsFor.LOCK)
    assert story.advance(holding=True).undo is not None


def test_a_rollback_that_cannot_bring_everything_back_undoes_nothing() -> None:
    story = rolling_back()
    assert not check_restores(story.draft, {"box:1": box(1, version=3, holds=2)}, now=story.now)
    assert story.record.status is Status.ROLLED_BACK
    assert "nothing was rolled back: box:1 changed 2 times since" in str(story.record.reason)
    assert story.advance() == Moves(rest=True)


def test_a_rollback_cannot_be_cancelled() -> None:
    story = rolling_back()
    story.tell("cancel", data="stop")
    story.advance()
    assert story.of(L.ActRefused)[0].why == "it is going back already"


def test_an_effect_of_which_nothing_is_known_is_never_undone() -> None:
    origin = Story(Flat, Numbered())
    origin.runs()
    payload = rollback_payload(saga=origin.record.id, effects=origin.record.effects, restores=())
    story = Story(Flat, Numbered(), payload=payload)
    assert story.advance() == Moves(rest=True)
    assert "take: whether it happened outside is unknown" in str(story.record.reason)


def test_an_effect_that_is_final_stands_and_leaves_it_stuck() -> None:
    effect = replace(effects(), undo=None)
    story = Story(Flat, Numbered(), payload=payload_of(effect))
    assert story.advance().rest
    assert story.record.reason == "take: its effect stands and cannot be undone"


def test_a_version_without_the_undo_leaves_it_stuck() -> None:
    effect = replace(effects(), undo="Depot.forget")
    story = Story(Flat, Numbered(), payload=payload_of(effect))
    assert story.advance().rest
    assert story.record.reason == "take: this version of Flat has no Depot.forget"
    story.tell("retry")
    assert story.advance().rest
    assert story.kinds.count("stuck") == 2


def effects() -> Effect:
    """The effect of a step that landed."""
    origin = Story(Flat, Numbered())
    origin.does(kept(1))
    return origin.record.effects[0]


def payload_of(effect: Effect) -> Json:
    return rollback_payload(saga=UUID(int=3), effects=[effect], restores=())
