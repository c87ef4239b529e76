"""`kaiju-tasks run`."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.support.processes import ROOT, Processes


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell without a manager: `run` needs none."""
    return Shell("http://127.0.0.1:9", tmp_path)


def write(shell: Shell, *commands: dict[str, Any], **fields: Any) -> str:
    (shell.folder / "task.json").write_text(json.dumps({"commands": commands, **fields}))
    return "task.json"


def test_the_last_result_is_printed_and_progress_goes_to_stderr(shell: Shell) -> None:
    file = write(
        shell,
        {"method": "do.echo", "params": {"data": 2}, "name": "two"},
        {"method": "do.echo", "params": {"data": {"got": "[two]"}}},
    )
    ran = shell.run("run", file)
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == {"got": 2}
    assert "[1/2] two: finished" in ran.stderr
    assert shell.run("run", file, "--quiet").stderr == ""


def test_the_exit_code_is_that_of_the_run(shell: Shell) -> None:
    ran = shell.run("run", write(shell, {"method": "do.fail", "params": {"message": "oh no"}}))
    assert ran.returncode == 1
    assert re.fullmatch(
        r"\[1/1\] do\.fail: failed, \d+\.\d\d s: execution_error: oh no\n", ran.stderr
    )
    assert ran.stdout == ""
    quiet = shell.run("run", "task.json", "--quiet")
    assert (quiet.returncode, quiet.stderr) == (1, "stage 1 of 1: execution_error: oh no\n")


def test_what_validate_warns_of_is_said_before_the_run_fails(shell: Shell) -> None:
    file = write(
        shell,
        {"method": "do.echo", "params": {"data": 1}},
        {"method": "do.ecko", "params": {"data": 1}},
    )
    lines = shell.run("run", file).stderr.splitlines()
    assert lines[0].startswith("warning: ")
    assert lines[0].endswith("knows the method 'do.ecko'; did you mean 'do.echo'?")
    assert lines[1].startswith("[1/2] do.echo: finished")
    assert lines[2].startswith("No executor of this command has the method 'do.ecko' of the task ")
    assert len(lines) == 3
    missing = shell.run("run", write(shell, {"method": "do.echo", "params": {"data": "[nope]"}}))
    assert missing.stderr.startswith("warning: commands.0 reads [nope], which nothing fills")


def test_a_retry_is_shown(shell: Shell) -> None:
    file = write(shell, {"method": "do.flaky", "params": {"times": 1}}, max_retries=1)
    ran = shell.run("run", file)
    assert (ran.returncode, ran.stdout) == (0, "2\n")
    assert "attempt 2" in ran.stderr


def test_json_prints_the_whole_task(shell: Shell) -> None:
    assert shell.json("run", write(shell, {"method": "do.echo"}))["status"] == "FINISHED"


def test_a_message_is_given_before_its_hook_is_reached(shell: Shell) -> None:
    file = write(
        shell,
        {"method": "do.sleep", "params": {"seconds": 0.1}},
        {"method": "_MESSAGE_", "params": {"name": "go"}},
    )
    ran = shell.run("run", file, "--message", 'go={"by": "me"}')
    assert json.loads(ran.stdout) == {"by": "me"}
    refused = shell.run("run", write(shell, {"method": "do.echo"}), "--message", "go=1")
    assert refused.returncode == 2
    assert "was rejected" in refused.stderr


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cron": "* * * * *"}, "cannot use `cron`"),
        ({"delay": 5}, "cannot use `delay`"),
        ({"app_name": "billing"}, "serves the stream 'billing'"),
        ({"max_retries": 11}, "max_retries"),
        ({"nope": 1}, "nope"),
    ],
)
def test_what_cannot_be_run_is_said(shell: Shell, fields: dict[str, Any], said: str) -> None:
    ran = shell.run("run", write(shell, {"method": "do.echo"}, **fields))
    assert ran.returncode == 2
    assert said in ran.stderr


