"""Answers in parts, and work that a service accepts and ends later."""

import json
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.executor.forward.parts import splitter
from kaiju_tasks.executor.forward.service import LOOK_SECONDS_MIN, look_seconds
from kaiju_tasks.protocol import ReportState
from tests.executor.fakes import assignment, command, result_of
from tests.executor.services import Service, forwarded, rigged, serving_service
from tests.support.wait import wait_until


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving_service() as service:
        yield service


def progress(done: float, **others: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "progress", "params": {"done": done, **others}}


def sends(
    service: Service,
    content_type: str,
    *messages: Any,
    last: str = "\n\n",
    first: bytes = b"",
) -> None:
    """Let the service answer in parts; `{}` is the response to the request."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        key = (await request.json()).get("id")
        for message in messages:
            own = {"jsonrpc": "2.0", "id": key, "result": "done"} if message == {} else message
            text = own if isinstance(own, str) else json.dumps(own)
            prefix = "data: " if content_type == "text/event-stream" else ""
            end = last if message is messages[-1] else "\n\n"
            mark = first if message is messages[0] else b""
            await response.write(mark + f"{prefix}{text}{end}".encode())
        return response

    service.answer = answer


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "text/event-stream"])
@pytest.mark.parametrize("last", ["\n\n", ""])
async def test_progress_comes_before_the_result(service, content_type, last):
    sends(service, content_type, progress(1, total=2, message="half"), {}, last=last)
    async with rigged(service) as rig:
        rig.manager.run(assignment(command("m")))
        await wait_until(rig.manager.outcomes, "the stage ends")
        reports = rig.manager.reports
        assert [report.state for report in reports] == [ReportState.PROGRESS, ReportState.FINISHED]
        assert result_of(reports[0]) == {"done": 1.0, "total": 2.0, "message": "half"}
        assert result_of(reports[1]) == "done"


async def test_a_service_may_ask_for_more_time_and_write_log_lines(service, caplog):
    caplog.set_level("INFO", "kaiju_tasks.executor.command")
    log = {"method": "log", "params": {"message": "half way"}}
    more = {"method": "extend", "params": {"seconds": 60}}
    wrong = [{"method": "progress", "params": {"done": done}} for done in ("x", "nan", None)]
    sends(service, "application/x-ndjson", log, more, {"method": "unknown"}, *wrong, {})
    async with rigged(service) as rig:
        rig.manager.run(assignment(command("m")))
        await wait_until(lambda: rig.manager.reports[1:], "the stage ends")
        extend, end = rig.manager.reports
        assert (extend.state, extend.seconds) == (ReportState.EXTEND, 60)
        assert end.state is ReportState.FINISHED
    assert "half way" in caplog.text
    assert caplog.text.count("wrong notification") == 3


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "text/event-stream"])
async def test_a_byte_order_mark_is_no_part_of_the_first_message(service, content_type):
    sends(service, content_type, progress(1), {}, first=BOM_UTF8)
    async with rigged(service) as rig:
        rig.manager.run(assignment(command("m")))
        await wait_until(rig.manager.outcomes, "the stage ends")
        assert states(rig.manager.reports) == [ReportState.PROGRESS, ReportState.FINISHED]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([progress(1)], "has ended without a result"),
        ([progress(1), "no json"], "no JSON"),
        ([progress(1), {"result": 1}], "no JSON-RPC 2.0 response"),
    ],
)
async def test_parts_without_a_response_are_no_success(service, messages, said):
    sends(service, "application/x-ndjson", *messages)
    report = await forwarded(service)
    report = await forwarded(service) if report.state is ReportState.PROGRESS else report
    assert report.error is not None
    assert said in report.error.message


async def test_one_message_above_the_limit_ends_the_call(service):
    sends(service, "application/x-ndjson", "x" * 200_000)
    error = (await forwarded(service)).error
    assert error is not None
    assert error.type == "result_too_large"


async def test_work_that_is_accepted_is_asked_for_until_it_ends(service):
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            asked.append((await request.json())["id"])
            headers = {"Location": "/work/7", "Retry-After": "0"}
            return web.Response(status=202, headers=headers)
        asked.append(request.path)
        if len(asked) == 2:
            body = {"progress": {"done": 1, "total": 2}}
            return web.json_response(body, status=202, headers={"Retry-After": "0"})
        if len(asked) == 3:
            return web.Response(status=503, headers={"Retry-After": "0"})
        return web.json_response({"jsonrpc": "2.0", "id": asked[0], "result": "built"})

    service.answer = answer
    async with rigged(service, headers={"X-Key": "secret"}) as rig:
        rig.manager.run(assignment(command("m")))
        await wait_until(lambda: ReportState.FINISHED in states(rig.manager.reports), "it ends")
        assert states(rig.manager.reports) == [ReportState.PROGRESS, ReportState.FINISHED]
        assert result_of(rig.manager.reports[-1]) == "built"
    assert asked[1:] == ["/work/7"] * 3
    assert service.calls[1][0]["X-Key"] == "secret"
    assert service.calls[1][0]["Idempotency-Key"] == asked[0]


def states(reports: list[Any]) -> list[ReportState]:
    return [report.state for report in reports]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "without a header `Location`"),
        ({"Location": "http://127.0.0.2:1/work"}, "which is not the service"),
        ({"Location": "https://"}, "`Location`"),
    ],
)
async def test_accepted_work_that_cannot_be_asked_for_is_no_success(service, headers, said):
    service.respond(202, "", headers=headers)
    error = (await forwarded(service)).error
    assert error is not None
    assert said in error.message
    assert len(service.calls) == 1


async def test_work_that_the_service_has_forgotten_fails_the_stage(service):
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": "7", "Retry-After": "0"})
        return web.Response(status=404, text="what work?")

    service.answer = answer
    error = (await forwarded(service)).error
    assert error is not None
    assert "HTTP status 404: what work?" in error.message


@pytest.mark.parametrize(("asked", "seconds"), [(0.0, LOOK_SECONDS_MIN), (7.0, 7.0)])
def test_a_service_is_not_asked_without_a_pause(asked, seconds):
    """A date that has passed is 0 seconds, too."""
    assert look_seconds(asked, Backoff(Random(0))) == seconds


@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_the_split_depends_on_no_chunk(lines, size):
    lines = [line.translate(None, b"\r\n").strip().removeprefix(BOM_UTF8) for line in lines]
    whole = b"\n".join(lines)
    found = splitter("application/x-ndjson")
    assert found is not None
    messages: list[bytes] = []
    for start in range(0, len(whole), size):
        messages += found.feed(whole[start : start + size])
    messages += found.end()
    assert messages == [line for line in lines if line]
    assert found.held == 0


@given(st.lists(st.lists(st.sampled_from([b"a", b"{}", b" b"]), min_size=1)), st.integers(1, 7))
def test_the_data_lines_of_an_event_are_one_message(events, size):
    comment = b": kept alive\r\nevent: x\r\n"
    whole = b"".join(
        comment + b"".join(b"data: " + line + b"\r\n" for line in event) + b"\r\n"
        for event in events
    )
    found = splitter("text/event-stream")
    assert found is not None
    messages: list[bytes] = []
    for start in range(0, len(whole), size):
        messages += found.feed(whole[start : start + size])
    messages += found.end()
    assert messages == [b"\n".join(event) for event in events]
    assert found.held == 0
