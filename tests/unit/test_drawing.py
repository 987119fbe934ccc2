"""Drawings of flows: nothing covers anything, and the text beside a picture says all that it says."""

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from sagacity import Saga
from sagacity.definition.flow import Flow
from sagacity.web.console import outline
from sagacity.web.console.picture import laid_out, said_of
from sagacity.web.console.svg import Walk, svg
from sagas.offboarding import Deprovision, Offboarding
from sagas.order import Order
from sagas.transfer import OpenAccount, Transfer
from tests.unit import small_flows

REFERENCE: tuple[Any, ...] = (Order, Transfer, OpenAccount, Offboarding, Deprovision)
SMALL: tuple[Any, ...] = tuple(
    one
    for one in vars(small_flows).values()
    if isinstance(one, type) and issubclass(one, Saga) and one is not Saga
)
FLOWS = [saga.flow for saga in (*REFERENCE, *SMALL)]
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
