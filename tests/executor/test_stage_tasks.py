"""`Context.tasks`: the calls of commands to the manager."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaiju_tasks.errors import (
    Conflict,
    KaijuError,
    MethodNotFound,
    TooLarge,
    TooManyRequests,
    Unavailable,
)
from kaiju_tasks.executor import Context, Executor, Stopped
from kaiju_tasks.executor.failures import report_error
from kaiju_tasks.types import NewTask, TaskCommand
from kaiju_tasks.version import __version__
from tests.executor.commands import executor as process_executor
from tests.executor.fakes import Rig, assignment, command, lease_of, result_of, settle
from tests.support.wait import wait_until

executor = Executor("app")
errors: list[KaijuError] = []
ended = threading.Event()
loose: list[Any] = []
gates: list[asyncio.Event] = []

PING = 5.0
Json = dict[str, Any]


@executor.command("call")
async def call(ctx: Context, method: str, values: list[Any]) -> Any:
    try:
        return await getattr(ctx.tasks, method)(*values)
    except KaijuError as error:
        errors.append(error)
        raise


@executor.command("call_in_thread")
def call_in_thread(ctx: Context, method: str, values: list[Any]) -> Any:
    try:
        return getattr(ctx.tasks, method)(*values)
    except Stopped:
        ended.set()
        raise


@executor.command("typed")
async def typed(ctx: Context) -> Any:
    return await ctx.tasks.create(NewTask(commands=[TaskCommand("x")]), on_conflict="ignore")


@executor.command("reset_later")
async def reset_later(ctx: Context) -> Any:
    await gates[0].wait()
    return await ctx.tasks.reset("c")


@executor.command("leave_open")
async def leave_open(ctx: Context) -> None:
    """End while a call is open, and make another one afterwards."""
    calling = asyncio.ensure_future(ctx.tasks.get("x"))
    loose[:] = [ctx, calling]
    await settle(5)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    errors.clear()
    ended.clear()
    gates[:] = [asyncio.Event()]
    async with Rig(executor) as rig:
        yield rig


def calling(method: str, *values: Any, thread: bool = False) -> Any:
    name = "call_in_thread" if thread else "call"
    return assignment(command(name, params={"method": method, "values": list(values)}))


def calls(rig: Rig) -> list[Json]:
    return rig.manager.methods("manager.call")


async def test_a_call_names_the_lease_the_stage_and_the_method(rig: Rig) -> None:
    rig.manager.call = lambda params: {"id": params["params"]["id"], "status": "IDLE"}
    before = command("call", params={"method": "get", "values": ["a"]})
    task = assignment(before, command("call", params={"method": "get", "values": ["b"]}), stage=3)
    reports = await rig.do(task)
    assert [result_of(report)["id"] for report in reports] == ["a", "b"]
    first, second = calls(rig)
    lease = lease_of(task)
    assert first.pop("call_id") != second.pop("call_id")
    token = {"id": lease.id, "job_id": lease.job_id, "epoch": lease.epoch, "nonce": lease.nonce}
    assert first == {**token, "stage": 3, "method": "tasks.get", "params": {"id": "a"}}
    assert second == {**token, "stage": 4, "method": "tasks.get", "params": {"id": "b"}}


async def test_typed_tasks_are_sent_as_json(rig: Rig) -> None:
    rig.manager.call = lambda params: {"id": "c"}
    (report,) = await rig.do(assignment(command("typed")))
    assert result_of(report) == {"id": "c"}
    (sent,) = calls(rig)
    assert sent["params"]["data"]["commands"][0]["method"] == "x"
    assert sent["params"]["on_conflict"] == "ignore"


async def test_a_thread_calls_without_await(rig: Rig) -> None:
    rig.manager.call = lambda params: {"id": "c"}
    rig.manager.run(calling("create", {"commands": []}, thread=True))
    await wait_until(lambda: len(rig.manager.reports) == 1, "the thread has ended")
    assert result_of(rig.manager.reports[0]) == {"id": "c"}


async def test_an_error_is_raised_as_the_class_of_its_code(rig: Rig) -> None:
    rig.manager.errors["manager.call"] = 409, "there is one"
    rig.manager.error_data = {"type": "conflict", "status": "IDLE", "id": "c"}
    (report,) = await rig.do(calling("cancel", "c"))
    assert report.error is not None
    assert report.error.message == "there is one"
    (error,) = errors
    assert isinstance(error, Conflict)
    assert (error.status, error.data["id"]) == ("IDLE", "c")


async def test_a_create_whose_answer_was_lost_is_repeated_as_the_same_call(rig: Rig) -> None:
    rig.manager.silent.add("manager.call")
    await rig.do(calling("create", {"commands": []}))
    rig.wire.cut()
    rig.manager.silent.clear()
    rig.manager.call = lambda params: {"id": "c"}
    await rig.clock.advance(10)
    first, second = calls(rig)
    assert second.pop("again")
    assert first == second
    assert rig.manager.outcomes() == [(0, "finished")]


async def test_a_call_that_may_have_been_carried_out_is_not_repeated(rig: Rig) -> None:
    rig.manager.silent.add("manager.call")
    await rig.do(calling("reset", "c"))
    rig.wire.cut()
    await rig.clock.advance(10)
    assert len(calls(rig)) == 1
    assert isinstance(errors[0], Unavailable)
    assert rig.manager.outcomes() == [(0, "failed")]


async def test_a_create_that_replaces_is_not_repeated(rig: Rig) -> None:
    replacing = "create", {"id": "c", "commands": []}, "replace"
    rig.manager.silent.add("manager.call")
    await rig.do(calling(*replacing))
    rig.wire.cut()
    await rig.clock.advance(10)
    assert len(calls(rig)) == 1
    assert isinstance(errors[0], Unavailable)
    assert "may have carried it out" in errors[0].message
    rig.manager.silent.clear()
    rig.manager.errors["manager.call"] = 503, "no database"
    await rig.do(calling(*replacing))
    await rig.clock.advance(10)
    assert len(calls(rig)) == 2
    assert rig.manager.outcomes() == [(0, "failed")] * 2


async def test_a_call_waits_until_a_manager_is_connected(rig: Rig) -> None:
    await rig.do(assignment(command("reset_later")))
    rig.wire.up = False
    rig.wire.cut()
    await settle()
    gates[0].set()
    await rig.clock.advance(1)
    assert not calls(rig)
    rig.wire.up = True
    await rig.clock.advance(10)
    assert len(calls(rig)) == 1
    assert rig.manager.outcomes() == [(0, "finished")]


async def test_a_create_is_repeated_while_the_database_is_away(rig: Rig) -> None:
    rig.manager.errors["manager.call"] = 503, "no database"
    await rig.do(calling("create", {"commands": []}))
    await rig.clock.advance(2)
    assert len(calls(rig)) >= 3
    assert len({one["call_id"] for one in calls(rig)}) == 1
    rig.manager.errors.clear()
    await rig.clock.advance(1)
    assert rig.manager.outcomes() == [(0, "finished")]


async def test_an_old_manager_is_named(rig: Rig) -> None:
    rig.manager.errors["manager.call"] = -32601, "there is no method `manager.call`"
    rig.manager.error_data = {"type": "method_not_found", "method": "manager.call"}
    await rig.do(calling("get", "c"))
    (error,) = errors
    assert isinstance(error, MethodNotFound)
    assert f"kaiju_tasks {__version__} or later" in error.message


async def test_a_method_that_does_not_exist_does_not_make_the_manager_old(rig: Rig) -> None:
    rig.manager.errors["manager.call"] = -32601, "there is no method `tasks.invented`"
    rig.manager.error_data = {"type": "method_not_found", "method": "tasks.invented"}
    await rig.do(calling("invented", "c"))
    assert errors[0].message == "there is no method `tasks.invented`"


async def test_a_long_wait_does_not_make_the_connection_look_dead(rig: Rig) -> None:
    rig.manager.silent.add("manager.call")
    await rig.do(calling("wait", "c"))
    await rig.clock.advance(PING * 6)
    assert rig.manager.connections == 1
    assert len(calls(rig)) == 1


async def test_a_wait_has_several_calls_if_it_is_long(rig: Rig) -> None:
    answers = iter(["QUEUED", "EXECUTED", "FINISHED"])
    rig.manager.call = lambda params: looked(next(answers))
    (report,) = await rig.do(calling("wait", "c"))
    assert result_of(report)["status"] == "FINISHED"
    assert len(calls(rig)) == 3
    rig.manager.call = lambda params: looked("QUEUED")
    (report,) = await rig.do(calling("wait", "c", 0))
    assert result_of(report)["status"] == "QUEUED"


def looked(status: str, job_id: str | None = "j1", cron: str | None = None) -> Json:
    code = 0 if status in ("IDLE", "FINISHED") else None
    return {
        "id": "c",
        "status": "IDLE" if status == "RETRY" else status,
        "job_id": job_id,
        "exit_code": code,
        "cron": cron,
        "every": None,
    }


def run(job_id: str | None, status: str) -> Json:
    return {"job_id": job_id, "status": status}


@pytest.mark.parametrize(
    ("looks", "runs"),
    [
        # The run that was open has ended: no run is open, or another one.
        ([("EXECUTED", "j1"), ("IDLE", "j1")], None),
        ([("EXECUTED", "j1"), ("RETRY", "j1"), ("QUEUED", "j2")], None),
        # None was open. The next one has ended.
        ([("IDLE", None), ("IDLE", "j1")], None),
        (
            [("IDLE", "j1"), ("EXECUTED", "j2"), ("IDLE", "j2")],
            [("j2", "EXECUTED"), ("j1", "FINISHED")],
        ),
        ([("IDLE", None), ("EXECUTED", "j1"), ("IDLE", "j1")], [("j1", "EXECUTED")]),
        # And another one has begun.
        (
            [("IDLE", "j1"), ("EXECUTED", "j3")],
            [("j3", "EXECUTED"), (None, "MISSED"), ("j2", "FAILED"), ("j1", "FINISHED")],
        ),
        ([("IDLE", None), ("EXECUTED", "j2")], [("j2", "EXECUTED"), ("j1", "FINISHED")]),
    ],
)
async def test_a_wait_does_not_miss_the_end_of_a_scheduled_run(
    rig: Rig, looks: list[tuple[str, str | None]], runs: list[tuple[str | None, str]] | None
) -> None:
    answers = iter([looked(status, job_id, "@daily") for status, job_id in looks])

    def answer(params: Json) -> Any:
        if params["method"] == "tasks.wait":
            return next(answers)
        assert params["method"] == "tasks.runs"
        assert runs is not None
        return [run(*one) for one in runs]

    rig.manager.call = answer
    (report,) = await rig.do(calling("wait", "c"))
    assert result_of(report)["job_id"] == looks[-1][1]
    assert next(answers, None) is None


async def test_a_repeated_wait_keeps_its_timeout(rig: Rig) -> None:
    def answer(params: Json) -> Json:
        if len(calls(rig)) > 1:
            rig.manager.silent.add("manager.call")
        return looked("QUEUED")

    rig.manager.call = answer
    await rig.do(calling("wait", "c", 600))
    before = len(calls(rig))
    rig.wire.up = False
    rig.wire.cut()
    await rig.clock.advance(5)
    rig.wire.up = True
    await rig.clock.advance(5)
    repeated = calls(rig)[before:]
    assert [one["again"] for one in repeated] == [True]
    assert repeated[0]["params"]["timeout"] <= calls(rig)[1]["params"]["timeout"] - 5


async def test_a_wait_is_repeated_when_too_many_wait(rig: Rig) -> None:
    rig.manager.errors["manager.call"] = 429, "too many stages wait"
    await rig.do(calling("wait", "c"))
    await rig.clock.advance(2)
    assert len(calls(rig)) >= 3
    rig.manager.errors.clear()
    rig.manager.call = lambda params: looked("FINISHED")
    await rig.clock.advance(1)
    assert rig.manager.outcomes() == [(0, "finished")]


async def test_only_some_calls_are_open_at_once(rig: Rig) -> None:
    rig.runtime.calls._turns = asyncio.Semaphore(2)
    rig.manager.silent.add("manager.call")
    await rig.do(*(calling("get", f"c{n}") for n in range(5)))
    assert len(calls(rig)) == 2
    await rig.do(calling("wait", "c"))
    assert len(calls(rig)) == 3


async def test_a_call_that_the_manager_would_not_accept_is_not_sent(rig: Rig) -> None:
    assert rig.link._session is not None
    rig.link._session.max_frame_bytes = 1000
    await rig.do(calling("create", {"kws": {"text": "x" * 2000}}))
    assert isinstance(errors[0], TooLarge)
    assert not calls(rig)
    assert rig.manager.connections == 1


@pytest.mark.parametrize("thread", [False, True])
async def test_the_end_of_the_stage_ends_its_calls(rig: Rig, thread: bool) -> None:
    rig.manager.silent.add("manager.call")
    task = calling("wait", "c", thread=thread)
    rig.manager.run(task)
    await wait_until(lambda: len(calls(rig)) == 1, "it calls")
    rig.manager.revoke(task)
    if thread:
        await wait_until(ended.is_set, "the thread has ended")
    await settle()
    await wait_until(lambda: rig.runner.capacity == 8, "nothing runs")
    assert not rig.manager.outcomes()


async def test_a_stage_that_has_ended_calls_nothing(rig: Rig) -> None:
    rig.manager.silent.add("manager.call")
    await rig.do(assignment(command("leave_open")))
    assert rig.manager.outcomes() == [(0, "finished")]
    ctx, calling = loose
    with pytest.raises(asyncio.CancelledError):
        await calling
    with pytest.raises(Stopped):
        await ctx.tasks.get("y")
    with pytest.raises(Stopped):
        await asyncio.to_thread(lambda: ctx.tasks.get("y"))
    assert len(calls(rig)) == 1


async def test_a_process_command_is_told_that_it_has_no_connection() -> None:
    async with Rig(process_executor) as rig:
        rig.manager.run(assignment(command("tasks_in_process")))
        await wait_until(lambda: len(rig.manager.reports) == 1, "the process has ended")
        error = rig.manager.reports[0].error
        assert error is not None
        assert "not available in a process command" in error.message


def test_a_quota_that_a_command_does_not_handle_fails_its_stage_by_name() -> None:
    data = {"quota": "open_tasks", "limit": 5, "used": 5}
    report = report_error(TooManyRequests("no room", **data))
    assert (report.type, report.message) == ("too_many_requests", "no room")
    assert report.data["quota"] == "open_tasks"
    assert report_error(TooManyRequests("too many waits")).type == "execution_error"
