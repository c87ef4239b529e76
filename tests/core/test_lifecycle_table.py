"""SPEC's table of operator actions by status, one test for each cell; and the whole table."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kaiju_tasks.errors import Conflict
from kaiju_tasks.lifecycle import (
    EVENTS,
    TABLE,
    Cancel,
    Delete,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    Suspend,
)
from kaiju_tasks.lifecycle.table import OPERATOR_CALLS
from kaiju_tasks.types import TaskStatus
from tests.core.lifecycle_kit import (
    EXECUTED,
    FAILED,
    FINISHED,
    IDLE,
    QUEUED,
    SUSPENDED,
    WAITING,
    World,
    command,
    message,
)


def idle_one_off() -> World:
    return World(command(), message(), next_run=5000.0)


def idle_retry() -> World:
    world = World(command(), message(), max_retries=1, retry_delay=60.0)
    world.acquire()
    world.fail()
    return world


def idle_cron() -> World:
    world = World(command(), message(), cron="0 * * * *")
    assert not world.row.open
    return world


def queued() -> World:
    return World(command(), message())


def executed() -> World:
    world = queued()
    world.acquire()
    return world


def waiting() -> World:
    return World(message(), command())


def suspended() -> World:
    world = executed()
    world.apply(Suspend())
    return world


def finished() -> World:
    world = World(command())
    world.acquire()
    world.finish(7)
    return world


def failed() -> World:
    world = World(command())
    world.acquire()
    world.fail()
    return world


START: dict[str, tuple[Callable[[], World], TaskStatus]] = {
    "idle_one_off": (idle_one_off, IDLE),
    "idle_retry": (idle_retry, IDLE),
    "idle_cron": (idle_cron, IDLE),
    "queued": (queued, QUEUED),
    "executed": (executed, EXECUTED),
    "waiting": (waiting, WAITING),
    "suspended": (suspended, SUSPENDED),
    "finished": (finished, FINISHED),
    "failed": (failed, FAILED),
}
ACTIONS: dict[str, Callable[[World], Any]] = {
    "suspend": lambda w: w.apply(Suspend()),
    "resume": lambda w: w.apply(Resume()),
    "cancel": lambda w: w.apply(Cancel()),
    "run_now": lambda w: w.apply(RunNow(job_id="new")),
    "message": lambda w: w.send("m", data=5),
    "disable": lambda w: w.update(enabled=False),
}


def is_held(world: World) -> None:
    row = world.row
    assert (row.status, row.reason, row.ready, row.due_at) == (SUSPENDED, "operator", 0, None)
    assert world.events[-1] == "task.suspended"


def is_held_and_revoked(world: World) -> None:
    is_held(world)
    assert world.row.held == QUEUED
    assert [(a.outcome, a.rescued) for a in world.attempts] == [("SUSPENDED", True)]


def is_cancelled(world: World) -> None:
    row = world.row
    assert (row.status, row.exit_code, row.open) == (FAILED, 130, False)
    error = msgspec.json.decode(row.error or "")
    assert (error["type"], bool(error["message"])) == ("cancelled", True)
    assert (world.runs[-1].status, world.runs[-1].exit_code) == ("FAILED", 130)
    assert world.events[-1] == "task.failed"


def is_queued(world: World) -> None:
    assert (world.row.status, world.row.ready) == (QUEUED, 1)


def runs_once_with_its_schedule(world: World) -> None:
    is_queued(world)
    assert world.row.scheduled_at is None
    assert world.row.next_run == world.row.fire_at == 3600.0


def is_fresh(world: World) -> None:
    is_queued(world)
    row = world.row
    assert (row.job_id, row.stage, row.exit_code, row.error) == ("new", 0, None, None)


def is_disabled(world: World) -> None:
    row = world.row
    assert not row.enabled
    assert (row.reason, row.ready, row.due_at) == ("disabled", 0, None)


def only_the_flag_changed(world: World) -> None:
    assert not world.row.enabled


def stage_ends_and_is_stored_then_held(world: World) -> None:
    assert (world.row.status, world.row.enabled) == (EXECUTED, False)
    world.finish(1)
    assert (world.row.stage, world.row.status) == (1, QUEUED)
    is_disabled(world)


def result_is_stored_when_met_then_held(world: World) -> None:
    assert world.row.status is WAITING
    assert world.send("m", data=5) == "delivered"
    assert (world.row.stage, world.row.status) == (1, QUEUED)
    assert world.results["job1", 0, 0] == msgspec.Raw(b"5")
    is_disabled(world)


def is_kept(world: World) -> None:
    assert [(m.message_id, m.consumed) for m in world.inbox] == [("m", False)]


def is_delivered(world: World) -> None:
    assert [(m.message_id, m.consumed) for m in world.inbox] == [("m", True)]
    assert (world.row.stage, world.row.status) == (1, QUEUED)


def is_back(world: World) -> None:
    assert (world.row.status, world.row.ready, world.row.held) == (QUEUED, 1, None)


def nothing_was_kept(world: World) -> None:
    assert world.inbox == []


CELLS: dict[str, dict[str, Callable[[World], None] | None]] = {
    "idle_one_off": {
        "suspend": is_held,
        "resume": None,
        "cancel": is_cancelled,
        "run_now": is_queued,
        "message": is_kept,
        "disable": is_disabled,
    },
    "idle_retry": {
        "suspend": is_held,
        "resume": None,
        "cancel": is_cancelled,
        "run_now": is_queued,
        "message": is_kept,
        "disable": is_disabled,
    },
    "idle_cron": {
        "suspend": is_held,
        "resume": None,
        "cancel": None,
        "run_now": runs_once_with_its_schedule,
        "message": is_kept,
        "disable": is_disabled,
    },
    "queued": {
        "suspend": is_held,
        "resume": None,
        "cancel": is_cancelled,
        "run_now": is_queued,
        "message": is_kept,
        "disable": is_disabled,
    },
    "executed": {
        "suspend": is_held_and_revoked,
        "resume": None,
        "cancel": is_cancelled,
        "run_now": None,
        "message": is_kept,
        "disable": stage_ends_and_is_stored_then_held,
    },
    "waiting": {
        "suspend": is_held,
        "resume": None,
        "cancel": is_cancelled,
        "run_now": None,
        "message": is_delivered,
        "disable": result_is_stored_when_met_then_held,
    },
    "suspended": {
        "suspend": is_held,
        "resume": is_back,
        "cancel": is_cancelled,
        "run_now": None,
        "message": is_kept,
        "disable": only_the_flag_changed,
    },
    **{
        ended: {
            "suspend": None,
            "resume": None,
            "cancel": None,
            "run_now": is_fresh,
            "message": nothing_was_kept,
            "disable": only_the_flag_changed,
        }
        for ended in ("finished", "failed")
    },
}
ALL_CELLS = [(start, action) for start, actions in CELLS.items() for action in actions]


@pytest.mark.parametrize(("start", "action"), ALL_CELLS, ids=[f"{s}-{a}" for s, a in ALL_CELLS])
def test_each_cell_of_the_table(start: str, action: str) -> None:
    make, status = START[start]
    world = make()
    assert world.row.status is status
    expected = CELLS[start][action]
    if expected is None:
        before = msgspec.json.encode(world.row)
        with pytest.raises(Conflict) as caught:
            ACTIONS[action](world)
        assert caught.value.data["status"] == status
        assert msgspec.json.encode(world.row) == before
    else:
        ACTIONS[action](world)
        expected(world)


@pytest.mark.parametrize("start", [s for s in START if s not in ("executed",)])
def test_only_an_executed_task_has_a_lease_to_revoke(start: str) -> None:
    assert START[start][0]().apply(Reset(job_id="new")).revoke is None


@pytest.mark.parametrize("event", [Suspend(), Cancel(), Reset(job_id="new"), Delete()])
def test_a_lease_is_revoked_before_anything_else_happens(event: Any) -> None:
    world = executed()
    lease = world.lease
    revoke = world.apply(event).revoke
    assert revoke is not None
    assert (revoke.executor_id, revoke.lease) == ("e", lease)


@pytest.mark.parametrize("start", START)
def test_reset_works_from_any_status(start: str) -> None:
    world = START[start][0]()
    world.apply(Reset(job_id="new"))
    is_fresh(world) if start != "waiting" else None
    row = world.row
    assert (row.job_id, row.stage, row.retries, row.exec_used, row.held) == ("new", 0, 0, 0.0, None)
    assert world.inbox == []


@pytest.mark.parametrize("start", START)
def test_delete_works_from_any_status(start: str) -> None:
    assert START[start][0]().apply(Delete()).deleted


@pytest.mark.parametrize("start", START)
def test_restart_from_the_first_stage_works_from_any_status(start: str) -> None:
    world = START[start][0]()
    world.apply(RestartFrom(job_id="new", stage=0))
    assert (world.row.job_id, world.row.stage) == ("new", 0)


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.__name__)
@pytest.mark.parametrize("status", TaskStatus)
def test_every_pair_is_a_rule_a_conflict_or_nothing(event: Any, status: TaskStatus) -> None:
    rule = TABLE[event].get(status)
    assert rule is None or rule.targets
    if rule is None and event not in OPERATOR_CALLS:
        assert event.__name__ in (
            "Due",
            "Acquired",
            "SlotFull",
            "MethodLacking",
            "GateOpened",
            "PauseBegan",
            "ChildrenLooked",
            "ExecutorLost",
        )


def test_a_suspended_schedule_between_fires_has_nothing_to_cancel() -> None:
    world = idle_cron()
    world.apply(Suspend())
    with pytest.raises(Conflict):
        world.apply(Cancel())
