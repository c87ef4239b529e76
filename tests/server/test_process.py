"""`kaiju-tasks serve` as a real process."""

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kaiju_tasks import Client
from tests.support.ports import free_port
from tests.support.processes import Processes, RunningProcess
from tests.support.wait import wait_until

READY = r"^kaiju-tasks \S+ at (https?://\S+) \((.*)\)$"
SAMPLES = ("--executor", "kaiju_tasks.samples:executor")


async def start(processes: Processes, *arguments: str, **env: str) -> tuple[RunningProcess, str]:
    process = processes.kaiju("serve", "--port", "0", *arguments, env=env)
    match = await process.logged(READY)
    return process, match[1]


async def executor_pids(url: str, count: int = 1) -> list[int]:
    async with Client(url) as client:

        async def connected() -> list[int]:
            found = await client.executors.list()
            pids = [one["pid"] for one in found if one["status"] == "ACTIVE"]
            return pids if len(pids) >= count else []

        return await wait_until(connected, f"{count} executors are connected")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def pending_signals(pid: int) -> set[int]:
    """The signals that a process has not taken yet."""
    found = re.search(r"^ShdPnd:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    mask = int(found[1], 16)
    return {number for number in signal.valid_signals() if mask & (1 << (number - 1))}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_code_0_and_no_traceback(
    processes: Processes, number: signal.Signals
) -> None:
    process, _ = await start(processes)
    process.send(number)
    assert await process.ended() == 0
    assert "Traceback" not in process.log


async def test_the_ready_line_is_printed_once_with_the_real_port(processes: Processes) -> None:
    process, url = await start(processes)
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as response:
        assert response.status == 200
    assert process.log.count("kaiju-tasks 0.1.0 at ") == 1
    assert "(sqlite:///kaiju-tasks.db)" in process.log


async def test_executors_run_as_children_and_end_with_the_manager(processes: Processes) -> None:
    process, url = await start(processes, *SAMPLES)
    [pid] = await executor_pids(url)
    assert pid != process.pid
    async with Client(url) as client:
        await client.tasks.create({"id": "a", "commands": [{"method": "do.echo"}]})
        assert (await client.tasks.wait("a", 10))["status"] == "FINISHED"
    process.terminate()
    assert await process.ended() == 0
    assert not alive(pid)
    assert "Traceback" not in process.log


async def test_a_killed_manager_leaves_no_executor_behind(processes: Processes) -> None:
    process, url = await start(processes, *SAMPLES)
    [pid] = await executor_pids(url)
    process.kill()
    await wait_until(lambda: not alive(pid), "the executor has ended")


async def test_an_executor_that_dies_is_started_again(processes: Processes) -> None:
    process, url = await start(processes, *SAMPLES)
    [pid] = await executor_pids(url)
    os.kill(pid, signal.SIGKILL)
    await process.logged("killed by SIGKILL")

    async def replaced() -> bool:
        return any(found != pid for found in await executor_pids(url))

    await wait_until(replaced, "another executor is connected")


async def test_a_running_stage_may_end_before_the_manager_stops(processes: Processes) -> None:
    process, url = await start(processes, *SAMPLES)
    await executor_pids(url)
    async with Client(url) as client:
        command = {"method": "do.sleep", "params": {"seconds": 1}}
        await client.tasks.create({"id": "a", "commands": [command]})

        async def running() -> bool:
            return bool((await client.tasks.get("a"))["status"] == "EXECUTED")

        await wait_until(running, "the stage runs")
    process.terminate()
    assert await process.ended() == 0
    again, url = await start(processes)
    async with Client(url) as client:
        assert (await client.tasks.get("a"))["status"] == "FINISHED"
    again.terminate()


async def test_a_second_signal_gives_back_what_still_runs(processes: Processes) -> None:
    process, url = await start(processes, *SAMPLES, "--shutdown-grace", "3000")
    [pid] = await executor_pids(url)
    async with Client(url) as client:
        command = {"method": "do.sleep", "params": {"seconds": 200}}
        await client.tasks.create({"id": "a", "commands": [command]})

        async def running() -> bool:
            return bool((await client.tasks.get("a"))["status"] == "EXECUTED")

        await wait_until(running, "the stage runs")
    os.kill(pid, signal.SIGSTOP)  # it finds both signals at once
    process.terminate()
    await process.logged("running stages have 3000 s to end")
    process.terminate()
    await wait_until(lambda: signal.SIGINT in pending_signals(pid), "the second signal is sent")
    os.kill(pid, signal.SIGCONT)
    assert await process.ended() == 0
    assert not alive(pid)
    again, url = await start(processes)
    async with Client(url) as client:
        assert (await client.tasks.get("a"))["status"] == "QUEUED"
    again.terminate()


async def test_an_executor_can_be_given_twice(processes: Processes) -> None:
    process, url = await start(processes, *SAMPLES, *SAMPLES)
    first, second = await executor_pids(url, 2)
    process.terminate()
    assert await process.ended() == 0
    assert not alive(first)
    assert not alive(second)


async def test_an_executor_that_does_not_exist_ends_it_with_code_2(processes: Processes) -> None:
    process = processes.kaiju("serve", "--port", "0", "--executor", "nowhere:executor")
    assert await process.ended() == 2
    assert "no module `nowhere`" in process.log
    assert "Traceback" not in process.log


async def test_it_uses_as_many_file_descriptors_as_it_may(processes: Processes) -> None:
    process, _ = await start(processes)
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    assert soft == hard


async def test_a_port_in_use_is_said(processes: Processes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = processes.kaiju("serve", "--port", str(port))
        assert await process.ended() == 1
    assert f"Port {port} on 127.0.0.1 is in use" in process.log
    assert "Traceback" not in process.log


async def test_a_second_manager_on_a_file_is_refused(processes: Processes) -> None:
    await start(processes)
    second = processes.kaiju("serve", "--port", "0")
    assert await second.ended() == 1
    assert "Another manager" in second.log
    assert "Traceback" not in second.log


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--db", "mysql://x"], 2, "cannot be used"),
        (["--host", "0.0.0.0"], 2, "--allow-insecure-host"),
        (["--host", "::"], 2, "--allow-insecure-host"),
        (["--port", "99999"], 2, "port must be"),
        (["--ping-interval", "x"], 2, "ping_interval must be"),
        (["--config", "nowhere.toml"], 2, "nowhere.toml cannot be read"),
        (["--no-migrate"], 1, "db migrate"),
        (["--db", "sqlite:////nowhere/at/all.db"], 1, "nowhere"),
        (["--nonsense"], 2, "No such option"),
    ],
)
async def test_what_is_wrong_is_one_sentence_and_an_exit_code(
    processes: Processes, arguments: list[str], code: int, said: str
) -> None:
    process = processes.kaiju("serve", "--port", "0", *arguments)
    assert await process.ended() == code
    assert said in process.log
    assert "Traceback" not in process.log


