"""Cycles among those who wait for locks: found by the run before each place, as by everybody before it."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from sagacity.model.unit import QueueEntry
from sagacity.runtime.sweeper import blockers, cycles

Mode = Literal["exclusive", "shared"]
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
SAGAS = [UUID(int=n) for n in range(1, 8)]


def entry(saga: UUID, mode: Mode) -> QueueEntry:
    return QueueEntry(saga=saga, mode=mode, ticket=1, since=SINCE)


def queue(*places: str) -> list[QueueEntry]:
    """`x1` is saga 1's exclusive place, `s2` saga 2's shared one."""
    return [entry(UUID(int=int(p[1:])), "exclusive" if p[0] == "x" else "shared") for p in places]


def ids(*numbers: int) -> frozenset[UUID]:
    return frozenset(UUID(int=number) for number in numbers)


@st.composite
def queues(draw: st.DrawFn) -> list[list[QueueEntry]]:
    modes: st.SearchStrategy[Mode] = st.sampled_from(("exclusive", "shared"))
    found = []
    for _ in range(draw(st.integers(1, 5))):
        sagas = draw(st.lists(st.sampled_from(SAGAS), unique=True, max_size=6))
        found.append([entry(saga, draw(modes)) for saga in sagas])
    return found


def by_definition(given_queues: list[list[QueueEntry]]) -> dict[UUID, frozenset[UUID]]:
    """Everybody ahead whose end must come first; for a shared place, up to the last exclusive one."""
    edges: dict[UUID, set[UUID]] = {}
    for places in given_queues:
        for n, place in enumerate(places):
            exclusive = [m for m in range(n) if places[m].mode == "exclusive"]
            last = n if place.mode == "exclusive" else max(exclusive, default=-1) + 1
            if last:
                edges.setdefault(place.saga, set()).update(other.saga for other in places[:last])
    return {saga: frozenset(found) for saga, found in edges.items()}


@given(queues())
def test_the_runs_before_find_the_same_cycles_as_everybody_ahead(
    given_queues: list[list[QueueEntry]],
) -> None:
    assert cycles(blockers(given_queues)) == cycles(by_definition(given_queues))


def test_whoever_holds_waits_for_nobody() -> None:
    assert blockers([queue("x1"), queue("s2", "s3")]) == {}


def test_an_exclusive_place_waits_for_all_that_share_right_before_it() -> None:
    assert blockers([queue("s1", "s2", "x3", "s4", "s5", "x6")]) == {
        UUID(int=3): ids(1, 2),
        UUID(int=4): ids(3),
        UUID(int=5): ids(3),
        UUID(int=6): ids(4, 5),
    }


def test_a_long_queue_has_no_more_edges_than_places() -> None:
    edges = blockers([[entry(UUID(int=n), "exclusive") for n in range(1, 5_001)]])
    assert sum(map(len, edges.values())) == 4_999
    assert cycles(edges) == []


def test_two_who_each_wait_behind_the_other_are_a_cycle() -> None:
    assert cycles(blockers([queue("x1", "x2"), queue("x2", "x1")])) == [(UUID(int=1), UUID(int=2))]
