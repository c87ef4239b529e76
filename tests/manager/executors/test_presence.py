"""What executors say of themselves is checked, and one executor's fault is never another's."""

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from kaiju_tasks.api import write_stage_fast
from kaiju_tasks.errors import InvalidParams, NotFound, Unauthorized
from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import Ack, AckState, Assignment, Report, ReportState
from kaiju_tasks.rights import ALL_SIGHT, NOBODY
from kaiju_tasks.types import ExecutorStatus
from tests.manager.hand import (
    Calls,
    HandExecutor,
    finished,
    lease_of,
    pinging,
)
from tests.support.commits import after_commits
from tests.support.wait import PATIENCE_SECONDS, wait_until

WRONG: dict[str, list] = {
    "id": ["", "a\0b", "x" * 256],
    "app_names": [["a\0b"], [""], ["x"] * 1001],
    "capacity": [-1, 100_001, 2**63],
    "host": ["a\0b"],
    "pid": [-1, 2**31],
    "version": ["\n"],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
async def test_a_wrong_greeting_is_refused_by_field(
    manager: Manager, field: str, value: object
) -> None:
    greeting = {"id": "w", "app_names": ["default"], "capacity": 1, field: value}
    with pytest.raises(InvalidParams) as error:
        await HandExecutor(manager, "w").call("manager.connect", **greeting)
    assert error.value.data["field"].startswith(field)
    assert len(manager.sessions) == 0


@pytest.mark.parametrize(("spoken", "agreed"), [(0, 0), (1, 1), (2, 1)])
async def test_both_sides_speak_the_lower_of_their_versions(
    manager: Manager, spoken: int, agreed: int
) -> None:
    greeting = {"id": "w", "app_names": ["default"], "capacity": 1, "of_later": {"versions": 1}}
    commands = [{"method": "a", "of_later": True}]
    answer = await HandExecutor(manager, "w").call(
        "manager.connect", **greeting, commands=commands, protocol=spoken
    )
    assert answer["protocol"] == agreed
    assert answer["status"] == "ACTIVE"


@pytest.mark.parametrize("spoken", [-1, 3, 99])
async def test_a_version_that_is_too_far_away_is_refused_with_the_own_one(
    manager: Manager, spoken: int
) -> None:
    with pytest.raises(InvalidParams, match="speaks version 1 of the executor protocol") as error:
        await HandExecutor(manager, "w").call(
            "manager.connect", id="w", app_names=["default"], protocol=spoken
        )
    assert (error.value.data["field"], error.value.data["speaks"]) == ("protocol", 1)
    assert len(manager.sessions) == 0


@pytest.mark.parametrize("capacity", [-1, 2**40, 2**63])
async def test_a_ping_of_impossible_capacity_changes_nothing(
    executor: HandExecutor, capacity: int
) -> None:
    with pytest.raises(InvalidParams) as error:
        await executor.call("manager.ping", id="hand", capacity=capacity)
    assert error.value.data["field"] == "capacity"
    assert (await executor.ping())["status"] == "ACTIVE"


async def test_a_connection_that_another_one_has_replaced_renews_nothing(
    manager: Manager, executor: HandExecutor
) -> None:
    again = HandExecutor(manager, "hand")
    await again.connect()
    with pytest.raises(NotFound, match="must reconnect"):
        await executor.ping()
    assert (await again.ping())["status"] == "ACTIVE"


async def test_an_executor_whose_token_ends_while_it_connects_is_dismissed(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, connect = HandExecutor(manager, "hand"), manager.roster.connect

    async def end_and_connect(*args: Any, **more: Any) -> Any:
        executor.caller.principal = NOBODY
        return await connect(*args, **more)

    monkeypatch.setattr(manager.roster, "connect", end_and_connect)
    await call.create("work", id="t")
    with pytest.raises(Unauthorized):
        await executor.connect()
    assert len(manager.sessions) == 0
    assert await call("manager.list_active_executors") == []
    assert ((await call.get("t"))["status"], executor.heard) == ("QUEUED", [])


async def test_a_connection_that_another_one_has_replaced_does_not_end_it(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    again = HandExecutor(manager, "hand")
    await again.connect()
    await call.create("work", id="t")
    await again.take()
    await executor.call("manager.suspend_executor", id="hand")
    assert (await again.ping())["status"] == "ACTIVE"
    assert ((await call.get("t"))["status"], again.revoked) == ("EXECUTED", [])
    await again.call("manager.suspend_executor", id="hand")
    assert (await call.get("t"))["status"] == "QUEUED"


@pytest.mark.parametrize("id", ["", "a\0b", "x" * 256])
async def test_a_leave_under_an_impossible_id_is_refused(call: Calls, id: str) -> None:
    with pytest.raises(InvalidParams):
        await call("manager.suspend_executor", id=id)


async def test_a_connection_is_one_executors(executor: HandExecutor) -> None:
    with pytest.raises(InvalidParams, match="open another connection"):
        await executor.call("manager.connect", id="second", app_names=["default"])


async def test_a_cancelled_ping_leaves_the_others_waiting(
    manager: Manager, executor: HandExecutor
) -> None:
    pings = [asyncio.create_task(executor.ping()) for _ in range(3)]
    await asyncio.sleep(0)
    pings[0].cancel()
    answers = await asyncio.gather(*pings, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    later: list = answers[1:]
    assert [answer["status"] for answer in later] == ["ACTIVE", "ACTIVE"]


async def test_an_operators_refusal_outlasts_reconnects_and_leaves(
    call: Calls, manager: Manager
) -> None:
    first = HandExecutor(manager, "h")
    await first.connect()
    await call.create("a", id="q")
    await first.take()
    await call("executors.suspend", id="h")
    assert [lease.id for lease in first.revoked] == ["q"]
    await first.cut()
    assert (await first.connect())["status"] == "SUSPENDED"
    await first.call("manager.suspend_executor", id="h")
    await first.cut()
    second = HandExecutor(manager, "h")
    assert (await second.connect())["status"] == "SUSPENDED"
    await call("tasks.run_now", id="q")
    assert second.assigned.empty()
    async with pinging(second):
        assert (await call("executors.resume", id="h"))["status"] == "ACTIVE"
        assert (await second.take()).id == "q"


@pytest.mark.parametrize("action", ["drain", "suspend"])
async def test_a_resumed_executor_takes_tasks_without_a_ping(
    call: Calls, manager: Manager, other_manager: Manager, action: str
) -> None:
    silent = HandExecutor(manager, "silent")
    await silent.connect()
    session = manager.sessions.get("silent")
    assert session is not None
    for operator in (call, Calls(other_manager)):
        silent.heard.clear()
        await operator(f"executors.{action}", id="silent")
        await wait_until(lambda: session.free == 0, "the manager gives it no tasks")
        task = await operator.create("work")
        await operator("executors.resume", id="silent")
        taken = await silent.take()
        assert taken.id == task["id"]
        sent = ["executor.drain"] if action == "drain" else []
        assert silent.notified == [*sent, "executor.resume", "executor.run"]
        await silent.finish(taken)
    assert not silent.closed


async def test_an_acquisition_that_a_drain_overtakes_keeps_the_connection(
    call: Calls, manager: Manager
) -> None:
    executor = HandExecutor(manager, "drained")
    await executor.connect()
    (row,) = await manager.store.executors(ALL_SIGHT, ["drained"])
    async with manager.store.transaction() as tx:  # as another manager does it
        row.status = ExecutorStatus.DRAINING
        await tx.put_executor(row)
    await call.create("work")
    await wait_until(lambda: "executor.drain" in executor.notified, "it is drained")
    assert not executor.closed
    assert executor.assigned.empty()


async def test_a_ping_that_a_resume_overtakes_does_not_drain_the_executor_again(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = HandExecutor(manager, "slow")
    await slow.connect()
    await call("executors.drain", id="slow")
    ping = manager.store.ping

    async def overtaken(*args: Any) -> Any:
        statuses = await ping(*args)
        await call("executors.resume", id="slow")
        return statuses

    monkeypatch.setattr(manager.store, "ping", overtaken)
    assert (await slow.ping())["status"] == "ACTIVE"
    assert slow.notified == ["executor.drain", "executor.resume"]


async def test_a_ping_that_is_being_written_when_the_connection_closes_does_not_keep_the_lease(
    manager: Manager, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = HandExecutor(manager, "other")
    await other.connect()
    asked, order = asyncio.Event(), []
    first, second = asyncio.Event(), asyncio.Event()
    released = iter([first, second])
    ping, shorten = manager.store.ping, manager.store.shorten_lease

    async def slow_ping(*arguments: Any) -> Any:
        asked.set()
        await next(released).wait()
        answer = await ping(*arguments)
        order.append("ping")
        return answer

    async def shortened(*arguments: Any) -> None:
        order.append("shorten")
        await shorten(*arguments)

    monkeypatch.setattr(manager.store, "ping", slow_ping)
    monkeypatch.setattr(manager.store, "shorten_lease", shortened)
    pinged = asyncio.create_task(executor.ping())
    await asyncio.wait_for(asked.wait(), PATIENCE_SECONDS)
    next_write = asyncio.create_task(other.ping())
    closed = asyncio.create_task(executor.cut())
    for _ in range(10):  # a close that did not wait would shorten the lease now
        await asyncio.sleep(0)
    first.set()
    await asyncio.wait_for(closed, PATIENCE_SECONDS)  # it does not wait for the ping of another
    assert order == ["ping", "shorten"]
    second.set()
    await asyncio.gather(pinged, next_write, return_exceptions=True)
    (row,) = await manager.store.executors(ALL_SIGHT, [executor.id])
    assert row.lease_until <= await manager.store.now() + manager.settings.reconnect_grace


async def test_what_does_not_change_an_executors_status_does_not_notify_it(
    call: Calls, executor: HandExecutor
) -> None:
    await call("executors.resume", id="hand")
    assert executor.notified == []
    await call("executors.drain", id="hand")
    await call("executors.drain", id="hand")
    assert executor.notified == ["executor.drain"]


async def test_more_time_is_told_as_what_is_left(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", id="x", max_exec_timeout=10)
    task = await executor.take()
    row = await call.get("x")
    deadline, store = row["exec_deadline"], executor.manager.store

    async def has_worked() -> bool:
        return await store.now() > row["status_change"] + 0.1

    await wait_until(has_worked, "it has worked for more than the clocks may differ")
    (ack,) = await executor.report(_of(task, ReportState.EXTEND, seconds=20.0))
    now = await store.now()
    assert ack.exec_seconds == pytest.approx(deadline + 20 - now, abs=0.2)
    assert (ack.exec_seconds or 0.0) < 30


async def test_a_silent_stage_ends_at_its_max_timeout_and_its_lease_is_revoked(
    call: Calls, executor: HandExecutor
) -> None:
    executor.manager.committer.states.grace_seconds = 0.0
    await call.create({"method": "work", "max_timeout": 0.1}, id="x")
    task = await executor.take()
    failed = await call.until("x", "FAILED")
    assert (failed["exit_code"], failed["error"]["type"]) == (1, "stage_timeout")
    await wait_until(lambda: executor.revoked == [lease_of(task)], "its lease is revoked")
    assert (await executor.finish(task)).state is AckState.STALE


@pytest.mark.parametrize(
    "change",
    [{"id": "a\0b"}, {"job_id": "\0"}, {"epoch": 2**70}, {"stage": 2**70}, {"nonce": "\0"}],
    ids=lambda change: next(iter(change)),
)
async def test_a_report_under_an_impossible_token_is_stale(
    call: Calls, executor: HandExecutor, change: dict
) -> None:
    await call.create("a", id="r")
    task = await executor.take()
    wrong = msgspec.structs.replace(finished(task, 1), **change)
    acks = await executor.report(wrong, finished(task, 2))
    assert [ack.state for ack in acks] == [AckState.STALE, AckState.RELEASED]
    assert (await call.get("r"))["result"] == [2]


@pytest.mark.parametrize(
    "error",
    [
        b'{"type":"x\\u0000","message":"\\u0000"}',
        b'{"type":"","message":""}',
        b'{"type":"x","message":"m","data":' + b"9" * 400 + b"}",
        b'{"type":"x","message":"m","data":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"type":"x","message":"' + b"m" * 2_000_000 + b'"}',
        b'{"type":"' + b"x" * 9_000 + b'","message":"m","data":"' + b"d" * 2_000_000 + b'"}',
    ],
    ids=["nul", "empty", "number", "depth", "long message", "long data"],
)
async def test_a_strange_error_fails_its_stage_and_can_be_read(
    call: Calls, executor: HandExecutor, error: bytes
) -> None:
    await call.create("a", id="e")
    task = await executor.take()
    (ack,) = await _report_error(executor, task, error)
    assert ack.state is AckState.RELEASED
    failed = await call.get("e")
    assert (failed["status"], failed["exit_code"]) == ("FAILED", 1)
    assert 0 < len(failed["error"]["message"]) <= 10_001
    assert 0 < len(failed["error"]["type"]) <= 255


async def test_a_result_that_nobody_could_read_fails_its_stage_only(
    call: Calls, executor: HandExecutor
) -> None:
    for name in ("huge", "deep", "big", "fine"):
        await call.create("a", id=name)
    tasks = {task.id: task for task in [await executor.take() for _ in range(4)]}
    results = {
        "huge": b"1" * 5000,
        "deep": b"[" * 100 + b"]" * 100,
        "big": b'"' + b"x" * 1_100_000 + b'"',
        "fine": b'"ok"',
    }
    await executor.report(
        *(_of(tasks[n], ReportState.FINISHED, result=Raw(raw)) for n, raw in results.items())
    )
    types = {name: ((await call.get(name))["error"] or {}).get("type") for name in results}
    assert types == {
        "huge": "execution_error",
        "deep": "result_too_large",
        "big": "result_too_large",
        "fine": None,
    }


async def _report_error(executor: HandExecutor, task: Assignment, error: bytes) -> list[Ack]:
    body = b'{"reports":[%b]}' % msgspec.json.encode(_of(task, ReportState.FAILED)).replace(
        b'"state":"failed"', b'"state":"failed","error":' + error
    )
    return (await write_stage_fast(executor.manager, executor.caller, body)).acks


def _of(task: Assignment, state: ReportState, **more: object) -> Report:
    return msgspec.structs.replace(finished(task), state=state, **more)


async def test_who_connects_twice_on_one_socket_is_told_what_went_back(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="t")
    first = await executor.take()
    await executor.connect(holding=[])
    assert executor.revoked == [lease_of(first)]
    again = await executor.take()
    assert (again.id, again.epoch) == ("t", first.epoch + 1)


async def test_a_ping_beside_a_second_connect_hides_no_revocation(
    call: Calls, executor: HandExecutor, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create("work", id="t")
    first = await executor.take()

    async def ping_once() -> None:
        monkeypatch.undo()
        with pytest.raises(NotFound, match="must reconnect"):
            await executor.ping()

    after_commits(manager, monkeypatch, ping_once)
    await executor.connect(holding=[])
    assert executor.revoked == [lease_of(first)]


async def test_a_task_that_found_no_free_thread_goes_back_without_a_count(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="t")
    for _ in range(6):
        task = await executor.take()
        (ack,) = await executor.report(_of(task, ReportState.RELEASED, waited=True))
        assert ack.state is AckState.RELEASED
    assert (await executor.take()).id == "t"
