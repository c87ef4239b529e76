"""`kaiju-tasks executor --forward` and `--health-port`."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.cli.conftest import Shell
from tests.support.http_server import http_server
from tests.support.ports import free_port
from tests.support.processes import Processes
from tests.support.wait import wait_until

CREATE = ("task", "create", "--app", "billing", "--method", "m")


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """A JSON-RPC service that answers with what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        result = {"method": asked["method"], "params": asked["params"]}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    async with http_server(answer) as url:
        yield f"{url}/rpc"


async def test_a_task_of_its_stream_is_a_call_to_the_service(
    processes: Processes, shell: Shell, service: str
) -> None:
    arguments = ("--forward", service, "--app-name", "billing", "--manager", shell.url)
    process = processes.kaiju("executor", *arguments)
    await process.logged("connected to manager")
    (shell.folder / "bill.yaml").write_text(
        "id: bill\napp_name: billing\ncommands:\n- method: invoice.send\n  params: {to: Ada}\n"
    )
    # In a thread: this loop is the service's.
    created = await asyncio.to_thread(shell.run, "task", "create", "bill.yaml", "--watch")
    assert created.returncode == 0
    result = {"method": "invoice.send", "params": {"to": "Ada"}}
    assert shell.json("task", "show", "bill")["result"] == [result]


async def test_a_service_that_is_restarted_costs_its_tasks_nothing(
    processes: Processes, shell: Shell
) -> None:
    answered: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["method"] == "rpc.discover":
            return web.Response(status=404)
        answered.append(asked["id"])
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": 1})

    port = free_port()
    url = f"http://127.0.0.1:{port}/rpc"
    process = processes.kaiju(
        "executor", "--forward", url, "--app-name", "billing", "--manager", shell.url
    )
    await process.logged("connected to manager")
    tasks = [f"t{number}" for number in range(20)]
    for task in tasks:
        await asyncio.to_thread(shell.json, *CREATE, "--set", f"id={task}")
    await process.logged(f"the service {url} is away: .*; no work is taken until it answers")
    async with http_server(answer, port=port):
        for task in tasks:
            await asyncio.to_thread(shell.run, "task", "watch", task)
    shown = [shell.json("task", "show", task) for task in tasks]
    assert {(task["status"], task["retries"]) for task in shown} == {("FINISHED", 0)}
    assert len(answered) == len(set(answered)) == len(tasks)


async def test_a_service_calls_when_its_work_has_ended(processes: Processes, shell: Shell) -> None:
    called: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["method"] == "rpc.discover":
            return web.Response(status=404)
        called.append((request.headers["Callback"], asked["id"]))
        return web.Response(status=202)

    place = f"http://127.0.0.1:{free_port()}"
    async with http_server(answer) as url, aiohttp.ClientSession() as http:
        options = ("--app-name", "billing", "--manager", shell.url, "--callback", place)
        process = processes.kaiju("executor", "--forward", f"{url}/rpc", *options)
        await process.logged("connected to manager")
        second = processes.kaiju("executor", "--forward", f"{url}/rpc", *options)
        assert await second.ended(60) == 1
        assert f"cannot listen at {place}" in second.log
        await asyncio.to_thread(shell.json, *CREATE, "--set", "id=long")
        await wait_until(lambda: called, "the service is called")
        callback, key = called[0]
        assert callback.startswith(f"{place}/")
        body = {"jsonrpc": "2.0", "id": key, "result": "built"}
        async with http.post(callback, json=body) as response:
            assert response.status == 204
        await asyncio.to_thread(shell.run, "task", "watch", "long")
    assert shell.json("task", "show", "long")["result"] == ["built"]
    assert callback not in process.log


async def test_no_credential_is_seen_in_logs_errors_or_the_list_of_processes(
    processes: Processes, shell: Shell, tmp_path: Path
) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"] + request.headers["X-Key"])
        return web.Response(status=403, text=f"no right: {dict(request.headers)}")

    secrets = ("kanarienvogel-in-a-file", "kanarienvogel-in-the-environment")
    token = tmp_path / "token"
    token.write_text(f"Bearer {secrets[0]}\n")
    async with http_server(answer) as url:
        process = processes.kaiju(
            "executor", "--forward-rest", f"{url}/v1", "--manager", shell.url,
            "--app-name", "billing", "--header", f"Authorization=@{token}",
            "--header", "X-Key=env:SERVICE_KEY",
            "--log-level", "debug",
            env={"SERVICE_KEY": secrets[1]},
        )  # fmt: skip
        await process.logged("connected to manager")
        created = await asyncio.to_thread(shell.run, *CREATE, "--set", "id=t", "--watch")
    assert seen[-1] == f"Bearer {secrets[0]}{secrets[1]}"
    shown = shell.run("task", "show", "t", "--json").stdout
    assert "HTTP status 403: no right" in json.loads(shown)["error"]["message"]
    command = Path(f"/proc/{process.pid}/cmdline").read_text()
    for text in (shown, created.stdout + created.stderr, process.log, command):
        assert "kanarienvogel" not in text


async def test_the_health_port_tells_alive_from_ready(processes: Processes, shell: Shell) -> None:
    port = free_port()
    process = processes.kaiju(
        "executor", "kaiju_tasks.samples:executor",
        "--manager", "http://127.0.0.1:9", "--manager", shell.url, "--health-port", str(port),
    )  # fmt: skip
    await process.listening(port)
    async with aiohttp.ClientSession() as http:

        async def status(path: str) -> int:
            async with http.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status

        async def ready() -> bool:
            return await status("/readyz") == 200

        assert await status("/healthz") == 200
        await wait_until(ready, "the executor is ready")
    process.terminate()
    assert await process.ended() == 0


async def test_a_health_port_in_use_is_said_in_a_sentence(processes: Processes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = processes.kaiju(
            "executor", "kaiju_tasks.samples:executor", "--health-port", str(port)
        )
        assert await process.ended() == 1
    assert f"The health port {port} on 127.0.0.1 cannot be used" in process.log
    assert "Traceback" not in process.log


async def test_a_closed_terminal_ends_an_executor_as_sigterm_does(
    processes: Processes, shell: Shell
) -> None:
    process = processes.kaiju("executor", "kaiju_tasks.samples:executor", "--manager", shell.url)
    await process.logged("connected to manager")
    process.send(signal.SIGHUP)
    assert await process.ended() == 0
