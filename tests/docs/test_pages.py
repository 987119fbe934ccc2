"""Every code block of README and docs/ is run, page by page, from top to bottom."""

import re
from pathlib import Path

import pytest

from sagacity.cli.scaffold import lay_out
from sagas.services.desk import OFFERS
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of
from tests.docs.runner import RUNNABLE, Reader, agrees, copy_of_project, is_part_of, promises

SHOWN_ONLY = {"", "text", "mermaid"}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=_name)
def test_a_reader_who_types_everything_gets_what_the_page_promises(page: Path, tmp_path: Path) -> None:
    reader = Reader(copy_of_project(tmp_path))
    try:
        for block in blocks_of(page):
            reader.follow(block)
    finally:
        if list((tmp_path / ".sagacity").glob("*.pid")):  # a page that failed midway leaves nothing running
            Reader(tmp_path).follow(Block(page=page, line=0, language="sh", text="make demo-stop"))


@pytest.mark.timeout(300)
def test_the_readme_of_a_new_project_is_right_word_for_word(tmp_path: Path) -> None:
    page = next(path for path in lay_out(tmp_path / "shop") if path.name == "README.md")
    text = page.read_text(encoding="utf-8")
    list(lay_out(tmp_path / "kiosk"))
    addresses = dict(re.findall(r"export SAGACITY_(\w+)_URL=http://127\.0\.0\.1:(\d+)", text))
    assert addresses == {name.upper(): str(8101 + offset) for offset, name in enumerate(OFFERS)}
    reader = Reader(tmp_path / "kiosk")
    for block in blocks_of(page):
        reader.follow(block)


def test_no_page_holds_a_block_that_nobody_can_run() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    assert blocks
    assert [b.where for b in blocks if b.language not in {*RUNNABLE, *SHOWN_ONLY}] == []


def targets_of(text: str) -> list[str]:
    """Files that a page names: by its links, and by `src` and `srcset` of its pictures."""
    named = re.findall(r"\]\(([^)#\s]+)", text)
    named += re.findall(r"""\ssrc=["']([^"'#]+)""", text)
    sets = re.findall(r"""\ssrcset=["']([^"']+)""", text)
    named += [one.split()[0] for several in sets for one in several.split(",") if one.strip()]
    return [target for target in named if not re.match(r"(https?|mailto|data):", target)]


def test_links_between_pages_and_their_pictures_lead_somewhere() -> None:
    broken = [
        f"{_name(page)}: {target}"
        for page in PAGES
        for target in targets_of(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
    shown = {
        (page.parent / target).resolve() for page in PAGES for target in targets_of(page.read_text("utf-8"))
    }
    pictures = set((ROOT / "docs" / "img" / "console").glob("*.png"))
    assert pictures
    assert sorted(pictures - shown) == [], "pictures that no page shows"


def test_every_way_to_name_a_file_is_seen() -> None:
    text = """[a](b.md#c) [out](https://x.example/y) [here](#z) ![shown](d.svg)
    <img src="e.png" width="1"> <source media="m" srcset="f.png 1x, img/g.png 2x"> <img src='https://x.example/i.png'>"""
    assert targets_of(text) == ["b.md", "d.svg", "e.png", "f.png", "img/g.png"]


def test_the_runner_sees_when_a_page_promises_something_else(tmp_path: Path) -> None:
    said = promises("$ printf 'a 1\\nb 2\\n'\na …\nb 2\n$ true\n")
    assert said == [("printf 'a 1\\nb 2\\n'", "a …\nb 2\n"), ("true", "")]
    assert agrees("a …\nb 2\n", "a 1\nb 2\n")
    assert agrees("…\nb 2\n", "x\ny\nb 2\n")
    assert not agrees("a …\nb 3\n", "a 1\nb 2\n")
    assert is_part_of("def f():\n    return 1\n", 'def f():\n    """Says."""\n    return 1\ng = 2\n')
    assert not is_part_of("def f():\n    return 2\n", "def f():\n    return 1\n")
    wrong = Block(page=ROOT / "README.md", line=1, language="console", text="$ echo yes\nno\n")
    with pytest.raises(AssertionError, match=r"README\.md:1"):
        Reader(tmp_path).follow(wrong)
    failing = Block(page=ROOT / "README.md", line=1, language="sh", text="false\n")
    with pytest.raises(AssertionError, match="exit code 1"):
        Reader(tmp_path).follow(failing)
