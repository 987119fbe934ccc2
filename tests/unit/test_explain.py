"""A sentence for every status: why it stands there, what comes next, and what may be done."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sagacity.decide import explain
from sagacity.decide.begin import rollback_payload
from sagacity.decide.permitting import standing
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical
from sagacity.model.record import Phase, Run, Status
from tests.unit.small_flows import Flat, Numbered, Parent, Waiter
from tests.unit.story import Story, kept


def running() -> Story:
    return Story(Flat, Numbered())


def doing() -> Story:
    story = running()
    story.runs()
    return story


def queueing() -> Story:
    return Story(Flat, Numbered(), granted=False)


def retrying() -> Story:
    story = doing()
    story.settle(story.runs(), O.Failed(error="down"))
    story.sleep(story.advance())
    return story


def asking() -> Story:
    story = Story(Waiter, Numbered(n=7))
    story.does(kept(1), {"big": True})
    story.sleep(story.advance())
    return story


def resting() -> Story:
    story = Story(Waiter, Numbered(n=3))
    story.does(kept(1), {"big": False})
    story.sleep(story.advance())
    return story


def with_children() -> Story:
    story = Story(Parent, Numbered(n=1))
    story.does(kept(1), [{"n": 1}])
    story.sleep(story.advance())
    return story


def pivoted() -> Story:
    story = running()
    story.does(kept(1), kept(2), None)
    return story


def committed() -> Story:
    story = running()
    story.does(kept(1), kept(2), None, None)
    story.advance()
    story.finish()
    return story


def going_back() -> Story:
    story = running()
    story.does(kept(1))
    story.tell("cancel", data="stop")
    story.advance()
    return story


def undo_again() -> Story:
    story = going_back()
    story.settle_undo(story.advance(), O.Failed(error="down"))
    story.sleep(story.advance())
    return story


def rolled_back() -> Story:
    story = queueing()
    story.tell("cancel", data="stop")
    story.advance()
    return story


def stuck() -> Story:
    story = going_back()
    story.settle_undo(story.advance(), O.Failed(error="no such thing", final=True))
    return story


def stuck_forward() -> Story:
    story = running()
    story.draft.add(L.Stuck(why="fault: KeyError", at=story.now))
    return story


def rolling_back() -> Story:
    origin = running()
    origin.does(kept(1))
    payload = rollback_payload(saga=origin.record.id, effects=origin.record.effects, restores=())
    return Story(Flat, Numbered(), payload=payload)


def paused() -> Story:
    story = running()
    story.does(kept(1), kept(2))
    story.acts("pause")
    story.advance()
    return story


AT_REST = ("force", "abandon")
CASES = [
    (running, "in begun", "its next step is recorded", ("pause", "cancel")),
    (doing, "doing take", "its next step is recorded", ("pause", "cancel")),
    (
        queueing,
        "queues for box:1, box:2",
        "it goes on when it is first in all its queues",
        ("pause", "cancel", *AT_REST),
    ),
    (
        *(retrying, "take failed (attempt 2): down", "at 2026-03-01 12:00:10Z: it is tried again"),
        ("retry", "pause", "cancel", "skip", *AT_REST),
    ),
    (
        asking,
        "waits for approval: boss or called_off",
        "at 2026-03-01 13:00:00Z: the deadline of allowance passes",
        ("pause", "cancel", "signal", *AT_REST),
    ),
    (
        resting,
        "waits for signal: called_off or rested_enough",
        "at 2026-03-01 12:05:00Z: rested_enough goes on",
        ("pause", "cancel", "signal", *AT_REST),
    ),
    (
        with_children,
        "waits for its child sagas",
        "it goes on when they have ended",
        ("pause", "cancel", *AT_REST),
    ),
    (pivoted, "in told", "its next step is recorded", ("pause",)),
    (committed, "everything happened", "nothing: it is over", ("rollback",)),
    (going_back, "going back: stop", "Depot.give_back makes good for take", ("pause",)),
    (
        *(undo_again, "going back: stop"),
        *("at 2026-03-01 12:00:00Z: the compensation is tried again", ("retry", "pause", "skip", "abandon")),
    ),
    (rolled_back, "went back: stop", "nothing: it is over", ()),
    (
        stuck,
        "Depot.give_back of take gave up after 1 attempts: no such thing",
        "NOTHING: an operator must act",
        ("retry", "pause", "skip", "abandon", "release-lock", "ack"),
    ),
    (
        *(stuck_forward, "fault: KeyError", "NOTHING: an operator must act"),
        ("retry", "pause", "cancel", "skip", *AT_REST, "release-lock", "ack"),
    ),
    (rolling_back, "rolling back a committed saga", "Depot.give_back makes good for take", ("pause",)),
    (
        *(paused, "an operator paused it (in kept)", "NOTHING: an operator paused it, and must resume it"),
        ("resume", "cancel", *AT_REST, "release-lock"),
    ),
]


@pytest.mark.parametrize(("made", "why", "after", "acts"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_it_is_told_in_a_sentence(made, why: str, after: str, acts: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    record = made().record
    assert explain.why(record) == why
    assert explain.next_move(record) == after
    assert explain.allowed(record) == acts


@pytest.mark.parametrize("status", list(Status))
def test_no_status_is_without_words(status: Status) -> None:
    from dataclasses import replace

    record = replace(running().record, status=status)
    assert explain.why(record)
    assert explain.next_move(record)


def test_what_is_allowed_is_what_the_decisions_take() -> None:
    for made, *_ in CASES:
        for act in ("cancel", "retry"):
            story = made()
            story.tell(act, data="so")
            story.advance(busy=frozenset(run.step for run in story.record.runs))
            refused = bool(story.of(L.ActRefused))
            assert refused == (act not in explain.allowed(made().record)), (made.__name__, act)


def test_the_last_error_that_still_matters() -> None:
    assert explain.last_error(running().record) is None
    assert explain.last_error(retrying().record) == "down"
    assert explain.last_error(stuck().record) == "no such thing"


def test_a_compensation_that_gave_up_comes_before_the_step_that_led_there() -> None:
    record = stuck().record
    run = Run(step="charge", phase=Phase.GAVE_UP, since=record.updated_at, error="refused at the time")
    assert explain.last_error(replace(record, runs=(run,))) == "no such thing"


def test_when_it_moves_by_itself() -> None:
    story = asking()
    assert explain.due_at(story.record) == story.now + timedelta(hours=1)
    assert explain.due_at(running().record) is None
    assert canonical(standing(going_back().record).key)  # type: ignore[union-attr]
