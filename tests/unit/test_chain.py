"""The chain of the log: what is edited, removed, swapped or inserted is found, and named."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity.chain import ChainCheck, extend, link
from sagacity.fold import folded
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, JsonText
from sagacity.model.unit import Batch, ChainHead, LogRow, Unit
from tests.unit.drawn import drawn

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
HEAD = ChainHead(id=4, epoch=1, position=0, hash=b"")
SCOPE: dict[str, Any] = {"tenant": "t", "lane": "live"}


def started(at: datetime = NOON) -> L.Started:
    return L.Started(
        definition="Flat",
        version=1,
        definition_hash="h",
        key="k",
        request_hash="r",
        input=JsonText('{"n":1}'),
        state=("begun",),
        at=at,
    )


def unit(saga: int, *more: L.Line) -> Unit:
    lines = (started(), *more)
    return Unit(record=folded(UUID(int=saga), lines), before=None, epoch=1, lines=lines)


def applied(version: int = 1) -> L.Applied:
    return L.Applied(object="box:1", version=version, before=NULL, after=NULL, operations=(), at=NOON)


def story() -> list[LogRow]:
    units = [unit(1, applied(), L.Committed(at=NOON)), unit(2), unit(3, L.Stuck(why="so", at=NOON))]
    return list(extend(HEAD, units, **SCOPE))


def faults(rows: Sequence[LogRow]) -> dict[int, str]:
    check = ChainCheck(4, **SCOPE)
    found = {row.position: check.follow(row) for row in rows}
    return {position: fault for position, fault in found.items() if fault is not None}


def test_rows_are_dense_and_each_is_bound_to_the_one_before() -> None:
    rows = story()
    assert [row.position for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [(row.saga.int, row.seq) for row in rows] == [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (3, 1)]
    assert [(row.object, row.version) for row in rows][:3] == [(None, None), ("box:1", 1), (None, None)]
    previous = b""
    for row in rows:
        assert row.data is not None
        assert row.digest == sha256(row.data.encode()).digest()
        assert row.hash == link(previous, row, **SCOPE)
        previous = row.hash
    assert faults(rows) == {}


def test_a_later_unit_goes_on_where_the_saga_was() -> None:
    first = unit(1)
    lines = (*first.lines, L.Stuck(why="so", at=NOON))
    later = Unit(record=folded(UUID(int=1), lines), before=1, epoch=1, lines=lines[1:])
    rows = extend(HEAD, [first], **SCOPE)
    head = Batch(head=HEAD, rows=rows, units=(first,), worker=UUID(int=9)).new_head
    assert (head.position, head.hash) == (1, rows[-1].hash)
    [row] = extend(head, [later], **SCOPE)
    assert (row.position, row.seq) == (2, 1)
    assert faults([*rows, row]) == {}


CHANGES: dict[str, Any] = {
    "saga": UUID(int=99),
    "seq": 9,
    "kind": "granted",
    "object": "box:2",
    "version": 7,
    "schema_version": 2,
    "at": NOON + timedelta(microseconds=1),
    "digest": b"x" * 32,
    "hash": b"y" * 32,
    "data": JsonText('{"n":2}'),
}


@pytest.mark.parametrize("column", sorted(CHANGES))
@pytest.mark.parametrize("n", [0, 2, 5])
def test_an_edited_line_is_named(column: str, n: int) -> None:
    rows = story()
    rows[n] = replace(rows[n], **{column: CHANGES[column]})
    assert n + 1 in faults(rows)
    assert set(faults(rows)) <= {n + 1, n + 2}  # a forged hash shows at the line behind it too


def test_an_edited_text_is_told_from_an_edited_line() -> None:
    rows = story()
    rows[1] = replace(rows[1], data=CHANGES["data"])
    assert faults(rows) == {2: "its data was edited: the digest does not match"}
    rows[1] = replace(rows[1], digest=sha256(CHANGES["data"].encode()).digest())
    assert "hash does not follow" in faults(rows)[2]


@pytest.mark.parametrize("n", [0, 2, 4])
def test_a_removed_line_is_named_by_the_one_behind(n: int) -> None:
    rows = story()
    del rows[n]
    assert faults(rows) == {n + 2: f"position {n + 2} follows {n}: lines were removed or inserted"}


def test_swapped_lines_are_named() -> None:
    rows = story()
    rows[1], rows[2] = (
        replace(rows[2], position=rows[1].position),
        replace(rows[1], position=rows[2].position),
    )
    assert {2, 3} <= set(faults(rows))


def test_an_inserted_line_is_named() -> None:
    rows = story()
    forged = replace(rows[1], position=3, seq=9)
    moved = [*rows[:2], forged, *(replace(row, position=row.position + 1) for row in rows[2:])]
    assert 3 in faults(moved)
    doubled = [*rows[:2], rows[1], *rows[2:]]
    check = ChainCheck(4, **SCOPE)
    assert [check.follow(row) is None for row in doubled] == [True, True, False, True, True, True, True]


def test_an_erased_text_still_verifies() -> None:
    rows = [replace(row, data=None) for row in story()]
    assert faults(rows) == {}
    rows[3] = replace(rows[3], digest=b"x" * 32)
    assert set(faults(rows)) == {4}


def test_a_line_of_another_chain_tenant_or_lane_does_not_fit() -> None:
    rows = story()
    for tenant, lane in (("u", "live"), ("t", "dry")):
        assert ChainCheck(4, tenant=tenant, lane=lane).follow(rows[0]) is not None
    assert link(b"", replace(rows[0], chain=5), **SCOPE) != rows[0].hash


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of([drawn(cls) for cls in (L.Stuck, L.Applied, L.Erased, L.Awaiting)]), min_size=1))
def test_whatever_is_chained_verifies_after_it_was_read(lines: list[L.Line]) -> None:
    story = unit(1)
    long = Unit(record=replace(story.record, seq=1 + len(lines)), before=1, epoch=1, lines=tuple(lines))
    rows = extend(HEAD, [story, long], **SCOPE)
    assert faults(rows) == {}
    for row, line in zip(rows[1:], lines, strict=True):
        assert row.data is not None
        assert L.read_line(row.kind, row.data, at=row.at, object=row.object, version=row.version) == line
