"""`logs.list`: what stages have logged and printed, on both stores."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams, InvalidRequest, KaijuError, NotFound, TooLarge
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.logs import LINES_MAX, LOGS_MAX, MESSAGE_MAX
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.rights import Kind
from kaiju_tasks.store.base import Condition, StoreUnavailable
from kaiju_tasks.store.logs import HALF_BYTES, KEPT_BYTES
from tests.api.test_rights import as_
from tests.manager.events.test_events import Heard
from tests.manager.hand import Calls, HandExecutor

Json = dict[str, Any]


def log_of(task: Assignment, *lines: Json, **fields: Any) -> Json:
    """The lines of an attempt; each one has the number after the one before it."""
    numbered = [{"n": n, "message": f"line {n}", **line} for n, line in enumerate(lines, 1)]
    lease = {"id": task.id, "job_id": task.job_id, "epoch": task.epoch, "nonce": task.nonce}
    return {**lease, "stage": task.stage, "attempt": task.attempt, "lines": numbered, **fields}


async def write(executor: HandExecutor, *logs: Json) -> int:
    """Write lines; the number that was stored."""
    answer = await executor.call("manager.write_logs", logs=list(logs))
    return int(answer["lines"])


async def lines(call: Calls, job_id: str, **params: Any) -> list[Json]:
    return list((await call("logs.list", job_id=job_id, **params))["data"])


async def test_a_run_shows_what_its_stages_have_logged(
    call: Calls, executor: HandExecutor, other_manager: Manager
) -> None:
    await call.create("one", "two", id="t")
    task = await executor.take()
    before = call.manager.clock.now()
    first = {"message": "hello", "level": "warning", "fields": {"a": [1]}, "ago": 5.0}
    assert await write(executor, log_of(task, first, {"source": "output"})) == 2
    await executor.finish(task, None, 0)
    assert await write(executor, log_of(task, {}, stage=1)) == 1
    found = await lines(Calls(other_manager), task.job_id)
    assert [(one["stage"], one["n"], one["message"]) for one in found] == [
        (0, 1, "hello"),
        (0, 2, "line 2"),
        (1, 1, "line 1"),
    ]
    assert before - 5.001 <= found[0].pop("at") <= call.manager.clock.now() - 4.999
    assert found[0] == {
        "n": 1,
        "level": "warning",
        "source": "log",
        "message": "hello",
        "fields": {"a": [1]},
        "stage": 0,
        "attempt": 1,
        "cycle": 0,
        "left_out": 0,
    }
    assert (found[1]["source"], found[1]["level"], found[1]["fields"]) == ("output", "info", None)
    assert [one["n"] for one in await lines(call, task.job_id, stage=1)] == [1]
    assert await lines(call, task.job_id, attempt=2) == []


async def test_the_lines_of_each_attempt_are_apart(call: Calls, executor: HandExecutor) -> None:
    await call.create("one", id="t", max_retries=1)
    first = await executor.take()
    await write(executor, log_of(first, {"message": "first"}))
    await executor.fail(first)
    second = await executor.take()
    assert second.attempt == 2
    await write(executor, log_of(second, {"message": "second"}))
    await executor.finish(second)
    assert await write(executor, log_of(first, {}, {"message": "late"})) == 0  # begins too early
    assert await write(executor, log_of(first, {"n": 2, "message": "late"})) == 1
    found = await lines(call, first.job_id)
    assert [(one["attempt"], one["message"]) for one in found] == [
        (1, "first"),
        (1, "late"),
        (2, "second"),
    ]
    assert [one["message"] for one in await lines(call, first.job_id, attempt=2)] == ["second"]


async def test_a_log_is_read_in_pages_and_on(call: Calls, executor: HandExecutor) -> None:
    await call.create("one", id="t")
    task = await executor.take()
    await write(executor, log_of(task, *[{}] * 25))
    found: list[int] = []
    after: str | None = None
    for size in (10, 10, 5, 0):
        page = await call("logs.list", job_id=task.job_id, limit=10, after=after)
        assert len(page["data"]) == size
        found += [line["n"] for line in page["data"]]
        after = page["cursor"]
    assert found == list(range(1, 26))
    await write(executor, log_of(task, {"n": 26}, {"n": 30}))
    page = await call("logs.list", job_id=task.job_id, after=after)
    assert [(line["n"], line["left_out"]) for line in page["data"]] == [(26, 0), (30, 3)]
    assert [one["n"] for one in await lines(call, task.job_id, after=24)] == [25, 26, 30]
    assert [one["left_out"] for one in await lines(call, task.job_id, after=27)] == [2]
    assert await lines(call, task.job_id, after=30) == []


@pytest.mark.parametrize("after", ["x", "1.2.3", "1.2.3.-4", "1.2.3.4.5", f"0.0.1.{2**60}", -1])
async def test_a_malformed_place_is_refused(call: Calls, after: Any) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("logs.list", job_id="j", after=after)
    assert refused.value.data["field"] == "after"


async def test_the_middle_of_a_long_log_is_left_out(call: Calls, executor: HandExecutor) -> None:
    await call.create("one", id="t")
    task = await executor.take()
    line = "x" * 1000
    for start in range(1, 1000, 100):
        log = [{"n": n, "message": line} for n in range(start, start + 100)]
        assert await write(executor, log_of(task, *log)) == 100
    found = await lines(call, task.job_id)
    size = sum(len(one["message"]) for one in found)
    assert HALF_BYTES * 1.8 < size <= KEPT_BYTES
    assert len(found) + sum(one["left_out"] for one in found) == 1000
    (gap,) = [one for one in found if one["left_out"]]
    head = [one["n"] for one in found if one["n"] < gap["n"]]
    tail = [one["n"] for one in found if one["n"] >= gap["n"]]
    assert head == list(range(1, len(head) + 1))
    assert tail == list(range(gap["n"], 1001))
    assert abs(len(head) - len(tail)) < 10


async def test_only_those_who_see_the_data_of_a_task_see_its_log(
    call: Calls, executor: HandExecutor
) -> None:
    bob = await as_(call, "bob", Kind.USER)
    await bob.create("one", id="t")
    task = await executor.take()
    await write(executor, log_of(task, {"fields": {"secret": 1}}))
    seeing = [
        bob,
        await as_(call, "op", Kind.OPERATOR),
        await as_(call, "root", Kind.ADMIN),
        await as_(call, "data", Kind.VIEWER, see_data=True),
    ]
    for caller in seeing:
        (line,) = await lines(caller, task.job_id)
        assert (line["message"], line["fields"]) == ("line 1", {"secret": 1})
    viewer = await as_(call, "vic", Kind.VIEWER)
    (line,) = await lines(viewer, task.job_id)
    assert (line["n"], line["level"], line["message"], line["fields"]) == (1, "info", None, None)
    others = [
        await as_(call, "ann", Kind.USER),
        await as_(call, "far", Kind.OPERATOR, streams=("orders",)),
        await as_(call, "afar", Kind.VIEWER, streams=("orders",), see_data=True),
    ]
    for caller in others:
        for job_id in (task.job_id, "nothing"):
            with pytest.raises(NotFound):
                await lines(caller, job_id)
    with pytest.raises(NotFound):
        await lines(bob, "nothing")


async def test_a_run_without_lines_has_an_empty_log(call: Calls, executor: HandExecutor) -> None:
    task = await call.create("one", id="t")
    assert await call("logs.list", job_id=task["job_id"]) == {"data": [], "cursor": None}
    await executor.finish(await executor.take())
    assert await call("logs.list", job_id=task["job_id"], after="0.0.1.4") == {
        "data": [],
        "cursor": "0.0.1.4",
    }
    await call("tasks.delete", id="t")
    with pytest.raises(NotFound):
        await call("logs.list", job_id=task["job_id"])


async def test_an_executor_writes_only_for_its_own_leases(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("one", id="t")
    task = await executor.take()
    other = HandExecutor(call.manager, "other")
    await other.connect(app="elsewhere")
    assert await write(other, log_of(task, {})) == 0
    for wrong in (
        {"nonce": "x"},
        {"epoch": 9},
        {"stage": 1},
        {"attempt": 2},
        {"cycle": 1},
        {"id": "\0"},
        {"epoch": 2**40},
        {"stage": 100},
        {"attempt": 0},
        {"job_id": "x" * 256},
    ):
        assert await write(executor, log_of(task, {}, **wrong)) == 0, wrong
    assert await write(executor, log_of(task, {}), log_of(task, {}, nonce="x")) == 1
    assert len(await lines(call, task.job_id)) == 1


async def test_nobody_writes_without_being_connected(manager: Manager) -> None:
    with pytest.raises(InvalidRequest):
        await Calls(manager)("manager.write_logs", logs=[])


async def test_odd_lines_are_stored_as_far_as_they_can_be(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("one", id="t")
    task = await executor.take()
    odd: list[Json] = [
        {"message": "a\0b", "level": "loud", "source": "x", "fields": {"k": "\0"}, "ago": -5},
        {"message": "y" * (MESSAGE_MAX + 5), "ago": 1e300},
        {"n": 2, "message": "not higher"},
        {"n": 0},
        {"n": 2**60},
        {"n": 7, "fields": {"big": "z" * 10_000}},
        {"n": 8, "message": ""},
    ]
    assert await write(executor, log_of(task, *odd)) == 4
    first, second, third, fourth = await lines(call, task.job_id)
    assert (first["message"], first["level"], first["source"]) == ("a\ufffdb", "info", "log")
    assert first["fields"] == {"k": "\0"}
    assert first["at"] <= call.manager.clock.now()
    assert (len(second["message"]), second["at"]) == (MESSAGE_MAX + 1, 0.0)
    assert set(third["fields"]) == {"left_out"}
    assert (fourth["n"], fourth["message"]) == (8, "")


async def test_a_call_with_too_many_lines_is_refused(call: Calls, executor: HandExecutor) -> None:
    await call.create("one", id="t")
    task = await executor.take()
    many = log_of(task, *[{"message": ""}] * (LINES_MAX + 1))
    for logs in ([many], [log_of(task)] * (LOGS_MAX + 1)):
        with pytest.raises(TooLarge):
            await write(executor, *logs)


async def test_a_database_that_is_away_is_an_error_that_passes(
    call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create("one", id="t")
    task = await executor.take()

    async def away(chunks: Any) -> Any:
        raise StoreUnavailable("it is away")

    with monkeypatch.context() as patched:
        patched.setattr(call.manager.store, "write_logs", away)
        with pytest.raises(KaijuError) as refused:
            await write(executor, log_of(task, {}))
        assert refused.value.code == 503
    assert await write(executor, log_of(task, {})) == 1


async def test_a_log_waits_for_lines_that_are_being_written(
    call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await as_(call, "bob", Kind.USER)
    ann = await as_(call, "ann", Kind.USER)
    await bob.create("one", id="t")
    task = await executor.take()
    begun, gate = asyncio.Event(), asyncio.Event()
    keep = call.manager.store.write_logs

    async def held(chunks: Any) -> Any:
        begun.set()
        await gate.wait()
        return await keep(chunks)

    monkeypatch.setattr(call.manager.store, "write_logs", held)
    writing = asyncio.create_task(write(executor, log_of(task, {})))
    await begun.wait()
    waits: list[str] = []
    monkeypatch.setattr(call.manager.logs, "settled", noted(call.manager.logs.settled, waits))
    with pytest.raises(NotFound):
        await lines(ann, task.job_id)
    assert waits == []
    reading = asyncio.create_task(lines(bob, task.job_id))
    gate.set()
    assert len(await reading) == 1
    assert await writing == 1


def noted(
    settled: Callable[[str], Awaitable[None]], waits: list[str]
) -> Callable[[str], Awaitable[None]]:
    async def waited(job_id: str) -> None:
        waits.append(job_id)
        await settled(job_id)

    return waited


async def test_a_listener_hears_that_lines_were_stored(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    heard = Heard(manager, Condition("event", "eq", "task.log"))
    await call.create("one", id="t")
    task = await executor.take()
    log = log_of(task, {}, {"message": "m" * 600, "level": "error"})
    await write(executor, log)
    await write(executor, log)
    await executor.finish(task)
    await write(executor, log_of(task, {"n": 3}))
    first, second = heard.events
    assert (first.id, first.job_id, first.status, first.stage) == ("t", task.job_id, "EXECUTED", 0)
    assert (first.executor_id, second.status) == ("hand", "FINISHED")
    assert first.data.pop("at") == first.time
    assert first.data == {
        "stage": 0,
        "attempt": 1,
        "cycle": 0,
        "n": 2,
        "level": "error",
        "source": "log",
        "message": "m" * 500 + "…",
    }


async def test_lines_of_a_task_that_is_deleted_meanwhile_do_not_stay(
    call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned = []
    await call.create("one", id="t")
    task = await executor.take()
    await write(executor, log_of(task, {}))
    keep = call.manager.store.prune_logs

    async def noted(runs: Any) -> int:
        pruned.extend(runs)
        return await keep(runs)

    monkeypatch.setattr(call.manager.store, "prune_logs", noted)
    await call.manager.logs.sweep()
    assert pruned == [(task.job_id, "t")]
    await call.manager.logs.sweep()
    assert len(pruned) == 1
    assert len(await lines(call, task.job_id)) == 1
