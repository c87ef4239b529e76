"""Tasks that become ready while an executor is free are leased by the same transaction."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.events.hub import Subscription
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import StoreUnavailable
from kaiju_tasks.types import TASKS
from tests.manager.hand import Calls, HandExecutor, finished
from tests.support.commits import after_commits
from tests.support.wait import wait_until

TIMER = {"method": "_TIMER_", "params": {"timer": 0.05}}
MESSAGE = {"method": "_MESSAGE_"}


@pytest.fixture
async def executor(executor: HandExecutor, manager: Manager) -> HandExecutor:
    """An executor whose stream has been found empty since it connected."""
    streams = manager.streams
    await wait_until(lambda: not (streams._pending or streams._work.is_set()), "it is served")
    (session,) = manager.sessions
    await wait_until(lambda: not session.acquiring, "nothing is being acquired")
    return executor


@pytest.fixture
def streamed(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams from which tasks were acquired, once for each acquisition."""
    streams: list[str] = []
    acquire = manager.streams._acquire

    async def noted(session: Any, app_name: str, *args: Any, **more: Any) -> Any:
        found = await acquire(session, app_name, *args, **more)
        if found.assignments:
            streams.append(app_name)
        return found

    monkeypatch.setattr(manager.streams, "_acquire", noted)
    return streams


async def test_a_created_task_is_leased_at_once(
    call: Calls, executor: HandExecutor, streamed: list[str]
) -> None:
    made = await call.create("work", id="t")
    assert (made["status"], made["executor_id"]) == ("EXECUTED", "hand")
    task = await executor.take()
    assert (task.id, task.epoch) == ("t", 1)
    await executor.finish(task)
    assert (await call.get("t"))["status"] == "FINISHED"
    assert streamed == []


async def test_a_task_is_leased_at_once_after_each_wait(
    call: Calls, executor: HandExecutor, streamed: list[str]
) -> None:
    await call.create(TIMER, "work", MESSAGE, "work", id="t")
    await executor.finish(await executor.take(), "first")
    await call("tasks.message", id="t", data="yes")
    task = await executor.take()
    assert (task.stage, task.epoch) == (3, 2)
    assert streamed == []


async def test_results_that_a_wait_has_left_are_sent(call: Calls, executor: HandExecutor) -> None:
    work = {"method": "work", "params": {"answer": "[0]"}}
    await call.create(MESSAGE, work, id="t")
    await call("tasks.message", id="t", data={"yes": 1})
    task = await executor.take()
    assert {key: bytes(value) for key, value in task.results.items()} == {"0": b'{"yes":1}'}


async def test_children_parents_and_next_tasks_are_leased_at_once(
    call: Calls, executor: HandExecutor, streamed: list[str]
) -> None:
    child = {"id": "child", "commands": [{"method": "work"}]}
    await call.create("work", id="next", delay=3600)
    hook = {"method": TASKS, "params": {"create": [child]}}
    await call.create(hook, "work", id="parent", next_task="next")
    for expected in ("child", "parent", "next"):
        task = await executor.take()
        assert task.id == expected
        await executor.finish(task)
    assert streamed == []


async def test_a_backlog_comes_first(
    call: Calls, executor: HandExecutor, streamed: list[str]
) -> None:
    await executor.call("manager.ping", id="hand", capacity=1)
    made = [await call.create("work", id=id) for id in ("running", "waiting", "new")]
    assert [task["status"] for task in made] == ["EXECUTED", "QUEUED", "QUEUED"]
    for expected in ("running", "waiting", "new"):
        task = await executor.take()
        assert task.id == expected
        await executor.finish(task)
    await wait_until(lambda: len(streamed) == 2, "two came through their stream")


async def test_the_places_of_a_bulk_call_go_by_priority(
    call: Calls, executor: HandExecutor
) -> None:
    await executor.call("manager.ping", id="hand", capacity=2)
    work = [{"method": "work"}]
    data = [{"id": f"t{n}", "commands": work, "priority": n} for n in range(5)]
    await call("tasks.m_create", data=data)
    assert [(await executor.take()).id for _ in range(2)] == ["t4", "t3"]
    assert [(await call.get(f"t{n}"))["status"] for n in range(3)] == ["QUEUED"] * 3


