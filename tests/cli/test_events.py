"""`kaiju-tasks events` and `task watch` against a real manager."""

import json
import signal

from tests.cli.conftest import Invoke, Shell
from tests.support.processes import Processes

ECHO = ("--method", "do.echo", "--param", "data=1")


async def test_events_are_printed_until_ctrl_c(shell: Shell, processes: Processes) -> None:
    where = ("--where", "event=task.queued", "--where", "id=mark")
    events = processes.kaiju("events", env={"KAIJU_URL": shell.url})
    as_json = processes.kaiju("events", "--json", *where, env={"KAIJU_URL": shell.url})
    printed = {events: False, as_json: False}
    while not all(printed.values()):  # until both have subscribed
        shell.run("task", "create", *ECHO, "--set", "id=mark", "--on-conflict", "replace")
        shell.run("task", "reset", "mark")
        printed = {process: "mark" in process.log for process in printed}
    shell.run("task", "create", *ECHO, "--set", "id=first")
    await events.logged(r"task\.queued +first  stage 1 of 1$")
    await events.logged(r"task\.stage +first  stage 1 of 1  do\.echo finished$")
    await events.logged(r"task\.finished +first  stage 1 of 1$")
    shell.run("task", "create", "--method", "do.fail", "--set", "id=bad")
    await events.logged(r"task\.failed +bad .* execution_error: failed on request$")
    assert "first" not in as_json.log
    assert json.loads(as_json.log.splitlines()[0])["event"] == "task.queued"
    for process in printed:
        process.send(signal.SIGINT)
        assert await process.ended() == 130
        assert "Traceback" not in process.log
    assert events.log.endswith("\nStopped printing events. The tasks continue.\n")
    assert json.loads(as_json.log.splitlines()[-1])["error"]["data"]["type"] == "interrupted"


async def test_watch_tells_each_stage(shell: Shell, processes: Processes) -> None:
    ask = {"method": "_MESSAGE_"}
    commands = [ask, {"method": "do.echo"}, ask]
    shell.run("task", "create", "-", "--set", "id=three", stdin=json.dumps(commands))
    watch = processes.kaiju("task", "watch", "three", env={"KAIJU_URL": shell.url})
    for stage in (1, 3):
        await watch.logged(rf"^three: WAITING \(message\), stage {stage} of 3$", 60)
        shell.run("task", "message", "three")
    assert await watch.ended(60) == 0
    assert watch.log.splitlines()[-1] == "three: FINISHED, stage 3 of 3"


def test_without_a_manager_events_say_so(invoke: Invoke) -> None:
    result = invoke("events")
    assert result.exit_code == 3
    assert result.output.startswith("No manager answers at http://127.0.0.1:9 (connection refused)")


def test_a_wrong_condition_is_named(invoke: Invoke) -> None:
    assert "COLUMN=JSON" in invoke("events", "--where", "nope").output
