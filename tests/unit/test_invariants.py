"""Each invariant of stories, chains, objects and locks: what is right passes, what is wrong is named."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sagacity.fold import folded
from sagacity.invariants import cycle_of
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, JsonText
from sagacity.model.record import Effect, EffectStatus, Restore, WaitsFor
from sagacity.model.unit import LogRow
from tests.unit.small_flows import Flat
from tests.unit.told import (
    APPLIED,
    BACK,
    COMMITTED,
    DONE,
    EMPTY,
    FAILED,
    GONE_BACK,
    HEARD,
    INTENT,
    KEY,
    LATER,
    LISTENS,
    MAIL,
    NOON,
    ONE,
    OPEN_TURN,
    OTHER,
    RETURNED,
    SAGA,
    SECOND,
    SECOND_DONE,
    SOLD,
    STAGES,
    STUCK,
    TURN,
    TWO,
    UNDONE,
    Told,
    judge,
    locked,
    of,
    started,
)

# --- stories ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", [SOLD, RETURNED])
def test_a_saga_as_the_engine_tells_it_breaks_nothing(story: tuple[L.Line, ...]) -> None:
    assert of(*story, end=True) == []


_ARMED = (started(), INTENT)
_TWO = (started(), INTENT, DONE, SECOND, SECOND_DONE, TURN)
_UNDO_2 = replace(UNDONE, n=2, step="c")
_GAVE_UP = L.UndoFailed(n=1, step="a", undo="Ext.back", attempt=1, error="no", retry_at=None, at=NOON)
_RETRY = L.Retried(reason=None, actor=None, message=MAIL, at=NOON)
_PIVOT = replace(DONE, pivot=True)


@pytest.mark.parametrize(
    ("invariant", "lines"),
    [
        ("I4", (*_ARMED, DONE, DONE)),
        ("I4", (*_ARMED, FAILED, DONE)),
        ("I4", (*_ARMED, replace(DONE, attempt=2))),
        ("I4", (started(), STAGES, STAGES)),
        ("I9", (*RETURNED, COMMITTED)),
        ("I9", (*SOLD, replace(INTENT, step="z"))),
        ("I9", (*_ARMED, DONE, STUCK, SECOND)),
        ("I10", (started(), HEARD)),
        ("I10", (started(), L.Granted(at=NOON))),
        ("I10", (*GONE_BACK, UNDONE, COMMITTED)),
        ("I10", (started(), locked("box:1", granted=False), COMMITTED)),
        ("I14", (*_ARMED, _PIVOT, TURN)),
        ("I15", (*_TWO, UNDONE)),
        ("I15", (*GONE_BACK, BACK)),
        ("I15", (*_TWO, _UNDO_2, BACK)),
        ("I17", (*_ARMED, DONE, UNDONE)),
        ("I17", (*GONE_BACK, UNDONE, UNDONE)),
        ("I17", (*GONE_BACK, replace(UNDONE, n=2))),
        ("I17", (*GONE_BACK, SECOND)),
        ("I17", (*GONE_BACK, STAGES)),
        ("I18", (*GONE_BACK, EMPTY)),
        ("I18", (*OPEN_TURN, UNDONE)),
        ("I18", (started(), INTENT, replace(FAILED, landed="unknown"), TURN, EMPTY)),
        ("I19", (*GONE_BACK, _GAVE_UP, BACK)),
        ("I22", (*SOLD, locked("box:2"))),
        ("I22", (started(), locked("box:1"), locked("box:1"))),
        ("I23", (started(), STAGES, APPLIED, COMMITTED)),
        ("I23", (started(), locked("box:1", mode="shared"), STAGES, APPLIED, COMMITTED)),
        ("I23", (*SOLD[:5], replace(APPLIED, version=2), COMMITTED)),
        ("I26", (*SOLD[:5], COMMITTED)),
        ("I26", (*SOLD[:6], L.Slept(waits_for=WaitsFor.RETRY, due_at=None, at=NOON))),
        ("I26", (*SOLD[:5], replace(APPLIED, before=ONE), COMMITTED)),
        ("I35", (started(), LISTENS, L.TimedOut(wait="w", state=("t",), at=NOON))),
        ("I35", (*_ARMED, FAILED, replace(INTENT, attempt=2))),
        ("I37", (*_ARMED, INTENT)),
        ("I37", (*_ARMED, replace(INTENT, attempt=2))),
        ("I37", (*_ARMED, DONE, INTENT)),
        ("I30", (started(), LISTENS, HEARD, L.ActRefused(act="signal", why="so", message=MAIL, at=NOON))),
    ],
)
def test_a_line_that_may_not_stand_there_is_named(invariant: str, lines: tuple[L.Line, ...]) -> None:
    assert invariant in of(*lines)


def test_an_operator_moves_what_is_stuck_and_nobody_else() -> None:
    story = (*GONE_BACK, _GAVE_UP, STUCK, _RETRY, replace(UNDONE, attempt=1), BACK)
    assert of(*story) == []


def test_a_rollback_saga_undoes_all_or_is_refused_before_it_undid_anything() -> None:
    effects = tuple(
        Effect(n=n, step=step, visit=1, key=key, undo="Ext.back", status=EffectStatus.LANDED, landed=True)
        for n, step, key in ((1, "a", KEY), (2, "c", KEY + "c"))
    )
    begin = started(rolls_back=OTHER, effects=effects)
    assert of(begin, BACK) == []
    assert of(begin, _UNDO_2, UNDONE, COMMITTED) == []
    assert of(begin, _UNDO_2, BACK) == ["I15"]
    assert of(begin, _UNDO_2, COMMITTED) == ["I15"]


def test_a_rollback_saga_restores_all_of_its_objects() -> None:
    restore = Restore(object="box:1", version=1, before=NULL, after=ONE, operations=())
    begin = started(rolls_back=OTHER, restores=(restore,))
    assert of(begin, locked("box:1"), COMMITTED) == ["I26"]
    assert of(begin, locked("box:1"), APPLIED, COMMITTED) == []


def test_moves_are_those_of_the_definition() -> None:
    flow = Flat.flow
    step = flow.steps_at[flow.start[0]][0]
    (target,) = {edge.target for edge in flow.edges[step.event]}
    begin = started(definition=flow.name, definition_hash=flow.hash, state=flow.start)
    done = replace(DONE, step=step.name, state=(target,))
    intent = replace(INTENT, step=step.name)

    def found(*lines: L.Line) -> list[str]:
        made = judge(flows={(flow.name, 1): flow})
        return [b.invariant for row in Told().add(SAGA, *lines).rows for b in made.row(row)]

    assert found(begin, intent, done) == []
    assert found(begin, intent, replace(done, state=("elsewhere",))) == ["I10"]
    assert found(begin, replace(intent, step="nowhere")) == ["I14"]
    assert found(replace(begin, definition_hash="other"), intent, done) == ["I13"]


# --- chains and sequences -----------------------------------------------------------------------------


def test_positions_hashes_and_sequences_are_followed() -> None:
    rows = Told().add(SAGA, *SOLD).rows
    assert [b for row in rows for b in judge().row(row)] != []  # every row for itself follows nothing
    made = judge()
    assert [b for row in rows for b in made.row(row)] == []

    def broken(*rows: LogRow) -> list[str]:
        made = judge()
        return [b.invariant for row in rows for b in made.row(row)] + [b.invariant for b in made.end()]

    assert broken(*rows[:2], *rows[3:]) == ["I2", "I2"]  # the position, and the saga's own sequence
    assert "I3" in broken(*rows[:2], replace(rows[2], data=JsonText("{}")), *rows[3:])
    assert "I3" in broken(*rows[:2], replace(rows[2], at=LATER), *rows[3:])
    assert broken(*rows[:3], rows[2]) == ["I1", "I4"]


def test_the_head_is_held_against_what_was_anchored() -> None:
    rows = Told().add(SAGA, *SOLD).rows
    made = judge()
    for row in rows:
        made.row(row)
    assert made.anchored(1, 7, rows[-1].hash) == []
    assert [b.invariant for b in made.anchored(1, 9, b"x")] == ["I1"]
    assert [b.invariant for b in made.anchored(1, 7, b"x")] == ["I3"]


def test_lines_of_a_saga_may_come_chain_by_chain() -> None:
    rows = Told().add(SAGA, *SOLD).rows
    made = judge(exact=False, chains=False)
    found = [b for row in (*rows[4:], *rows[:4]) for b in made.row(row)]
    assert [*found, *made.end()] == []
    assert made.record(SAGA) == folded(SAGA, SOLD)


# --- objects, locks -----------------------------------------------------------------------------------


def _two(first: Sequence[L.Line], second: Sequence[L.Line], **more: Any) -> list[str]:
    made = judge(**more)
    rows = Told().add(SAGA, *first).add(OTHER, started(key="k2"), *second).rows
    return [b.invariant for row in rows for b in made.batch([row])] + [b.invariant for b in made.end()]


def test_two_sagas_never_hold_one_object_exclusively() -> None:
    assert _two(SOLD, [locked("box:1")]) == []
    assert _two(SOLD[:2], [locked("box:1")]) == ["I21"]
    assert _two(SOLD[:2], [locked("box:1", mode="shared")]) == ["I21"]
    shared = locked("box:1", mode="shared")
    assert _two((started(), shared), [shared]) == []


def test_what_a_batch_frees_is_free_before_it_is_asked_for() -> None:
    made, told = judge(), Told().add(SAGA, *SOLD[:5])
    for row in told.rows:
        assert made.batch([row]) == []
    told.add(OTHER, started(key="k2"), locked("box:1")).add(SAGA, *SOLD[5:])
    assert made.batch(told.rows[5:]) == []


def test_without_the_order_of_commits_only_a_long_overlap_counts() -> None:
    long = replace(locked("box:1"), at=NOON + timedelta(minutes=1))
    end = replace(COMMITTED, at=LATER)
    first = (started(), locked("box:1"), end)
    assert _two(first, [long, end], exact=False) == ["I21"]
    brief = replace(COMMITTED, at=NOON + timedelta(seconds=61))
    assert _two((*first[:2], brief), [long, end], exact=False) == []


def test_each_version_of_an_object_is_written_once_on_what_the_one_before_left() -> None:
    after = (started(key="k2"), locked("box:1"), STAGES)
    good = replace(APPLIED, version=2, before=APPLIED.after, after=TWO)
    assert _two(SOLD, [*after[1:], good, COMMITTED]) == []
    assert _two(SOLD, [*after[1:], replace(good, before=ONE), COMMITTED]) == ["I26"]
    assert _two(SOLD, [*after[1:], APPLIED, COMMITTED]) == ["I23"]


def test_sagas_that_fit_into_no_order_are_found() -> None:
    assert cycle_of({"x": {1: "a", 2: "b"}, "y": {1: "b", 2: "c"}}) == []
    assert sorted(cycle_of({"x": {1: "a", 2: "b"}, "y": {1: "b", 2: "a"}})) == ["a", "b"]
    # Write skew: each overwrites what the other has read.
    skew = cycle_of({"x": {1: "a"}, "y": {1: "b"}}, [("a", "y", 0), ("b", "x", 0)])
    assert sorted(skew) == ["a", "b"]
    # A reader that sees the second write of a saga but not its first.
    assert cycle_of({"x": {1: "a"}, "y": {1: "a"}}, [("r", "x", 1), ("r", "y", 0)]) != []


def test_a_cycle_over_objects_is_named() -> None:
    made = judge()
    for name, writers in {"x": (SAGA, OTHER), "y": (OTHER, SAGA)}.items():
        for version, saga in enumerate(writers, 1):
            made.objects.wrote(saga, name, version)
    assert [b.invariant for b in made.end()] == ["I27"]
