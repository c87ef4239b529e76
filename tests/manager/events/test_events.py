"""Which events listeners receive."""

from typing import Any

import pytest
from msgspec import Raw

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.events import progress as progress_module
from kaiju_tasks.manager.events.hub import EncodedEvent, Subscription
from kaiju_tasks.protocol import Assignment, Report, ReportState
from kaiju_tasks.store.base import Condition
from kaiju_tasks.types import TaskEvent
from tests.manager.hand import Calls, HandExecutor, executors_are_lost_soon
from tests.support.wait import wait_until

TIMER = {"method": "_TIMER_", "params": {"timer": 0.05}}


class Heard:
    """A subscriber that keeps what it receives."""

    def __init__(self, manager: Manager, *conditions: Condition) -> None:
        self.events: list[TaskEvent] = []
        self.lost: list[str] = []
        self._hub = manager.events
        self.subscription = Subscription(conditions, self._take, self.lost.append)
        self._hub.subscribe(self.subscription)

    def _take(self, encoded: EncodedEvent) -> None:
        self.events.append(encoded.event)

    @property
    def names(self) -> list[str]:
        return [event.event.removeprefix("task.") for event in self.events]

    async def until(self, name: str) -> TaskEvent:
        await wait_until(lambda: name in self.names, f"{name} is heard")
        return self.events[self.names.index(name)]


@pytest.fixture
def heard(manager: Manager) -> Heard:
    return Heard(manager)


async def test_a_run_is_told_from_its_queue_to_its_end(
    heard: Heard, call: Calls, executor: HandExecutor
) -> None:
    task = await call.create("work", {"method": "work", "name": "second"}, id="a", group="g")
    work = await executor.take()
    await executor.finish(work, stage=0)
    await executor.finish(work, stage=1)
    ended = await call.get("a")
    assert heard.names == ["queued", "started", "stage", "stage", "finished"]
    assert [event.stage for event in heard.events] == [0, 0, 1, 2, 2]
    statuses = ["QUEUED", "EXECUTED", "EXECUTED", "EXECUTED", "FINISHED"]
    assert [event.status for event in heard.events] == statuses
    assert {event.job_id for event in heard.events} == {task["job_id"]}
    assert [e.executor_id for e in heard.events] == [None, "hand", "hand", "hand", "hand"]
    assert [event.time for event in heard.events] == sorted(event.time for event in heard.events)
    queued, _, _, stage, finished = heard.events
    assert stage.data == {"stage": 1, "name": "second", "method": "work", "outcome": "FINISHED"}
    assert (finished.exit_code, finished.stages, finished.group) == (0, 2, "g")
    assert finished.time == ended["status_change"]
    assert queued.manager_id == executor.manager.id


async def test_a_failure_tells_its_error_in_short(
    heard: Heard, call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="a")
    await executor.fail(await executor.take(), message="x" * 1_000)
    failed = await heard.until("failed")
    assert (failed.status, failed.exit_code, failed.executor_id) == ("FAILED", 1, "hand")
    assert failed.data == {"type": "execution_error", "message": "x" * 500 + "…", "stage": 0}


async def test_a_hook_waits_and_then_ends_its_stage(heard: Heard, call: Calls) -> None:
    await call.create(TIMER, id="a")
    finished = await heard.until("finished")
    assert heard.names == ["started", "waiting", "stage", "finished"]
    assert [event.status for event in heard.events[:3]] == ["WAITING"] * 3
    assert heard.events[1].status_reason == "timer"
    assert finished.executor_id is None


async def test_a_hook_after_a_hook_is_told_with_its_own_moment(heard: Heard, call: Calls) -> None:
    await call.create(TIMER, {"method": "_MESSAGE_", "params": {}}, id="a")
    await wait_until(lambda: heard.names.count("waiting") == 2, "it waits for the message")
    task = await call.get("a")
    first, second = (event.time for event in heard.events if event.event == "task.waiting")
    assert task["status_reason"] == "message"
    assert first + 0.05 <= second == task["status_change"] == task["since"]
    assert (await call("tasks.explain", id="a"))["since"] == second


async def test_an_operators_hold_is_told(heard: Heard, call: Calls) -> None:
    await call.create("work", id="a")
    await call("tasks.suspend", id="a")
    await call("tasks.resume", id="a")
    assert heard.names == ["queued", "suspended", "queued"]
    held = heard.events[1]
    assert (held.status, held.status_reason) == ("SUSPENDED", "operator")


