"""Draws the two pictures of the README: a flow whose states form one line, and a terminal.

Plain SVG, made from the compiled flow and from real output; nothing in a picture is typed by hand.
"""

from collections.abc import Iterator, Sequence
from html import escape

from sagacity.definition.flow import Await, Edge, Flow, Step

BOX, HIGH, GAP, ROW, EDGE = 104, 40, 158, 132, 24
PER_ROW = 4
_FONT = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"'
_SANS = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
_STYLE = "stroke-linecap='round' stroke-linejoin='round' fill='none'"
FORWARD, BACK, QUIET, PAPER = "#1f6feb", "#cf222e", "#57606a", "#ffffff"


def diagram(flow: Flow) -> str:
    """The flow as SVG: forward in blue, what leads back in red.

    Raises:
        ValueError: its states do not form one line.
    """
    states = _line_of(flow)
    rows = -(-len(states) // PER_ROW)
    width = 2 * EDGE + PER_ROW * BOX + (PER_ROW - 1) * GAP
    height = 2 * EDGE + rows * HIGH + (rows - 1) * (ROW - HIGH) + 64
    body = [part for place, state in enumerate(states) for part in _state(flow, place, state)]
    body += [
        part
        for place, state in enumerate(states[:-1])
        for part in _arrow(flow, place, _leaving(flow, state)[0])
    ]
    cancels = [wait for wait in flow.awaits.values() if wait.event is None]
    body += _way_back(cancels, height)
    return _svg(width, height, f"The flow {flow.name}", body)


def _line_of(flow: Flow) -> list[str]:
    states = list(flow.start)
    while edges := _leaving(flow, states[-1]):
        targets = {edge.target for edge in edges}
        if len(targets) != 1:
            raise ValueError(f"{flow.name} branches at {states[-1]}: only a line can be drawn")
        states.append(targets.pop())
    if set(states) != set(flow.nodes):
        raise ValueError(f"{flow.name}: its states do not form one line")
    return states


def _leaving(flow: Flow, state: str) -> list[Edge]:
    return [edge for edges in flow.edges.values() for edge in edges if edge.source == state]


def _at(place: int) -> tuple[int, int]:
    row, column = divmod(place, PER_ROW)
    return EDGE + column * (BOX + GAP), EDGE + 16 + row * ROW


def _state(flow: Flow, place: int, state: str) -> Iterator[str]:
    x, y = _at(place)
    final = flow.nodes[state].final
    mark = f'fill="{"#dafbe1" if final else "#ddf4ff"}" stroke="{"#1a7f37" if final else FORWARD}"'
    yield f'<rect x="{x}" y="{y}" width="{BOX}" height="{HIGH}" rx="8" {mark} stroke-width="1.5"/>'
    yield _text(x + BOX / 2, y + HIGH / 2 + 4, state, bold=True)


def _arrow(flow: Flow, place: int, edge: Edge) -> Iterator[str]:
    (x, y), (to_x, to_y) = _at(place), _at(place + 1)
    step = next((step for step in flow.steps.values() if step.event == edge.event), None)
    wait = next((wait for wait in flow.awaits.values() if wait.event == edge.event), None)
    middle = y + HIGH / 2
    if to_y == y:
        yield _path(f"M{x + BOX + 3} {middle} H{to_x - 8}", FORWARD)
        label = (x + BOX + to_x) / 2 - 3
        yield from _labels(label, middle, step, wait)
        return
    # The line goes on in the next row: down, back to the left, and in from above.
    low = y + HIGH + (ROW - HIGH) / 2 + 14
    yield _path(
        f"M{x + BOX / 2} {y + HIGH + 3} V{low} H{to_x + BOX / 2} V{to_y - 8}",
        FORWARD,
    )
    yield from _labels((x + to_x + BOX) / 2, low, step, wait)


def _labels(x: float, y: float, step: Step | None, wait: Await | None) -> Iterator[str]:
    if step is not None:
        yield _text(x, y - 8, step.name.replace("_", " "), small=True)
        if step.undo is not None:
            yield _text(x, y + 17, f"undo: {step.undo.name}", small=True, colour=BACK)
    elif wait is not None:
        yield _text(x, y - 8, f"✉ {wait.signal}", small=True, colour=QUIET)
        yield _text(x, y + 17, f"within {wait.within.days} days, or back", small=True, colour=BACK)


def _way_back(cancels: Sequence[Await], height: int) -> Iterator[str]:
    told = "a refusal, a deadline, an operator's cancel"
    for wait in cancels:
        told += f" or ✉ {wait.signal} while {' or '.join(wait.states)}"
    yield _text(EDGE, height - 34, f"The way back begins with {told}.", small=True, colour=BACK, left=True)
    last = "Then every effect so far is undone, the last one first, and the saga ends rolled back."
    yield _text(EDGE, height - 16, last, small=True, colour=BACK, left=True)


def _path(drawn: str, colour: str) -> str:
    return f'<path d="{drawn}" stroke="{colour}" stroke-width="1.6" {_STYLE} marker-end="url(#tip)"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    bold: bool = False,
    small: bool = False,
    colour: str = "#1f2328",
    left: bool = False,
) -> str:
    size = 11.5 if small else 14
    weight = ' font-weight="600"' if bold else ""
    anchor = "start" if left else "middle"
    return (
        f'<text x="{x:g}" y="{y:g}" {_SANS} font-size="{size}" fill="{colour}"{weight}'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )


def terminal(lines: Sequence[str], *, title: str) -> str:
    """Lines of a terminal as SVG; those that begin with `$ ` are what was typed."""
    columns = max(len(line) for line in lines)
    width, height = round(columns * 7.83) + 2 * EDGE, len(lines) * 18 + 2 * EDGE
    body = []
    for number, line in enumerate(lines):
        colour = "#7ee787" if line.startswith("$ ") else "#e6edf3"
        text = escape(line)
        body.append(
            f'<text x="{EDGE}" y="{EDGE + 13 + number * 18}" {_FONT} font-size="13" fill="{colour}"'
            f' xml:space="preserve">{text}</text>'
        )
    return _svg(width, height, title, body, paper="#0d1117")


def _svg(width: float, height: float, title: str, body: Sequence[str], *, paper: str = PAPER) -> str:
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6"'
        ' orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{FORWARD}"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' role="img" aria-label="{escape(title)}">'
    )
    sheet = f'<rect width="{width:g}" height="{height:g}" rx="10" fill="{paper}"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", tip, sheet, *body, "</svg>", ""])
