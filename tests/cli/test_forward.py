"""`kaiju-tasks executor --forward` and `--health-port`."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tests.cli.conftest import Shell
from tests.support.http_server import http_server
from tests.support.ports import free_port
from tests.support.processes import Processes
from tests.support.wait import wait_until


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