@executors_are_lost_soon
async def test_a_lost_executor_is_told_before_the_task_is_queued_again(
    heard: Heard, call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="a")
    await executor.take()
    await executor.cut()
    await wait_until(lambda: heard.names.count("queued") == 2, "it is queued again")
    assert heard.names == ["queued", "started", "attempt_failed", "suspended", "queued"]
    assert [event.executor_id for event in heard.events[2:4]] == ["hand", "hand"]
    lost = heard.events[2].data
    assert (lost["outcome"], lost["attempt"], lost["type"]) == ("LOST", 1, None)


async def test_every_failed_attempt_is_told_also_one_that_is_retried(
    heard: Heard, call: Calls, executor: HandExecutor
) -> None:
    await call.create({"method": "work", "name": "pay"}, id="a", max_retries=1)
    for message in ("no", "x" * 1000):
        await executor.fail(await executor.take(), message=message)
    retry, end = ["attempt_failed", "queued"], ["attempt_failed", "failed"]
    assert heard.names == ["queued", "started", *retry, *end]
    first, second = (one for one in heard.events if one.event == "task.attempt_failed")
    assert first.data == {
        "stage": 0,
        "name": "pay",
        "method": "work",
        "attempt": 1,
        "outcome": "FAILED",
        "type": "execution_error",
        "message": "no",
    }
    assert (second.data["attempt"], len(second.data["message"])) == (2, 501)
    assert (first.stage, first.executor_id, first.exit_code) == (0, "hand", None)
    records = await call("tasks.stages", job_id=first.job_id)
    assert [first.time, second.time] == [record["ended_at"] for record in records]


async def test_the_end_of_a_schedules_run_is_told_as_such(
    heard: Heard, call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="a", every=3600)
    await call("tasks.run_now", id="a")
    await executor.finish(await executor.take())
    finished = await heard.until("finished")
    assert (finished.status, finished.exit_code) == ("FINISHED", 0)
    assert (await call.get("a"))["status"] == "IDLE"


async def test_only_what_the_conditions_let_through_is_heard(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    ends = Heard(manager, Condition("event", "in", ["task.finished", "task.failed"]))
    other = Heard(manager, Condition("id", "eq", "b"), Condition("stage", "ge", 1))
    for name in ("a", "b"):
        await call.create("work", id=name)
        await executor.finish(await executor.take())
    assert [(event.id, event.event) for event in ends.events] == [
        ("a", "task.finished"),
        ("b", "task.finished"),
    ]
    assert [(event.id, event.event) for event in other.events] == [
        ("b", "task.stage"),
        ("b", "task.finished"),
    ]


async def test_nothing_is_heard_after_the_end_of_a_subscription(
    manager: Manager, heard: Heard, call: Calls
) -> None:
    manager.events.unsubscribe(heard.subscription)
    manager.events.unsubscribe(heard.subscription)
    await call.create("work")
    assert heard.events == []
    assert not manager.events.listened


# progress


def progress(task: Assignment, value: bytes, **changed: Any) -> Report:
    lease = {"id": task.id, "job_id": task.job_id, "epoch": task.epoch, "nonce": task.nonce}
    state = ReportState.PROGRESS
    return Report(**{**lease, **changed}, stage=task.stage, state=state, result=Raw(value))


async def test_progress_is_told_under_its_lease_and_without_the_database(
    heard: Heard,
    call: Calls,
    executor: HandExecutor,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await call.create("work", "work", id="a", group="g")
    task = await executor.take()

    def touched(*args: Any) -> Any:
        raise AssertionError("progress touches the database")

    monkeypatch.setattr(manager.store, "transaction", touched)
    said = b'{"done": 1, "total": 4, "message": "first"}'
    (ack,) = await executor.report(progress(task, said))
    assert ack.state == "ok"
    event = heard.events[-1]
    assert (event.event, event.status, event.executor_id) == ("task.progress", "EXECUTED", "hand")
    assert event.data == {"done": 1.0, "total": 4.0, "message": "first"}
    assert (event.group, event.stage, event.stages) == ("g", 0, 2)


async def test_progress_under_another_lease_or_that_is_none_is_not_told(
    heard: Heard, call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="a")
    task = await executor.take()
    await executor.report(
        progress(task, b'{"done": 1}', nonce="stale"),
        progress(task, b'{"done": 1}', id="unknown"),
        progress(task, b'{"done": "half"}'),
        progress(task, b"null"),
    )
    assert "progress" not in heard.names


async def test_progress_is_told_at_a_bounded_rate(
    heard: Heard, call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create("work", id="a")
    task = await executor.take()
    monkeypatch.setattr(progress_module, "PAUSE_SECONDS", 3600.0)
    await executor.report(*(progress(task, b'{"done": %d}' % n) for n in range(100)))
    assert heard.names.count("progress") == 1
    monkeypatch.setattr(progress_module, "PAUSE_SECONDS", 0.0)
    await executor.report(progress(task, b'{"done": 100}'))
    assert heard.events[-1].data["done"] == 100
