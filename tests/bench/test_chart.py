"""The charts of the benchmark: well-formed, and nothing outside the picture or over another."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.bench.chart import HEIGHT, LINE, WIDTH, Chart, Point, Series, draw
from kaiju_tasks.bench.numbers import compact
from kaiju_tasks.bench.pictures import charts
from kaiju_tasks.bench.rows import Row

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*lines: list[float], log: bool = False) -> ElementTree.Element:
    series = [
        Series(f"a & <{n}>", [Point(at, v, v * 0.9, v * 1.1) for at, v in enumerate(line)])
        for n, line in enumerate(lines)
    ]
    positions = [compact(10**at) for at in range(len(lines[0]))]
    return ElementTree.fromstring(draw(Chart("a < b", "bytes", positions, "ms", series, log)))


def texts(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def heights(picture: ElementTree.Element, beginning: str) -> list[float]:
    return [
        float(text.attrib["y"])
        for text in picture.iter(f"{SVG}text")
        if (text.text or "").startswith(beginning)
    ]


def test_a_chart_names_its_axes_and_its_lines() -> None:
    picture = drawn([10, 400], [20, 390])
    assert texts(picture) == [
        *("a < b", "ms"),
        *("0", "100", "200", "300", "400", "500"),
        *("1", "10", "bytes", "a & <0>", "a & <1>"),
    ]


def test_a_single_line_needs_no_name() -> None:
    assert "a & <0>" not in texts(drawn([1, 2]))


def test_a_line_of_zeros_is_drawn() -> None:
    assert texts(drawn([0, 0]))[2:4] == ["0", "0.2"]


def test_a_logarithmic_axis_has_round_values_around_the_line() -> None:
    assert texts(drawn([45, 900], log=True))[2:8] == ["20", "50", "100", "200", "500", "1k"]
    assert texts(drawn([0.5, 90_000], log=True))[2:9] == [
        *("0.1", "1", "10", "100", "1k", "10k", "100k"),
    ]


values = st.floats(min_value=1e-3, max_value=1e9)


@given(st.lists(st.lists(values, min_size=3, max_size=3), min_size=1, max_size=8), st.booleans())
def test_everything_is_inside_the_picture_and_names_do_not_overlap(
    lines: list[list[float]], log: bool
) -> None:
    picture = drawn(*lines, log=log)
    for circle in picture.iter(f"{SVG}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT
    names = sorted(heights(picture, "a & <"))
    assert all(0 <= y <= HEIGHT for y in names)
    assert all(lower - upper > LINE - 0.2 for upper, lower in pairwise(names))


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (2500, "2.5k"), (10**6, "1M"), (0.5, "0.5")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert compact(value) == text


def test_each_unit_of_a_part_with_an_axis_has_a_chart() -> None:
    rows = [
        Row("create", "one by one, HTTP", "tasks/s", None, [1.0]),
        Row("delays", "create to start", "ms", 50, [1.0, 2.0]),
        Row("delays", "create to start", "ms", 99, [3.0, 4.0]),
        Row("payload", "run", "stages/s", 100, [3000.0]),
        Row("payload", "run", "stages/s", 100_000, [30.0]),
        Row("payload", "run: manager", "CPU µs", 100, [3000.0]),
        Row("payload", "run: executor", "CPU µs", 100, [3000.0]),
    ]
    made = dict(charts(rows))
    assert list(made) == ["delays", "payload", "payload-cpu"]
    assert made["delays"].positions == ["p50", "p99"]
    assert made["delays"].series[0].points[1] == Point(1, 3.5, 3.0, 4.0)
    assert made["payload"].log
    assert [one.name for one in made["payload-cpu"].series] == ["manager", "executor"]


def test_a_round_without_a_measurable_time_has_no_logarithmic_axis() -> None:
    rows = [
        Row("payload", "run: executor", "CPU µs", 100, [0.0, 10.0, 10.0]),
        Row("payload", "run: executor", "CPU µs", 100_000, [3000.0]),
    ]
    ((_, chart),) = charts(rows)
    assert not chart.log
    ElementTree.fromstring(draw(chart))
