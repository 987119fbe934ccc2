"""The lowest floor: ids, instants, errors, and who holds a lock."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from sagacity.clock import SystemClock, aware
from sagacity.errors import DefinitionError, Fault, KeyTaken, Later, NaiveDatetime, SagacityError, Unavailable
from sagacity.ids import derived_id, new_id
from sagacity.model.record import FINAL, Lock, Status
from sagacity.model.unit import BatchRefused, Loss, QueueEntry, holders
from sagacity.store.rows import entry_text, object_state

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(saga: int, mode: str) -> QueueEntry:
    return QueueEntry(
        saga=UUID(int=saga), mode="shared" if mode == "s" else "exclusive", ticket=3, since=NOON
    )


@pytest.mark.parametrize(
    ("queue", "who"),
    [("", []), ("x", [0]), ("xx", [0]), ("xs", [0]), ("s", [0]), ("ss", [0, 1]), ("ssxs", [0, 1])],
)
def test_the_first_entry_holds_or_the_leading_run_of_shared_ones(queue: str, who: list[int]) -> None:
    entries = tuple(entry(n, mode) for n, mode in enumerate(queue))
    assert [saga.int for saga in holders(entries)] == who


def test_a_place_in_a_queue_has_one_text() -> None:
    assert entry_text(entry(1, "s")) == f"s{UUID(int=1)}:3:{int(NOON.timestamp())}000000"
    assert entry_text(entry(1, "x"))[:37] == f"x{UUID(int=1)}"


def test_a_stored_queue_is_read_as_its_places() -> None:
    entries = tuple(entry(n, mode) for n, mode in enumerate("ssx"))
    queue = object_state("a:1", 1, "null", [entry_text(place) for place in entries]).queue
    assert (queue[0], queue[1:], len(queue), tuple(queue)) == (entries[0], entries[1:], 3, entries)
    assert queue == entries
    assert queue != entries[:2]
    assert repr(queue) == repr(entries)
    assert hash(queue) == hash(entries)


def test_new_ids_are_in_order_and_derived_ones_are_always_the_same() -> None:
    ids = [new_id() for _ in range(100)]
    assert ids == sorted(set(ids))
    assert {id.version for id in ids} == {7}
    assert derived_id("a", 1) == derived_id("a", "1") != derived_id("a1")
    assert derived_id("a", "b") != derived_id("b", "a")


def test_instants_are_aware_and_in_utc() -> None:
    here = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert aware(here, what="until").tzinfo is UTC
    assert aware(here, what="until") == NOON
    with pytest.raises(NaiveDatetime, match="until 2026-03-01T14:00:00 has no time zone"):
        aware(datetime(2026, 3, 1, 14), what="until")


async def test_the_machines_clock_tells_and_waits() -> None:
    clock = SystemClock()
    before, started = clock.now(), clock.monotonic()
    await clock.sleep(0.01)
    assert clock.now() > before
    assert clock.monotonic() - started >= 0.009
    assert before.tzinfo is UTC


def test_a_lock_names_its_object() -> None:
    lock = Lock(object="box:a:b")
    assert (lock.type, lock.object_id, lock.mode) == ("box", "a:b", "exclusive")


def test_three_statuses_are_final() -> None:
    assert {status for status in Status if status.final} == FINAL
    assert len(FINAL) == 3
    assert not Status.STUCK.final


def test_errors_carry_what_programs_need() -> None:
    taken = KeyTaken("Order", "7", UUID(int=1))
    assert (taken.definition, taken.key, taken.saga) == ("Order", "7", UUID(int=1))
    assert "use another key" in str(taken)
    fault = Fault(where="a.py:A", name="s", what="It is wrong.", fix="Mend it.")
    assert str(DefinitionError([fault, fault])).splitlines() == ["a.py:A: s: It is wrong. Fix: Mend it."] * 2
    assert Unavailable("down", retry_after=timedelta(1)).retry_after == timedelta(1)
    assert (Later("soon", until=NOON).until, Later("soon", until=NOON).signal) == (NOON, None)
    assert issubclass(KeyTaken, SagacityError)
    assert "busy" in str(BatchRefused({UUID(int=1): Loss.BUSY}))
