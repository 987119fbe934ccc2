"""Drawings of flows: nothing covers anything, and the text beside a picture says all that it says."""

import re
from datetime import timedelta
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, awaits, cancel, override
from sagacity.cli.words import name
from sagacity.definition.flow import Flow
from sagacity.web.console import outline
from sagacity.web.console.picture import Said, laid_out, said_of
from sagacity.web.console.svg import Walk, svg
from sagas.offboarding import Deprovision, Offboarding
from sagas.order import Order
from sagas.transfer import OpenAccount, Transfer
from tests.unit import small_flows
from tests.unit.test_acts_by_hand import Ways

REFERENCE: tuple[Any, ...] = (Order, Transfer, OpenAccount, Offboarding, Deprovision)
SMALL: tuple[Any, ...] = tuple(
    one
    for one in vars(small_flows).values()
    if isinstance(one, type) and issubclass(one, Saga) and one is not Saga
)
A_DAY = timedelta(days=1)


class Crowded(Saga, version=1):
    """Ways by hand past a state that stands beside, into and out of a frame, and back up."""

    class Input(BaseModel):
        n: int = 1

    begun = State(initial=True)
    left = State()
    right = State()

    class work(State.Parallel):
        class desk(State.Compound):
            one = State(initial=True)
            two = State()
            done = State(final=True)

        class shelf(State.Compound):
            empty = State(initial=True)
            full = State(final=True)

    closed = State(final=True)

    go_left = begun.to(left)
    go_right = begun.to(right)
    from_left = left.to(work)
    from_right = right.to(work)
    do_one = work.desk.one.to(work.desk.two)
    do_two = work.desk.two.to(work.desk.done)
    do_fill = work.shelf.empty.to(work.shelf.full)
    done_state_work = work.to(closed)

    left_it = awaits(go_left, signal="left", within=A_DAY, otherwise=cancel)
    right_it = awaits(go_right, signal="right", within=A_DAY, otherwise=cancel)
    left_did = awaits(from_left, signal="on", within=A_DAY, otherwise=cancel)
    right_did = awaits(from_right, signal="on", within=A_DAY, otherwise=cancel)
    one_did = awaits(do_one, signal="one", within=A_DAY, otherwise=cancel)
    two_did = awaits(do_two, signal="two", within=A_DAY, otherwise=cancel)
    it_filled = awaits(do_fill, signal="fill", within=A_DAY, otherwise=cancel)

    past_the_work = override(left, closed, why="it was done on paper")
    once_more = override(work, begun, why="the paper was lost")
    over_there = override(left, right, why="they sit on the other side")
    skip_one = override(work.desk.one, work.desk.done, why="one is on leave")


FLOWS = [saga.flow for saga in (*REFERENCE, *SMALL, Ways, Crowded)]
each = pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)


