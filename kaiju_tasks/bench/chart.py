"""Draws a line chart as SVG."""

import itertools
import math
from collections.abc import Iterator, Sequence
from html import escape

from msgspec import Struct

from kaiju_tasks.bench.numbers import compact

WIDTH, HEIGHT = 720, 400
LEFT, TOP, BOTTOM = 64, 64, 56
LETTER = 6.6
LINE = 16.0
TICKS = 5
MOST_TICKS = 8
STEPS = (1, 2, 2.5, 5, 10)
INSET = 24
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56b4e9", "#444444", "#882255")
"""Colours that colour-blind people can distinguish (Okabe and Ito, and others)."""
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:15px;font-weight:600}"
    ".grid{stroke:#e4e4e4}.axis{stroke:#888}.line{fill:none;stroke-width:2}"
)


class Point(Struct, frozen=True):
    """A value with the spread of its rounds.

    :param at: index of its position on the x axis
    """

    at: int
    value: float
    least: float
    most: float


class Series(Struct, frozen=True):
    """A line.

    :param points: by `at`, ascending
    """

    name: str
    points: Sequence[Point]


class Chart(Struct, frozen=True):
    """A chart of lines over positions that are equally far from each other.

    :param x: what the positions are
    :param positions: the label of each position
    :param y: the unit of the values
    :param series: at least one, at most one for each colour; a single one is not named
    :param log: a logarithmic y axis; otherwise it begins at 0
    """

    title: str
    x: str
    positions: Sequence[str]
    y: str
    series: Sequence[Series]
    log: bool = False


class _Frame(Struct, frozen=True):
    """Where values are in the picture."""

    right: float
    low: float
    high: float
    positions: int
    log: bool

    def x(self, at: int) -> float:
        room = self.right - LEFT - 2 * INSET
        return LEFT + INSET + (room * at / (self.positions - 1) if self.positions > 1 else room / 2)

    def y(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def draw(chart: Chart) -> str:
    """Return the chart as the text of an SVG file."""
    values = [v for one in chart.series for p in one.points for v in (p.least, p.most)]
    ticks = _log_ticks(min(values), max(values)) if chart.log else _ticks(max(values))
    several = len(chart.series) > 1
    label = max(len(one.name) for one in chart.series) * LETTER if several else 0
    frame = _Frame(WIDTH - label - 24, ticks[0], ticks[-1], len(chart.positions), chart.log)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>{escape(chart.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="16" y="28">{escape(chart.title)}</text>',
        f'<text x="16" y="{TOP - 14}">{escape(chart.y)}</text>',
        *_axes(chart, frame, ticks),
    ]
    for colour, one in zip(COLOURS, chart.series, strict=False):
        lines += _line(one, frame, colour)
    if several:
        lines += _labels(chart, frame)
    return "\n".join([*lines, "</svg>", ""])


def _axes(chart: Chart, frame: _Frame, ticks: Sequence[float]) -> Iterator[str]:
    for tick in ticks:
        y = frame.y(tick)
        kind = "axis" if tick == ticks[0] else "grid"
        yield f'<path class="{kind}" d="M{LEFT} {y:.1f}H{frame.right:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{compact(tick)}</text>'
    for at, label in enumerate(chart.positions):
        x, y = frame.x(at), HEIGHT - BOTTOM + 20
        yield f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{escape(label)}</text>'
    middle = (LEFT + frame.right) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(chart.x)}</text>'


def _line(one: Series, frame: _Frame, colour: str) -> Iterator[str]:
    way = " ".join(f"{frame.x(p.at):.1f},{frame.y(p.value):.1f}" for p in one.points)
    yield f'<polyline class="line" stroke="{colour}" points="{way}"/>'
    for p in one.points:
        x, y = frame.x(p.at), frame.y(p.value)
        spread = f"M{x:.1f} {frame.y(p.least):.1f}V{frame.y(p.most):.1f}"
        yield f'<path d="{spread}" stroke="{colour}"/>'
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def _labels(chart: Chart, frame: _Frame) -> Iterator[str]:
    """Name each line at its end. Labels that would overlap are moved apart."""
    ends = [frame.y(one.points[-1].value) for one in chart.series]
    for colour, one, y in zip(COLOURS, chart.series, _apart(ends), strict=False):
        x = frame.right - INSET + 12
        yield f'<text x="{x:.1f}" y="{y + 4:.1f}" style="fill:{colour}">{escape(one.name)}</text>'


def _apart(heights: Sequence[float]) -> list[float]:
    """Return heights near the given ones that are at least a line apart, inside the picture."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    moved = list(heights)
    for upper, lower in itertools.pairwise(order):
        moved[lower] = max(moved[lower], moved[upper] + LINE)
    floor = float(HEIGHT - BOTTOM)
    for index in reversed(order):
        moved[index] = min(moved[index], floor)
        floor = moved[index] - LINE
    return moved


def _ticks(most: float) -> list[float]:
    """Return round values from 0 to at least `most`."""
    rough = (most or 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in STEPS if factor * power >= rough * 0.999)
    return [step * index for index in range(max(1, math.ceil(most / step * 0.999)) + 1)]


def _log_ticks(least: float, most: float) -> list[float]:
    """Return round values from at most `least` to at least `most`: powers of ten, and 2 and 5 times
    these if there is room."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    powers = [10.0**power for power in range(first, max(last, first + 1) + 1)]
    fine = [power * factor for power in powers for factor in (1, 2, 5)]
    low = max(tick for tick in fine if tick <= least * 1.001)
    high = min(tick for tick in fine if tick >= most * 0.999 and tick > low)
    ticks = [tick for tick in fine if low <= tick <= high]
    return ticks if len(ticks) <= MOST_TICKS else powers
