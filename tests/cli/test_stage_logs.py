"""`kaiju-tasks logs`: what a run has logged and printed."""

import asyncio
import json
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kaiju_tasks import Client
from kaiju_tasks.cli import stage_logs
from tests.cli.conftest import Shell
from tests.support.processes import Processes

MESSAGE = {"method": "_MESSAGE_"}
COMMANDS = """
from kaiju_tasks import Context, Executor

executor = Executor("logs")


@executor.command("say")
async def say(ctx: Context, count: int = 2) -> None:
    ctx.log("first", level="warning", rows=[1])
    for number in range(count):
        ctx.log(f"line\\x1b[31m {number}")
"""


@pytest.fixture
def told(shell: Shell, processes: Processes, tmp_path: Path) -> Shell:
    """A shell, and an executor whose command logs."""
    (tmp_path / "telling.py").write_text(COMMANDS)
    env = {"PYTHONPATH": str(tmp_path)}
    processes.kaiju("executor", "telling:executor", "--manager", shell.url, env=env)
    return shell


def ran(shell: Shell, *more: str) -> dict[str, Any]:
    """A run that has ended."""
    task = ("task", "create", "--app", "logs", "--method", "say", "--set", "id=t")
    shell.run(*task, *more, "--watch")
    return dict(shell.json("task", "show", "t"))


def test_the_log_of_the_last_run_of_a_task_is_shown(told: Shell) -> None:
    task = ran(told)
    shown = told.run("logs", "t").stdout
    assert "\x1b" not in shown
    first, second, third = shown.splitlines()
    assert re.fullmatch(r"20\S+ \S+ UTC  0\.1    warning  first  rows=\[1\]", first)
    assert second.endswith("[31m 0")
    assert third.endswith("[31m 1")
    assert told.run("logs", task["job_id"]).stdout == shown
    assert told.run("logs", "t", "-f").stdout == shown
    assert told.run("logs", "t", "--stage", "1").stdout == ""
    assert told.run("logs", "t", "--attempt", "2").stdout == ""
    as_json = told.json("logs", "t", "--stage", "0", "--attempt", "1")
    assert [line["n"] for line in as_json["data"]] == [1, 2, 3]
    assert as_json["cursor"]
    lines = told.run("logs", "t", "-f", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == as_json["data"]


def test_a_long_log_is_shown_whole(told: Shell) -> None:
    ran(told, "--param", "count=2500")
    lines = told.run("logs", "t").stdout.splitlines()
    assert len(lines) == 2501
    assert lines[-1].endswith(" 2499")


def test_what_has_no_log_ends_with_an_error(shell: Shell) -> None:
    missing = shell.run("logs", "nothing")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "there is no run 'nothing'\n"


def test_missing_lines_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    line = {
        "n": 9, "at": 0.0, "level": "info", "source": "log", "message": None, "fields": None,
        "stage": 0, "attempt": 1, "cycle": 0, "left_out": 5,
    }  # fmt: skip
    stage_logs._print([line], as_json=False)
    assert capsys.readouterr().out.splitlines()[0] == "… 5 lines were not kept …"


async def test_following_goes_on_until_the_run_ends(told: Shell, processes: Processes) -> None:
    commands = [{"method": "say"}, MESSAGE, {"method": "say"}]
    made = ("task", "create", "-", "--app", "logs", "--set", "id=w")
    told.run(*made, stdin=json.dumps(commands))
    following = processes.kaiju("logs", "w", "-f", env={"KAIJU_URL": told.url})
    stopped = processes.kaiju("logs", "w", "-f", env={"KAIJU_URL": told.url})
    for process in (following, stopped):
        await process.logged(r"0\.1 +info +line", 60)
    stopped.send(signal.SIGINT)
    assert await stopped.ended(60) == 130
    assert stopped.log.endswith("\nStopped showing the log. The run continues.\n")
    told.run("task", "message", "w")
    assert await following.ended(60) == 0
    lines = following.log.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["0.1"] * 3 + ["2.1"] * 3


async def test_following_waits_until_the_run_begins(
    told: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ("task", "create", "--app", "logs", "--method", "say", "--set", "id=t")
    told.run(*task, "--set", "delay=3600")
    early = told.run("logs", "t")
    assert (early.returncode, early.stderr) == (1, "Task 't' has not run yet.\n")
    job_id, asked = told.json("task", "show", "t")["job_id"], asyncio.Event()
    async with Client(told.url) as client, asyncio.timeout(60):

        async def get(id: str) -> Any:
            asked.set()
            return await client.tasks.get(id)

        seen: Any = SimpleNamespace(
            runs=client.runs, logs=client.logs, tasks=SimpleNamespace(get=get)
        )
        work = stage_logs._follow(seen, {"job_id": job_id}, False, "t")
        following = asyncio.create_task(work)
        await asked.wait()
        assert not following.done()
        await client.tasks.run_now("t")
        await following
    assert len(capsys.readouterr().out.splitlines()) == 3
