"""`kaiju-tasks top`: what it prints, and how it behaves on a terminal."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kaiju_tasks.cli.text import width
from kaiju_tasks.cli.top_view import View, age
from tests.cli.conftest import Shell
from tests.cli.screens import CODE, Screened, on_screen
from tests.support.ports import free_port
from tests.support.processes import Processes
from tests.support.served import served
from tests.support.wait import wait_until

WIDE = "請求書-2026-11-26-第00019号-of-the-accounting-department"


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Shell]:
    """A manager with a task that runs, two that fail and one that waits for an executor."""
    with served() as url:
        shell = Shell(url, tmp_path)
        sleep = ("task", "create", "--method", "do.sleep", "--param", "seconds=600")
        shell.run(*sleep, "--set", f"id={WIDE}")
        for id in ("first", "second"):
            shell.run("task", "create", "--method", "do.fail", "--set", f"id={id}", "--watch")
        shell.run("task", "create", "--method", "x.y", "--app", "nobody", "--set", "id=late")
        yield shell


async def test_it_prints_one_snapshot_where_there_is_no_terminal(busy: Shell) -> None:
    await _runs(busy)
    printed = (await asyncio.to_thread(busy.run, "top")).stdout
    assert "\x1b" not in printed
    lines = [line.split() for line in printed.splitlines()]
    assert printed.startswith("1 ready, 1 running, 0 held, 2 failed, 499 places free  20")
    assert ["default", "0", "0", "1", "500"] in lines
    (nobody,) = (line for line in lines if line[:1] == ["nobody"])
    assert nobody[1:5] == ["1", "0", "0", "0"]
    (running,) = (line for line in lines if line[:1] == [WIDE])
    assert running[1:3] == ["do.sleep", "1/1"]
    (failed,) = (line for line in lines if line[:1] == ["do.fail"])
    assert failed[1:3] == ["execution_error", "2"]
    assert failed[-1] == "second"


async def test_json_has_what_the_api_has(busy: Shell) -> None:
    await _runs(busy)
    found = await asyncio.to_thread(busy.json, "top")
    assert found.keys() == {"at", "streams", "running", "failed"}
    assert [one["app_name"] for one in found["streams"]] == ["default", "nobody"]
    assert found["running"]["count"] == 1
    (running,) = found["running"]["data"]
    assert (running["id"], running["method"], running["progress"]) == (WIDE, "do.sleep", None)
    first, second = (busy.json("task", "show", id)["since"] for id in ("first", "second"))
    assert found["failed"] == {
        "count": 2,
        "read": 2,
        "data": [
            {
                "method": "do.fail",
                "type": "execution_error",
                "count": 2,
                "since": first,
                "last": second,
                "id": "second",
            }
        ],
    }
    assert 0 <= found["at"] - second < 600


async def test_a_schedule_whose_last_run_failed_counts_as_failed(busy: Shell) -> None:
    await _runs(busy)

    def failed() -> Any:
        return busy.json("top")["failed"]

    async def run_once(id: str, *command: str) -> None:
        await asyncio.to_thread(
            busy.run, "task", "create", "--set", f"id={id}", "--set", "cron=0 0 1 1 *", *command
        )
        await asyncio.to_thread(busy.run, "task", "run-now", id)

        async def has_ended() -> bool:
            shown = await asyncio.to_thread(busy.json, "task", "show", id)
            return shown["exit_code"] is not None

        await wait_until(has_ended, f"the run of {id} ends", 60)

    await run_once("yearly", "--method", "do.fail")
    await run_once("good", "--method", "do.echo", "--param", "data=1")
    found = await asyncio.to_thread(failed)
    assert (found["count"], found["read"]) == (3, 3)
    (kind,) = found["data"]
    assert (kind["method"], kind["count"], kind["id"]) == ("do.fail", 3, "yearly")
    await asyncio.to_thread(busy.run, "task", "delete", "yearly")
    assert (await asyncio.to_thread(failed))["count"] == 2


async def test_once_prints_no_wider_than_the_terminal(busy: Shell) -> None:
    await _runs(busy)
    for cells in (80, 40):
        with on_screen(busy.url, "top", "--once", cells=cells) as screened:
            assert await screened.ended() == 0
            await screened.writes("do.fail")
            lines = CODE.sub("", screened.output).splitlines()
            assert all(width(line) <= cells for line in lines)
            assert any("FAILED (2 tasks)" in line for line in lines)


async def test_q_leaves_the_terminal_as_it_was(busy: Shell) -> None:
    await _runs(busy)
    with on_screen(busy.url, "top") as screened:
        before = screened.settings
        frame = await screened.shows("FAILED (2 tasks)", "RUNNING (1)", "q: leave")
        assert len(frame) == 24
        assert all(width(line) <= 80 for line in frame)
        assert "\x1b[1m" in screened.output  # headings are bold
        screened.type("xq")
        assert await screened.ended() == 0
        assert screened.settings == before
        await _restored(screened)


async def test_ctrl_c_leaves_with_130_and_a_sentence(busy: Shell) -> None:
    with on_screen(busy.url, "top") as screened:
        before = screened.settings
        await screened.shows("STREAMS")
        screened.type("\x03")
        assert await screened.ended() == 130
        await screened.writes("Stopped showing the manager. The tasks continue.")
        assert screened.settings == before
        await _restored(screened)


async def test_sigterm_leaves_the_terminal_as_it_was(busy: Shell) -> None:
    with on_screen(busy.url, "top") as screened:
        before = screened.settings
        await screened.shows("STREAMS")
        os.kill(screened.process.pid, signal.SIGTERM)
        assert await screened.ended() == 128 + signal.SIGTERM
        assert screened.settings == before
        await _restored(screened)


async def test_events_refresh_it_long_before_the_interval(busy: Shell) -> None:
    with on_screen(busy.url, "top", "--interval", "3600") as screened:
        await screened.shows("FAILED (2 tasks)")

        def is_shown() -> bool:
            """Until the command has subscribed, no event reaches it."""
            busy.run("task", "create", "--method", "x.y", "--app", "elsewhere")
            return any("elsewhere" in line for frame in screened.frames[:2] for line in frame)

        await wait_until(is_shown, "an event refreshes the screen", 60)


async def test_it_is_drawn_again_when_the_terminal_has_another_size(busy: Shell) -> None:
    with on_screen(busy.url, "top", "--interval", "3600", cells=120, rows=30) as screened:
        await screened.shows("FOR EXAMPLE")
        for cells, rows in ((40, 12), (20, 5), (1, 1), (100, 40)):
            screened.resize(cells, rows)

            def fits(cells: int = cells, rows: int = rows) -> bool:
                return any(
                    len(frame) == rows and all(width(line) <= cells for line in frame)
                    for frame in screened.frames[:2]
                )

            await wait_until(fits, f"the screen has {cells} by {rows} cells", 60)
        screened.type("q")
        assert await screened.ended() == 0


async def test_it_survives_a_restart_of_the_manager_and_says_so(
    processes: Processes, tmp_path: Path
) -> None:
    port, db = free_port(), f"sqlite:///{tmp_path}/tasks.db"
    serve = ("serve", "--port", str(port), "--db", db)
    manager = processes.kaiju(*serve, name="first")
    await manager.listening(port)
    url = f"http://127.0.0.1:{port}"
    with on_screen(url, "top", "--interval", "1") as screened:
        await screened.shows("STREAMS (0)", "q: leave")
        manager.send(signal.SIGKILL)
        await screened.shows("The manager does not answer since", "STREAMS (0)")
        manager = processes.kaiju(*serve, name="second")
        await manager.listening(port)
        await screened.shows("The manager answers again; it did not for")
        shell = Shell(url, tmp_path)
        shell.run("task", "create", "--method", "x.y", "--app", "nobody")
        await screened.shows("STREAMS (1)", "nobody")
        screened.type("q")
        assert await screened.ended() == 0


async def test_a_manager_that_never_answered_is_not_waited_for() -> None:
    with on_screen(f"http://127.0.0.1:{free_port()}", "top") as screened:
        assert await screened.ended() == 3
        await screened.writes("No manager answers at ")
        assert "\x1b[?1049h" not in screened.output


def test_what_does_not_fit_is_left_out_fairly() -> None:
    view = View(_snapshot(streams=30, running=40, kinds=3))
    lines = view.lines(80, 24)
    assert len(lines) == 24
    assert {"STREAMS (5 of 30)", "RUNNING (6 of 40)"} <= set(lines)
    assert sum(line.startswith("mail.send") for line in lines) == 3
    assert "s29" in {line.split()[0] for line in lines if line}  # the busiest one
    assert len(view.lines()) > 75
    assert all(view.lines(cells, rows) is not None for cells in range(1, 50) for rows in (1, 7))


def test_more_than_were_read_are_said_to_be_more() -> None:
    snapshot = _snapshot(streams=0, running=1, kinds=1)
    snapshot["running"] |= {"count": 10_000, "count_more": True}
    snapshot["failed"] |= {"count": 700, "read": 500}
    lines = View(snapshot).lines(80, 24)
    assert "RUNNING (more than 10000)" in lines
    assert "FAILED (the last 500 of 700 tasks)" in lines


def test_an_age_has_at_most_six_characters() -> None:
    shown = {-1.0: "0s", 59.9: "59s", 60: "1m0s", 3599: "59m59s", 3600: "1h0m", 86_399: "23h59m"}
    shown |= {86_400: "1d0h", 99.5 * 86_400: "99d12h", 20_000 * 86_400: "20000d"}
    assert {seconds: age(seconds) for seconds in shown} == shown


async def _runs(shell: Shell) -> None:
    await wait_until(
        lambda: shell.json("task", "show", WIDE)["status"] == "EXECUTED", "a task runs", 60
    )


async def _restored(screened: Screened) -> None:
    await wait_until(
        lambda: "\x1b[?1049l" in screened.output and "\x1b[?25h" in screened.output,
        "the screen and the cursor of before are shown",
        60,
    )


def _snapshot(*, streams: int, running: int, kinds: int) -> dict[str, Any]:
    stream = {"held": {"paused": 2}, "running": 1, "capacity": 4, "free": 3, "oldest_ready": None}
    task = {"method": "m", "app_name": "a", "executor_id": "e", "stage": 0, "stages": 2}
    progress = {"done": 1.0, "total": 3.0, "message": "rendering"}
    kind = {"method": "mail.send", "count": 1, "since": 0.0, "last": 90.0, "id": "x"}
    return {
        "at": 100.0,
        "streams": [{**stream, "app_name": f"s{n}", "ready": n} for n in range(streams)],
        "running": {
            "count": running,
            "data": [
                {**task, "id": f"t{n}", "since": 1.0, "progress": progress} for n in range(running)
            ],
        },
        "failed": {
            "count": kinds,
            "read": kinds,
            "data": [{**kind, "type": f"type{n}"} for n in range(kinds)],
        },
    }
