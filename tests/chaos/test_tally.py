"""Figures of several runs are kept in a file, and added up."""

import math
from pathlib import Path

import pytest

from tests.chaos.tally import Entry, Figures, append, quantile, read, table, total

FIRST = Figures(
    minutes=2,
    faults={"wire_cut": 3, "executor_killed": 1},
    tasks=10,
    stages=4000,
    recovery={"wire_cut": [0.1, 0.3]},
    elsewhere={"executor_killed": [0.5]},
)
SECOND = Figures(
    minutes=1, faults={"wire_cut": 2}, tasks=5, stages=100, recovery={"wire_cut": [0.2]}, broken=1
)


def test_what_was_added_is_read_and_summed(tmp_path: Path) -> None:
    path = tmp_path / "tally"
    for seed, figures in enumerate((FIRST, SECOND)):
        append(path, Entry(seed=seed, command="chaos --minutes 1", figures=figures))
    found = list(read(path))
    assert [entry.seed for entry in found] == [0, 1]
    summed = total(entry.figures for entry in found)
    assert (summed.runs, summed.minutes, summed.tasks, summed.stages) == (2, 3, 15, 4100)
    assert (summed.violations, summed.broken) == (0, 1)
    assert dict(summed.faults) == {"wire_cut": 5, "executor_killed": 1}
    assert summed.recovery["wire_cut"] == [0.1, 0.3, 0.2]
    assert summed.elsewhere["executor_killed"] == [0.5]


def test_a_table_shows_each_fault() -> None:
    first, _, _, *faults = table(total([FIRST, SECOND]))
    assert "4,100 stages, 6 faults, 0 violations" in first
    assert [line.split() for line in faults] == [
        ["executor_killed", "1", "1", "0.50", "0.50", "0.50"],
        ["wire_cut", "5", "0.20", "0.30", "0.30"],
    ]


@pytest.mark.parametrize(
    ("part", "value"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.995, 100.0), (1.0, 100.0)]
)
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(part: float, value: float) -> None:
    assert quantile(map(float, range(1, 101)), part) == value
    assert math.isnan(quantile([], part))