async def test_a_busy_executor_is_not_given_more_than_it_takes(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    await executor.call("manager.ping", id="hand", capacity=3)
    for n in range(5):
        await call.create("work", id=f"t{n}")
    tasks = [await executor.take() for _ in range(3)]
    (session,) = manager.sessions
    assert (session.free, len(session.leases), dict(session.acquiring)) == (0, 3, {})
    await executor.report(*map(finished, tasks))
    assert {(await executor.take()).id for _ in range(2)} == {"t3", "t4"}


async def test_what_another_manager_has_suspended_or_paused_is_not_given_out(
    call: Calls, executor: HandExecutor, other_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(*args: object) -> None:
        """The wake-ups of the other manager are lost."""

    monkeypatch.setattr(other_manager.store, "wake", unheard)
    other = Calls(other_manager)
    await other("pauses.add", id="night", group="night", reason="test")
    made = await call.create("work", id="paused", group="night")
    assert (made["status"], made["status_reason"]) == ("QUEUED", "paused")
    await other("executors.suspend", id="hand")
    assert (await call.create("work", id="t"))["status"] == "QUEUED"
    assert executor.assigned.empty()


async def test_a_session_that_another_manager_replaces_is_given_nothing(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    (session,) = manager.sessions
    async with manager.store.transaction() as tx:
        row = await tx.lock_executor("hand")
        assert row is not None
        row.session = "elsewhere"
        await tx.put_executor(row)
    assert (await call.create("work", id="t"))["status"] == "QUEUED"
    await wait_until(lambda: not session.open, "the session is closed")


async def test_limits_hold(call: Calls, executor: HandExecutor) -> None:
    for n in range(3):
        await call.create("work", id=f"t{n}", concurrency={"key": "one", "limit": 1})
    task = await executor.take()
    statuses = sorted([(await call.get(f"t{n}"))["status"] for n in range(3)])
    assert statuses == ["EXECUTED", "QUEUED", "QUEUED"]
    await executor.finish(task)
    await executor.take()


async def test_a_key_for_queued_tasks_is_free_again(call: Calls, executor: HandExecutor) -> None:
    unique = {"key": "k", "scope": "queued"}
    await call.create("work", id="a", unique=unique)
    await executor.take()
    assert (await call.create("work", id="b", unique=unique))["created"] is True
    await executor.take()


def break_after_commit(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, task_id: str, times: int = 1
) -> list[str]:
    """Let connections break after the commits of the first transactions after which a task
    exists."""
    broken: list[str] = []

    async def committed() -> None:
        if len(broken) < times and await manager.store.tasks([task_id], ALL_SIGHT):
            broken.append(task_id)
            raise StoreUnavailable("it broke after the commit", unknown=True)

    after_commits(manager, monkeypatch, committed)
    return broken


@pytest.mark.parametrize("times", [1, 2])
async def test_a_lease_whose_commit_was_in_doubt_is_sent_once(
    call: Calls,
    executor: HandExecutor,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    broken = break_after_commit(manager, monkeypatch, "t", times)
    made = await call.create("work", id="t")
    assert (made["status"], made["created"], broken) == ("EXECUTED", True, ["t"] * times)
    task = await executor.take()
    (session,) = manager.sessions
    assert dict(session.acquiring) == {}
    await executor.finish(task)
    assert ((await call.get("t"))["status"], executor.assigned.qsize()) == ("FINISHED", 0)


async def test_leases_in_doubt_are_given_up_with_their_session(
    call: Calls, executor: HandExecutor, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    (session,) = manager.sessions
    break_after_commit(manager, monkeypatch, "t", times=1000)
    monkeypatch.setattr("kaiju_tasks.manager.writing.committer.OUTAGE_PATIENCE_SECONDS", 0.0)
    with pytest.raises(Exception, match="the database cannot be reached"):
        await call.create("work", id="t")
    assert (session.open, dict(session.acquiring)) == (False, {})
    monkeypatch.undo()
    await executor.connect()
    assert (await executor.take()).id == "t"


async def test_a_task_whose_executor_goes_before_it_is_sent_is_queued_again(
    call: Calls, executor: HandExecutor, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    (session,) = manager.sessions

    async def closing() -> None:
        if await manager.store.tasks(["t"], ALL_SIGHT):
            session.open = False

    with monkeypatch.context() as patch:
        after_commits(manager, patch, closing)
        assert (await call.create("work", id="t"))["status"] == "EXECUTED"
    assert executor.assigned.empty()
    await call.until("t", "QUEUED")


async def test_a_fault_in_leasing_leaves_the_task_to_its_stream(
    call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch, streamed: list[str]
) -> None:
    def fault(*args: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("kaiju_tasks.manager.executors.placement.advance", fault)
    assert (await call.create("work", id="t"))["status"] == "QUEUED"
    assert (await executor.take()).id == "t"
    await wait_until(lambda: streamed == ["default"], "it came through its stream")


async def test_events_and_history_show_both_steps(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    seen: list[Mapping[str, Any]] = []
    subscription = Subscription(
        [], lambda encoded: seen.append({"name": encoded.event.event, "is": encoded.event.status})
    )
    manager.events.subscribe(subscription)
    await call.create("work", id="t")
    await executor.take()
    await wait_until(lambda: len(seen) >= 2, "both events")
    assert seen == [
        {"name": "task.queued", "is": "QUEUED"},
        {"name": "task.started", "is": "EXECUTED"},
    ]
    task = await call.get("t")
    assert task["queued_at"] is not None
    assert task["status_change"] == task["queued_at"]


async def test_a_caller_that_goes_away_interrupts_no_commit(
    call: Calls, executor: HandExecutor, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        committed.set()
        await go_on.wait()

    with monkeypatch.context() as patch:
        after_commits(manager, patch, slow)
        data = [{"id": "t", "commands": [{"method": "work"}]}]
        creating = asyncio.create_task(call("tasks.m_create", data=data))
        await committed.wait()
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)
        go_on.set()
        assert (await executor.take()).id == "t"
