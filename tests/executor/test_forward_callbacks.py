"""Work that a service accepts, and about which it calls the executor."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from kaiju_tasks import http_runner
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward import ForwardExecutor, callbacks, receiver
from kaiju_tasks.executor.forward.callbacks import WAITING_MAX, CallbackPortTaken
from kaiju_tasks.protocol import Assignment, ReportState
from tests.executor.fakes import Rig, assignment, command, result_of
from tests.executor.services import Service, rigged, serving_service
from tests.support.ports import free_port
from tests.support.wait import PATIENCE_SECONDS, wait_until

Json = dict[str, Any]
Post = Callable[..., Awaitable[int]]
PROGRESS = {"method": "progress", "params": {"done": 1, "total": 2}}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving_service() as service:
        yield service


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """Send a message to the URL of a callback; the status of the answer."""
    async with aiohttp.ClientSession() as http:

        async def send(url: str, body: bytes | Json, verb: str = "POST") -> int:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            async with http.request(verb, url, data=data) as response:
                await response.read()
                return response.status

        yield send


def here() -> str:
    return f"http://127.0.0.1:{free_port()}"


async def accepted(service: Service, rig: Rig, one: Assignment | None = None) -> tuple[str, str]:
    """Let the service accept a call.

    :returns: the URL of the callback, and the id of the request
    """
    service.respond(202)
    before = len(service.calls)
    rig.manager.run(one or assignment(command("m")))
    await wait_until(lambda: len(service.calls) > before, "the service is called")
    headers, body = service.calls[-1]
    return headers["Callback"], body.get("id", headers["Idempotency-Key"])


def response(key: str, result: Any) -> Json:
    return {"jsonrpc": "2.0", "id": key, "result": result}


async def end(rig: Rig) -> Any:
    await wait_until(rig.manager.outcomes, "the stage ends")
    return rig.manager.reports[-1]


async def test_the_service_reports_progress_and_the_result(service: Service, post: Post) -> None:
    async with rigged(service, callback=here()) as rig:
        url, key = await accepted(service, rig)
        assert await post(url, PROGRESS) == 204
        await wait_until(lambda: rig.manager.reports, "the progress is reported")
        assert rig.manager.reports[0].state is ReportState.PROGRESS
        assert await post(url, response(key, "built")) == 204
        assert result_of(await end(rig)) == "built"
        assert await post(url, response(key, "again")) == 404, "the call has ended"
        assert len(rig.manager.outcomes()) == 1


@pytest.mark.parametrize(
    ("message", "type", "said"),
    [
        ({"jsonrpc": "2.0", "id": "other", "result": 1}, "execution_error", "another request"),
        (b"<h1>Error</h1>", "execution_error", "no JSON"),
        (b"", "execution_error", "nothing"),
        (b'"' + b"x" * 200_000 + b'"', "result_too_large", "more than"),
    ],
)
async def test_what_is_no_response_fails_the_stage(
    service: Service, post: Post, message: Any, type: str, said: str
) -> None:
    async with rigged(service, callback=here()) as rig:
        url, _ = await accepted(service, rig)
        assert await post(url, message) == (413 if type == "result_too_large" else 204)
        error = (await end(rig)).error
        assert error.type == type
        assert said in error.message


async def test_an_error_of_the_service_says_whether_a_retry_helps(
    service: Service, post: Post
) -> None:
    async with rigged(service, callback=here()) as rig:
        url, key = await accepted(service, rig)
        error = {"code": 1, "message": "no such customer", "data": {"retry": False}}
        await post(url, {"jsonrpc": "2.0", "id": key, "error": error})
        assert (await end(rig)).error.type == "abort"


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ({"result": {"boxes": 10}}, {"boxes": 10}),
        ({"error": {"message": "no box", "retry": False}}, "abort"),
        ({"boxes": 10}, "execution_error"),
    ],
)
async def test_a_plain_service_sends_a_result_or_an_error(
    service: Service, post: Post, message: Json, outcome: Any
) -> None:
    async with rigged(service, callback=here(), rest=True) as rig:
        url, _ = await accepted(service, rig)
        assert await post(url, message) == 204
        report = await end(rig)
        assert (report.error.type if report.error else result_of(report)) == outcome


async def test_the_result_may_come_before_the_call_is_answered(
    service: Service, post: Post
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        key = (await request.json())["id"]
        assert await post(request.headers["Callback"], response(key, "quick")) == 204
        return web.Response(status=202)

    service.answer = answer
    async with rigged(service, callback=here()) as rig:
        rig.manager.run(assignment(command("m")))
        assert result_of(await end(rig)) == "quick"


@pytest.mark.parametrize("called_back", [True, False])
async def test_the_service_may_be_asked_too(
    service: Service, post: Post, called_back: bool
) -> None:
    """Whichever says first how the work has ended."""
    asked, may_end = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": "/work", "Retry-After": "0"})
        asked.set()
        if not may_end.is_set():
            return web.Response(status=202, headers={"Retry-After": "0"})
        return web.json_response(response(service.calls[0][1]["id"], "asked"))

    service.answer = answer
    async with rigged(service, callback=here()) as rig:
        rig.manager.run(assignment(command("m")))
        await asked.wait()
        headers, body = service.calls[0]
        if called_back:
            await post(headers["Callback"], response(body["id"], "called"))
        else:
            may_end.set()
        assert result_of(await end(rig)) == ("called" if called_back else "asked")


async def test_nobody_else_ends_a_call(service: Service, post: Post) -> None:
    async with rigged(service, callback=here()) as rig:
        url, key = await accepted(service, rig)
        base = url.rpartition("/")[0]
        for path in ("", "/", "/x", f"/{key}"):
            assert await post(base + path, response(key, "forged")) == 404
        assert await post(url, b"", "GET") == 405
        assert await post(url, response(key, "good")) == 204
        assert result_of(await end(rig)) == "good"


async def test_each_call_has_a_url_of_its_own_that_ends_with_its_stage(
    service: Service, post: Post
) -> None:
    async with rigged(service, callback=here()) as rig:
        one = assignment(command("m"))
        first, _ = await accepted(service, rig, one)
        second, key = await accepted(service, rig)
        assert first != second
        rig.manager.revoke(one)

        async def ended() -> bool:
            return await post(first, PROGRESS) == 404

        await wait_until(ended, "its URL ends with the stage")
        assert await post(second, response(key, "good")) == 204
        assert result_of(await end(rig)) == "good"


async def test_only_some_messages_wait(service: Service, post: Post) -> None:
    """A service that calls before it answers cannot fill the memory."""
    statuses: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        for _ in range(WAITING_MAX + 1):
            statuses.append(await post(request.headers["Callback"], PROGRESS))
        return web.json_response(response((await request.json())["id"], 1))

    service.answer = answer
    async with rigged(service, callback=here()) as rig:
        rig.manager.run(assignment(command("m")))
        await end(rig)
    assert statuses == [204] * WAITING_MAX + [429]


def large(size: int) -> bytes:
    """A notification of about this number of bytes, which is shorter when it is reported."""
    return json.dumps({**PROGRESS, "filled": "x" * size}).encode()


async def test_only_some_bytes_wait(service: Service, post: Post) -> None:
    statuses: list[int] = []
    message = large(60_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        for body in (message, message, message, PROGRESS):
            statuses.append(await post(request.headers["Callback"], body))
        return web.Response(status=202)

    service.answer = answer
    async with rigged(service, callback=here()) as rig:
        rig.manager.run(assignment(command("m")))
        await wait_until(lambda: len(statuses) == 4, "the messages are sent")
        assert statuses == [204, 204, 429, 204]
        headers, body = service.calls[0]
        for _ in range(5):  # those that the call has taken leave their room to others

            async def fits() -> bool:
                return await post(headers["Callback"], message) == 204

            await wait_until(fits, "there is room again")
        await post(headers["Callback"], response(body["id"], "good"))
        assert result_of(await end(rig)) == "good"


async def test_the_messages_of_all_calls_have_one_limit(
    service: Service, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "BYTES_MAX", 100_000)
    urls: list[str] = []
    may_answer = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        urls.append(request.headers["Callback"])
        await may_answer.wait()
        key = (await request.json())["id"]
        return web.json_response(response(key, 1))

    service.answer = answer
    async with rigged(service, callback=here()) as rig:
        for _ in range(2):
            rig.manager.run(assignment(command("m")))
        await wait_until(lambda: len(urls) == 2, "both are called")
        assert [await post(url, large(60_000)) for url in urls] == [204, 429]
        may_answer.set()
        await wait_until(lambda: len(rig.manager.outcomes()) == 2, "both have ended")
        service.answer = None
        url, key = await accepted(service, rig)
        assert await post(url, large(60_000)) == 204, "the messages of ended calls are forgotten"
        assert await post(url, response(key, 1)) == 204


async def test_a_message_that_is_too_large_fails_the_stage_however_many_wait(
    service: Service, post: Post
) -> None:
    statuses: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        url = request.headers["Callback"]
        for _ in range(WAITING_MAX):
            await post(url, PROGRESS)
        statuses.extend([await post(url, large(100_000)) for _ in range(2)])
        return web.Response(status=202)

    service.answer = answer
    async with rigged(service, callback=here()) as rig:
        rig.manager.run(assignment(command("m")))
        assert (await end(rig)).error.type == "result_too_large"
    assert statuses == [413, 413]


async def connected(url: str, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = URL(url)
    reader, writer = await asyncio.open_connection(place.host, place.port)
    writer.write(sent)
    return reader, writer


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What arrives until the connection is closed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await reader.read()


async def test_a_message_must_arrive_in_time(
    service: Service, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.1)
    async with rigged(service, callback=here()) as rig:
        url, _ = await accepted(service, rig)
        head = f"POST {URL(url).path} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"
        reader, writer = await connected(url, head.encode() + b"{")
        assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nHost: h\r\n"])
async def test_a_connection_without_a_request_is_closed(
    service: Service, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_runner, "HEADERS_SECONDS", 0.1)
    place = here()
    async with rigged(service, callback=place):
        reader, writer = await connected(place, sent)
        assert await rest(reader) == b""
        writer.close()


@pytest.mark.parametrize("limit", ["CONNECTIONS_MAX", "CONNECTIONS_EACH"])
async def test_only_some_connections_are_open(
    service: Service, post: Post, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(receiver, limit, 2)
    place = here()
    async with rigged(service, callback=place) as rig:
        open_ones = [await connected(place, b"") for _ in range(2)]
        refused, writer = await connected(place, b"")
        assert await rest(refused) == b""
        writer.close()
        for _, other in open_ones:
            other.close()
            await other.wait_closed()
        url, key = await accepted(service, rig)

        async def taken() -> bool:
            try:
                return await post(url, response(key, "good")) == 204
            except aiohttp.ClientError:
                return False  # the other connections still close

        await wait_until(taken, "there is a place again")
        assert result_of(await end(rig)) == "good"


async def test_the_token_of_a_call_is_in_no_message(
    service: Service, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """A service may repeat its request in what it reports."""
    caplog.set_level("INFO", "kaiju_tasks.executor.command")
    async with rigged(service, callback=here()) as rig:
        url, key = await accepted(service, rig)
        await post(url, {"method": "progress", "params": {"done": 1, "message": f"to {url}"}})
        await post(url, {"method": "log", "params": {"message": f"log to {url}"}})
        await post(url, {"method": "extend", "params": {"seconds": f"wrong: {url}"}})
        error = {"code": 1, "message": f"no answer at {url}", "data": {"url": url}}
        await post(url, {"jsonrpc": "2.0", "id": key, "error": error})
        await end(rig)
        token = url.rpartition("/")[2]
        hidden = url.replace(token, "***")
        [progress, failed] = rig.manager.reports
        assert result_of(progress)["message"] == f"to {hidden}"
        assert failed.error is not None
        assert hidden in failed.error.message
        assert f"log to {hidden}" in caplog.text
        assert f"wrong: {hidden}" in caplog.text
        assert token not in caplog.text
        assert token not in repr(rig.manager.reports)
        assert token not in repr(rig.manager.requests)


async def test_a_port_that_is_in_use_is_named(service: Service) -> None:
    place = here()
    async with rigged(service, callback=place):
        with pytest.raises(CallbackPortTaken, match=place):
            async with rigged(service, callback=place):
                pass


@pytest.mark.parametrize("url", ["https://h:1/", "h:1", "http://u:p@h:1/"])
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(InvalidParams, match="callback"):
        ForwardExecutor("app", "http://h/rpc", callback=url)
