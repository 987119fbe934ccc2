"""A flow and where one saga stands in it, as SVG.

Only classes, never colours: the style sheet gives them, so one drawing serves light and dark. What a
class says is also said in words, for who does not see colours, and again in the outline beside it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from sagacity.definition.flow import Flow
from sagacity.web.console.picture import LINE, Arrow, Box, Picture, laid_out

_EDGE, _BACK = 14.0, 76.0
"""Room around the drawing, and at its left where the way back is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far one saga has come.

    Attributes:
        here: leaf states in which it stands.
        been: states that it has left or stands in.
        notes: state → a few words below its name (time spent there).
        undo: step → what became of its compensation: undone, open or gave_up; only while it goes back.
        ways: pairs of states that it has gone between by itself.
        forced: names of the override edges by which an operator has moved it.
    """

    here: frozenset[str] = frozenset()
    been: frozenset[str] = frozenset()
    notes: Mapping[str, str] = field(default_factory=dict)
    undo: Mapping[str, str] = field(default_factory=dict)
    ways: frozenset[tuple[str, str]] = frozenset()
    forced: frozenset[str] = frozenset()


def svg(flow: Flow, walk: Walk | None = None, *, id: str = "diagram") -> str:
    """The drawing, to stand inside a page.

    Args:
        flow: what to draw.
        walk: where a saga stands in it; none where the flow itself is shown.
        id: what the ids inside the drawing begin with; differs for two drawings on one page.
    """
    walk = walk or Walk()
    picture = laid_out(flow)
    left = _BACK if walk.undo else _EDGE
    width, height = picture.right + left + _EDGE, picture.height + 2 * _EDGE
    title = f"The states of {flow.name}" + (f"; it is in {', '.join(sorted(walk.here))}" if walk.here else "")
    body = [
        f'<svg class="diagram" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" role="img" aria-labelledby="{id}-title">',
        f'<title id="{id}-title">{escape(title)}</title>',
        *_tips(id),
        f'<g transform="translate({left:g} {_EDGE:g})">',
        *(part for box in picture.boxes if box.frame for part in _frame(box)),
        *(part for arrow in picture.arrows for part in _arrow(arrow, walk, id)),
        *(part for box in picture.boxes if not box.frame for part in _state(flow, box, walk)),
        *_undo_path(picture, walk, id),
        "</g></svg>",
    ]
    return "\n".join(body)


def _tips(id: str) -> Iterator[str]:
    yield "<defs>"
    for kind in ("way", "gone", "back"):
        yield (
            f'<marker id="{id}-{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
            f' orient="auto-start-reverse"><path class="tip {kind}" d="M0.5 0.8 L7.2 4 L0.5 7.2 z"/></marker>'
        )
    yield "</defs>"


def _frame(box: Box) -> Iterator[str]:
    yield (
        f'<rect class="frame" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
        ' rx="8"/>'
    )
    yield f'<text class="frame-name" x="{box.x + 14:g}" y="{box.y + 20:g}">{escape(box.state)}</text>'


def _state(flow: Flow, box: Box, walk: Walk) -> Iterator[str]:
    kind = "here" if box.state in walk.here else "been" if box.state in walk.been else "ahead"
    final = " final" if flow.nodes[box.state].final else ""
    yield f'<g class="state {kind}{final}">'
    yield f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="6"/>'
    if final:
        yield (
            f'<rect class="inner" x="{box.x + 3:g}" y="{box.y + 3:g}" width="{box.width - 6:g}"'
            f' height="{box.height - 6:g}" rx="4"/>'
        )
    note = walk.notes.get(box.state, "")
    y = box.y + box.height / 2 + (-2 if note else 5)
    mark = {"here": "● ", "been": "✓ ", "ahead": ""}[kind]
    at = f'x="{box.middle:g}" text-anchor="middle"'
    yield f'<text class="name" {at} y="{y:g}">{mark}{escape(box.state)}</text>'
    if note:
        yield f'<text class="note" {at} y="{y + 15:g}">{escape(note)}</text>'
    yield "</g>"


def _arrow(arrow: Arrow, walk: Walk, id: str) -> Iterator[str]:
    way = arrow.override
    if way is None:
        kind = "gone" if (arrow.source, arrow.target) in walk.ways else "way"
    else:
        kind = "gone" if way.name in walk.forced else "way"
    drawn = " ".join(f"{'M' if n == 0 else 'L'}{x:g} {y:g}" for n, (x, y) in enumerate(arrow.points))
    path = f'd="{drawn}" marker-end="url(#{id}-{kind})"'
    if way is None:
        yield f'<path class="edge {kind}" {path}/>'
    else:
        why = f"{way.source} to {way.target}, only by an operator: {way.why}"
        yield f'<path class="edge {kind} override" {path}><title>{escape(why)}</title></path>'
    for number, line in enumerate(arrow.said):
        yield (
            f'<text class="said {line.role}" x="{arrow.x:g}" y="{arrow.y + number * LINE:g}">'
            f"{escape(line.text)}</text>"
        )


def _undo_path(picture: Picture, walk: Walk, id: str) -> Iterator[str]:
    """The way back, dotted, beside the arrows whose effects are or will be undone."""
    for arrow in picture.arrows:
        states = {walk.undo[step] for step in arrow.steps if step in walk.undo}
        if not states:
            continue
        kind = "gave_up" if "gave_up" in states else "open" if "open" in states else "undone"
        (x, low), (_, top) = arrow.points[-1], arrow.points[0]
        yield (
            f'<path class="undo {kind}" d="M{x - 9:g} {low - 3:g} L{x - 9:g} {top + 5:g}"'
            f' marker-end="url(#{id}-back)"/>'
        )
        word = {"gave_up": "stuck here", "open": "to undo", "undone": "undone"}[kind]
        yield (
            f'<text class="said undo {kind}" x="{x - 16:g}" y="{(low + top) / 2 + 4:g}" text-anchor="end">'
            f"{word}</text>"
        )
