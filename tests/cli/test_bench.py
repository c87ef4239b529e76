"""`kaiju-tasks bench`: every part measures, on real processes; files and comparisons."""

import json
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import pytest

from kaiju_tasks.bench import curves
from kaiju_tasks.bench.parts import PARTS
from kaiju_tasks.bench.rows import Row, Unit
from kaiju_tasks.cli import bench
from kaiju_tasks.cli.bench_tables import figures
from tests.cli.conftest import Invoke

SMALL = ("--tasks", "100", "--samples", "10", "--stored", "200", "--rounds", "1")
SAVED = {
    "version": "0.1.0",
    "measured": "2026-01-01T00:00:00+00:00",
    "cpus": 2,
    "python": "3.12.0",
    "options": {
        "database": "SQLite",
        "tasks": 100,
        "samples": 10,
        "stored": 200,
        "concurrency": None,
    },
    "rows": [],
}


@pytest.fixture
def short_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "PAYLOADS", (100, 100_000))
    monkeypatch.setattr(curves, "STAGES", (3,))
    monkeypatch.setattr(curves, "CONCURRENCIES", (8,))
    monkeypatch.setattr(curves, "PROCESSES", (2,))
    monkeypatch.setattr(curves, "SHARES", (0, 1))


def parts(*names: str) -> list[str]:
    return [word for name in names for word in ("--part", name)]


def check(rows: list[dict[str, Any]], *names: str) -> None:
    assert list(dict.fromkeys(row["part"] for row in rows)) == list(names)
    for row in rows:
        assert row["unit"] in get_args(Unit)
        assert (row["at"] is not None) == (PARTS[row["part"]].axis != "")
        if row["unit"] not in ("CPU µs", "ms"):
            assert row["median"] > 0


@pytest.mark.slow
def test_single_tasks_and_many_are_measured(
    invoke: Invoke, tmp_path: Path, short_axes: None
) -> None:
    names = ("create", "delays", "crowds", "throughput", "space", "stages", "history")
    saved, plots = tmp_path / "run.json", tmp_path / "plots"
    options = ("--db", f"sqlite:///{tmp_path}/tasks.db", *SMALL, "--save", str(saved))
    result = invoke("bench", *options, *parts(*names), "--plot", str(plots), "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    check(printed["rows"], *names)
    assert {file.stem for file in plots.iterdir()} >= {"delays", "crowds", "stages", "history"}
    for file in plots.iterdir():
        ElementTree.parse(file)

    result = invoke("bench", *options, *parts("create"), "--against", str(saved))
    assert result.exit_code == 0, result.output
    assert "too few rounds" in result.stdout
    rounds = {row["what"]: len(row["rounds"]) for row in json.loads(saved.read_text())["rows"]}
    assert rounds["one by one, HTTP"] == 2
    assert rounds["create no-op tasks"] == 1
    assert not list(tmp_path.glob("kaiju-bench-*"))


@pytest.mark.slow
def test_what_grows_is_measured_on_postgres(
    invoke: Invoke, postgres_dsn: str, short_axes: None
) -> None:
    names = (
        "space",
        "clients",
        "payload",
        "concurrency",
        "executors",
        "managers",
        "backlog",
        "future",
    )
    result = invoke("bench", "--db", postgres_dsn, *SMALL, *parts(*names), "--json")
    assert result.exit_code == 0, result.output
    check(json.loads(result.stdout)["rows"], *names)


def test_the_options_name_the_parts() -> None:
    assert tuple(PARTS) == bench.PARTS


def test_the_table_has_a_column_for_each_position() -> None:
    rows = [
        Row("delays", "create to start", "ms", 50, [1.0, 2.0, 3.0]),
        Row("delays", "create to start", "ms", 99, [10.0, 12.0, 16.0]),
        Row("create", "one by one, HTTP", "tasks/s", None, [1234.0]),
    ]
    assert list(figures(rows))[:7] == [
        "The delays of single tasks",
        "WHAT             UNIT   P50   P99  SPREAD",
        "create to start  ms    2.00  12.0    100%",
        "",
        "Single creates, one by one and of 50 clients",
        "WHAT              UNIT     MEDIAN  SPREAD",
        "one by one, HTTP  tasks/s    1234      0%",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "has not been saved by `bench --save`"),
        ("{}", "has not been saved by `bench --save`"),
        (
            json.dumps({**SAVED, "options": {**SAVED["options"], "tasks": 7}}),  # type: ignore[dict-item]
            "was measured with other options, so its figures mean something else: tasks 7, not 100",
        ),
    ],
)
def test_a_file_that_cannot_be_compared_is_named_before_anything_is_measured(
    invoke: Invoke, tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "run.json"
    if content is not None:
        file.write_text(content)
    result = invoke("bench", "--db", f"sqlite:///{tmp_path}/t.db", *SMALL, "--against", str(file))
    assert result.exit_code == 2
    assert said in result.output
    assert "round 1" not in result.output


def test_several_managers_need_postgres(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("bench", "--db", f"sqlite:///{tmp_path}/t.db", "--part", "managers")
    assert result.exit_code == 2
    assert "needs PostgreSQL" in result.output
