"""The end: what is staged is applied all at once, and a rollback brings objects back three-way."""

from typing import Any

import pytest

from sagacity.decide.finish import (
    Images,
    by_object,
    check_restores,
    finish,
    needs_check,
    own_rows,
    restores_of,
    restoring,
    touched,
)
from sagacity.definition.participant import Participant, operation
from sagacity.errors import Refused, StepError
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import NULL, canonical
from sagacity.model.record import Held, Staged, Status
from sagacity.model.unit import ObjectChange
from tests.unit.small_flows import Box, Flat, Numbered, Side
from tests.unit.story import PARTICIPANTS, Story, box, restore


class Shelf(Participant, type="shelf", table=object(), key="id"):
    """A row of the user's own table."""

    @operation(inverse="unload")
    def load(self, id: int, n: int) -> Any:
        return ("load", id, n)

    @operation(inverse="load")
    def unload(self, id: int, n: int) -> Any:
        return ("unload", id, n)

    @operation()
    def burn(self, id: int) -> Any:
        return ("burn", id)


REGISTRY = {"box": Box, "shelf": Shelf}


def staged(object: str, operation: str, **args: int) -> Staged:
    return Staged(object=object, operation=operation, args=canonical(args), step="enter")


def ready(*operations: Staged) -> Story:
    """A saga at its end, with these operations staged, and all that they change locked."""
    story = Story(Side, Numbered())
    held = {lock.object for lock in story.record.locks}
    more = sorted({operation.object for operation in operations} - held)
    if more:
        locks = tuple(Held(object=name, late=True) for name in more)
        story.draft.add(L.Locked(locks=locks, granted=True, at=story.now))
    story.settle(story.runs(), O.Completed(staged=operations))
    story.scope = story.scope.__class__(flow=story.scope.flow, participants=REGISTRY, tenant="t", lane="live")
    story.commit()
    return story


def test_operations_are_applied_by_object_in_the_order_they_were_staged() -> None:
    story = ready(staged("box:2", "into", n=5), staged("box:1", "into", n=1), staged("box:2", "out", n=2))
    assert touched(story.record) == ("box:1", "box:2")
    assert [op.operation for op in by_object(story.record)["box:2"]] == ["into", "out"]
    story.finish({"box:1": box(1, version=0, holds=0), "box:2": box(2, version=7, holds=10)})
    lines = [(line.object, line.version, line.before, line.after) for line in story.of(L.Applied)]
    assert lines == [
        ("box:1", 1, NULL, canonical({"n": 1})),
        ("box:2", 8, canonical({"n": 10}), canonical({"n": 13})),
    ]
    unit = story.commit()
    assert unit is not None
    assert unit.changes[1] == ObjectChange(object="box:2", version=8, state=canonical({"n": 13}))
    assert unit.record.status is Status.COMMITTED


def test_an_operation_that_refuses_adds_nothing() -> None:
    story = ready(staged("box:1", "into", n=1), staged("box:2", "out", n=5))
    before = story.record
    with pytest.raises(Refused, match="only 0"):
        story.finish({"box:1": box(1, version=0, holds=0), "box:2": box(2, version=0, holds=0)})
    assert (story.record, story.draft.lines) == (before, [])


def test_rows_of_the_users_tables_are_told_by_their_images() -> None:
    story = ready(staged("shelf:1", "load", n=5), staged("box:1", "into", n=1))
    assert list(own_rows(REGISTRY, story.record)) == ["shelf:1"]
    images = {"shelf:1": Images(before=canonical({"id": 1}), after=canonical({"id": 1, "n": 5}))}
    states = {"box:1": box(1, version=0, holds=0), "shelf:1": box(1, version=4, holds=0, object="shelf:1")}
    finish(story.draft, states, now=story.now, images=images)
    [line] = [line for line in story.of(L.Applied) if line.own_table]
    assert (line.version, line.after) == (5, canonical({"id": 1, "n": 5}))
    unit = story.draft.unit(epoch=1)
    assert [change.state for change in unit.changes if change.object == "shelf:1"] == [NULL]


def test_what_a_rollback_brings_back_is_read_from_the_log() -> None:
    story = ready(staged("box:1", "into", n=5))
    story.finish({"box:1": box(1, version=2, holds=3)})
    [found] = restores_of(story.told)
    assert (found.object, found.version) == ("box:1", 3)
    assert (found.before, found.after) == (canonical({"n": 3}), canonical({"n": 8}))


INTO = restore(1, ("into", {"n": 5}), version=3, before=1, after=6)
OUT = restore(1, ("out", {"n": 5}), ("into", {"n": 2}), version=3, before=6, after=3)
EMPTY = restore(1, ("into", {"n": 5}), ("empty", {}), version=3, before=6, after=0)


@pytest.mark.parametrize(
    ("what", "version", "holds", "how", "becomes"),
    [
        (INTO, 3, 6, "exact", 1),
        (INTO, 5, 50, "counter-action", 45),
        (INTO, 5, 2, "impossible", None),
        (OUT, 4, 10, "counter-action", 13),
        (EMPTY, 3, 0, "exact", 6),
        (EMPTY, 4, 9, "changed", None),
    ],
    ids=["untouched", "inverse", "refused", "reverse order", "no inverse, untouched", "no inverse"],
)
def test_an_object_is_brought_back_three_way(
    what: Any, version: int, holds: int, how: str, becomes: int | None
) -> None:
    plan = restoring(PARTICIPANTS, what, box(1, version=version, holds=holds))
    assert plan.how == how
    assert plan.state == (None if becomes is None else canonical({"n": becomes}))
    assert plan.possible == (becomes is not None)
    assert ("since" in plan.detail) or how == "exact"


@pytest.mark.parametrize(
    ("operations", "version", "how"),
    [
        ([("load", {"n": 5})], 3, "exact"),
        ([("load", {"n": 5})], 4, "counter-action"),
        ([("load", {"n": 5}), ("burn", {})], 3, "impossible"),
    ],
    ids=["untouched", "changed since", "no inverse"],
)
def test_a_row_is_brought_back_by_its_inverse_statements(operations: Any, version: int, how: str) -> None:
    original = restore(1, *operations, version=3, before=0, after=5)
    moved = [
        Staged(object="shelf:1", operation=op.operation, args=op.args, step=op.step)
        for op in original.operations
    ]
    what = original.__class__(
        object="shelf:1",
        version=3,
        before=original.before,
        after=original.after,
        operations=tuple(moved),
    )
    plan = restoring(REGISTRY, what, box(1, version=version, holds=0, object="shelf:1"))
    assert (plan.how, plan.state) == (how, None)
    if plan.possible:
        assert [op.operation for op in plan.operations] == ["unload"]


def test_a_saga_that_rolls_nothing_back_has_nothing_to_check() -> None:
    story = Story(Flat, Numbered())
    assert not needs_check(story.record)
    assert check_restores(story.draft, {}, now=story.now)


def test_a_restore_that_became_impossible_is_refused_at_the_end() -> None:
    from sagacity.decide.begin import rollback_payload

    origin = Story(Flat, Numbered())
    payload = rollback_payload(saga=origin.record.id, effects=(), restores=[EMPTY])
    story = Story(Flat, Numbered(), payload=payload)
    with pytest.raises(StepError, match="box:1 changed 1 times since, and no inverse"):
        story.finish({"box:1": box(1, version=4, holds=9)})
    assert story.draft.lines == []
