"""Commands that are forwarded as plain HTTP requests."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from kaiju_tasks.executor.forward.dialects import PlainHttp
from kaiju_tasks.protocol import Report
from tests.executor.fakes import assignment, command, result_of
from tests.executor.services import Service, forwarded, rigged, serving_service
from tests.support.wait import wait_until


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving_service() as service:
        service.url = f"{service.url.removesuffix('/rpc')}/v1/"
        yield service


async def called(service: Service) -> Report:
    return await forwarded(service, options={"rest": True})


async def test_a_command_is_a_post_to_its_own_url(service):
    service.respond(201, '{"id": 7}', content_type="application/json")
    assert result_of(await called(service)) == {"id": 7}
    assert service.paths == ["/v1/any.method"]
    assert service.calls[0][1] == {"a": [1]}
    assert service.calls[0][0]["Idempotency-Key"]


async def test_an_empty_answer_is_null(service):
    service.respond(204)
    assert result_of(await called(service)) is None


@pytest.mark.parametrize("text", ["<h1>Sign in</h1>", "[1"])
async def test_a_page_is_no_result(service, text):
    for content_type in ("text/html", "application/json"):
        service.respond(200, text, content_type=content_type)
        error = (await called(service)).error
        assert error is not None
        assert error.type == "execution_error"
        if content_type == "text/html":
            assert f"text/html instead of JSON, HTTP status 200: {text}" in error.message


@pytest.mark.parametrize(
    ("status", "body", "type", "message"),
    [
        (404, "<h1>no</h1>", "unknown_method", "the service has no such method (HTTP status 404)"),
        (405, "", "unknown_method", "the service has no such method (HTTP status 405)"),
        (404, {"message": "no such customer"}, "execution_error", "no such customer"),
        (400, {"detail": "a is missing", "field": "a"}, "invalid_params", "a is missing"),
        (422, {"title": "wrong"}, "invalid_params", "wrong"),
        (409, {"error": {"message": "taken"}}, "execution_error", "taken"),
        (410, {"error": "gone"}, "abort", "gone"),
        (500, {"error": "broken", "retry": False}, "abort", "broken"),
        (500, {"error": "broken", "retry": True}, "execution_error", "broken"),
        (500, "oops", "execution_error", "the service answered with HTTP status 500: oops"),
        (401, [], "execution_error", "HTTP status 401"),
    ],
)
async def test_the_status_says_what_the_failure_is(service, status, body, type, message):
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if isinstance(body, str) else "application/problem+json"
    service.respond(status, text, content_type=kind)
    error = (await called(service)).error
    assert error is not None
    assert (error.type, error.message, error.data["status"]) == (type, message, status)
    if type == "invalid_params":
        assert error.data["field"] == ("a" if status == 400 else "params")


@pytest.mark.parametrize(
    ("last", "result", "failed"),
    [
        ({"result": [1]}, [1], None),
        ({"error": {"message": "m", "retry": False}}, None, "abort"),
        ({"error": "m"}, None, "execution_error"),
        ({}, None, "execution_error"),
    ],
)
async def test_an_answer_in_parts_ends_with_a_result_or_an_error(service, last, result, failed):
    service.respond(200, json.dumps(last) + "\n", content_type="application/x-ndjson")
    report = await called(service)
    if failed is None:
        assert result_of(report) == result
    else:
        assert report.error is not None
        assert report.error.type == failed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("a.b", "/v1/a.b"),
        ("a/b", "/v1/a%2Fb"),
        ("../admin", "/v1/..%2Fadmin"),
        ("ü?x#y%", "/v1/%C3%BC%3Fx%23y%25"),
    ],
)
def test_a_method_never_leaves_the_base(method: str, path: str) -> None:
    url, _ = PlainHttp(URL("http://host/v1?tenant=x")).request(method, {}, "k")
    assert str(url) == f"http://host{path}?tenant=x"


async def test_dots_are_no_method(service):
    for method in (".", ".."):
        report = await forwarded_method(service, method)
        assert report.error is not None
        assert report.error.type == "unknown_method"
    assert service.calls == []


async def forwarded_method(service: Service, method: str) -> Any:
    async with rigged(service, rest=True) as rig:
        rig.manager.run(assignment(command(method)))
        await wait_until(rig.manager.outcomes, "the stage ends")
        return rig.manager.reports[-1]


async def test_a_redirect_of_a_sign_in_is_not_followed(service):
    async def answer(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/login")

    service.answer = answer
    error = (await called(service)).error
    assert error is not None
    assert "/login, which is not followed" in error.message