async def test_a_database_out_of_reach_is_said_without_its_password(processes: Processes) -> None:
    url = f"postgresql://kaiju:topsecret@127.0.0.1:{free_port()}/tasks"
    process = processes.kaiju("serve", "--port", "0", "--db", url)
    assert await process.ended() == 1
    assert "cannot be reached" in process.log
    assert "topsecret" not in process.log
    assert "Traceback" not in process.log


async def test_postgresql_is_named_without_its_password(
    processes: Processes, postgres_dsn: str
) -> None:
    process, url = await start(processes, *SAMPLES, KAIJU_DB=postgres_dsn)
    assert "(postgresql://" in process.log
    async with Client(url) as client:
        await client.tasks.create({"id": "a", "commands": [{"method": "do.echo"}]})
        assert (await client.tasks.wait("a", 20))["status"] == "FINISHED"
    process.terminate()
    assert await process.ended() == 0
    assert "Traceback" not in process.log


async def test_json_log_lines_are_json(processes: Processes) -> None:
    process, _ = await start(processes, "--log-format", "json", "--log-level", "info")
    process.terminate()
    await process.ended()
    import json

    lines: list[dict[str, Any]] = [
        json.loads(line) for line in process.log.splitlines() if line.startswith("{")
    ]
    assert "stopping" in [line["message"] for line in lines]
    assert all({"time", "level", "logger"} <= line.keys() for line in lines)
