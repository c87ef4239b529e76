"""Values that grow are distinguished from those that stay level."""

import os
import sqlite3
from pathlib import Path

import pytest

from tests.chaos.samples import SAMPLES_MIN, judge, of_process, of_sqlite


def series(name: str, values: list[float]) -> list[dict[str, float]]:
    return [{name: value} for value in values]


@pytest.mark.parametrize(
    ("unit", "values", "is_level"),
    [
        ("MiB", [60.0 + n for n in range(30)], False),
        ("MiB", [60.0 + min(n, 9) for n in range(30)], True),  # warm after a third
        ("MiB", [60.0, 90.0] * 15, True),
        ("files", [20.0 + n / 2 for n in range(30)], False),
        ("rows", [500.0 + n for n in range(30)], True),
        ("rows", [0.0 + 10 * n for n in range(30)], False),
    ],
)
def test_a_value_grows_if_it_does_so_all_the_time(
    unit: str, values: list[float], is_level: bool
) -> None:
    [verdict] = judge(series(f"x {unit}", values))
    assert verdict.is_level == is_level


def test_few_samples_are_not_judged() -> None:
    with pytest.raises(ValueError, match="are needed"):
        judge(series("x MiB", [1.0] * (SAMPLES_MIN - 1)))


def test_a_value_that_is_new_is_not_judged() -> None:
    samples = series("x MiB", [1.0] * SAMPLES_MIN)
    samples[-1]["y MiB"] = 1.0
    assert [verdict.name for verdict in judge(samples)] == ["x MiB"]


def test_a_process_and_a_file_are_sampled(tmp_path: Path) -> None:
    used = of_process("me", os.getpid())
    assert used["me MiB"] > 1
    assert used["me files"] > 2
    assert used["me threads"] >= 1
    connection = sqlite3.connect(tmp_path / "db")
    connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
    connection.close()
    assert of_sqlite(tmp_path / "db")["t rows"] == 2
