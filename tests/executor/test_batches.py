"""Batch commands: one call of the function for several stages."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest
from msgspec import Struct

from kaiju_tasks.errors import Abort, KaijuError, RetryAfter, StaleLease
from kaiju_tasks.executor import BatchCall, Context, Executor, Stopped
from kaiju_tasks.executor.middleware import CallNext
from kaiju_tasks.executor.places import PLACE_SECONDS
from kaiju_tasks.executor.registry import Command
from tests.executor.fakes import Rig, assignment, command, result_of, settle
from tests.support.wait import PATIENCE_SECONDS, wait_until

WAIT = 0.5
executor = Executor("app")
batches: list[list[Any]] = []
contexts: list[Context] = []
gates: list[asyncio.Event] = []
thread_gate = threading.Event()
begun = threading.Semaphore(0)
cancelled: list[str] = []
refused: list[KaijuError] = []


class Mail(Struct):
    to: str
    copies: int = 1


@executor.command("send", batch=3, wait=WAIT)
async def send(calls: list[BatchCall[Mail]]) -> list[str | Exception]:
    batches.append([call.params.to for call in calls])
    contexts[:] = [call.context for call in calls]
    return [outcome_of(call.params.to) for call in calls]


def outcome_of(to: str) -> Any:
    match to:
        case "bad":
            return ValueError("no such address")
        case "final":
            return Abort("never again")
        case "later":
            return RetryAfter(30)
        case "nan":
            return float("nan")
        case "cancel":
            return asyncio.CancelledError()
    return f"sent to {to}"


@executor.command("wait", batch=2, wait=WAIT)
async def wait(calls: list[BatchCall[dict[str, Any]]]) -> list[Any]:
    batches.append([call.params["name"] for call in calls])
    try:
        await gates[0].wait()
    except asyncio.CancelledError:
        cancelled.append("all")
        raise
    return [call.context.stopped for call in calls]


@executor.command("in_thread", batch=2, wait=0)
def in_thread(calls: list[BatchCall[dict[str, Any]]]) -> list[Any]:
    batches.append([call.params["name"] for call in calls])
    begun.release()
    thread_gate.wait(PATIENCE_SECONDS)
    return [threading.current_thread().name for _ in calls]


@executor.command("check", batch=2, wait=WAIT)
def check(calls: list[BatchCall[dict[str, Any]]]) -> list[Any]:
    batches.append([call.params["name"] for call in calls])
    thread_gate.wait(PATIENCE_SECONDS)
    try:
        for call in calls:
            call.context.check()
    except Stopped:
        cancelled.append("checked")
        raise
    return [call.context.stopped for call in calls]


@executor.command("ask", batch=2, wait=WAIT)
async def ask(calls: list[BatchCall[dict[str, Any]]]) -> list[Any]:
    try:
        return [await answer(call) for call in calls]
    except asyncio.CancelledError:
        cancelled.append("all")
        raise


async def answer(call: BatchCall[dict[str, Any]]) -> Any:
    outcomes = []
    for n in range(2):  # the second call begins after the end of the stage, if it has ended
        try:
            outcomes.append(await call.context.tasks.get(call.params["name"]))
        except KaijuError as error:
            refused.append(error)
        call.context.progress(n)
    return outcomes[-1] if outcomes else None


@executor.command("ask_in_thread", batch=2, wait=WAIT)
def ask_in_thread(calls: list[BatchCall[dict[str, Any]]]) -> list[Any]:
    try:
        return [answer_in_thread(call) for call in calls]
    except Stopped:
        cancelled.append("all")
        raise


def answer_in_thread(call: BatchCall[dict[str, Any]]) -> Any:
    outcomes = []
    for n in range(2):
        try:
            outcomes.append(call.context.tasks.get(call.params["name"]))
        except KaijuError as error:
            refused.append(error)
        call.context.progress(n)
    return outcomes[-1] if outcomes else None


@executor.command("wrong", batch=2, wait=WAIT)
async def wrong(calls: list[BatchCall[dict[str, Any]]]) -> Any:
    return calls[0].params["value"]


@executor.command("broken", batch=2, wait=WAIT)
async def broken(calls: list[BatchCall[dict[str, Any]]]) -> list[Any]:
    raise ConnectionError("no connection")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    batches.clear()
    cancelled.clear()
    refused.clear()
    gates[:] = [asyncio.Event()]
    thread_gate.clear()
    while begun.acquire(blocking=False):
        pass
    async with Rig(executor, concurrency=20, threads=2) as rig:
        yield rig
        thread_gate.set()


def mail(to: Any, **fields: Any) -> Any:
    return assignment(command("send", params={"to": to}), **fields)


def named(method: str, name: str, **fields: Any) -> Any:
    return assignment(command(method, params={"name": name}, **fields))


def outcomes(rig: Rig) -> dict[str, str]:
    """How the stages of the tasks have ended."""
    return {report.id: str(report.state) for report in rig.manager.reports}


async def test_a_full_batch_begins_at_once(rig: Rig) -> None:
    reports = await rig.do(*(mail(f"m{n}") for n in range(6)))
    assert batches == [["m0", "m1", "m2"], ["m3", "m4", "m5"]]
    assert [result_of(report) for report in reports] == [f"sent to m{n}" for n in range(6)]


async def test_the_first_call_waits_for_others_for_a_while(rig: Rig) -> None:
    await rig.do(mail("a"))
    await rig.clock.advance(WAIT / 2)
    await rig.do(mail("b"))
    assert batches == []
    await rig.clock.advance(WAIT / 2)
    assert batches == [["a", "b"]]
    await rig.do(mail("c"))
    await rig.clock.advance(WAIT * 0.9)
    assert len(batches) == 1
    await rig.clock.advance(WAIT * 0.1)
    assert batches[1] == ["c"]


async def test_one_failure_fails_one_stage(rig: Rig) -> None:
    tasks = [mail(to) for to in ("a", "bad", "final", "later", "nan", "cancel")]
    await rig.do(*tasks)
    found = {report.id: report for report in rig.manager.reports}
    reports = [found[task.id] for task in tasks]
    assert [str(report.state) for report in reports] == ["finished"] + ["failed"] * 5
    errors = [report.error for report in reports[1:]]
    assert [str(error.type) for error in errors if error is not None] == [
        "execution_error",
        "abort",
        "retry_after",
        "execution_error",
        "execution_error",
    ]
    assert errors[0] is not None
    assert errors[0].message == "no such address"


async def test_parameters_are_checked_for_each_stage(rig: Rig) -> None:
    good, wrong, unknown = (
        mail("a"),
        mail(5),
        assignment(command("send", params={"to": "b", "copy": 1})),
    )
    await rig.do(good, wrong, unknown)
    await rig.clock.advance(WAIT)
    assert batches == [["a"]]
    assert outcomes(rig) == {good.id: "finished", wrong.id: "failed", unknown.id: "failed"}
    fields = {r.id: r.error.data["field"] for r in rig.manager.reports if r.error is not None}
    assert fields == {wrong.id: "to", unknown.id: "copy"}


async def test_each_call_has_the_context_of_its_stage(rig: Rig) -> None:
    tasks = [mail("a", attempt=2), mail("b"), mail("c")]
    await rig.do(*tasks)
    assert [(one.task_id, one.attempt) for one in contexts] == [
        (tasks[0].id, 2),
        (tasks[1].id, 1),
        (tasks[2].id, 1),
    ]


async def test_an_exception_of_the_function_fails_all(rig: Rig) -> None:
    await rig.do(named("broken", "a"), named("broken", "b"))
    assert set(outcomes(rig).values()) == {"failed"}
    assert {r.error.message for r in rig.manager.reports if r.error} == {"no connection"}


@pytest.mark.parametrize("value", [[1], [1, 2, 3], None, 7, {"a": 1}], ids=str)
async def test_another_number_of_outcomes_fails_all(rig: Rig, value: Any) -> None:
    tasks = [assignment(command("wrong", params={"value": value})) for _ in range(2)]
    await rig.do(*tasks)
    assert outcomes(rig) == {task.id: "failed" for task in tasks}
    assert rig.manager.reports[0].error is not None
    assert "a list of 2 outcomes" in rig.manager.reports[0].error.message


async def test_a_revoked_stage_is_dropped_from_a_batch_that_has_not_begun(rig: Rig) -> None:
    gone, other = mail("gone"), mail("other")
    await rig.do(gone, other)
    rig.manager.revoke(gone)
    await settle()
    await rig.do(mail("third"))
    assert batches == []
    await rig.clock.advance(WAIT)
    assert batches == [["other", "third"]]
    assert gone.id not in outcomes(rig)


async def test_a_batch_of_which_nothing_is_left_does_not_begin(rig: Rig) -> None:
    only = mail("only")
    await rig.do(only)
    rig.manager.revoke(only)
    await rig.clock.advance(WAIT * 3)
    assert batches == []
    await rig.do(mail("a"))
    await rig.clock.advance(WAIT)
    assert batches == [["a"]]


async def test_a_batch_goes_on_without_a_stage_that_is_stopped(rig: Rig) -> None:
    gone, other = named("wait", "gone"), named("wait", "other")
    await rig.do(gone, other)
    rig.manager.revoke(gone)
    await settle()
    assert rig.runner.capacity == 20
    assert not cancelled
    gates[0].set()
    await settle()
    (report,) = rig.manager.reports
    assert (report.id, result_of(report)) == (other.id, False)
    assert rig.stuck == 0


async def test_a_check_of_a_stopped_stage_does_not_end_its_batch(rig: Rig) -> None:
    gone, other = named("check", "gone"), named("check", "other")
    await rig.do(gone, other)
    await wait_until(lambda: batches == [["gone", "other"]], "the thread works")
    rig.manager.revoke(gone)
    await settle()
    thread_gate.set()
    await wait_until(lambda: len(rig.manager.outcomes()) == 1, "the other one has ended")
    assert outcomes(rig) == {other.id: "finished"}
    assert result_of(rig.manager.reports[-1]) is False


async def test_a_check_ends_a_batch_whose_stages_are_all_stopped(rig: Rig) -> None:
    tasks = [named("check", "a"), named("check", "b")]
    await rig.do(*tasks)
    await wait_until(lambda: batches == [["a", "b"]], "the thread works")
    rig.manager.revoke(*tasks)
    await settle()
    thread_gate.set()
    await wait_until(lambda: cancelled == ["checked"], "it has ended")
    await wait_until(lambda: rig.runner.capacity == 20, "nothing runs")
    assert outcomes(rig) == {}


@pytest.mark.parametrize("method", ["ask", "ask_in_thread"])
async def test_the_calls_of_a_stopped_stage_do_not_end_its_batch(rig: Rig, method: str) -> None:
    gone, other = named(method, "gone"), named(method, "other")
    rig.manager.silent.add("manager.call")
    rig.manager.run(gone, other)
    await settle()
    await rig.clock.advance(WAIT)
    await wait_until(lambda: len(rig.manager.methods("manager.call")) == 1, "it calls")
    rig.manager.silent.clear()
    rig.manager.call = lambda params: params["params"]["id"]
    rig.manager.revoke(gone)
    await wait_until(lambda: len(rig.manager.outcomes()) == 1, "the other one has ended")
    assert outcomes(rig) == {other.id: "finished"}
    assert result_of(rig.manager.reports[-1]) == "other"
    assert not cancelled
    assert [type(error) for error in refused] == [StaleLease] * 2


@pytest.mark.parametrize("method", ["ask", "ask_in_thread"])
async def test_the_calls_of_a_batch_end_with_its_last_stage(rig: Rig, method: str) -> None:
    tasks = [named(method, "a"), named(method, "b")]
    rig.manager.silent.add("manager.call")
    rig.manager.run(*tasks)
    await settle()
    await rig.clock.advance(WAIT)
    await wait_until(lambda: bool(rig.manager.methods("manager.call")), "it calls")
    rig.manager.revoke(*tasks)
    await wait_until(lambda: cancelled == ["all"], "it has ended")
    await wait_until(lambda: rig.runner.capacity == 20, "nothing runs")
    assert outcomes(rig) == {}


async def test_each_stage_has_its_own_time_limit(rig: Rig) -> None:
    short, long = named("wait", "short", max_timeout=10), named("wait", "long")
    await rig.do(short, long)
    await rig.clock.advance(11)
    assert outcomes(rig) == {short.id: "failed"}
    error = rig.manager.reports[0].error
    assert error is not None
    assert error.type == "stage_timeout"
    gates[0].set()
    await settle()
    assert outcomes(rig) == {short.id: "failed", long.id: "finished"}
    await rig.clock.advance(60)
    assert rig.stuck == 0


async def test_a_batch_is_cancelled_when_all_its_stages_are_stopped(rig: Rig) -> None:
    tasks = [named("wait", "a"), named("wait", "b")]
    await rig.do(*tasks)
    rig.manager.revoke(tasks[0])
    await settle()
    assert not cancelled
    rig.manager.revoke(tasks[1])
    await settle()
    assert cancelled == ["all"]
    await rig.clock.advance(60)
    assert (rig.stuck, rig.runner.capacity) == (0, 20)
    assert outcomes(rig) == {}


async def test_a_batch_in_a_thread_uses_one_thread(rig: Rig) -> None:
    tasks = [named("in_thread", f"n{n}") for n in range(6)]
    rig.manager.run(*tasks)
    for _ in range(2):
        assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_SECONDS)
    await rig.clock.advance(PLACE_SECONDS / 2)
    assert sorted(batches) == [["n0", "n1"], ["n2", "n3"]]  # there are two threads
    assert rig.runner.capacity == 20
    rig.manager.revoke(tasks[4])
    await settle()
    thread_gate.set()
    await wait_until(lambda: len(rig.manager.reports) == 5, "all have ended")
    assert batches[2] == ["n5"]
    assert set(outcomes(rig).values()) == {"finished"}


@pytest.mark.parametrize("limit", [None, PLACE_SECONDS / 2])
async def test_a_batch_that_finds_no_thread_is_given_back(rig: Rig, limit: float | None) -> None:
    rig.manager.run(*(named("in_thread", f"n{n}") for n in range(4)))
    for _ in range(2):
        assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_SECONDS)
    late = [named("in_thread", name, max_timeout=limit) for name in ("a", "b")]
    await rig.do(*late)
    assert outcomes(rig) == {}
    await rig.clock.advance(limit or PLACE_SECONDS)
    assert outcomes(rig) == {task.id: "released" for task in late}
    assert all(report.waited for report in rig.manager.reports)
    assert rig.runtime.crowded is (limit is None)
    thread_gate.set()
    await wait_until(lambda: len(rig.manager.reports) == 6, "the others have ended")
    await rig.clock.advance(PLACE_SECONDS * 2)
    assert sorted(batches) == [["n0", "n1"], ["n2", "n3"]]
    assert rig.runtime.lingering == 0


async def test_a_thread_that_does_not_end_is_found(rig: Rig) -> None:
    tasks = [named("in_thread", "a"), named("in_thread", "b")]
    rig.manager.run(*tasks)
    assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_SECONDS)
    rig.manager.revoke(*tasks)
    await settle()
    assert rig.runner.capacity == 19
    await rig.clock.advance(6)
    assert rig.stuck == 1
    thread_gate.set()
    await wait_until(lambda: rig.runner.capacity == 20, "the thread has ended")


async def test_nothing_begins_while_the_leases_are_in_doubt(rig: Rig) -> None:
    rig.manager.silent.add("manager.ping")
    await rig.do(mail("a"))
    rig.clock.stand_still(60)
    await rig.clock.advance(WAIT)
    assert batches == []
    rig.manager.silent.clear()
    await rig.clock.advance(30)
    assert batches == [["a"]]


async def test_middleware_runs_around_each_stage() -> None:
    around = Executor("app")
    seen: list[str] = []

    @around.middleware
    async def note(ctx: Context, call_next: CallNext) -> Any:
        value = await call_next()
        seen.append(ctx.task_id)
        return [value]

    @around.command("double", batch=2, wait=WAIT)
    async def double(calls: list[BatchCall[dict[str, Any]]]) -> list[int]:
        batches.append([call.params["n"] for call in calls])
        return [2 * call.params["n"] for call in calls]

    batches.clear()
    async with Rig(around) as rig:
        tasks = [assignment(command("double", params={"n": n})) for n in (1, 2)]
        reports = await rig.do(*tasks)
    assert batches == [[1, 2]]
    assert sorted(seen) == sorted(task.id for task in tasks)
    assert [result_of(report) for report in reports] == [[2], [4]]


def test_the_parameters_of_a_call_are_announced() -> None:
    info = executor.commands["send"].info()
    assert info.params == {
        "type": "object",
        "properties": {"to": {"type": "string"}, "copies": {"type": "integer", "default": 1}},
        "required": ["to"],
        "additionalProperties": False,
    }
    assert info.result == {"type": "string"}
    assert executor.commands["wait"].info().params["type"] == "object"
    assert executor.commands["broken"].info().result == {}


@dataclass
class Tree:
    name: str
    children: list["Tree"]


def test_a_type_that_contains_itself_is_announced_whole() -> None:
    async def plant(calls: list[BatchCall[Tree]]) -> list[None]:
        return [None for _ in calls]

    schema = Command("plant", plant, batch=2).info().params
    reference = schema["properties"]["children"]["items"]["$ref"]
    definition = schema["$defs"][reference.removeprefix("#/$defs/")]
    assert definition["properties"] == schema["properties"]


@dataclass
class Point:
    x: int
    y: int = 0


class Named(TypedDict):
    name: str


async def points(calls: list[BatchCall[Point]]) -> list[int]:
    return [call.params.x + call.params.y for call in calls]


async def names(calls: list[BatchCall[Named]]) -> list[str]:
    return [call.params["name"] for call in calls]


async def test_parameters_can_be_dataclasses_and_typed_dicts() -> None:
    typed = Executor("app")
    typed.command("points", batch=1)(points)
    typed.command("names", batch=1)(names)
    async with Rig(typed) as rig:
        reports = await rig.do(
            assignment(command("points", params={"x": 1, "y": 2})),
            assignment(command("names", params={"name": "n"})),
        )
    assert [result_of(report) for report in reports] == [3, "n"]


async def no_list(calls: BatchCall[Mail]) -> list[str]:
    return []


async def two(calls: list[BatchCall[Mail]], ctx: Context) -> list[str]:
    return []


async def plain(calls: list[int]) -> list[str]:
    return []


async def untyped(calls: Any) -> list[str]:
    return []


async def numbers(calls: list[BatchCall[int]]) -> list[str]:
    return []


@pytest.mark.parametrize("function", [no_list, two, plain, untyped, numbers])
def test_another_signature_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="command"):
        Executor("app").command("x", batch=2)(function)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 0},
        {"batch": 10_001},
        {"batch": 1.5},
        {"batch": True},
        {"wait": 1},
        {"batch": 2, "wait": -1},
        {"batch": 2, "wait": 61},
        {"batch": 2, "process": True},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"batch|wait"):
        Executor("app").command("x", **options)


def test_examples_are_checked_against_the_parameters_of_a_call() -> None:
    examples = [{"params": {"to": "a"}, "result": "sent"}]
    Executor("app").command("x", batch=2, examples=examples)(send)
    with pytest.raises(ValueError, match="example"):
        Executor("app").command("x", batch=2, examples=[{"params": {"too": 1}}])(send)
    assert msgspec.json.encode(executor.commands["send"].info())
