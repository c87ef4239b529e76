"""Nothing begins under a lease that may have ended while the process stood still."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.calls import ThreadCall
from kaiju_tasks.executor.pipe import HEADER_BYTES, Begin, WorkerMessage
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.executor.threads import ThreadPool
from kaiju_tasks.executor.worker import PipeBridge
from kaiju_tasks.protocol import Assignment
from tests.executor.commands import executor as process_executor
from tests.executor.fakes import FakeClock, Rig, assignment, command, lease_of, settle
from tests.support.wait import PATIENCE_SECONDS, wait_until

LEASE_SECONDS = 15.0
executor = Executor("app")
began: list[str] = []
go = asyncio.Event()


@executor.command("begin")
async def begin(ctx: Context) -> None:
    began.append(f"{ctx.task_id}/{ctx.stage}")


@executor.command("wait")
async def wait(ctx: Context) -> None:
    began.append(f"{ctx.task_id}/{ctx.stage}")
    await asyncio.Event().wait()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    began.clear()
    async with Rig(executor) as rig:
        await rig.clock.advance(1)
        yield rig


def a_task(id: str = "t", *methods: str, **fields: Any) -> Assignment:
    return assignment(*(command(method) for method in methods or ("begin",)), id=id, **fields)


def pings(rig: Rig) -> int:
    return len(rig.manager.methods("manager.ping"))


async def answer_ping(rig: Rig) -> None:
    """The manager answers the last ping, which it was silent about."""
    last = rig.link._session._last_id if rig.link._session is not None else 0
    rig.manager.silent.discard("manager.ping")
    rig.manager.reply(last, result={"status": "ACTIVE"})
    await settle()


def stop_process(rig: Rig) -> None:
    rig.clock.stand_still(2 * LEASE_SECONDS)


def sleep_machine(rig: Rig) -> None:
    rig.clock.sleep_machine(2 * LEASE_SECONDS)


def stop_shorter_than_a_lease(rig: Rig) -> None:
    rig.clock.stand_still(LEASE_SECONDS / 2)


def pause_all_but_the_wall_clock(rig: Rig) -> None:
    rig.clock.stepped += 2 * LEASE_SECONDS


def set_the_wall_clock_back(rig: Rig) -> None:
    rig.clock.stepped -= 3600


@pytest.mark.parametrize(
    "pause",
    [
        stop_process,
        sleep_machine,
        stop_shorter_than_a_lease,
        pause_all_but_the_wall_clock,
        set_the_wall_clock_back,
    ],
)
async def test_what_waited_in_the_socket_begins_after_a_manager_has_confirmed_the_lease(rig, pause):
    rig.manager.silent.add("manager.ping")
    rig.manager.run(a_task())
    pause(rig)
    before = pings(rig)
    await settle()
    assert began == []
    assert pings(rig) > before
    await answer_ping(rig)
    assert began == ["t/0"]


async def test_an_answer_that_waited_in_the_socket_too_confirms_nothing(rig):
    rig.manager.silent.add("manager.ping")
    rig.link._ask()
    await settle()
    rig.manager.run(a_task())
    rig.manager.silent.discard("manager.ping")
    rig.manager.reply(rig.link._session._last_id, result={"status": "ACTIVE"})
    rig.manager.silent.add("manager.ping")
    stop_process(rig)
    await settle()
    assert began == []
    await answer_ping(rig)
    assert began == ["t/0"]


async def test_an_expelled_executor_never_begins_what_waited_in_its_socket(rig):
    rig.manager.errors["manager.ping"] = (404, "expelled")
    rig.manager.run(a_task())
    stop_process(rig)
    await rig.clock.advance(10)
    assert began == []
    assert rig.runner.empty


async def test_a_lease_that_the_next_manager_revokes_never_begins(rig):
    task, other = a_task(), a_task("other")
    rig.manager.silent.add("manager.ping")
    rig.manager.run(task, other)
    stop_process(rig)
    rig.manager.revoked = [lease_of(task)]
    await settle()
    rig.wire.cut()
    await rig.clock.advance(10)
    assert began == ["other/0"]


async def test_the_next_stage_waits_too_although_its_ack_has_come(rig):
    rig.manager.silent |= {"manager.write_stage", "manager.ping"}
    await rig.do(a_task("t", "begin", "begin"))
    rig.manager.reply(rig.link._session._last_id, result={"acks": [{"state": "ok"}]})
    stop_process(rig)
    await settle()
    assert began == ["t/0"]
    rig.manager.silent.discard("manager.write_stage")
    await answer_ping(rig)
    assert began == ["t/0", "t/1"]


async def test_a_call_that_was_about_to_begin_waits_too(rig):
    rig.manager.silent.add("manager.ping")
    rig.runner.run([a_task()])  # its code begins in the next iteration of the loop
    stop_process(rig)
    await settle()
    assert began == []
    await answer_ping(rig)
    assert began == ["t/0"]


async def test_without_a_manager_nothing_begins_and_running_stages_go_on(rig):
    await rig.do(a_task("running", "wait"))
    rig.wire.up = False
    rig.wire.cut()
    await rig.clock.advance(LEASE_SECONDS)
    rig.runner.run([a_task()])
    await rig.clock.advance(100)
    assert began == ["running/0"]
    assert len(rig.runner.holding()) == 2
    rig.wire.up = True
    await rig.clock.advance(10)
    assert began == ["running/0", "t/0"]


async def test_nothing_begins_after_most_of_the_reconnect_grace(rig):
    rig.manager.reconnect_grace = 5.0
    rig.wire.cut()
    await rig.clock.advance(1)
    rig.wire.up = False
    rig.wire.cut()
    await rig.clock.advance(3.9)
    rig.runner.run([a_task("soon")])
    await settle()
    await rig.clock.advance(0.2)
    rig.runner.run([a_task("late")])
    await settle()
    assert began == ["soon/0"]
    rig.wire.up = True
    await rig.clock.advance(6)
    assert began == ["soon/0", "late/0"]


async def test_what_waits_is_given_back_when_the_executor_leaves(rig):
    rig.manager.silent.add("manager.ping")
    rig.manager.run(a_task("held", "wait"))
    stop_process(rig)
    await settle()
    stop = asyncio.create_task(rig.link.stop(60))
    await settle()
    await stop
    assert began == []
    assert rig.manager.outcomes() == [(0, "released")]


async def test_what_is_revoked_while_it_waits_never_begins(rig):
    rig.manager.silent.add("manager.ping")
    task = a_task()
    rig.manager.run(task)
    stop_process(rig)
    await settle()
    rig.manager.revoke(task)
    await settle()
    await answer_ping(rig)
    assert began == []
    assert rig.runner.empty


async def test_a_manager_without_a_database_is_asked_again_and_nothing_begins_meanwhile(rig):
    rig.manager.errors["manager.ping"] = (503, "no database")
    rig.manager.run(a_task())
    stop_process(rig)
    await settle()
    assert began == []
    rig.manager.errors.clear()
    await rig.clock.advance(5)
    assert began == ["t/0"]


async def test_runs_under_concurrency_stop_soon_after_the_machine_has_slept(rig):
    rig.manager.silent.add("manager.ping")
    await rig.do(a_task("plain", "wait"), a_task("exclusive", "wait", exclusive=True))
    sleep_machine(rig)
    await rig.clock.advance(1)
    at_work = [one.assignment.id for one in rig.runner._segments.values() if one.running]
    assert at_work == ["plain"]


async def test_a_step_of_the_wall_clock_stops_nothing(rig):
    await rig.do(a_task("exclusive", "wait", exclusive=True))
    for seconds in (3600, -7200):
        rig.clock.stepped += seconds
        await rig.clock.advance(20)
    assert rig.manager.outcomes() == []
    assert rig.link.connected


def test_a_wall_clock_that_is_set_back_again_and_again_keeps_no_gate_open() -> None:
    clock = FakeClock()
    gate = StartGate(clock)
    gate.stall_seconds = 5.0
    gate.renewed(gate.moment(), 10.0)
    for _ in range(3):
        assert gate.seconds_left() > 0
        clock.now += 4.0
        clock.stepped -= 4.0
        assert gate.beat() == 0.0
    assert gate.seconds_left() <= 0


def test_nothing_begins_before_the_loop_of_a_process_that_stood_still_runs_again() -> None:
    clock = FakeClock()
    gate = StartGate(clock)
    gate.stall_seconds = 5.0
    gate.renewed(gate.moment(), 100.0)
    clock.stand_still(6.0)
    assert gate.seconds_left() <= 0  # threads ask too


async def test_a_process_that_stood_still_is_not_cut_off(rig):
    rig.clock.stand_still(1000)
    await rig.clock.advance(1)
    assert not rig.running.done()
    assert rig.link.connected


async def test_a_call_that_waited_for_a_thread_begins_when_a_manager_has_answered():
    clock, pool = FakeClock(), ThreadPool(1)
    gate = StartGate(clock)
    gate.stall_seconds = 5.0
    gate.renewed(gate.moment(), 10.0)
    done: list[Any] = []
    busy, held = threading.Event(), threading.Event()
    gate.on_doubt = held.set

    def occupy() -> None:
        busy.wait(PATIENCE_SECONDS)

    pool.submit(occupy)
    call = ThreadCall(lambda: "ran", {}, lambda call, value, error: done.append(value), pool, gate)
    call.start()
    clock.stand_still(20)
    busy.set()
    await wait_until(held.is_set, "the call asks")
    assert done == []
    gate.beat()
    gate.renewed(gate.moment(), 10.0)
    await wait_until(lambda: done, "the call has run")
    assert done == ["ran"]
    pool.close()


async def test_a_process_begins_its_stage_when_a_manager_has_answered():
    async with Rig(process_executor) as rig:
        await rig.do(assignment(command("async_process")))
        rig.manager.silent.add("manager.ping")
        stop_process(rig)
        await wait_until(lambda: rig.runtime.gate._waiting, "the worker asks")
        assert rig.manager.reports == []
        await answer_ping(rig)
        await wait_until(rig.manager.outcomes, "the stage ends")
        assert rig.manager.outcomes() == [(0, "finished")]


def test_a_worker_that_reads_its_permission_too_late_asks_again():
    out = io.BytesIO()
    bridge = PipeBridge(out, 10.0, 1000)
    for until in (0.0, 0.0, float("inf")):
        bridge._begins.put(Begin(until))
    bridge.until_may_begin()
    assert [message.kind for message in messages(out.getvalue())] == ["ready"] * 3


def messages(data: bytes) -> list[WorkerMessage]:
    found = []
    while data:
        end = HEADER_BYTES + int.from_bytes(data[:HEADER_BYTES], "big")
        found.append(msgspec.json.decode(data[HEADER_BYTES:end], type=WorkerMessage))
        data = data[end:]
    return found
