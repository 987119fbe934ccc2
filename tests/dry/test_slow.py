"""What only takes long: slow calls, a signal at the last moment, a slow database; by chaos and by name."""

import pytest

from sagacity.dry import Report, dry_run, explored
from sagacity.dry.chaos import Chaos
from sagacity.dry.faults import CHAOS, read_fault
from tests.dry.flows import Sale

HAMLET = {"show": "hamlet"}


async def _with(*faults: str) -> Report:
    report = await dry_run(Sale, HAMLET, faults=faults, here=True)
    assert report.missed == ()
    return report


async def test_a_slow_answer_within_the_time_out_changes_nothing_but_the_time() -> None:
    plain, slow = await _with(), await _with("effect take_seat: slow")
    assert slow.verdict == plain.verdict == "would commit"
    assert [move.name for move in slow.path] == [move.name for move in plain.path]
    assert slow.seconds == pytest.approx(plain.seconds + 4.0)  # four fifths of the step's five seconds
    assert slow.calls[0].provenance == "fault"


async def test_a_signal_in_the_last_second_still_comes_in_time() -> None:
    report = await _with("wait consent: late")
    assert report.verdict == "would commit"
    assert report.seconds > 2 * 86_400 - 60


async def test_a_slow_database_only_costs_time() -> None:
    plain, slow = await _with(), await _with("store completed take_seat: slow")
    assert slow.verdict == "would commit"
    assert slow.seconds == pytest.approx(plain.seconds + 10.0)


async def test_an_exploration_leaves_out_what_only_takes_long() -> None:
    found = await explored(Sale, HAMLET)
    kinds = {(fault.where, fault.kind) for path in found.paths for fault in path.faults}
    assert kinds
    assert not kinds & CHAOS


def test_odds_are_given_by_external_too_and_the_first_pattern_counts() -> None:
    chaos = Chaos(rates={"theatre effect *: lost": 0.5, "effect *: lost": 0.1, "*": 0.0})
    called = {"take_seat": "theatre", "pay": "bureau"}
    odds = {
        name: chaos.rate(read_fault(f"effect {name}: lost"), called) for name in ("take_seat", "pay", "other")
    }
    assert odds == {"take_seat": 0.5, "pay": 0.1, "other": 0.1}
    assert chaos.rate(read_fault("undo take_seat: lost"), called) == 0.0


async def test_chaos_plays_what_only_takes_long() -> None:
    from sagacity.dry.chaos import chaotic
    from sagacity.dry.live import Nowhere
    from sagacity.dry.rehearsing import made_scene

    def played() -> str:
        scene = made_scene(Sale.flow, HAMLET, minds={})
        rates = {"store *": 1.0, "wait *: late": 1.0, "theatre effect *: slow": 1.0, "*": 0.0}
        found = chaotic(scene, Nowhere(), Chaos(seed=1, runs=1, rates=rates))
        assert found.ok
        return found.json()

    import asyncio

    assert await asyncio.to_thread(played) == await asyncio.to_thread(played)
