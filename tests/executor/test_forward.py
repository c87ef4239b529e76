"""Forwarded commands, over real HTTP: what is a success, and what a failure says."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.executor.forward.headers import Headers, read_header
from kaiju_tasks.protocol import ReportState
from tests.executor.fakes import Rig, assignment, command, result_of
from tests.executor.services import Service, forwarded, rigged, serving_service
from tests.support.wait import wait_until

SECRET = "kanarienvogel-7f3a"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving_service() as service:
        yield service


async def error_of(service: Service, **options: Any) -> Any:
    report = await forwarded(service, options=options)
    assert report.state is ReportState.FAILED
    return report.error


async def test_a_command_is_a_call_to_the_service(service):
    service.body = {"result": {"x": 1}}
    report = await forwarded(service, id="t", job_id="j", stage=2, exec_seconds=50)
    assert result_of(report) == {"x": 1}
    headers, body = service.calls[0]
    assert body == {"jsonrpc": "2.0", "id": "j/2", "method": "any.method", "params": {"a": [1]}}
    assert headers["Correlation-Id"] == "j"
    assert headers["Idempotency-Key"] == "j/2"
    assert headers["Deadline"] == "1050.000"
    assert headers["Timeout"] == "50.000"
    assert headers["X-Key"] == "k"


@pytest.mark.parametrize(
    ("error", "type"),
    [
        ({"code": -32601, "message": "m"}, "unknown_method"),
        ({"code": -32602, "message": "m", "data": {"field": "a"}}, "invalid_params"),
        ({"code": 5, "message": "m"}, "execution_error"),
        ({"code": 5, "message": "m", "data": {"retry": True}}, "execution_error"),
        ({"code": 5, "message": "m", "data": {"type": "abort"}}, "abort"),
        ({"code": 5, "message": "m", "data": {"retry": False}}, "abort"),
    ],
)
async def test_an_error_of_the_service_is_the_stage_s(service, error, type):
    service.body = {"error": error}
    got = await error_of(service)
    assert (got.type, got.message) == (type, "m")


async def test_an_error_without_an_id_is_the_stage_s_too(service):
    service.body = {"id": None, "error": {"code": -32700, "message": "not JSON"}}
    assert (await error_of(service)).message == "not JSON"


async def test_null_beside_a_result_or_an_error_is_nothing(service):
    service.body = {"result": 7, "error": None}
    assert result_of(await forwarded(service)) == 7
    service.body = {"result": None, "error": {"code": 1, "message": "m"}}
    assert (await error_of(service)).message == "m"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"id": "another", "result": 1}, "the id of another request"),
        ({"id": 1, "result": 1}, "the id of another request"),
        ({"jsonrpc": "1.0", "result": 1}, "no JSON-RPC 2.0 response"),
        ({}, "neither a result nor an error"),
        ({"result": 1, "error": {"code": 1, "message": "m"}}, "a result and an error at once"),
        ({"error": {"message": "m"}}, "an error without a code and a message"),
        ({"error": "broken"}, "an error without a code and a message"),
    ],
)
async def test_what_is_no_response_to_the_request_is_no_success(service, body, said):
    service.body = body
    error = await error_of(service)
    assert error.type == "execution_error"
    assert said in error.message
    assert error.data["status"] == 200


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (404, "<h1>Not Found</h1>", "no JSON"),
        (200, "{}", "no JSON-RPC 2.0 response"),
        (200, "[]", "a batch"),
        (200, "null", "no JSON-RPC 2.0 response"),
        (200, "", "nothing instead of"),
        (204, "", "nothing instead of"),
        (500, '{"error": "oops"}', "no JSON-RPC 2.0 response"),
    ],
)
async def test_a_page_that_is_no_answer_is_shown(service, status, text, said):
    service.respond(status, text)
    error = await error_of(service)
    assert error.type == "execution_error"
    assert said in error.message
    assert f"HTTP status {status}" in error.message
    assert error.data == {"status": status, "body": text}


async def test_a_result_with_a_status_of_failure_is_no_success(service):
    async def answer(request: web.Request) -> web.Response:
        own = {"jsonrpc": "2.0", "id": (await request.json())["id"], "result": 1}
        return web.json_response(own, status=500)

    service.answer = answer
    assert "answered with a result and HTTP status 500" in (await error_of(service)).message


async def test_a_long_page_is_shown_in_part(service):
    service.respond(500, "word \x00\n" * 1000)
    error = await error_of(service)
    assert len(error.data["body"]) == 201
    assert "\n" not in error.message


async def test_an_answer_above_the_limit_is_cut_off(service):
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x" * 100_000)
            sent += 100_000
        return response

    service.answer = answer
    error = await error_of(service)
    assert error.type == "result_too_large"
    assert sent < 50_000_000


async def test_a_result_above_the_limit_of_the_manager_is_refused(service):
    service.body = {"result": "x" * 1001}
    assert (await error_of(service)).type == "result_too_large"


async def test_a_compressed_answer_is_refused(service):
    service.respond(200, "{}", headers={"Content-Encoding": "gzip"})
    assert "compressed" in (await error_of(service)).message
    assert service.calls[0][0]["Accept-Encoding"] == "identity"


async def test_a_redirect_is_not_followed(service):
    service.respond(
        307, "", headers={"Location": f"http://user:{SECRET}@127.0.0.1:1/there?t={SECRET}"}
    )
    error = await error_of(service, headers={"Authorization": f"Bearer {SECRET}"})
    assert "redirect (HTTP status 307) to http://127.0.0.1:1/there, which is not" in error.message
    assert len(service.calls) == 1


async def test_the_deadline_of_the_stage_cancels_the_request(service):
    closed = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.01)
        except ConnectionError:
            closed.set()
            raise

    service.answer = answer
    async with rigged(service) as rig:
        rig.manager.run(assignment(command("slow", max_timeout=5)))
        await wait_until(lambda: service.calls, "the service is called")
        await rig.clock.advance(6)
        await wait_until(rig.manager.outcomes, "the stage ends")
        error = rig.manager.reports[-1].error
        assert error is not None
        assert error.type == "stage_timeout"
        await wait_until(closed.is_set, "the connection is closed")


async def test_a_password_in_its_url_is_sent_and_not_shown(service):
    address = service.url.removeprefix("http://")
    service.url = f"http://user:{SECRET}@{address}"
    assert (await forwarded(service)).error is None
    assert service.calls[0][0]["Authorization"].startswith("Basic ")
    service.respond(200, "no JSON")
    error = await error_of(service)
    assert "http://127.0.0.1:" in error.message
    assert SECRET not in f"{error.message}{error.data}"


async def test_secrets_that_the_service_repeats_are_masked(service, tmp_path):
    token = tmp_path / "token"
    token.write_text(f"Bearer {SECRET}\n")
    headers = {"Authorization": token}
    assert (await forwarded(service, options={"headers": headers})).error is None
    assert service.calls[0][0]["Authorization"] == f"Bearer {SECRET}"
    data = {"seen": [f"Bearer {SECRET}"], SECRET: 1}
    service.body = {"error": {"code": 1, "message": f"no {SECRET}", "data": data}}
    told = await error_of(service, headers=headers)
    service.respond(401, f"<p>{SECRET}</p>")
    shown = await error_of(service, headers=headers)
    for error in (told, shown):
        assert SECRET not in f"{error.message}{error.data}"
    assert told.message == "no ***"


async def test_a_file_with_a_header_is_read_again_when_it_changes(service, tmp_path):
    token = tmp_path / "token"
    token.write_text("first-token")
    async with rigged(service, headers={"X-Token": token}) as rig:

        async def call() -> str:
            count = len(service.calls)
            rig.manager.run(assignment(command("m")))
            await wait_until(lambda: len(service.calls) > count, "the service is called")
            return service.calls[-1][0]["X-Token"]

        assert await call() == "first-token"
        token.write_text("second-token!")
        assert await call() == "second-token!"
        token.unlink()
        assert await call() == "second-token!"
        assert {"first-token", "second-token!"} <= set(headers_of(rig).secrets())


def headers_of(rig: Rig) -> Headers:
    executor = rig.runtime.executors["app"]
    assert isinstance(executor, ForwardExecutor)
    return executor.headers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X-Key", "must have the form"),
        ("=x", "must have the form"),
        ("X-Key=env:KAIJU_TEST_NO_SUCH", "no variable KAIJU_TEST_NO_SUCH"),
        (f"Authorization=Bearer {SECRET}", "do not write a credential"),
        (f"cookie={SECRET}", "do not write a credential"),
    ],
)
def test_a_header_that_is_not_valid_is_refused_without_its_value(text, said):
    with pytest.raises(InvalidParams) as caught:
        read_header(text)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X Key": "v"}, "not the name of an HTTP header"),
        ({"Content-Type": "v"}, "is set by the executor"),
        ({"Idempotency-Key": "v"}, "is set by the executor"),
        ({"X-Key": f"{SECRET}\r\nX: y"}, "printable ASCII"),
        ({"X-Key": Path("/no/such/file")}, "/no/such/file cannot be read: No such file"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers, said):
    with pytest.raises(InvalidParams) as caught:
        ForwardExecutor("app", "http://127.0.0.1:1/rpc", headers=headers)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_headers_come_from_a_file_the_environment_or_text(monkeypatch):
    monkeypatch.setenv("KAIJU_TEST_KEY", "from-env")
    assert read_header("A=@/run/token") == ("A", Path("/run/token"))
    assert read_header("A=env:KAIJU_TEST_KEY") == ("A", "from-env")
    assert read_header("X-Tenant=eu=1") == ("X-Tenant", "eu=1")
