"""Ctrl-C: what goes on without the command is said."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from kaiju_tasks import SyncClient
from tests.cli.conftest import Shell
from tests.support.processes import ROOT, Processes
from tests.support.wait import wait_until

TASKS = 100
SLEEP = ("--method", "do.sleep", "--param", "seconds=60")


async def test_a_task_goes_on_when_it_is_not_watched_any_more(
    shell: Shell, processes: Processes
) -> None:
    environ = {"KAIJU_URL": shell.url}
    creating = processes.kaiju("task", "create", *SLEEP, "--set", "id=it's", "--watch", env=environ)
    await creating.logged("it's: EXECUTED")
    watching = processes.kaiju("task", "watch", "it's", env=environ)
    await watching.logged("it's: EXECUTED")
    for process in (creating, watching):
        process.send(signal.SIGINT)
        assert await process.ended() == 130
        assert process.log.splitlines()[-1] == (
            'Stopped watching. Task "it\'s" continues. Watch it again with '
            "`kaiju-tasks task watch 'it'\"'\"'s'`."
        )
        assert "Traceback" not in process.log
    assert shell.json("task", "show", "it's")["status"] == "EXECUTED"


async def test_a_bulk_call_goes_on_and_how_to_stop_it_is_said(
    shell: Shell, processes: Processes
) -> None:
    made = {"group": "g", "delay": 600, "commands": [{"method": "do.echo"}]}
    with SyncClient(shell.url) as client:
        client.tasks.m_create([made] * TASKS)
    words = ("task", "suspend", "--group", "g", "--rate", "0.1", "--yes")
    process = processes.kaiju(*words, env={"KAIJU_URL": shell.url})
    await process.logged(" of 100 tasks are handled")
    (listed,) = shell.json("bulk", "list", "--running")["data"]
    process.send(signal.SIGINT)
    assert await process.ended() == 130
    assert re.fullmatch(
        r"Interrupted\. The manager goes on with `tasks\.m_suspend`: "
        r"\d+ of 100 tasks are handled\. "
        f"To see it: `kaiju-tasks bulk show -f {listed['id']}`\\. "
        f"To stop it: `kaiju-tasks bulk stop {listed['id']}`\\.",
        process.log.splitlines()[-1],
    )
    environ = {"KAIJU_URL": shell.url}
    left, watching = (
        processes.kaiju("bulk", "show", "-f", listed["id"], env=environ) for _ in range(2)
    )
    for one in (left, watching):
        await one.logged(" of 100 tasks are handled")
    left.send(signal.SIGINT)
    assert await left.ended() == 130
    assert re.search(
        r"The manager goes on with `tasks\.m_suspend`: \d+ of 100", left.log.splitlines()[-1]
    )
    stopped = shell.run("bulk", "stop", listed["id"], "--reason", "enough")
    assert stopped.returncode == 0
    assert await watching.ended() == 1
    assert "STOPPED" in watching.log
    assert watching.log.splitlines()[-1].startswith("The bulk call was stopped")
    assert ["state", "STOPPED"] in [line.split() for line in stopped.stdout.splitlines()]
    again = shell.run("bulk", "stop", listed["id"])
    assert (again.returncode, again.stderr) == (1, "the bulk call is STOPPED already\n")
    assert shell.json("task", "count", "--status", "suspended")["count"] < TASKS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("task", "cancel", "--status", "failed", "--yes"),
            "Interrupted before the manager answered. It may still carry out `tasks.m_cancel`. "
            "To see it: `kaiju-tasks bulk show -f ID`. To stop it: `kaiju-tasks bulk stop ID`.",
        ),
        (("task", "cancel", "--status", "failed"), "Interrupted. Nothing was changed."),
        (
            ("task", "reset", "--status", "failed", "--dry-run"),
            "Interrupted. Nothing was changed.",
        ),
        (
            ("task", "run-now", "x"),
            "Interrupted before the manager answered. It may still carry out `tasks.run_now`.",
        ),
        (("task", "list"), "Interrupted before the manager answered."),
        (("task", "watch", "nope"), "Interrupted before the manager answered."),
    ],
)
async def test_a_call_that_is_not_answered_yet_may_go_on(
    processes: Processes, words: tuple[str, ...], said: str
) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        process = processes.kaiju(*words, env={"KAIJU_URL": url})
        await asyncio.wait_for(asked.wait(), 30)
        process.send(signal.SIGINT)
        assert await process.ended() == 130
    assert re.sub("[0-9a-f]{32}", "ID", process.log) == f"{said}\n"


BESIDE_THE_WAIT = """
import signal, sys, threading, time
from kaiju_tasks.cli import main

waiting = threading.get_ident()

def interrupt():
    while sys._current_frames()[waiting].f_code.co_name not in ("readinto", "select"):
        time.sleep(0.01)
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
main()
"""


async def test_a_signal_that_interrupts_no_system_call_ends_the_wait(processes: Processes) -> None:
    """So does one that arrives just before the call. Here, it arrives on another thread."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        command = [sys.executable, "-c", BESIDE_THE_WAIT, "executors"]
        process = processes.start(command, "executors", {"KAIJU_URL": url})
        assert await process.ended() == 130
    assert process.log == "Interrupted before the manager answered.\n"


async def test_before_a_manager_is_asked_it_is_only_interrupted(processes: Processes) -> None:
    fifo = processes.start([sys.executable, "-c", "import os; os.mkfifo('task.json')"], "fifo")
    assert await fifo.ended() == 0
    process = processes.kaiju("task", "create", "task.json")
    folder = Path(fifo.log_path).parent
    writer = await asyncio.to_thread(os.open, folder / "task.json", os.O_WRONLY)  # it reads now
    process.send(signal.SIGINT)
    assert await process.ended() == 130
    assert process.log == "Interrupted.\n"
    os.close(writer)


async def test_before_the_program_is_imported_it_is_only_interrupted(
    processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "click.py").write_text(
        "print('importing', flush=True)\nimport time\ntime.sleep(60)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = processes.kaiju("task", "list", env={"PYTHONPATH": path})
    await process.logged("importing")
    process.send(signal.SIGINT)
    assert await process.ended() == 130
    assert process.log == "importing\nInterrupted.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("phase", ["the limit", "through manager and executor"])
async def test_a_measurement_that_is_stopped_leaves_nothing_behind(
    processes: Processes, tmp_path: Path, number: signal.Signals, phase: str
) -> None:
    db = f"sqlite:///{tmp_path}/tasks.db"
    process = processes.kaiju("bench", "--part", "throughput", "--tasks", "500", "--db", db)
    await process.logged(phase, 60)
    await wait_until(lambda: any(tmp_path.glob("kaiju-bench-*")), "it has a database")
    process.send(number)
    assert await process.ended(60) == 130
    assert process.log.splitlines()[-1].startswith("Benchmark stopped. ")
    assert not list(tmp_path.glob("kaiju-bench-*"))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
