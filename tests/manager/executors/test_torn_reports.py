"""Whatever an executor writes into a report, its stage ends, and the other reports are taken."""

from typing import Any

import msgspec
import pytest

from kaiju_tasks.api.frames import Frames
from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import Assignment
from tests.manager.hand import Calls, HandExecutor

TORN = {
    "half an emoji": rb'"\ud83d"',
    "the other half": rb'"a\ude00b"',
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "no UTF-8": b'"\xff\xfe"',
    "too large a float": b"1e999",
}
UNSTORABLE_RESULTS = {"huge": b"1" * 400, "deep": b"[" * 100 + b"]" * 100}
KEPT = {"NUL": rb'"\u0000"', "twice": b'{"a":1,"a":2}', "an emoji": rb'"\ud83d\ude00"'}


def report_of(task: Assignment, state: str = "finished", **members: bytes) -> bytes:
    token = (task.id, task.job_id, task.epoch, task.nonce, 0, state)
    names = ("id", "job_id", "epoch", "nonce", "stage", "state")
    known = msgspec.json.encode(dict(zip(names, token, strict=True)))
    more = b"".join(b',"%b":%b' % (name.encode(), text) for name, text in members.items())
    return known[:-1] + more + b"}"


@pytest.fixture
async def frames(manager: Manager) -> Frames:
    return Frames(manager, Calls(manager)._registry, manager.settings)


async def send(frames: Frames, executor: HandExecutor, *reports: bytes) -> dict[str, Any]:
    body = b'{"jsonrpc":"2.0","id":7,"method":"manager.write_stage","params":{"reports":[%b]}}'
    answer = await frames.answer(body % b",".join(reports), executor.caller)
    assert answer is not None
    decoded: dict[str, Any] = msgspec.json.decode(answer)
    return decoded


async def taken(manager: Manager, executor: HandExecutor, count: int) -> list[Assignment]:
    for _ in range(count):
        await Calls(manager).create("work")
    return [await executor.take() for _ in range(count)]


@pytest.mark.parametrize("text", [*TORN.values(), *UNSTORABLE_RESULTS.values()])
async def test_a_result_that_cannot_be_stored_fails_its_stage_and_no_other(
    manager: Manager, executor: HandExecutor, frames: Frames, text: bytes
) -> None:
    good, bad, last = await taken(manager, executor, 3)
    answer = await send(
        frames,
        executor,
        report_of(good, result=b"1"),
        report_of(bad, result=text),
        report_of(last, result=b"2"),
    )
    assert answer["id"] == 7
    assert [ack["state"] for ack in answer["result"]["acks"]] == ["released"] * 3
    found = [await Calls(manager).get(task.id) for task in (good, bad, last)]
    assert [one["status"] for one in found] == ["FINISHED", "FAILED", "FINISHED"]
    assert found[1]["error"]["type"] in ("execution_error", "result_too_large")


@pytest.mark.parametrize("text", TORN.values(), ids=TORN)
@pytest.mark.parametrize("member", ["message", "data"])
async def test_an_error_that_cannot_be_stored_fails_its_stage(
    manager: Manager, executor: HandExecutor, frames: Frames, member: str, text: bytes
) -> None:
    (bad,) = await taken(manager, executor, 1)
    message = text if member == "message" else b'"m"'
    error = b'{"type":"execution_error","message":%b,"data":%b}' % (message, text)
    await send(frames, executor, report_of(bad, "failed", error=error))
    found = await Calls(manager).get(bad.id)
    assert (found["status"], found["error"]["type"]) == ("FAILED", "execution_error")


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
async def test_what_is_odd_and_still_json_is_stored(
    manager: Manager, executor: HandExecutor, frames: Frames, text: bytes
) -> None:
    (task,) = await taken(manager, executor, 1)
    report = report_of(task, result=text, of_later_versions=b'{"x":1}')
    assert (await send(frames, executor, report))["result"]["acks"] == [{"state": "released"}]
    found = await Calls(manager).get(task.id)
    assert found["result"] == [msgspec.json.decode(text)]


async def test_progress_that_cannot_be_read_ends_nothing(
    manager: Manager, executor: HandExecutor, frames: Frames
) -> None:
    (task,) = await taken(manager, executor, 1)
    answer = await send(frames, executor, report_of(task, "progress", result=rb'"\ud83d"'))
    assert answer["result"]["acks"][0]["state"] == "ok"
    assert (await Calls(manager).get(task.id))["status"] == "EXECUTED"


@pytest.mark.parametrize("member", ["id", "nonce", "stage"])
async def test_a_report_whose_lease_cannot_be_read_is_named(
    manager: Manager, executor: HandExecutor, frames: Frames, member: str
) -> None:
    (task,) = await taken(manager, executor, 1)
    torn = report_of(task, "progress", **{member: rb'"\ud83d"'})
    answer = await send(frames, executor, report_of(task, "progress"), torn)
    assert answer["id"] == 7
    assert answer["error"]["code"] == -32602
    assert answer["error"]["data"]["field"] == "reports.1"


async def test_an_id_that_an_answer_cannot_contain_is_an_error(
    executor: HandExecutor, frames: Frames
) -> None:
    body = b'{"jsonrpc":"2.0","id":"\xed\xa0\x80","method":"manager.write_stage","params":{}}'
    answer = await frames.answer(body, executor.caller)
    assert answer is not None
    decoded = msgspec.json.decode(answer)
    assert (decoded["id"], decoded["error"]["code"]) == (None, -32700)


@pytest.mark.parametrize(
    "members", [b'"met\xff\xfehod":1', rb'"met\ud800hod":1', b'"params":{"\xff":1}', b'"id":"\xff"']
)
async def test_a_name_that_is_no_text_is_an_error(
    executor: HandExecutor, frames: Frames, members: bytes
) -> None:
    body = b'{"jsonrpc":"2.0",%b,"data":"manager.write_stage"}' % members
    answer = await frames.answer(body, executor.caller)
    assert answer is not None
    assert msgspec.json.decode(answer)["error"]["code"] in (-32700, -32600)
    reports = b'{"jsonrpc":"2.0","id":7,"method":"manager.write_stage","params":{"reports":[{%b}]}}'
    answer = await frames.answer(reports % members, executor.caller)
    assert answer is not None
    assert msgspec.json.decode(answer)["error"]["code"] in (-32700, -32602)
