"""The README's pictures show what the code does today; `python -m tests.docs.pictures` makes them anew."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.pictures import FLOW, STORY, flow_picture, story_picture

ANEW = "run `python -m tests.docs.pictures`"


def test_the_drawn_flow_is_the_flow() -> None:
    assert FLOW.read_text(encoding="utf-8") == flow_picture(), ANEW


@pytest.mark.timeout(200)
def test_the_shown_terminal_is_what_a_terminal_shows(tmp_path: Path) -> None:
    assert _said(story_picture(tmp_path)) == _said(STORY.read_text(encoding="utf-8")), ANEW


def _said(picture: str) -> list[str]:
    """The lines of a picture; whether a saga rests before its signal comes is a race, so without that."""
    texts = [
        element.text or "" for element in ElementTree.fromstring(picture) if element.tag.endswith("text")
    ]
    return [re.sub(r"^ *\d+  (?=2026)", "", text) for text in texts if "rests until" not in text]


@pytest.mark.parametrize("picture", [FLOW, STORY], ids=lambda path: path.name)
def test_a_picture_is_sound_svg_that_says_what_it_shows(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    assert root.tag.endswith("svg")
    assert root.attrib["aria-label"]
    assert "http" not in picture.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
