"""What runs around every stage of an executor."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from kaiju_tasks.errors import Abort
from kaiju_tasks.executor import Context, Executor
from tests.executor import commands
from tests.executor.fakes import Rig, assignment, command, result_of
from tests.support.wait import PATIENCE_SECONDS, wait_until

executor = Executor("app", version="2.3")
trace: ContextVar[str] = ContextVar("trace", default="none")
seen: list[str] = []
gate = threading.Event()
begun = threading.Event()


@executor.middleware
async def outer(ctx: Context, call_next: Any) -> Any:
    seen.append(f"outer {ctx.method}")
    trace.set("traced")
    try:
        return await call_next()
    except Abort:
        seen.append("aborted")
        raise
    finally:
        seen.append("outer ends")


@executor.middleware
async def inner(ctx: Context, call_next: Any) -> Any:
    seen.append("inner")
    if ctx.method == "refused":
        raise Abort("not today")
    value = await call_next()
    if ctx.method == "twice":
        await call_next()
    return {"of": value} if ctx.method != "plain" else value


@executor.command("plain")
async def plain() -> str:
    return trace.get()


@executor.command("in_thread")
def in_thread() -> str:
    return f"{trace.get()} {threading.current_thread().name[:5]}"


@executor.command("refused")
async def refused() -> None:
    seen.append("never")


@executor.command("twice")
async def twice() -> None: ...


@executor.command("hangs")
async def hangs() -> None:
    begun.set()
    await asyncio.Event().wait()


@executor.command("blocks")
def blocks() -> None:
    begun.set()
    gate.wait(PATIENCE_SECONDS)


executor.command("in_process", process=True)(commands.async_process)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    seen.clear()
    gate.clear()
    begun.clear()
    async with Rig(executor, concurrency=2) as rig:
        yield rig
        gate.set()


async def done(rig: Rig, name: str, **params: Any) -> Any:
    task = assignment(command(name, params=params))
    rig.manager.run(task)
    await wait_until(lambda: rig.manager.outcomes(task.id), "the stage ends")
    return rig.manager.reports[-1]


def failure(rig: Rig) -> str:
    error = rig.manager.reports[-1].error
    return "" if error is None else error.type


async def test_the_first_is_the_outermost_and_what_it_sets_reaches_the_command(rig: Rig) -> None:
    assert result_of(await done(rig, "plain")) == "traced"
    assert seen == ["outer plain", "inner", "outer ends"]


async def test_it_changes_the_result_of_a_thread_command(rig: Rig) -> None:
    assert result_of(await done(rig, "in_thread")) == {"of": "traced kaiju"}


async def test_it_changes_the_result_of_a_process_command(rig: Rig) -> None:
    assert result_of(await done(rig, "in_process")) == {"of": "done"}


async def test_its_exception_fails_the_stage_and_the_command_does_not_run(rig: Rig) -> None:
    report = await done(rig, "refused")
    assert (report.error.type, report.error.message) == ("abort", "not today")
    assert seen == ["outer refused", "inner", "aborted", "outer ends"]


async def test_a_command_runs_once(rig: Rig) -> None:
    report = await done(rig, "twice")
    assert "a middleware has run the stage twice" in report.error.message


async def test_it_ends_when_the_stage_takes_too_long(rig: Rig) -> None:
    await rig.do(assignment(command("hangs", max_timeout=1)))
    await wait_until(begun.is_set, "the command runs")
    await rig.clock.advance(1)
    assert failure(rig) == "stage_timeout"
    await wait_until(lambda: seen[-1] == "outer ends", "the middleware has ended")
    await wait_until(lambda: rig.runtime.lingering == 0, "nothing is left")


async def test_a_thread_that_runs_on_keeps_its_place(rig: Rig) -> None:
    await rig.do(assignment(command("blocks", max_timeout=1)))
    await wait_until(begun.is_set, "the command runs")
    await rig.clock.advance(1)
    assert failure(rig) == "stage_timeout"
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 1
    gate.set()
    await wait_until(
        lambda: rig.manager.methods("manager.ping")[-1]["capacity"] == 2, "the place is free"
    )
    assert rig.runtime.lingering == 0


async def test_a_revoked_stage_says_nothing(rig: Rig) -> None:
    task = assignment(command("hangs"))
    await rig.do(task)
    await wait_until(begun.is_set, "the command runs")
    rig.manager.revoke(task)
    await wait_until(lambda: seen[-1] == "outer ends", "the middleware has ended")
    assert rig.manager.outcomes() == []


def test_what_is_no_middleware_is_refused() -> None:
    def sync(ctx: Context, call_next: Any) -> None: ...

    async def one(ctx: Context) -> None: ...

    with pytest.raises(TypeError, match="must be an `async def`"):
        executor.middleware(sync)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="must take two parameters"):
        executor.middleware(one)  # type: ignore[type-var]


@pytest.mark.parametrize("version", ["", "x" * 256, 3])
def test_a_wrong_version_is_refused(version: Any) -> None:
    with pytest.raises(ValueError, match="`version` must be a string of 1 to 255 characters"):
        Executor("app", version=version)
