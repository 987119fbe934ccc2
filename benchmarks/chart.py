"""A line chart as SVG: few lines, names beside them, light or dark as the reader's screen is."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 128, 56, 48
_APART = 16  # pixels between two names
_STYLE = """<style>
 .card{fill:#ffffff} .grid{stroke:#d0d7de} text{fill:#57606a;font:12px system-ui,-apple-system,sans-serif}
 .title{fill:#1f2328;font-size:15px;font-weight:600} .name{font-weight:600}
 polyline{stroke-width:2.2;fill:none;stroke-linejoin:round}
 LIGHT
 @media (prefers-color-scheme:dark){.card{fill:#0d1117} .grid{stroke:#30363d} text{fill:#9198a1}
 .title{fill:#f0f6fc} DARK}
</style>"""
_LIGHT = ("#1f6feb", "#bc4c00", "#8250df", "#57606a")
_DARK = ("#4493f8", "#f0883e", "#ab7df8", "#9198a1")

Points = Sequence[tuple[float, float]]


def line_chart(title: str, x_name: str, series: Mapping[str, Points]) -> str:
    """The picture.

    Args:
        title: what the values are, with their unit.
        x_name: what runs along the lower edge; its scale is logarithmic.
        series: points by name; at least one, in order of x, no x below 1.
    """
    xs = sorted({x for points in series.values() for x, _ in points})
    top, step = _scale(max(y for points in series.values() for _, y in points))
    span = log10(xs[-1] / xs[0]) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + log10(x / xs[0]) / span * (WIDTH - _LEFT - _RIGHT)
        return round(across, 1), round(HEIGHT - _BOTTOM - y / top * (HEIGHT - _TOP - _BOTTOM), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img"'
        f' aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        _STYLE.replace("LIGHT", _colours(_LIGHT)).replace("DARK", _colours(_DARK)),
        f'<rect class="card" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
        f'<text class="title" x="{_LEFT}" y="30">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="{HEIGHT - 10}">{escape(x_name)}</text>',
    ]
    for line in range(round(top / step) + 1):
        _, y = at(xs[0], line * step)
        parts.append(f'<path class="grid" d="M{_LEFT} {y} H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{line * step:,.6g}</text>')
    parts += [
        f'<text x="{at(x, 0)[0]}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{x:,.0f}</text>'
        for x in xs
    ]
    ends = _spread({name: at(*points[-1])[1] for name, points in series.items()})
    for number, (name, points) in enumerate(series.items()):
        parts += _line(number, name, [at(x, y) for x, y in points], ends[name])
    return "\n".join([*parts, "</svg>", ""])


def _colours(colours: Sequence[str]) -> str:
    """The rules that give each line its colour."""
    return " ".join(
        f".s{n} polyline{{stroke:{colour}}} .s{n} circle,.s{n} .name{{fill:{colour}}}"
        for n, colour in enumerate(colours)
    )


def _line(number: int, name: str, points: Sequence[tuple[float, float]], beside: float) -> list[str]:
    joined = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3.2"/>' for x, y in points)
    x = points[-1][0] + 10
    label = f'<text class="name" x="{x}" y="{beside + 4}">{escape(name)}</text>'
    return [f'<g class="s{number % len(_LIGHT)}"><polyline points="{joined}"/>{dots}{label}</g>']


def _scale(highest: float) -> tuple[float, float]:
    """A round upper end at or above the highest value, and the distance of its four or five lines."""
    raw = (highest or 1.0) / 4
    unit = 10.0 ** floor(log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    return step * ceil((highest or 1.0) / step), step


def _spread(heights: Mapping[str, float]) -> dict[str, float]:
    """The names' heights, moved down where they would cover each other."""
    found: dict[str, float] = {}
    last = float("-inf")
    for name in sorted(heights, key=lambda name: heights[name]):
        last = found[name] = max(heights[name], last + _APART)
    return found
