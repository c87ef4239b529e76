"""A row has changed if the rounds of two runs do not overlap, and enough."""

import pytest

from kaiju_tasks.bench.compare import Verdict, compare
from kaiju_tasks.bench.rows import Figure, Row, Unit, add_rounds, collect


def row(*rounds: float, unit: Unit = "tasks/s", at: int | None = None) -> Row:
    return Row("create", "one by one", unit, at, list(rounds))


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (row(10, 11, 12, 13), row(14, 15, 16, 17), Verdict.BETTER),
        (row(14, 15, 16, 17), row(10, 11, 12, 13), Verdict.WORSE),
        (row(14, 15, 16, 17, unit="ms"), row(10, 11, 12, 13, unit="ms"), Verdict.BETTER),
        (row(10, 11, 12, 13, unit="CPU µs"), row(14, 15, 16, 17, unit="CPU µs"), Verdict.WORSE),
        (row(10, 11, 12, 13), row(13, 25, 26, 27), Verdict.SAME),
        (row(10, 11, 12, 30), row(25, 26, 27, 28), Verdict.SAME),
        (row(100, 100, 100, 100), row(104, 104, 104, 104), Verdict.SAME),
        (row(10, 11, 12), row(24, 25, 26, 27), Verdict.UNKNOWN),
        (row(10, 11, 12, 13), row(24, 25, 26), Verdict.UNKNOWN),
        (row(0, 0, 0, 0), row(0, 0, 0, 0), Verdict.SAME),
    ],
)
def test_a_row_has_changed_only_beyond_the_noise(before: Row, after: Row, verdict: Verdict) -> None:
    (change,) = compare([before], [after])
    assert change.verdict is verdict


def test_only_rows_of_both_runs_are_compared() -> None:
    changes = compare([row(1), row(2, at=50)], [row(4, at=50), row(5, at=99)])
    assert [(one.after.at, one.ratio) for one in changes] == [(50, 2)]


def test_the_rounds_of_a_figure_become_one_row() -> None:
    def figure(value: float, at: int | None = None) -> Figure:
        return Figure("create", "one by one", "tasks/s", value, at)

    rows = collect([figure(3), figure(7, 50), figure(1), figure(8, 50), figure(2)])
    assert rows == [row(3, 1, 2), row(7, 8, at=50)]
    assert (rows[0].median, rows[0].least, rows[0].most) == (2, 1, 3)
    assert add_rounds(rows, [row(9), row(4, at=99)]) == [
        row(3, 1, 2, 9),
        row(7, 8, at=50),
        row(4, at=99),
    ]
