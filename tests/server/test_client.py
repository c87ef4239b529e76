"""The asynchronous client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from kaiju_tasks import Client, SyncClient
from kaiju_tasks.api import method_registry
from kaiju_tasks.client.methods import POSITIONAL
from kaiju_tasks.errors import (
    Conflict,
    InvalidParams,
    KaijuError,
    MethodNotFound,
    NotAManager,
    NotFound,
    TooLarge,
    Unavailable,
)
from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.samples import executor
from tests.server.conftest import Site
from tests.support.http_server import http_server
from tests.support.ports import free_port
from tests.support.wait import PATIENCE_SECONDS

ECHO = {"commands": [{"method": "do.echo", "params": {"data": 1}}]}


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with Client(site.url) as opened:
        yield opened


@pytest.fixture
async def running_executor(site: Site) -> AsyncIterator[None]:
    running = asyncio.create_task(run_executor(executor, [site.url], handle_signals=False))
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_methods_are_attributes(client: Client) -> None:
    created = await client.tasks.create({**ECHO, "id": "a"})
    assert created["id"] == "a"
    assert (await client.tasks.get("a"))["status"] == "QUEUED"
    assert (await client.tasks.get(id="a"))["id"] == "a"
    assert (await client.call("tasks.count", conditions={"id": "a"})) == {"count": 1}
    assert (await client.system.info())["version"]


async def test_errors_are_raised_by_their_class(client: Client) -> None:
    with pytest.raises(NotFound):
        await client.tasks.get("nope")
    with pytest.raises(MethodNotFound):
        await client.call("tasks.nope", id="x")
    with pytest.raises(InvalidParams) as wrong:
        await client.tasks.create({"commands": []})
    assert wrong.value.field == "data.commands"
    await client.tasks.create({**ECHO, "id": "a"})
    with pytest.raises(Conflict) as conflict:
        await client.tasks.create({**ECHO, "id": "a"})
    assert conflict.value.status == "QUEUED"
    with pytest.raises(TooLarge):
        await client.tasks.create({**ECHO, "meta": {"x": "y" * 20_000}})


async def test_a_batch_gives_results_and_errors_in_order(client: Client) -> None:
    outcomes = await client.batch(
        [
            ("tasks.create", {"data": {**ECHO, "id": "a"}}),
            ("tasks.get", {"id": "nope"}),
            ("tasks.exists", {"id": "nope"}),
        ]
    )
    assert outcomes[0]["id"] == "a"
    assert isinstance(outcomes[1], NotFound)
    assert outcomes[2] is False
    assert await client.batch([]) == []


async def test_a_batch_that_is_refused_raises(client: Client) -> None:
    with pytest.raises(TooLarge):
        await client.batch([("tasks.exists", {"id": "x"})] * 6)


@pytest.mark.usefixtures("running_executor")
async def test_wait_returns_when_the_run_has_ended(client: Client) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    task = await client.tasks.wait("a", timeout=PATIENCE_SECONDS)
    assert (task["status"], task["result"]) == ("FINISHED", [1])


async def test_wait_returns_at_the_timeout(client: Client) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    assert (await client.tasks.wait("a", timeout=0.05))["status"] == "QUEUED"


async def test_wait_asks_again_when_it_waits_long(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaiju_tasks.client.waiting.WAIT_SECONDS", 0.05)
    await client.tasks.create({**ECHO, "id": "a"})
    waiting = asyncio.create_task(client.tasks.wait("a"))
    await client.tasks.wait("a", timeout=0.2)
    assert not waiting.done()
    await client.tasks.cancel("a")
    assert (await waiting)["status"] == "FAILED"


async def test_no_manager_is_unavailable() -> None:
    async with Client(f"http://127.0.0.1:{free_port()}") as client:
        refused = r"^no manager answers at \S+ \(connection refused\)$"
        with pytest.raises(Unavailable, match=refused):
            await client.system.info()


async def test_what_is_no_manager_is_unavailable() -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="<html>hello", status=200)

    async with http_server(hello) as url, Client(url) as client:
        with pytest.raises(Unavailable, match="does not answer as a kaiju_tasks manager"):
            await client.system.info()


@pytest.mark.parametrize("messages", [["42"], ["no JSON"], ['{"id": 0, "result": 1}', "[]"]])
async def test_a_websocket_that_sends_other_messages_is_not_a_manager(messages: list[str]) -> None:
    async def send(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        for message in messages:
            await socket.send_str(message)
        await socket.receive()
        return socket

    async with http_server(send) as url, Client(url) as client:
        with pytest.raises(NotAManager, match="a message on its WebSocket"):
            await anext(client.events())


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8077", "ftp://x", "http://", "http://x:y", "http://[::1", "http://a b"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidParams, match="url must have the form http://host:port") as caught:
        Client(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize("kind", [Client, SyncClient])
@pytest.mark.parametrize("value", [None, 5, b"http://x"])
def test_an_argument_that_is_no_text_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(InvalidParams, match="url must be text") as caught:
        kind(value)
    assert caught.value.field == "url"
    if value is not None:
        with pytest.raises(InvalidParams, match="token must be text") as caught:
            kind("http://x", value)
        assert caught.value.field == "token"


async def test_too_many_positional_parameters_are_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="by name"):
        await client.tasks.get("a", "b")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="multiple values for `id`"):
        await client.tasks.get("a", id="b")  # type: ignore[misc]


def test_positional_parameters_are_those_of_the_methods() -> None:
    methods = {method.name: method for method in method_registry()}
    for name, method in methods.items():
        if name == "tasks.wait" or name.startswith("events."):  # the client's own methods
            continue
        fields = method.params.__struct_fields__
        for parameter in POSITIONAL.get(name, ("id",) if fields else ()):
            if not name.startswith("manager."):
                assert parameter in fields, name
    assert {name for name in POSITIONAL if name != "rpc.discover"} <= methods.keys()


def test_every_error_is_a_kaiju_error() -> None:
    assert issubclass(Unavailable, KaijuError)
