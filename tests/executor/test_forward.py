"""Forwarded commands and the health addresses, over real HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from kaiju_tasks.executor import Executor
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.executor.health import health_server
from tests.executor.fakes import Rig, assignment, command, result_of
from tests.support.http_server import http_server
from tests.support.wait import wait_until


class Service:
    """A JSON-RPC service that answers `body`."""

    def __init__(self) -> None:
        self.body: Any = {"result": 1}
        self.calls: list[tuple[dict[str, str], Any]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.calls.append((dict(request.headers), await request.json()))
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=500)
        return web.json_response({"jsonrpc": "2.0", "id": 1, **self.body})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    async with http_server(service.handle) as url:
        service.url = f"{url}/rpc"
        yield service


async def forwarded(service: Service, **fields: Any) -> Any:
    executor = ForwardExecutor("app", service.url, headers={"X-Key": "k"}, now=lambda: 1000.0)
    assert executor.lifespan is not None
    async with executor.lifespan(executor) as executor.state, Rig(executor) as rig:
        rig.manager.run(assignment(command("any.method", params={"a": [1]}), **fields))
        await wait_until(rig.manager.outcomes, "the stage ends")
        return rig.manager.reports[0]


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
        ({"code": 5, "message": "m", "data": {"type": "abort"}}, "abort"),
    ],
)
async def test_an_error_of_the_service_is_the_stage_s(service, error, type):
    service.body = {"error": error}
    got = (await forwarded(service)).error
    assert (got.type, got.message) == (type, "m")


async def test_what_is_no_json_rpc_is_explained(service):
    service.body = "<h1>oops</h1>"
    error = (await forwarded(service)).error
    assert error.type == "execution_error"
    assert "HTTP status 500 and not with JSON-RPC" in error.message


async def test_a_password_in_its_url_is_sent_and_not_shown(service):
    address = service.url.removeprefix("http://")
    service.url = f"http://user:kanarienvogel@{address}"
    assert (await forwarded(service)).error is None
    assert service.calls[0][0]["Authorization"] == "Basic dXNlcjprYW5hcmllbnZvZ2Vs"
    service.body = "no JSON"
    answered = (await forwarded(service)).error
    service.url = "http://user:kanarienvogel@127.0.0.1:1/rpc"
    away = (await forwarded(service)).error
    for error in (answered, away):
        assert "http://127.0.0.1:" in error.message
        assert "kanarienvogel" not in f"{error.message}{error.data}"


async def test_a_service_that_is_away_is_explained(service):
    service.url = "http://127.0.0.1:1/rpc"
    error = (await forwarded(service)).error
    assert "cannot be called" in error.message
    assert error.data["exception"] == "ServiceError"


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_health_tells_alive_from_ready(ready, status):
    async with health_server(0, lambda: ready) as port, aiohttp.ClientSession() as http:
        for path, expected in (("/healthz", 200), ("/readyz", status)):
            async with http.get(f"http://127.0.0.1:{port}{path}") as response:
                assert response.status == expected


async def test_a_raw_result_is_checked_as_any_other():
    executor = Executor("app")

    @executor.command("raw")
    async def raw(text: str) -> msgspec.Raw:
        return msgspec.Raw(text.encode())

    async with Rig(executor) as rig:
        (good,) = await rig.do(assignment(command("raw", params={"text": "1.5"})))
        (bad,) = await rig.do(assignment(command("raw", params={"text": "1.5.5"})))
        (long,) = await rig.do(assignment(command("raw", params={"text": '"' + "x" * 2000 + '"'})))
    assert result_of(good) == 1.5
    assert bad.error is not None
    assert bad.error.type == "execution_error"
    assert long.error is not None
    assert long.error.type == "result_too_large"
