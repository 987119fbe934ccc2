"""Where the states of a flow stand when they are drawn: boxes, frames and arrows, in plain numbers.

States run from top to bottom in the order in which they can be reached, so a flow reads like a
text. Nothing here knows colours or SVG: `svg.py` draws what is laid out here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sagacity.cli.words import length, name
from sagacity.definition.flow import CANCEL, NO_DEADLINE, Await, Edge, Flow, Override, Step
from sagacity.model.record import WaitsFor

BOX, LINE, AIR, PAD, TITLE, LANE = 44.0, 16.0, 26.0, 16.0, 22.0, 18.0
_LETTER, _SMALL = 7.6, 6.7
BESIDE = 40.0
"""Room between two states of one row, in the units of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One line beside an arrow. `role`: step, undo, wait, guard, note or override."""

    text: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One state; `frame` where others stand in it. All in units from the upper left corner."""

    state: str
    x: float
    y: float
    width: float
    height: float
    frame: bool = False

    @property
    def middle(self) -> float:
        """Its centre, across."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """The way from one state to another: its corners, and what is said beside it, from (`x`, `y`) down.

    Attributes:
        source, target: what it joins in the picture: a state, or the frame that the state stands in.
        steps: what runs on the way.
        override: only an operator goes it; where it really leads from and to, and what for.
    """

    source: str
    target: str
    points: tuple[tuple[float, float], ...]
    said: tuple[Said, ...]
    x: float
    y: float
    steps: tuple[str, ...] = ()
    override: Override | None = None


@dataclass(slots=True)
class Picture:
    """All of it; grows while it is laid out, then moved once so that it begins at 0."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0
    height: float = 0.0

    def moved(self, dx: float, dy: float) -> "Picture":
        """The same, elsewhere."""
        return Picture(
            boxes=[replace(box, x=box.x + dx, y=box.y + dy) for box in self.boxes],
            arrows=[
                replace(
                    arrow,
                    points=tuple((x + dx, y + dy) for x, y in arrow.points),
                    x=arrow.x + dx,
                    y=arrow.y + dy,
                )
                for arrow in self.arrows
            ],
            left=self.left + dx,
            right=self.right + dx,
            height=self.height + dy,
        )

    def add(self, other: "Picture") -> None:
        """Take in what another holds."""
        self.boxes += other.boxes
        self.arrows += other.arrows
        self.left, self.right = min(self.left, other.left), max(self.right, other.right)
        self.height = max(self.height, other.height)

    def box(self, state: str) -> Box:
        """The box of a state."""
        return next(box for box in self.boxes if box.state == state)


def laid_out(flow: Flow) -> Picture:
    """The flow's states and transitions, each at its place; the left edge is at 0."""
    drawn = _Layout(flow).inside(None)
    return drawn.moved(-drawn.left, 0)


