"""Makes charts of the parts that measure how something changes along an axis."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kaiju_tasks.bench.chart import COLOURS, Chart, Point, Series, draw
from kaiju_tasks.bench.parts import PARTS, position
from kaiju_tasks.bench.rows import Row, Unit

WIDE_RANGE = 20
"""The ratio of the largest to the smallest value from which the axis is logarithmic."""
UNITS: dict[Unit, str] = {
    "tasks/s": "tasks per second",
    "stages/s": "stages per second",
    "ms": "milliseconds",
    "CPU µs": "CPU time of one task in µs",
}
FILES: dict[Unit, str] = {"CPU µs": "-cpu"}


def write_pictures(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Write the charts of these rows as SVG files, and return their paths.

    :param folder: created if it does not exist
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, chart in charts(rows):
        path = folder / f"{name}.svg"
        path.write_text(draw(chart), encoding="utf-8")
        written.append(path)
    return written


def charts(rows: Sequence[Row]) -> Iterator[tuple[str, Chart]]:
    """Make a chart of each part with an axis and each of its units, with a name for its file."""
    for name, part in PARTS.items():
        for unit, words in UNITS.items():
            shown = [r for r in rows if (r.part, r.unit) == (name, unit) and r.at is not None]
            if shown:
                title = part.about[0].upper() + part.about[1:]
                chart = _chart(name, title, words, shown)
                yield f"{name}{FILES.get(unit, '')}", chart


def _chart(part: str, title: str, unit: str, rows: Sequence[Row]) -> Chart:
    positions = sorted({row.at for row in rows if row.at is not None})
    names = list(dict.fromkeys(row.what for row in rows))[: len(COLOURS)]
    common = _common_words(names)
    series = [
        Series(name.removeprefix(common), _points([r for r in rows if r.what == name], positions))
        for name in names
    ]
    labels = [position(part, at) for at in positions]
    values = [v for one in series for point in one.points for v in (point.least, point.value)]
    wide = min(values) > 0 and max(values) / min(values) > WIDE_RANGE
    return Chart(title, PARTS[part].axis, labels, unit, series, wide)


def _points(rows: Sequence[Row], positions: Sequence[int]) -> list[Point]:
    found = {row.at: row for row in rows}
    return [
        Point(index, found[at].median, found[at].least, found[at].most)
        for index, at in enumerate(positions)
        if at in found
    ]


def _common_words(names: Sequence[str]) -> str:
    """Return what stands before the colon in all names; empty if they differ there."""
    heads = {name.rpartition(": ")[0] for name in names}
    head = heads.pop()
    return f"{head}: " if head and not heads else ""
