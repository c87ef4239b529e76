"""What answers at a manager's URL and is none, and what may become one."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kaiju_tasks.errors import InvalidParams, NotAManager
from kaiju_tasks.executor import Executor, reconnects
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.executor.process import EXIT_ORPHANED, run_executor
from tests.executor.commands import executor as commands
from tests.executor.fakes import FakeManager
from tests.executor.server import serving
from tests.support.http_server import Answer, http_server
from tests.support.wait import PATIENCE_SECONDS, wait_until

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def run(*urls: str, **options: Any) -> int:
    return await asyncio.wait_for(run_executor(commands, urls, handle_signals=False, **options), 30)


def page(status: int) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>hello", status=status, content_type="text/html")

    return answer


def websocket_that(*frames: str) -> Answer:
    """Sends these; then what it receives, as an echo."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for frame in frames:
            await socket.send_str(frame)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    return answer


@pytest.mark.parametrize("status", [200, 204, 400, 404, 405, 410, 426, 501, 505])
async def test_a_web_server_is_no_manager(status: int) -> None:
    async with http_server(page(status)) as url:
        with pytest.raises(NotAManager, match=f"HTTP status {status}") as caught:
            await run(url)
    assert str(caught.value).startswith(f"There is no kaiju_tasks manager at {url}: ")
    assert "http://127.0.0.1:8077" in str(caught.value)
    assert caught.value.data["url"] == url


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("hello", "an invalid message"),
        ("[1]", "an invalid message"),
        ('{"jsonrpc": "2.0", "id": 1, "result": "welcome"}', "an invalid message"),
        (
            '{"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}}',
            "does not accept executors: no such method",
        ),
        ('{"jsonrpc": "2.0", "method": "chat.message", "params": {}}', "'chat.message'"),
    ],
)
async def test_a_websocket_of_something_else_is_no_manager(frame: str, reason: str) -> None:
    async with http_server(websocket_that(frame)) as url:
        with pytest.raises(NotAManager, match=reason):
            await run(url)


async def test_an_echo_is_no_manager() -> None:
    async with http_server(websocket_that()) as url:
        with pytest.raises(NotAManager, match=r"'manager\.connect'"):
            await run(url)


async def test_what_does_not_speak_http_is_no_manager() -> None:
    async def ssh(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()

    async with tcp_server(ssh) as url:
        with pytest.raises(NotAManager, match="does not speak HTTP"):
            await run(url)


async def test_what_does_not_speak_tls_is_no_manager() -> None:
    async with http_server(page(200)) as url:
        with pytest.raises(NotAManager, match="does not speak TLS"):
            await run(url.replace("http:", "https:"))


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_server(nothing, tls) as url:
        with pytest.raises(NotAManager, match="certificate is not accepted"):
            await run(url.replace("http:", "https:"))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
async def test_an_error_of_a_proxy_before_the_manager_is_tried_again(status: int) -> None:
    manager = FakeManager()
    asked = asyncio.Event()

    async def proxy(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await page(status)(request)

    async with http_server(proxy) as url, serving(manager) as server:
        assert await run(url, server.url, until_idle=True, idle_seconds=0.0) == 0
    assert asked.is_set()
    assert manager.methods("manager.connect")


async def test_a_proxy_that_hangs_up_is_tried_again() -> None:
    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readline()

    manager = FakeManager()
    async with tcp_server(hang_up) as url, serving(manager) as server:
        tls = url.replace("http:", "https:")
        assert await run(url, tls, server.url, until_idle=True, idle_seconds=0.0) == 0


async def test_a_host_that_has_no_address_yet_is_tried_again() -> None:
    async with serving(FakeManager()) as server:
        urls = ("http://nowhere.invalid:8077", server.url)
        assert await run(*urls, until_idle=True, idle_seconds=0.0) == 0


async def test_what_accepts_and_says_nothing_is_left_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnects, "CONNECT_SECONDS_MAX", 0.2)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_server(silent) as url, serving(FakeManager()) as server:
        assert await run(url, server.url, until_idle=True, idle_seconds=0.0) == 0


async def test_a_manager_that_was_there_is_waited_for_whatever_answers_in_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "kaiju_tasks.executor")
    manager, seen = FakeManager(), asyncio.Event()
    manager.orphan_seconds = 1.0

    async def other(request: web.Request) -> web.StreamResponse:
        seen.set()
        return await page(404)(request)

    async with serving(manager) as server, http_server(other) as url:
        running = asyncio.create_task(run(server.url, url, restart=lambda: None))
        await wait_until(lambda: "connected to manager" in caplog.text, "it is accepted")
        manager.errors["manager.connect"] = (503, "away")
        await server.cut()
        await asyncio.wait_for(seen.wait(), PATIENCE_SECONDS)
        assert await running == EXIT_ORPHANED


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8077", "", "ftp://h", "http://", "http://h:p", "http://h:0", "http://[::1",
     "http://a b", "http://a..b", "http://h\n", "localhost"],
)  # fmt: skip
async def test_a_malformed_url_is_refused_before_anything_starts(url: str) -> None:
    began: list[Executor] = []

    @asynccontextmanager
    async def lifespan(executor: Executor) -> AsyncIterator[None]:
        began.append(executor)
        yield

    with pytest.raises(InvalidParams, match="must have the form http://host:port") as caught:
        await run_executor(
            Executor("app", lifespan=lifespan), ["http://127.0.0.1:9", url], handle_signals=False
        )
    assert caught.value.field == "manager_urls"
    with pytest.raises(InvalidParams, match="must have the form http://host:port/rpc") as caught:
        ForwardExecutor("app", url)
    assert caught.value.field == "url"
    assert began == []


async def test_a_single_url_is_not_taken_for_a_list_of_letters() -> None:
    manager = FakeManager()
    async with serving(manager) as server:
        run_one = run_executor(
            commands, server.url, handle_signals=False, until_idle=True, idle_seconds=0.0
        )
        assert await asyncio.wait_for(run_one, 30) == 0
    with pytest.raises(InvalidParams, match="not 'nope'"):
        await run_executor(commands, "nope", handle_signals=False)


async def test_a_url_without_its_scheme_is_guessed_in_the_error() -> None:
    with pytest.raises(InvalidParams, match=r"did you mean 'http://127.0.0.1:8077'"):
        await run("127.0.0.1:8077")


@pytest.mark.parametrize("token", ["", "a\nb", "a b", "\u00fc", "\x7f"])
async def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        await run("http://127.0.0.1:9", token=token)
    assert caught.value.field == "token"
    assert str(caught.value) == "token must be printable ASCII characters without spaces"
