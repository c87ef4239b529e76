"""Commands in threads and processes."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kaiju_tasks.executor import Context, Executor, Stopped
from kaiju_tasks.executor.calls import ThreadCall
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.executor.threads import ThreadPool
from tests.executor.commands import executor as process_executor
from tests.executor.fakes import FakeClock, Rig, assignment, command, result_of, settle
from tests.support.wait import PATIENCE_SECONDS, wait_until

executor = Executor("app")
gates: dict[str, threading.Event] = {}
begun = threading.Semaphore(0)
stopped = threading.Event()


@executor.command("name")
def name(ctx: Context) -> Any:
    ctx.progress(1, 2, "half")
    return threading.current_thread().name


@executor.command("odd")
def odd(done: str, message: str | None, ctx: Context) -> None:
    ctx.progress(
        10**400 if done == "huge" else float(done),
        2,
        None if message is None else message + "\ud83d",
    )


@executor.command("block")
def block(gate: str) -> str:
    begun.release()
    gates[gate].wait(30)
    return gate


@executor.command("polite")
def polite(ctx: Context) -> None:
    begun.release()
    try:
        while not gates["go"].wait(0.01):
            ctx.check()
    except Stopped:
        stopped.set()
        raise


async def in_threads(count: int) -> None:
    for _ in range(count):
        assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_SECONDS)


@pytest.fixture
async def rig():
    gates.clear()
    gates.update(go=threading.Event(), other=threading.Event())
    stopped.clear()
    while begun.acquire(blocking=False):
        pass
    async with Rig(executor, concurrency=2) as rig:
        yield rig
        for gate in gates.values():
            gate.set()


@pytest.fixture
async def processes():
    async with Rig(process_executor) as rig:
        yield rig


async def done(rig: Rig, *names: Any, seconds: float = 20, **params: Any) -> Any:
    task = assignment(command(*names, params=params))
    rig.manager.run(task)
    await wait_until(lambda: rig.manager.outcomes(task.id), "the stage ends", seconds)
    return rig.manager.reports[-1]


# ---- threads


async def test_a_def_runs_in_a_thread_and_says_its_progress(rig):
    report = await done(rig, "name")
    assert result_of(report).startswith("kaiju-command-")
    assert result_of(rig.manager.reports[0]) == {"done": 1, "total": 2, "message": "half"}


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "huge"])
async def test_progress_that_is_no_number_is_an_error_of_the_command(rig, number):
    report = await done(rig, "odd", done=number, message=None)
    assert report.error.data["exception"] == "ValueError"
    assert "`done` must be a finite number" in report.error.message


async def test_progress_may_have_any_text(rig):
    await done(rig, "odd", done="1", message="half")
    assert result_of(rig.manager.reports[0])["message"] == "half?"


async def test_a_thread_past_its_deadline_is_reported_at_once_and_keeps_its_slot(rig):
    await rig.do(assignment(command("block", params={"gate": "go"}, max_timeout=1)))
    await in_threads(1)
    await rig.clock.advance(1)
    assert rig.manager.reports[0].error.type == "stage_timeout"
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 1
    assert rig.stuck == 0
    gates["go"].set()
    await wait_until(
        lambda: rig.manager.methods("manager.ping")[-1]["capacity"] == 2, "the slot is free"
    )
    await rig.clock.advance(10)
    assert rig.stuck == 0


async def test_a_thread_that_runs_on_is_stuck_after_the_kill_grace(rig):
    await rig.do(assignment(command("block", params={"gate": "go"}, max_timeout=1)))
    await in_threads(1)
    await rig.clock.advance(1)
    await rig.clock.advance(5)
    assert rig.stuck == 1


async def test_a_thread_that_checks_ends_when_it_is_revoked(rig):
    task = assignment(command("polite"))
    await rig.do(task)
    await in_threads(1)
    rig.manager.revoke(task)
    await wait_until(stopped.is_set, "the thread saw that it is over")
    await wait_until(lambda: rig.runtime.lingering == 0, "its slot is free")
    assert rig.manager.outcomes() == []


async def test_a_call_that_is_stopped_in_the_queue_never_runs_and_is_not_stuck():
    pool, clock = ThreadPool(1), FakeClock()
    done: list[BaseException | None] = []
    busy = threading.Event()

    def occupy() -> None:
        busy.wait(PATIENCE_SECONDS)

    pool.submit(occupy)
    gate = StartGate(clock)
    gate.renewed(gate.moment(), 10.0)
    call = ThreadCall(lambda: 1 / 0, {}, lambda call, value, error: done.append(error), pool, gate)
    call.start()
    call.stop()
    assert not call.alive
    busy.set()
    await wait_until(lambda: done, "it is over")
    assert isinstance(done[0], Stopped)
    pool.close()


async def test_a_stage_that_is_stopped_while_its_thread_asks_a_manager_never_runs(rig):
    rig.manager.silent.add("manager.ping")
    rig.runtime.gate.seconds_left = lambda: 0.0
    task = assignment(command("block", params={"gate": "go"}))
    await rig.do(task)
    await wait_until(lambda: rig.runtime.gate._waiting, "the thread asks")
    rig.manager.revoke(task)
    await settle()
    del rig.runtime.gate.seconds_left
    for begin in rig.runtime.gate._waiting:
        begin()
    await wait_until(lambda: rig.runtime.places._used == 0, "its place is free")
    assert not begun.acquire(blocking=False)


def test_a_pool_uses_no_more_threads_than_it_has_and_ends_them():
    pool = ThreadPool(3)
    names, finished = set(), threading.Semaphore(0)

    def job() -> None:
        names.add(threading.current_thread())
        finished.release()

    for _ in range(50):
        pool.submit(job)
    for _ in range(50):
        assert finished.acquire(timeout=PATIENCE_SECONDS)
    pool.close()
    for thread in names:
        thread.join(PATIENCE_SECONDS)
    assert len(names) <= 3
    assert not any(thread.is_alive() for thread in names)


# ---- processes


async def test_a_process_command_runs_in_another_process(processes):
    report = await done(processes, "pid", a=3)
    pid, key, has_time = result_of(report)
    assert pid != os.getpid()
    assert key == f"{report.job_id}/0"
    assert has_time
    assert result_of(processes.manager.reports[0])["done"] == 3


async def test_an_async_process_command_has_a_loop_of_its_own(processes):
    assert result_of(await done(processes, "async_process")) == "done"


async def test_wrong_params_of_a_process_command_are_refused_before_it_starts(processes):
    (report,) = await processes.do(assignment(command("pid", params={"a": "x"})))
    assert report.error.type == "invalid_params"


async def test_a_failure_in_a_process_keeps_its_class_and_traceback(processes):
    error = (await done(processes, "fail_process")).error
    assert (error.type, error.message) == ("execution_error", "no luck")
    assert error.data["exception"] == "ValueError"


async def test_a_process_asks_to_be_run_again(processes):
    error = (await done(processes, "later_process")).error
    assert (error.type, error.message, error.data) == ("retry_after", "not yet", {"seconds": 3.0})


async def test_a_process_that_dies_fails_its_stage(processes):
    error = (await done(processes, "die")).error
    assert (error.type, error.data["exception"]) == ("execution_error", "WorkerDied")
    assert "code 7" in error.message


async def test_a_result_over_the_limit_is_refused_in_the_process(processes):
    assert (await done(processes, "big", size=2000)).error.type == "result_too_large"


async def test_a_large_result_comes_through_the_pipe(processes):
    processes.runtime.max_result_bytes = 1024 * 1024
    assert len(result_of(await done(processes, "big", size=1_000_000))) == 1_000_000


@pytest.mark.parametrize("how", ["deadline", "revoke"])
async def test_a_process_and_its_children_are_killed(processes, tmp_path: Path, how):
    task = assignment(command("hang", params={"folder": str(tmp_path)}, max_timeout=100))
    processes.manager.run(task)
    await wait_until((tmp_path / "pids").exists, "the process has begun")
    if how == "deadline":
        await processes.clock.advance(100)
        assert processes.manager.reports[0].error.type == "stage_timeout"
    else:
        processes.manager.revoke(task)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    await wait_until(lambda: not any(map(running, pids)), "both processes are gone")
    await wait_until(lambda: processes.runtime.lingering == 0, "the slot is free")
    assert processes.stuck == 0


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
