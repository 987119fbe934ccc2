"""Acts in any order, between any outcomes: no line stands where it may not, and plan and worker agree."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity.decide.operating import allowed, preview, refusal
from sagacity.fold import begun, fold
from sagacity.invariants.by_hand import i41_by_hand
from sagacity.invariants.machine import Relation
from sagacity.invariants.moves import judged
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import canonical, loaded
from sagacity.model.operating import Verb
from tests.unit.small_flows import Flat, Numbered, Probed, Side, Waiter
from tests.unit.story import Story
from tests.unit.test_acts_by_hand import Ways

FLOWS = (Flat, Probed, Side, Waiter, Ways)
RESULT = canonical({"id": "r", "big": True})
OUTCOMES: dict[str, O.Outcome] = {
    "done": O.Completed(result=RESULT),
    "no": O.Failed(error="no", final=True),
    "busy": O.Failed(error="busy"),
    "lost": O.Unknown(error="no answer"),
}
WORDS = st.sampled_from(["yes", "no", None])
ACTS: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.sampled_from(["retry", "pause", "resume", "cancel", "abandon"]), st.just({})),
    st.tuples(st.just("skip"), st.fixed_dictionaries({"landed": WORDS, "result": st.just(loaded(RESULT))})),
    st.tuples(
        st.just("force"),
        st.fixed_dictionaries(
            {
                "to": st.sampled_from(
                    ["taken", "kept", "told", "closed", "r1", "l2", "few", "filed", "rested"]
                ),
                "landed": WORDS,
                "break_edge": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just("release-lock"),
        st.fixed_dictionaries(
            {
                "object": st.sampled_from(["box:1", "box:2"]),
                "fence": st.sampled_from([3, 4]),
                "holder": st.just(str(UUID(int=7))),
            }
        ),
    ),
    st.tuples(
        st.just("signal"),
        st.fixed_dictionaries(
            {"name": st.sampled_from(["boss", "heard"]), "data": st.just({"approved": True})}
        ),
    ),
)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("outcome"), st.sampled_from(sorted(OUTCOMES))),
        st.tuples(st.just("act"), ACTS),
        st.tuples(st.just("time"), st.just("passes")),
    ),
    max_size=14,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FLOWS), MOVES)
def test_whatever_operators_do_no_line_stands_where_it_may_not(flow: Any, moves: list[Any]) -> None:
    story = Story(flow, Numbered())
    for kind, what in moves:
        if kind == "act":
            _acts(story, *what)
        elif kind == "time":
            story.passes(timedelta(hours=3))
        if story.record.status.final or not _goes_on(story, OUTCOMES[what] if kind == "outcome" else None):
            break
    assert _broken(story) == []


def _acts(story: Story, verb: str, args: dict[str, Any]) -> None:
    """What the plan says is what the worker does."""
    story.draft.fences = {"box:1": 4, "box:2": 3}
    record, flow = story.record, story.scope.flow
    why = refusal(record, flow, Verb(verb), args)
    shown = preview(record, flow, Verb(verb), args)
    if why is None:
        assert Verb(verb) in allowed(record, flow)
    story.acts(verb, args=args, revision=record.seq)
    seq = record.seq
    story.advance()
    line = story.told[seq]
    if why is None and not (verb == "release-lock" and isinstance(line, L.ActRefused)):
        assert isinstance(line, L.Act)
        assert loaded(line.after) == shown.after
    else:
        assert isinstance(line, L.ActRefused)
        assert why in (None, line.why)


def _goes_on(story: Story, outcome: O.Outcome | None) -> bool:
    """Drive it as a worker would, its locks its own whenever it asks. False: it is over or has committed."""
    moves = story.advance(holding=not story.record.locked and not story.draft.lines)
    if story.record.status.final or moves.finish:
        return False
    story.commit()
    if moves.undo is not None:
        story.settle_undo(moves, outcome or OUTCOMES["done"])
    for run in moves.steps:
        story.settle(run, outcome or OUTCOMES["done"])
    if moves.sleep is not None and not story.record.status.final:
        story.sleep(moves)
    return True


def _broken(story: Story) -> list[str]:
    first, *rest = story.told
    record, last = begun(story.record.id, first), first
    relation = Relation(story.scope.flow)
    found: list[str] = []
    for line in rest:
        found += [f"{number}: {why}" for number, why in judged(record, line)]
        found += [f"{number}: {why}" for number, why in relation.judged(record, line)]
        found += [why for why in (i41_by_hand(last, line),) if why is not None]
        record, last = fold(record, line), line
    return found