class _Layout:
    """One flow on its way into a picture, one level of its states at a time."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        tables = (*flow.edges.values(), *flow.joins.values())
        self.edges = [edge for group in tables for edge in group]

    def inside(self, parent: str | None) -> Picture:
        """The states directly in `parent`, around a middle line at 0."""
        children = [node.id for node in self.flow.nodes.values() if node.parent == parent]
        blocks = {child: self._block(child) for child in children}
        if parent is not None and self.flow.nodes[parent].kind == "parallel":
            picture = Picture()
            _row(picture, [blocks[child] for child in children], 0.0)
            return picture
        between = self._between(children)
        ranks = _ranks(children, between)
        picture, top = Picture(), 0.0
        for number in range(max(ranks.values(), default=0) + 1):
            row = [child for child in children if ranks[child] == number]
            low = _row(picture, [blocks[child] for child in row], top)
            said = [
                len(lines)
                for (source, target), lines in between.items()
                if source in row and ranks[target] == number + 1
            ]
            top = low + AIR + LINE * max([*said, 1])
        self._arrows(picture, between, ranks)
        self._by_hand(picture, children)
        return picture

    def _block(self, state: str) -> Picture:
        """A state by itself: its box, or the frame with what stands in it."""
        if not self.flow.nodes[state].children:
            width = max(104.0, _LETTER * len(state) + 30)
            box = Box(state=state, x=-width / 2, y=0, width=width, height=BOX)
            return Picture(boxes=[box], left=-width / 2, right=width / 2, height=BOX)
        inner = self.inside(state).moved(0, TITLE + PAD)
        left = min(inner.left, -_LETTER * len(state) / 2) - PAD
        right = max(inner.right, _LETTER * len(state) / 2) + PAD
        frame = Box(state=state, x=left, y=0, width=right - left, height=inner.height + PAD, frame=True)
        whole = Picture(boxes=[frame], left=left, right=right, height=inner.height + PAD)
        whole.boxes += inner.boxes
        whole.arrows += inner.arrows
        return whole

    def _between(self, children: Sequence[str]) -> dict[tuple[str, str], list[Said]]:
        """What is said of each pair of siblings that an edge joins, in document order."""
        found: dict[tuple[str, str], list[Said]] = {}
        for edge in self.edges:
            pair = self._upto(edge.source, children), self._upto(edge.target, children)
            if (
                pair[0] is not None
                and pair[1] is not None
                and (pair[0] != pair[1] or edge.source == edge.target)
            ):
                found.setdefault((pair[0], pair[1]), []).extend(said_of(self.flow, edge))
        return found

    def _upto(self, state: str, children: Sequence[str]) -> str | None:
        at: str | None = state
        while at is not None and at not in children:
            at = self.flow.nodes[at].parent
        return at

    def _arrows(
        self, picture: Picture, between: Mapping[tuple[str, str], list[Said]], ranks: Mapping[str, int]
    ) -> None:
        far = []
        for (source, target), said in between.items():
            if ranks[target] - ranks[source] == 1:
                alone = (
                    sum(1 for pair in between if pair[0] == source and ranks[pair[1]] == ranks[target]) == 1
                )
                arrow = _down(picture.box(source), picture.box(target), said, alone=alone)
                picture.arrows.append(replace(arrow, steps=self._steps(source, target)))
                picture.right = max(picture.right, arrow.x + wide(said))
            else:
                far.append((abs(ranks[target] - ranks[source]), source, target, said))
        for _, source, target, said in sorted(far, key=lambda item: item[0]):
            arrow = _around(picture.box(source), picture.box(target), said, picture.right + LANE)
            picture.arrows.append(replace(arrow, steps=self._steps(source, target)))
            picture.right = arrow.x + wide(said)

    def _by_hand(self, picture: Picture, children: Sequence[str]) -> None:
        """Override edges between these, each on a lane of its own at the right of all else."""
        found = []
        for way in self.flow.overrides:
            source, target = self._upto(way.source, children), self._upto(way.target, children)
            if source is not None and target is not None and source != target:
                found.append((picture.box(source), picture.box(target), way))
        for source_box, target_box, way in sorted(found, key=lambda one: abs(one[0].y - one[1].y)):
            said = [said_of_override(way)]
            arrow = _beside(picture, source_box, target_box, said, picture.right + LANE)
            picture.arrows.append(replace(arrow, override=way))
            picture.right = arrow.x + wide(said)

    def _steps(self, source: str, target: str) -> tuple[str, ...]:
        events = {edge.event for edge in self.edges if edge.source == source and edge.target == target}
        return tuple(step.name for step in self.flow.steps.values() if step.event in events)


def _row(picture: Picture, blocks: Sequence[Picture], top: float) -> float:
    """Put blocks side by side, their middle at 0; where the row ends below."""
    room = BESIDE if len(blocks) < 2 else BESIDE + 30
    widths = [block.right - block.left for block in blocks]
    at = -(sum(widths) + room * (len(blocks) - 1)) / 2 if len(blocks) > 1 else 0.0
    low = top
    for block, width in zip(blocks, widths, strict=True):
        dx = at - block.left if len(blocks) > 1 else 0.0
        placed = block.moved(dx, top)
        picture.add(placed)
        low, at = max(low, placed.height), at + width + room
    return low


def _ranks(children: Sequence[str], between: Mapping[tuple[str, str], object]) -> dict[str, int]:
    """How far down each state stands: the longest way to it, ways back left out."""
    after: dict[str, list[str]] = {child: [] for child in children}
    for source, target in between:
        if source != target:
            after[source].append(target)
    order, on_way, seen = [], set(), set()

    def visit(child: str) -> None:
        seen.add(child)
        on_way.add(child)
        after[child] = [target for target in after[child] if target not in on_way]
        for target in after[child]:
            if target not in seen:
                visit(target)
        on_way.discard(child)
        order.append(child)

    for child in children:
        if child not in seen:
            visit(child)
    ranks = dict.fromkeys(children, 0)
    for child in reversed(order):
        for target in after[child]:
            ranks[target] = max(ranks[target], ranks[child] + 1)
    return ranks


def _down(source: Box, target: Box, said: Sequence[Said], *, alone: bool) -> Arrow:
    """From a state to one in the next row: straight where one stands below the other, else with a knee."""
    low, top = source.y + source.height, target.y - 2
    if abs(source.middle - target.middle) < 1:
        points: tuple[tuple[float, float], ...] = ((source.middle, low), (target.middle, top))
        x = target.middle
    else:
        knee = top - 12 if alone else low + 12
        points = ((source.middle, low), (source.middle, knee), (target.middle, knee), (target.middle, top))
        x = source.middle if alone else target.middle
    y = (low + top) / 2 - LINE * len(said) / 2 + LINE * 0.72
    return Arrow(source=source.state, target=target.state, points=points, said=tuple(said), x=x + 12, y=y)


def _around(source: Box, target: Box, said: Sequence[Said], lane: float) -> Arrow:
    """From a state to one that is not next to it, down or back up on a lane of its own at the right."""
    begin, end = source.y + source.height * 0.68, target.y + target.height * 0.32
    if source.state == target.state:
        begin, end = source.y + source.height * 0.8, source.y + source.height * 0.25
    points = (
        (source.x + source.width, begin),
        (lane, begin),
        (lane, end),
        (target.x + target.width + 2, end),
    )
    y = (begin + end) / 2 - LINE * len(said) / 2 + LINE * 0.72
    return Arrow(source=source.state, target=target.state, points=points, said=tuple(said), x=lane + 8, y=y)


def _beside(picture: Picture, source: Box, target: Box, said: Sequence[Said], lane: float) -> Arrow:
    """As `_around`, a little apart from those, and around a state that stands in the way."""
    low, top = source.y + source.height, target.y
    out, into = low - source.height * 0.16, top + target.height * 0.16
    if _is_free(picture, source):
        begin: tuple[tuple[float, float], ...] = ((source.x + source.width, out), (lane, out))
    else:
        begin = ((source.middle + 20, low), (source.middle + 20, low + 7), (lane, low + 7))
    if _is_free(picture, target):
        end: tuple[tuple[float, float], ...] = ((lane, into), (target.x + target.width + 2, into))
    else:
        end = ((lane, top - 9), (target.middle + 20, top - 9), (target.middle + 20, top - 2))
    y = (begin[-1][1] + end[0][1]) / 2 - LINE * len(said) / 2 + LINE * 0.72
    points = (*begin, *end)
    return Arrow(source=source.state, target=target.state, points=points, said=tuple(said), x=lane + 8, y=y)


def _is_free(picture: Picture, box: Box) -> bool:
    """Nothing stands at its right."""
    return not any(
        other.x >= box.x + box.width and other.y < box.y + box.height and box.y < other.y + other.height
        for other in picture.boxes
    )


def wide(said: Sequence[Said]) -> float:
    """How much room lines of text take, across."""
    return max((_SMALL * len(line.text) for line in said), default=0.0) + 8


def said_of(flow: Flow, edge: Edge) -> Iterator[Said]:
    """What moves the saga along an edge, and what leads back from there."""
    steps = [step for step in flow.steps.values() if step.event == edge.event]
    waits = [wait for wait in flow.awaits.values() if wait.event == edge.event]
    for step in steps:
        yield from _of_step(step)
    for wait in waits:
        yield from _of_wait(wait)
    for wait in flow.awaits.values():
        if wait.otherwise == edge.event:
            yield Said(text=f"{name(wait.name)} did not come in {length(wait.within)}", role="wait")
    if not steps and not waits and edge.event.startswith("done_state_"):
        yield Said(text="all done", role="note")
    for guard in edge.guards:
        yield Said(text=f"if {'' if guard.expected else 'not '}{name(guard.name)}", role="guard")


def said_of_override(way: Override) -> Said:
    """What is said beside a way that only an operator goes."""
    return Said(text=f"by hand: {name(way.name)}", role="override")


def _of_step(step: Step) -> Iterator[Said]:
    yield Said(text=name(step.name), role="step")
    if step.child is not None:
        yield Said(text=f"each a {step.child.flow.name}", role="note")
    elif step.undo is not None:
        yield Said(text=f"undo: {step.undo.name}", role="undo")
    elif step.final:
        yield Said(text="cannot be undone", role="undo")
    if step.pivot:
        yield Said(text="point of no return", role="note")


def _of_wait(wait: Await) -> Iterator[Said]:
    if wait.kind is WaitsFor.TIMER:
        yield Said(text=f"after {length(wait.within)}", role="wait")
        return
    yield Said(
        text=f"{'approval' if wait.kind is WaitsFor.APPROVAL else 'signal'} {wait.signal}", role="wait"
    )
    if wait.within != NO_DEADLINE:
        back = "or back" if wait.otherwise == CANCEL else f"or {name(wait.otherwise or '')}"
        yield Said(
            text=f"{back} after {length(wait.within)}", role="undo" if wait.otherwise == CANCEL else "note"
        )
