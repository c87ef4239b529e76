"""An address where something answers that is no manager."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.cli.conftest import Shell
from tests.support.http_server import http_server
from tests.support.ports import free_port
from tests.support.processes import Processes

EXECUTOR = ("executor", "kaiju_tasks.samples:executor")


@pytest.fixture
async def page() -> AsyncIterator[str]:
    """An ordinary web server."""

    async def hello(request: web.Request) -> web.Response:
        if request.path != "/":
            raise web.HTTPNotFound
        return web.Response(text="<html>hello", content_type="text/html")

    async with http_server(hello) as url:
        yield url


async def test_an_executor_ends_with_2_and_says_what_would_be_right(
    processes: Processes, page: str
) -> None:
    by_option = processes.kaiju(*EXECUTOR, "--manager", page)
    by_variable = processes.kaiju(*EXECUTOR, env={"KAIJU_URL": page})
    for process in (by_option, by_variable):
        assert await process.ended() == 2
        assert process.log == (
            f"There is no kaiju_tasks manager at {page}: the server does not open a WebSocket "
            "(HTTP status 404). Use the URL at which `kaiju-tasks serve` listens, such as "
            "http://127.0.0.1:8077. A proxy in front of it must forward WebSockets.\n"
        )


async def test_an_executor_that_comes_before_its_manager_finds_it(processes: Processes) -> None:
    port = free_port()
    executor = processes.kaiju(*EXECUTOR, "--manager", f"http://127.0.0.1:{port}")
    await executor.logged("will reconnect")
    processes.kaiju("serve", "--port", str(port), "--db", "sqlite://:memory:")
    await executor.logged("connected to manager", 30)


@pytest.fixture
async def redirect() -> AsyncIterator[str]:
    """A server that redirects to an address where nothing answers."""

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": f"http://127.0.0.1:{free_port()}/"})

    async with http_server(elsewhere) as url:
        yield url


@pytest.mark.parametrize("command", [("task", "list"), ("task", "watch", "t"), ("events",)])
async def test_no_command_follows_a_redirect(
    tmp_path, redirect: str, command: tuple[str, ...]
) -> None:
    ended = await asyncio.to_thread(Shell(redirect, tmp_path).run, *command)
    assert ended.returncode == 3
    assert "does not answer as a kaiju_tasks manager (HTTP 301" in ended.stderr
    assert redirect in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [("task", "list"), ("events",)])
async def test_other_commands_end_with_3(tmp_path, page: str, command: tuple[str, ...]) -> None:
    ended = await asyncio.to_thread(Shell(page, tmp_path).run, *command)
    assert ended.returncode == 3
    assert page in ended.stderr
    assert "HTTP 404: 404" not in ended.stderr
    assert ended.stderr.endswith("). Set KAIJU_URL to the URL of a manager.\n")
    assert len(ended.stderr.splitlines()) == 1
