"""`kaiju-tasks stats`, and times that are relative to now."""

import asyncio

import pytest

from kaiju_tasks.cli import stats
from kaiju_tasks.cli.fail import Failed
from kaiju_tasks.cli.since import read_seconds, read_since, read_span
from kaiju_tasks.cli.sparkline import narrowed, sparkline
from kaiju_tasks.cli.text import width
from kaiju_tasks.types import StatName
from tests.cli.conftest import Shell
from tests.cli.screens import CODE, on_screen
from tests.support.wait import wait_until

POINTS = [
    {"at": 0, "count": 1, "mean": 1.0, "p50": 1.0, "p95": 1.0, "p99": 1.0},
    {"at": 60, "count": 0},
    {"at": 120, "count": 3, "mean": 3.0, "p50": 3.0, "p95": 4.0, "p99": 4.0},
]


def test_the_names_are_those_of_the_api() -> None:
    assert tuple(map(str, StatName)) == stats.NAMES


def test_a_line_for_each_name_with_a_bar_for_each_interval() -> None:
    lines = stats._table(
        [
            {"name": "runs.failed", "points": [{"at": n, "count": n % 9} for n in range(60)]},
            {"name": "stages.seconds", "points": POINTS},
        ],
        None,
    )
    assert lines[0].split() == ["NAME", "COUNT", "HIGHEST", "MEAN", "P95", "SERIES"]
    assert lines[1].split()[:3] == ["runs.failed", "231", "8"]
    assert lines[1].endswith(" ▂▃▄▅▆▇██"[1:] + " ▂▃▄▅▆")
    assert lines[2].split() == ["stages.seconds", "4", "3", "2.5", "4", "▃", "█"]


def test_a_narrow_table_merges_bars() -> None:
    series = [{"name": "runs.failed", "points": [{"at": n, "count": n} for n in range(120)]}]
    for cells in (80, 60, 40, 20):
        assert all(width(line) <= cells for line in stats._table(series, cells))
    assert narrowed(" ▁ █", 2) == "▁█"
    assert narrowed("▁█", 5) == "▁█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
    assert sparkline([0.001, 8]) == "▁█"


async def test_it_shows_what_a_manager_has_counted(shell: Shell) -> None:
    def run(*words: str) -> str:
        return shell.run(*words).stdout

    await asyncio.to_thread(run, "task", "create", "--method", "do.fail", "--watch")

    def is_counted() -> bool:
        series = shell.json("stats", "runs.failed", "--since", "10m", "--app", "default")
        return any(point["count"] for point in series["data"][0]["points"])

    await wait_until(is_counted, "the manager has written what it has counted", 60)
    printed = await asyncio.to_thread(run, "stats", "--since", "1h", "--step", "5m")
    first, head, *rows = printed.splitlines()
    assert first.endswith(", by 300 s")
    assert head.split()[:2] == ["NAME", "COUNT"]
    counts = {row.split()[0]: row.split()[1] for row in rows}
    assert list(counts) == list(stats.NAMES)
    assert (counts["runs.failed"], counts["runs.finished"]) == ("1", "0")
    with on_screen(shell.url, "stats") as screened:
        assert await screened.ended() == 0
        await screened.writes("stages.seconds")
        assert all(width(line) <= 80 for line in CODE.sub("", screened.output).splitlines())


def test_the_step_is_the_shortest_with_at_most_60_bars() -> None:
    wanted = {60: 60, 3600: 60, 7200: 120, 86_400: 1800, 2 * 86_400: 3600, 90 * 86_400: 604_800}
    assert {seconds: stats._step(seconds) for seconds in wanted} == wanted


def test_wrong_arguments_are_named(shell: Shell) -> None:
    for words, said in (
        (("--since", "soon"), "`--since` must be"),
        (("--step", "often"), "--step must be a duration such as 60, 5m or 1h30m, not 'often'."),
        (("--step", "90"), "step"),
        (("nope",), "nope"),
    ):
        refused = shell.run("stats", *words)
        assert refused.returncode in (1, 2)
        assert said in refused.stderr


def test_times_can_be_given_as_how_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_795_600_000.5  # in the evening
    monkeypatch.setattr("kaiju_tasks.cli.since.time.time", lambda: now)
    for text, seconds in {"90s": 90, "2h": 7200, "1d12h": 129_600, "1w": 604_800}.items():
        assert read_since(text) == now - seconds
        assert read_span(text, "--step") == seconds
    today, yesterday = float(read_since("today")), float(read_since("Yesterday"))
    assert (today, yesterday) == (1_795_564_800, 1_795_478_400)
    assert read_since("12.5") == 12.5
    assert read_since("2026-11-25") == "2026-11-25"
    assert read_seconds("2026-11-25", "--since") == 1795564800
    assert read_span("90", "--step") == 90
    for text in ("", "x", "5y", "-5m", "1e3"):
        with pytest.raises(Failed):
            read_span(text, "--step")


def test_since_selects_tasks_by_when_they_came_to_their_status(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.fail", "--set", "id=t", "--watch")
    failed = ("task", "list", "--failed", "--since")
    assert [one["id"] for one in shell.json(*failed, "1h")["data"]] == ["t"]
    assert shell.json(*failed, "2100-01-01")["count"] == 0
    both = shell.run(*failed, "1h", "--where", "status_change>0")
    said = "--since cannot be used with --where status_change.\n"
    assert (both.returncode, both.stderr) == (2, said)


def test_since_selects_audit_records_and_runs(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.echo", "--set", "id=a", "--watch")
    shell.run("task", "update", "a", "priority=1")
    assert shell.json("audit", "--since", "1h")["count"] == 1
    assert shell.json("audit", "--since", "2100-01-01")["count"] == 0
    assert shell.json("runs", "--since", "1h")["count"] == 1
    assert shell.json("runs", "--until", "1h")["count"] == 0
    both = shell.run("audit", "--since", "1h", "--where", "at>0")
    assert (both.returncode, both.stderr) == (2, "--since cannot be used with --where at.\n")
