"""What a run has been started by, and when that is forgotten."""

from typing import Any

import pytest

from kaiju_tasks.errors import Conflict
from kaiju_tasks.lifecycle import (
    Cancel,
    Cause,
    Event,
    Reset,
    RestartFrom,
    RunNow,
    Start,
    Step,
    cause_of,
)
from tests.core.lifecycle_kit import (
    FAILED,
    FINISHED,
    IDLE,
    QUEUED,
    WAITING,
    World,
    command,
    message,
    timer,
)

FIRST = Cause("other", "root", 3)
CIRCLE = Cause("other", "root", 3, mark="t", starts=5)


def started(*commands: Any, **fields: Any) -> World:
    """A task whose run another one has started."""
    world = World(*commands, next_run=5000.0, **fields)
    world.apply(Start(job_id="started", cause=FIRST))
    return world


def ended() -> World:
    world = World(next_task="other")
    world.acquire()
    world.finish()
    return world


def cause(world: World) -> Cause:
    return cause_of(world.row, world.definition)


def test_a_run_that_no_run_has_started_is_a_root() -> None:
    world = World()
    assert cause(world) == Cause("t", "job1", 0)


def test_a_started_run_belongs_to_the_family_of_the_run_before() -> None:
    assert cause(started()) == Cause("t", "root", 3, mark="t", starts=1)


@pytest.mark.parametrize("later", [False, True])
def test_a_next_task_that_closes_a_circle_is_skipped_and_the_history_says_so(later: bool) -> None:
    world = ended()
    world.apply(Start(job_id="again", cause=CIRCLE, later=later))
    assert (world.row.status, world.row.start_next) == (FINISHED, False)
    assert world.runs[-1].status == "MISSED"
    assert world.runs[-1].note == (
        "skipped: next_task of other, but the tasks form a circle without a wait of 1 second"
    )


@pytest.mark.parametrize(
    "event",
    [
        Reset(job_id="x", cause=CIRCLE),
        RunNow(job_id="x", cause=CIRCLE),
        RestartFrom(job_id="x", stage=0, cause=CIRCLE),
    ],
)
def test_a_stage_cannot_start_a_task_in_a_circle(event: Event) -> None:
    world = ended()
    with pytest.raises(Conflict, match="circle without a wait") as error:
        world.apply(event)
    assert error.value.data["status"] == "FINISHED"


def test_a_stage_cannot_set_the_next_run_in_a_circle_unless_it_is_a_second_away() -> None:
    world = ended()
    with pytest.raises(Conflict, match="circle without a wait"):
        world.update(next_run=world.now, cause=CIRCLE)
    world.update(next_run=world.now + 1.0, cause=CIRCLE)
    assert (world.row.status, world.row.chain) == (IDLE, None)


def test_the_first_run_that_a_stage_sets_continues_the_chain_at_a_schedule_too() -> None:
    world = World(cron="0 0 1 1 *")
    world.update(next_run=world.now, cause=FIRST)
    world.due()
    assert (world.row.status, cause(world).root) == (QUEUED, "root")
    world.acquire()
    world.finish()
    assert (world.row.status, world.row.chain) == (IDLE, None)


def test_a_run_hands_its_chain_to_the_next_task_when_it_ends() -> None:
    world = started(next_task="other")
    world.acquire()
    step = world.finish()
    assert (step.start_next, step.cause) == ("other", Cause("t", "root", 3, mark="t", starts=1))
    assert world.row.chain is None


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, True), (0.9, True), (1.0, False)])
def test_a_wait_of_a_second_ends_the_chain(seconds: float, kept: bool) -> None:
    world = started(timer(seconds), command())
    world.now += seconds
    world.due()
    assert world.row.status is QUEUED
    assert (world.row.chain is not None) is kept


def test_a_message_that_lets_the_task_wait_for_a_second_ends_the_chain() -> None:
    for seconds, kept in ((0.5, True), (1.5, False)):
        world = started(message(), command())
        assert world.row.status is WAITING
        world.now += seconds
        world.send("m")
        assert world.row.status is QUEUED
        assert (world.row.chain is not None) is kept


def test_time_in_the_stream_and_at_an_executor_is_no_wait() -> None:
    world = started(command(), command())
    world.now += 60.0
    world.acquire()
    world.now += 60.0
    world.finish()
    assert world.row.chain is not None


@pytest.mark.parametrize(("delay", "kept"), [(0.0, True), (0.5, True), (1.0, False)])
def test_a_retry_after_a_second_ends_the_chain(delay: float, kept: bool) -> None:
    world = started(max_retries=1, retry_delay=delay)
    world.acquire()
    world.fail()
    assert (world.row.chain is not None) is kept


def test_a_start_that_is_remembered_during_a_run_keeps_its_chain() -> None:
    world = World()
    world.acquire()
    world.apply(Start(job_id="x", cause=FIRST))
    world.finish()
    world.due()
    assert (world.row.status, cause(world).root) == (QUEUED, "root")


def test_a_call_of_a_client_begins_a_family() -> None:
    world = started()
    world.apply(Cancel())
    assert (world.row.status, world.row.chain) == (FAILED, None)
    world.apply(RunNow(job_id="mine"))
    assert cause(world) == Cause("t", "mine", 0)


def test_a_task_that_a_task_created_stays_in_its_family_after_a_wait() -> None:
    world = started(timer(5), command(), root_id="creator", depth=2)
    world.now += 5.0
    step: Step = world.due()
    assert step.changed
    assert cause(world) == Cause("t", "creator", 2)
