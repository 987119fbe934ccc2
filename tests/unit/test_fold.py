"""What each line of the log means for the record."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity.fold import begun, fold, folded
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, JsonText
from sagacity.model.record import (
    Effect,
    EffectStatus,
    Held,
    Phase,
    Record,
    Staged,
    Status,
    Wait,
    WaitsFor,
)
from tests.unit.drawn import drawn

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
SAGA, OTHER = UUID(int=1), UUID(int=2)
ONE, TWO = JsonText("1"), JsonText("2")
STAGED = Staged(object="box:1", operation="into", args=JsonText('{"n":1}'), step="a")

STARTED = L.Started(
    definition="F",
    version=1,
    definition_hash="h",
    key="k",
    request_hash="r",
    input=ONE,
    state=("s",),
    at=NOON,
)
INTENT = L.Intent(step="a", visit=1, attempt=1, external="E", key="key", undo="E.back", at=NOON)
DONE = L.Completed(step="a", visit=1, attempt=1, result=TWO, state=("t",), staged=(STAGED,), at=NOON)
FAILED = L.Failed(step="a", visit=1, attempt=1, error="down", landed="no", retry_at=LATER, at=NOON)
WAIT = Wait(name="w", state="s", kind=WaitsFor.SIGNAL, signal="go", until=LATER)
CANCEL = L.CancelAsked(reason="stop", actor=None, message=OTHER, at=NOON)
TURN = L.Compensating(reason="stop", at=NOON)
UNDONE = L.Undone(n=1, step="a", undo="E.back", attempt=1, at=NOON)
STUCK = L.Stuck(why="so", at=NOON)
RETRIED = L.Retried(reason=None, actor=None, message=OTHER, at=NOON)


def told(*lines: L.Line) -> Record:
    return folded(SAGA, (STARTED, *lines))


def unable(landed: Any, *, retry_at: datetime | None = None, **more: Any) -> L.Failed:
    return replace(FAILED, landed=landed, retry_at=retry_at, **more)


def test_the_first_line_makes_the_record() -> None:
    record = told()
    assert (record.id, record.definition, record.key, record.input) == (SAGA, "F", "k", ONE)
    assert (record.status, record.state, record.seq, record.revision) == (Status.RUNNING, ("s",), 1, 1)
    assert record.locked


def test_a_rollback_begins_going_back_with_the_effects_of_another() -> None:
    effect = Effect(n=1, step="a", visit=1, key="key", undo="E.back", status=EffectStatus.LANDED)
    record = begun(SAGA, replace(STARTED, rolls_back=OTHER, effects=(effect,)))
    assert (record.status, record.backward, record.effects) == (Status.COMPENSATING, True, (effect,))


def test_a_story_has_a_beginning() -> None:
    with pytest.raises(ValueError, match="begins with 'stuck'"):
        folded(SAGA, [STUCK])
    with pytest.raises(ValueError, match="no lines"):
        folded(SAGA, [])


def test_every_line_counts_and_sets_the_time() -> None:
    record = told(replace(STUCK, at=LATER))
    assert (record.seq, record.revision, record.created_at, record.updated_at) == (2, 2, NOON, LATER)


def test_locks_are_asked_for_and_granted() -> None:
    asked = L.Locked(locks=(Held(object="box:1"),), granted=False, at=NOON)
    record = told(asked)
    assert (record.locked, record.status, record.waits_for) == (False, Status.WAITING, WaitsFor.LOCK)
    record = fold(record, L.Granted(at=NOON))
    assert (record.locked, record.status, record.waits_for) == (True, Status.RUNNING, None)
    record = told(replace(asked, granted=True), asked)
    assert [lock.granted for lock in record.locks] == [True, False]


def test_an_intent_opens_a_run_and_arms_its_effect() -> None:
    record = told(INTENT)
    run = record.run_of("a")
    assert run is not None
    assert (run.phase, run.attempt, run.since, run.unknown) == (Phase.OPEN, 1, NOON, False)
    effect = record.effect_of("a", 1)
    assert effect is not None
    assert (effect.n, effect.undo, effect.status, effect.undo_key) == (
        *(1, "E.back", EffectStatus.ARMED),
        "key/undo",
    )
    assert record.visits == {"a": 1}
    again = fold(told(INTENT, FAILED), replace(INTENT, attempt=2))
    assert len(again.effects) == 1
    assert (again.runs[0].attempt, again.runs[0].error) == (2, "down")


def test_a_completed_step_has_its_result_and_its_effect_landed() -> None:
    record = told(INTENT, DONE)
    assert (record.runs, record.state, record.results) == ((), ("t",), {"a": TWO})
    assert record.staged == (STAGED,)
    assert (record.effects[0].status, record.effects[0].landed, record.effects[0].result) == (
        *(EffectStatus.LANDED, True),
        TWO,
    )
    unmade = told(INTENT, replace(DONE, landed=False))
    assert (unmade.effects[0].status, unmade.effects[0].landed) == (EffectStatus.VOID, False)


def test_the_pivot_leaves_only_forward() -> None:
    record = told(INTENT, CANCEL, replace(DONE, pivot=True))
    assert (record.pivoted, record.cancelling) == (True, None)
    assert told(INTENT, CANCEL, DONE).cancelling == "stop"


@pytest.mark.parametrize(
    ("line", "phase", "unknown", "effect"),
    [
        (FAILED, Phase.RETRY, False, EffectStatus.ARMED),
        (unable("unknown", retry_at=LATER), Phase.RETRY, True, EffectStatus.ARMED),
        (unable("unknown"), Phase.GAVE_UP, True, EffectStatus.ARMED),
        (unable("yes"), Phase.GAVE_UP, True, EffectStatus.ARMED),
        (unable("no"), None, False, EffectStatus.VOID),
    ],
    ids=["again", "again, unknown", "gave up, unknown", "gave up, landed", "for good"],
)
def test_a_failure_says_what_is_known(
    line: L.Failed, phase: Phase | None, unknown: bool, effect: EffectStatus
) -> None:
    record = told(INTENT, line)
    run = record.run_of("a")
    assert (run.phase if run else None) is phase
    assert (run.unknown if run else False) is unknown
    assert record.effects[0].status is effect
    assert record.cancelling == (None if line.retry_at else "a: down")


def test_what_does_not_count_is_not_counted() -> None:
    record = told(INTENT, replace(FAILED, counts=False), replace(INTENT, attempt=2), FAILED)
    assert record.runs[0].base == 1


def test_a_call_not_made_leaves_nothing_to_undo() -> None:
    missed = L.NotTried(step="a", visit=1, why="stopping", at=LATER)
    record = told(INTENT, missed)
    assert (record.runs[0].phase, record.runs[0].due_at, record.runs[0].base) == (Phase.RETRY, LATER, 1)
    assert record.effects[0].status is EffectStatus.VOID
    unknown = told(INTENT, unable("unknown", retry_at=LATER), replace(INTENT, attempt=2), missed)
    assert unknown.effects[0].status is EffectStatus.ARMED
    assert told(missed).runs == ()


def test_waits_end_with_the_state_they_belong_to() -> None:
    awaiting = L.Awaiting(waits=(WAIT, replace(WAIT, name="x", state="u")), at=NOON)
    asleep = L.Slept(waits_for=WaitsFor.SIGNAL, due_at=LATER, at=NOON)
    record = told(awaiting, asleep)
    assert (record.status, record.waits_for, record.due_at) == (Status.WAITING, WaitsFor.SIGNAL, LATER)
    assert [wait.name for wait in record.waits] == ["w", "x"]
    signalled = L.Signalled(wait="w", signal="go", message=OTHER, data=TWO, actor=None, state=("u",), at=NOON)
    record = fold(record, signalled)
    assert [wait.name for wait in record.waits] == ["x"]
    assert (record.status, record.due_at, record.results) == (Status.RUNNING, None, {"w": TWO})
    record = told(awaiting, L.TimedOut(wait="w", state=("s",), at=NOON))
    assert (record.waits, record.state) == ((), ("s",))
    assert told(L.Joined(of="p", state=("v",), at=NOON)).state == ("v",)


def test_who_sleeps_on_the_way_back_is_still_going_back() -> None:
    record = told(TURN, L.Slept(waits_for=WaitsFor.RETRY, due_at=LATER, at=NOON))
    assert (record.status, record.waits_for, record.due_at) == (Status.COMPENSATING, None, LATER)


def test_children_are_kept_and_their_ends_noted() -> None:
    spawned = L.Spawned(step="a", visit=1, key="key", children=(OTHER,), at=NOON)
    record = told(spawned)
    assert (record.runs[0].phase, record.runs[0].children) == (Phase.CHILDREN, (OTHER,))
    assert (record.effects[0].undo, record.effects[0].children) == ("child", (OTHER,))
    ended = L.ChildEnded(step="a", child=OTHER, status="committed", message=OTHER, at=NOON)
    assert fold(record, ended).results == {f"child:{OTHER}": '"committed"'}
    assert fold(told(STUCK), ended).status is Status.STUCK
    assert fold(told(L.Committed(at=NOON)), ended).status is Status.COMMITTED


def test_the_first_reason_to_go_back_stays() -> None:
    assert told(CANCEL, replace(CANCEL, reason="no")).cancelling == "stop"


def test_a_cancel_takes_the_place_of_a_restart() -> None:
    restart = replace(CANCEL, reason="deadlock", restart=True)
    assert told(restart).restarting
    assert not told(CANCEL, restart).restarting
    record = told(restart, CANCEL)
    assert (record.restarting, record.cancelling) == (False, "stop")


def test_turning_drops_what_was_staged_and_keeps_what_may_have_landed() -> None:
    record = told(INTENT, DONE, replace(INTENT, step="b"), CANCEL, TURN)
    assert (record.status, record.backward, record.reason) == (Status.COMPENSATING, True, "stop")
    assert (record.cancelling, record.staged, record.runs, record.waits) == (None, (), (), ())
    assert [e.status for e in record.effects] == [EffectStatus.LANDED, EffectStatus.VOID]
    unknown = told(INTENT, unable("unknown"), TURN)
    assert unknown.effects[0].status is EffectStatus.ARMED
    spawned = L.Spawned(step="a", visit=1, key="key", children=(OTHER,), at=NOON)
    assert told(spawned, TURN).effects[0].status is EffectStatus.ARMED


def test_an_undo_is_done_or_fails_or_gives_up() -> None:
    turned = told(INTENT, DONE, TURN)
    assert fold(turned, UNDONE).effects[0].status is EffectStatus.UNDONE
    failed = L.UndoFailed(n=1, step="a", undo="E.back", attempt=1, error="down", retry_at=LATER, at=NOON)
    effect = fold(turned, failed).effects[0]
    assert (effect.status, effect.undo_attempts, effect.undo_due_at, effect.undo_since, effect.error) == (
        *(EffectStatus.LANDED, 1),
        *(LATER, NOON, "down"),
    )
    effect = fold(turned, replace(failed, retry_at=None)).effects[0]
    assert (effect.status, effect.undo_due_at) == (EffectStatus.GAVE_UP, None)


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (L.Committed(at=NOON), Status.COMMITTED, None),
        (L.RolledBack(reason="stop", at=NOON), Status.ROLLED_BACK, "stop"),
    ],
    ids=["committed", "rolled back"],
)
def test_an_end_frees_everything(line: L.Line, status: Status, reason: str | None) -> None:
    locked = L.Locked(locks=(Held(object="box:1"),), granted=True, at=NOON)
    record = told(locked, L.Awaiting(waits=(WAIT,), at=NOON), INTENT, line)
    assert (record.status, record.reason, record.status.final) == (status, reason, True)
    assert (record.locks, record.runs, record.waits, record.staged) == ((), (), (), ())


def test_stuck_keeps_the_locks() -> None:
    locked = L.Locked(locks=(Held(object="box:1"),), granted=True, at=NOON)
    record = told(locked, STUCK)
    assert (record.status, record.reason, len(record.locks)) == (Status.STUCK, "so", 1)


def test_a_retry_makes_what_failed_due_and_counts_anew() -> None:
    record = told(INTENT, unable("unknown"), replace(INTENT, step="b"), STUCK, RETRIED)
    a, b = record.run_of("a"), record.run_of("b")
    assert a is not None
    assert b is not None
    assert (a.phase, a.due_at, a.base, a.unknown) == (Phase.RETRY, NOON, 1, True)
    assert b.phase is Phase.OPEN
    assert (record.status, record.cancelling, record.reason) == (Status.RUNNING, None, None)
    assert told(INTENT, FAILED, CANCEL, RETRIED).cancelling == "stop"


def test_a_retry_rearms_a_compensation_that_gave_up() -> None:
    gave_up = L.UndoFailed(n=1, step="a", undo="E.back", attempt=9, error="x", retry_at=None, at=NOON)
    record = told(INTENT, DONE, TURN, gave_up, STUCK, RETRIED)
    effect = record.effects[0]
    assert (effect.status, effect.undo_attempts, effect.undo_since) == (EffectStatus.LANDED, 0, None)
    assert record.status is Status.COMPENSATING


def test_what_was_stuck_and_goes_on_says_again_why_it_goes_back() -> None:
    for sent_on in (RETRIED, L.Skipped(step="a", n=1, landed=True, at=NOON), CANCEL):
        stuck = told(INTENT, DONE, TURN, STUCK)
        assert (stuck.reason, stuck.goes_back_for) == ("so", TURN.reason)
        again = fold(stuck, sent_on)
        assert (again.reason, again.goes_back_for) == (TURN.reason, None)
    assert told(INTENT, DONE, TURN, RETRIED).reason == TURN.reason
    left = L.Abandoned(reason="let it be", at=NOON)
    assert (fold(stuck, left).reason, fold(stuck, left).goes_back_for) == ("let it be", None)


def test_a_restart_begins_anew_and_remembers_only_what_keys_need() -> None:
    restart = replace(CANCEL, reason="deadlock", restart=True)
    record = told(INTENT, DONE, restart, TURN, UNDONE, L.Restarted(why="deadlock", state=("s",), at=NOON))
    assert (record.status, record.state, record.backward, record.restarting) == (
        *(Status.RUNNING, ("s",)),
        *(False, False),
    )
    assert (record.results, record.restarts, record.visits) == ({}, 1, {"a": 1})
    assert record.effects[0].status is EffectStatus.UNDONE


NOTHING: list[Callable[[], L.Line]] = [
    lambda: L.ActRefused(act="cancel", why="so", message=OTHER, at=LATER),
    lambda: L.RollbackAsked(rollback=OTHER, actor=None, message=OTHER, at=LATER),
    lambda: L.Applied(object="box:1", version=1, before=NULL, after=ONE, operations=(), at=LATER),
]


@pytest.mark.parametrize("line", NOTHING)
def test_some_lines_only_tell(line: Callable[[], L.Line]) -> None:
    record = told(CANCEL)
    after = fold(record, line())
    assert after == replace(record, seq=3, revision=3, updated_at=LATER)


def test_an_erasure_leaves_nothing_of_what_the_saga_knew() -> None:
    erased = L.Erased(saga=SAGA, seqs=(0,), reason="asked", at=LATER)
    record = told(INTENT, DONE, L.RolledBack(reason="their name", at=NOON), erased)
    assert fold(told(INTENT, DONE, TURN, STUCK), erased).goes_back_for is None
    assert (record.input, record.results, record.reason) == (NULL, {}, None)
    assert (record.effects[0].result, record.effects[0].key) == (NULL, "key")
    assert (record.status, record.key) == (Status.ROLLED_BACK, "k")


@settings(max_examples=300, deadline=None)
@given(
    st.data(),
    st.sampled_from(sorted(set(L.KINDS) - {"started", "undone", "undo_failed", "skipped", "forced"})),
)
def test_every_kind_of_line_is_understood_whatever_it_holds(data: st.DataObject, kind: str) -> None:
    line = data.draw(drawn(L.KINDS[kind]))
    record = told(INTENT)
    after = fold(record, line)
    assert (after.seq, after.updated_at) == (record.seq + 1, line.at)
    assert (after.status is Status.WAITING) == (after.waits_for is not None)
    assert record == told(INTENT), "a record is never edited"
