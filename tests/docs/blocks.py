"""Reads the code blocks of a page, so that each of them can be run where it stands."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)(?P<rest>[^`\n]*)$")
_EXCERPT = re.compile(r"^# from (?P<path>[\w./-]+\.py)\b")
_FILE = re.compile(r"^(?:#|--) (?P<path>[\w./-]+\.\w+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: `line` is that of its first line of text, `text` ends with a line end."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """Page and line, as an editor opens it."""
        page = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page
        return f"{page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the block is the content of: its first line is a comment with a path."""
        first = self.text.partition("\n")[0]
        named = _FILE.match(first)
        return named["path"] if named else None

    @property
    def excerpt(self) -> str | None:
        """The file that the block is a part of: its first line says `# from PATH`."""
        named = _EXCERPT.match(self.text.partition("\n")[0])
        return named["path"] if named else None


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    text: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, text = (number + 1, fence["language"], fence["indent"]), []
        elif opened is not None and line.strip() == "```":
            found.append(
                Block(page=page, line=opened[0], language=opened[1], text="".join(f"{t}\n" for t in text))
            )
            opened = None
        elif opened is not None:
            text.append(line.removeprefix(opened[2]))
    assert opened is None, f"{page}: the block of line {opened} is never closed"
    return found