@each
def test_no_state_covers_another_one(flow: Flow) -> None:
    boxes = [box for box in laid_out(flow).boxes if not box.frame]
    assert {box.state for box in boxes} == {node.id for node in flow.nodes.values() if not node.children}
    for a, b in combinations(boxes, 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart, f"{a} and {b}"


@each
def test_a_frame_holds_the_states_in_it_and_no_other(flow: Flow) -> None:
    picture = laid_out(flow)
    frames = {box.state: box for box in picture.boxes if box.frame}
    for state, frame in frames.items():
        for box in picture.boxes:
            if box.state == state:
                continue
            inside = (
                frame.x <= box.x
                and box.x + box.width <= frame.x + frame.width
                and frame.y <= box.y
                and box.y + box.height <= frame.y + frame.height
            )
            parent, within = flow.nodes[box.state].parent, False
            while parent is not None:
                within, parent = within or parent == state, flow.nodes[parent].parent
            assert inside == within, f"{box.state} and the frame {state}"


@each
def test_everything_stands_on_the_sheet(flow: Flow) -> None:
    picture = laid_out(flow)
    for box in picture.boxes:
        assert box.x >= 0
        assert box.x + box.width <= picture.right
        assert box.y + box.height <= picture.height
    for arrow in picture.arrows:
        assert all(0 <= x <= picture.right and -1 <= y <= picture.height for x, y in arrow.points), arrow


@each
def test_every_transition_is_drawn_once_with_what_it_takes(flow: Flow) -> None:
    edges = [edge for table in (flow.edges, flow.joins) for group in table.values() for edge in group]
    drawn = [line for arrow in laid_out(flow).arrows for line in arrow.said]
    wanted = [line for edge in edges for line in said_of(flow, edge)]
    wanted += [Said(text=f"by hand: {name(way.name)}", role="override") for way in flow.overrides]
    assert sorted(map(str, drawn)) == sorted(map(str, wanted))


@each
def test_the_drawing_is_well_formed_and_brings_no_colour_or_style_of_its_own(flow: Flow) -> None:
    drawing = svg(flow, Walk(here=frozenset(flow.start), been=frozenset(flow.start)))
    ElementTree.fromstring(drawing)
    assert "style=" not in drawing
    assert re.findall(r'(?:fill|stroke)="', drawing) == []
    assert "#" not in re.sub(r"url\(#[^)]+\)", "", drawing)


@each
def test_the_outline_says_all_that_the_picture_says(flow: Flow) -> None:
    walk = Walk(here=frozenset(flow.start), notes={flow.start[0]: "3m 2s"})
    drawing = ElementTree.fromstring(svg(flow, walk))
    shown = {
        re.sub("^[●✓] ", "", "".join(text.itertext()))
        for text in drawing.iter("{http://www.w3.org/2000/svg}text")
    }
    items = outline.of(flow, walk)
    said = {item.state for item in items} | {item.note for item in items}
    said |= {line.text for item in items for way in item.ways for line in way.said}
    assert shown - said == set()


def test_a_state_that_a_saga_stands_in_is_marked_by_a_word_and_a_sign_and_not_by_colour_alone() -> None:
    drawing = svg(Order.flow, Walk(here=frozenset({"paid"}), been=frozenset({"placed", "paid"})))
    assert "it is in paid" in drawing
    assert "● paid" in drawing
    assert "✓ placed" in drawing


@each
def test_a_way_that_only_operators_go_is_dashed_and_no_other(flow: Flow) -> None:
    drawing = ElementTree.fromstring(svg(flow))
    paths = [path.get("class", "") for path in drawing.iter("{http://www.w3.org/2000/svg}path")]
    assert sum("override" in kind for kind in paths) == len(flow.overrides)
    told = {way.why for item in outline.of(flow, Walk()) for way in item.ways if way.why is not None}
    assert told == {way.why for way in flow.overrides}
    for way in flow.overrides:
        [item] = [item for item in outline.of(flow, Walk()) if item.state == way.source]
        assert [one.target for one in item.ways if one.why == way.why] == [way.target]


@each
def test_a_way_by_hand_goes_through_no_state(flow: Flow) -> None:
    picture = laid_out(flow)
    for arrow in picture.arrows:
        for (x1, y1), (x2, y2) in pairwise(arrow.points) if arrow.override is not None else ():
            for box in picture.boxes:
                if box.frame:
                    continue
                apart = (
                    max(x1, x2) <= box.x
                    or min(x1, x2) >= box.x + box.width
                    or max(y1, y2) <= box.y
                    or min(y1, y2) >= box.y + box.height
                )
                assert apart, f"{arrow.override} and {box.state}"


def test_a_way_that_was_forced_is_marked_and_the_flow_s_own_between_the_same_states_is_not() -> None:
    forced = Walk(been=frozenset({"taken", "kept"}), forced=frozenset({"past_the_depot"}))
    gone = Walk(been=frozenset({"taken", "kept"}), ways=frozenset({("taken", "kept")}))
    assert re.findall('class="(edge gone[^"]*)"', svg(Ways.flow, forced)) == ["edge gone override"]
    assert re.findall('class="(edge gone[^"]*)"', svg(Ways.flow, gone)) == ["edge gone"]
    for walk, whys in ((forced, ["the depot keeps it without being asked"]), (gone, [None])):
        assert [way.why for item in outline.of(Ways.flow, walk) for way in item.ways if way.gone] == whys