def test_an_own_executor_is_found_in_the_working_folder(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(
        "from kaiju_tasks import Executor\n"
        "executor = Executor('shop')\n"
        "@executor.command('order.total')\n"
        "def total(prices: list[float]) -> float:\n"
        "    return sum(prices)\n"
    )
    file = write(shell, {"method": "order.total", "params": {"prices": [1, 2.5]}})
    ran = shell.start("run", file, "--executor", "shop:executor")
    assert (ran.returncode, ran.stdout) == (0, "3.5\n")


@pytest.mark.parametrize("name", ["hello.yaml"])
def test_an_example_runs(shell: Shell, name: str) -> None:
    assert shell.run("run", str(ROOT / "examples" / name)).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_cancels(processes: Processes, shell: Shell, number: signal.Signals) -> None:
    file = write(shell, {"method": "do.echo"}, {"method": "do.sleep", "params": {"seconds": 60}})
    process = processes.kaiju("run", str(shell.folder / file))
    await process.logged("do.echo: finished")
    process.send(number)
    assert await process.ended() == 130
    assert "[2/2] do.sleep: cancelled, " in process.log
    assert process.log.splitlines()[-1] == (
        "Stopped. The run was cancelled after 1 of 2 stages, and nothing of it is kept."
    )
    assert "Traceback" not in process.log


MESSAGE = {"method": "_MESSAGE_", "params": {"name": "go"}}
NO_TERMINAL = "and there is no terminal to type it on. Give it with --message"


def children(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"method": "_TASKS_", "params": {"create": tasks}}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (MESSAGE, f"Stage 2 of 2 waits for the message 'go', {NO_TERMINAL} go=JSON."),
        (
            {"method": "_MESSAGE_", "params": {"name": "it is"}},
            f"Stage 2 of 2 waits for the message 'it is', {NO_TERMINAL} 'it is'=JSON.",
        ),
        (
            {"method": "_MESSAGE_"},
            f"Stage 2 of 2 waits for a message, {NO_TERMINAL} =JSON.",
        ),
        (
            children({"id": "kid", "commands": [MESSAGE]}),
            "The task kid waits for the message 'go'. `run` sends messages only to its own "
            "pipeline. Create the task on a manager with `kaiju-tasks task create`, and answer it "
            "with `kaiju-tasks task message kid`.",
        ),
        (
            children({"id": "kid", "app_name": "billing", "commands": [{"method": "x"}]}),
            "No executor of this command serves the stream 'billing' of the task kid. "
            "Add an executor for it with --executor MODULE:ATTR.",
        ),
        (
            children(
                {
                    "id": "kid",
                    "app_name": "manager",
                    "commands": [
                        {"method": "tasks.suspend", "params": {"id": "kid"}},
                        {"method": "tasks.count"},
                    ],
                }
            ),
            "The task kid is SUSPENDED, and nothing in this process can change it.",
        ),
    ],
    ids=["named", "quoted", "unnamed", "child", "stream", "suspended"],
)
def test_a_run_that_nothing_moves_any_more_ends_with_2_and_says_what_it_waits_for(
    shell: Shell, command: dict[str, Any], said: str
) -> None:
    file = write(shell, {"method": "do.echo"}, command)
    ran = shell.run("run", file, "--quiet")
    assert (ran.returncode, ran.stdout) == (2, "")
    *warnings, last = ran.stderr.splitlines()
    assert last == said
    assert all(line.startswith("warning: ") for line in warnings)
    as_json = shell.run("run", file, "--quiet", "--json")
    assert (as_json.returncode, as_json.stdout) == (2, "")
    assert json.loads(as_json.stderr.splitlines()[-1])["error"]["message"] == said


def test_a_run_that_nobody_answers_is_cancelled(shell: Shell) -> None:
    ran = shell.run("run", write(shell, MESSAGE))
    lines = ran.stderr.splitlines()
    assert lines[0].endswith("waiting for the message 'go'; give it with --message go=…")
    assert "_MESSAGE_: cancelled" in lines[1]
    assert len(lines) == 3


def test_a_message_with_a_limit_is_waited_for_until_then(shell: Shell) -> None:
    ran = shell.run("run", write(shell, {**MESSAGE, "max_timeout": 1}))
    assert ran.returncode == 130
    assert ran.stderr.count("message_timeout: ") == 1


def test_a_child_that_answers_another_is_not_taken_for_a_standstill(shell: Shell) -> None:
    answer = {
        "id": "answer",
        "app_name": "manager",
        "commands": [
            {"method": "_TIMER_", "params": {"timer": 1}},
            {"method": "tasks.message", "params": {"id": "asks", "name": "go", "data": 5}},
        ],
    }
    asks = {"id": "asks", "commands": [MESSAGE]}
    ran = shell.run("run", write(shell, children(asks, answer)))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)[0]["result"] == [5]


def test_a_message_without_a_name_is_given_ahead(shell: Shell) -> None:
    ran = shell.run("run", write(shell, {"method": "_MESSAGE_"}), "--message", '={"a": 1}')
    assert (ran.returncode, json.loads(ran.stdout)) == (0, {"a": 1})


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 2)])
def test_it_runs_with_standard_streams_that_are_closed(
    shell: Shell, closed: tuple[int, ...]
) -> None:
    file = write(shell, {"method": "do.echo", "params": {"data": 5}})

    def close() -> None:
        for number in closed:
            os.close(number)

    ran = subprocess.run(
        [sys.executable, "-m", "kaiju_tasks.cli", "run", file],
        cwd=shell.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=close,
    )
    assert (ran.returncode, ran.stdout) == (0, "5\n")


def test_a_task_from_a_standard_input_that_is_closed_is_refused(shell: Shell) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "kaiju_tasks.cli", "run", "-"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: os.close(0),
    )
    assert (ran.returncode, ran.stderr) == (2, "- cannot be read: Bad file descriptor.\n")


def test_on_a_terminal_a_message_can_be_typed(shell: Shell) -> None:
    file = write(shell, {"method": "_MESSAGE_", "params": {"name": "go"}})
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kaiju_tasks.cli", "run", file],
        cwd=shell.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while b"waiting for" not in shown:
        shown += os.read(ours, 65_536)
    os.write(ours, b'{"typed": true}\n')
    assert process.stdout is not None
    printed = process.stdout.read()
    assert process.wait(20) == 0
    assert json.loads(printed) == {"typed": True}
    os.close(ours)


def test_a_task_of_kaiju_tasks_runs_as_it_is(shell: Shell) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "do.echo", "params": {"data": 1}}
    timer = {"id": 2, "method": "_MESSAGE_", "params": None, "max_timeout": 0.1}
    done = shell.json("run", write(shell, request, group_id=7))
    assert (done["status"], done["group_id"]) == ("FINISHED", "7")
    assert shell.run("run", write(shell, timer)).returncode == 130
