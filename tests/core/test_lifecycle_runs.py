"""Runs: execution time, retries, losses, leases, time in the stream."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from kaiju_tasks.lifecycle import (
    Due,
    ExecutorLost,
    Reset,
    Resume,
    Revoke,
    StageExtended,
    Suspend,
    given_back,
)
from kaiju_tasks.lifecycle.retries import asked_delay, retry_delay
from kaiju_tasks.types import Limit, Outcome, RestartPolicy
from tests.core.lifecycle_kit import (
    EXECUTED,
    FAILED,
    FINISHED,
    IDLE,
    QUEUED,
    WAITING,
    World,
    attempts,
    command,
    define,
    error_of,
    timer,
)

# -- the straight way ----------------------------------------------------------------------


def test_a_task_due_now_is_queued_without_a_stop() -> None:
    world = World()
    assert (world.row.status, world.row.ready, world.row.queued_at) == (QUEUED, 1, 1000.0)
    assert world.events == ["task.queued"]


def test_the_past_means_now() -> None:
    assert World(next_run=3.0).row.status is QUEUED


def test_a_later_first_run_waits_and_starts_at_its_moment() -> None:
    world = World(next_run=1500.0)
    assert (world.row.status, world.row.due_at) == (IDLE, 1500.0)
    assert not world.at(1499.9).changed
    world.at(1500.0)
    assert (world.row.status, world.row.job_id, world.row.next_run) == (QUEUED, "job1", None)


def test_the_last_result_makes_the_run_finished() -> None:
    world = World(command(), command(name="second"))
    world.acquire()
    world.finish({"a": 1})
    assert (world.row.status, world.row.stage, world.row.exit_code) == (EXECUTED, 1, None)
    world.finish(2)
    row = world.row
    assert (row.status, row.stage, row.exit_code, row.error) == (FINISHED, 2, 0, None)
    assert attempts(world) == [(0, 1, "FINISHED"), (1, 1, "FINISHED")]
    (run,) = world.runs
    assert (run.run_id, run.status, run.exit_code, run.executor_id) == ("job1", "FINISHED", 0, "e")
    assert (run.queued_at, run.started_at, run.ended_at) == (1000.0, 1000.0, 1000.0)
    assert world.events == [
        "task.queued",
        "task.started",
        "task.stage",
        "task.stage",
        "task.finished",
    ]


def test_a_skipped_stage_has_a_result_and_its_outcome() -> None:
    world = World()
    world.acquire()
    world.finish(None, skipped=True)
    assert attempts(world) == [(0, 1, "SKIPPED")]
    assert world.row.status is FINISHED


# -- fencing -------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["id", "job_id", "epoch", "nonce"])
def test_a_report_under_any_other_token_changes_nothing(wrong: str) -> None:
    world = World()
    world.acquire()
    value = 99 if wrong == "epoch" else "other"
    lease = msgspec.structs.replace(world.lease, **{wrong: value})
    for step in (world.finish(lease=lease), world.fail(lease=lease)):
        assert (step.stale, step.changed) == (True, False)
    assert world.row.status is EXECUTED


def test_a_report_of_a_stage_ahead_is_stale() -> None:
    world = World(command(), command())
    world.acquire()
    assert world.finish(stage=1).stale


def test_a_report_that_comes_twice_changes_nothing() -> None:
    world = World(command(), command())
    world.acquire()
    world.finish(1, stage=0)
    again = world.finish(1, stage=0)
    assert (again.changed, again.stale) == (False, False)


def test_reports_after_the_end_are_stale() -> None:
    world = World()
    world.acquire()
    lease = world.lease
    world.finish()
    assert world.finish(lease=lease, stage=0).stale


def test_the_epoch_rises_with_each_acquisition() -> None:
    world = World()
    for epoch in (1, 2):
        world.acquire()
        assert world.row.epoch == epoch
        world.lose(counted=False)
    world.apply(Reset(job_id="x"))
    world.acquire()
    assert world.row.epoch == 3


def test_a_task_that_is_not_ready_is_not_acquired() -> None:
    world = World()
    world.update(enabled=False)
    assert not world.acquire().changed


# -- results -------------------------------------------------------------------------------


def test_results_over_the_limit_of_the_run_fail_the_stage() -> None:
    world = World(command(), command())
    world.acquire()
    world.finish("x" * 50, max_run_bytes=100)
    world.finish("x" * 50, max_run_bytes=100)
    assert (world.row.status, world.row.exit_code) == (FAILED, 1)
    assert error_of(world)["type"] == "result_too_large"
    assert error_of(world)["stage"] == 1


# -- retries -------------------------------------------------------------------------------


def test_a_failed_stage_is_retried_from_where_it_failed() -> None:
    world = World(command(), command(), max_retries=1)
    world.acquire()
    world.finish(1)
    world.fail()
    row = world.row
    assert (row.status, row.stage, row.retries, row.reason) == (QUEUED, 1, 1, "retry")
    assert (row.exit_code, error_of(world)["type"]) == (None, "execution_error")
    assert row.job_id == "job1"
    world.acquire()
    assert error_of(world)
    world.finish(2)
    assert (world.row.status, world.row.error) == (FINISHED, None)
    assert attempts(world) == [(0, 1, "FINISHED"), (1, 1, "FAILED"), (1, 2, "FINISHED")]
    assert world.runs[0].retries == 1


def test_first_starts_anew_without_the_results() -> None:
    world = World(command(), command(), max_retries=1, restart_policy=RestartPolicy.FIRST)
    world.acquire()
    world.finish(1)
    world.fail()
    row = world.row
    assert (row.stage, row.cycle, row.result_bytes, row.job_id) == (0, 1, 0, "job1")
    world.acquire()
    world.finish(3)
    assert world.results["job1", 1, 0] == Raw(b"3")


def test_without_retries_left_the_run_fails_with_1() -> None:
    world = World(max_retries=2)
    for _ in range(3):
        assert world.row.status is QUEUED
        world.acquire()
        world.fail()
    assert (world.row.status, world.row.exit_code, world.row.retries) == (FAILED, 1, 2)
    assert [a.attempt for a in world.attempts] == [1, 2, 3]


RETRIED = (
    "execution_error",
    "invalid_params",
    "template_error",
    "result_too_large",
    "stage_timeout",
    "exec_timeout",
    "unknown_method",
    "MyError",
)


@pytest.mark.parametrize("type", RETRIED)
def test_these_failures_are_retried(type: str) -> None:
    world = World(max_retries=1)
    world.acquire()
    world.fail(type)
    assert (world.row.status, world.row.retries) == (QUEUED, 1)


def test_an_abort_is_not_retried_and_exits_with_1() -> None:
    world = World(max_retries=3)
    world.acquire()
    world.fail("abort")
    assert (world.row.status, world.row.exit_code, world.row.retries) == (FAILED, 1, 0)
    assert error_of(world)["type"] == "abort"


@pytest.mark.parametrize("type", ["queue_timeout", "executor_lost", "cancelled", ""])
def test_an_executor_cannot_claim_an_outcome_of_the_manager(type: str) -> None:
    world = World()
    world.acquire()
    world.fail(type)
    assert (world.row.exit_code, error_of(world)["type"]) == (1, "execution_error")


def test_a_retry_waits_for_its_delay() -> None:
    world = World(max_retries=1, retry_delay=30.0)
    world.acquire()
    world.fail()
    row = world.row
    assert (row.status, row.reason, row.next_run, row.due_at) == (IDLE, "retry", 1030.0, 1030.0)
    world.at(1030.0)
    assert (world.row.status, world.row.reason, world.row.job_id) == (QUEUED, "retry", "job1")


def test_a_backoff_multiplies_up_to_its_cap() -> None:
    definition = define(retry_delay=10.0, retry_backoff=3.0, retry_max_delay=50.0)
    delays = [retry_delay(definition, "job", n) for n in range(1, 11)]
    assert 10 <= delays[0] <= 11
    assert 30 <= delays[1] <= 33
    assert delays[2:] == [50.0] * 8


@given(
    delay=st.floats(0, 1e6),
    backoff=st.floats(1, 1000),
    cap=st.none() | st.floats(0, 1e6),
    job_id=st.text(max_size=9),
)
def test_no_retry_comes_sooner_than_the_one_before(
    delay: float, backoff: float, cap: float | None, job_id: str
) -> None:
    definition = define(retry_delay=delay, retry_backoff=backoff, retry_max_delay=cap)
    delays = [retry_delay(definition, job_id, n) for n in range(1, 11)]
    assert all(later >= sooner * (1 - 1e-12) for sooner, later in itertools.pairwise(delays))


def test_a_command_that_asks_to_be_run_again_uses_up_no_retry() -> None:
    world = World(command(), max_retries=1, retry_delay=500.0, restart_policy="FIRST")
    for _ in range(5):
        world.acquire()
        due = world.now + 30.0
        world.fail("retry_after", data={"seconds": 30})
        row = world.row
        assert (row.status, row.reason, row.due_at, row.retries) == (IDLE, "retry", due, 0)
        assert error_of(world)["type"] == "retry_after"
        world.at(due)
        assert (row.job_id, world.row.status, world.row.cycle) == ("job1", QUEUED, 0)
    assert [outcome for _, _, outcome in attempts(world)] == ["FAILED"] * 5
    world.acquire()
    world.fail()
    assert (world.row.status, world.row.retries) == (IDLE, 1)


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ({"seconds": 2.5}, 2.5),
        ({"seconds": 0}, 1.0),
        ({"seconds": -1e300}, 1.0),
        ({"seconds": 10**30}, Limit.MAX_WAIT),
        ({"seconds": "5"}, 1.0),
        ({"seconds": True}, 1.0),
        ({}, 1.0),
        (None, 1.0),
        ([3], 1.0),
    ],
)
def test_the_time_that_a_command_asks_for_is_bounded(data: Any, seconds: float) -> None:
    assert asked_delay(data) == seconds


def test_a_command_that_asks_again_and_again_ends_with_its_execution_time() -> None:
    world = World(max_exec_timeout=100.0)
    for _ in range(9):
        world.acquire()
        world.now += 11.0
        world.fail("retry_after", data={"seconds": 5})
        assert world.row.due_at is not None
        world.at(world.row.due_at)
    world.acquire()
    world.now += 11.0
    world.fail("retry_after", data={"seconds": 5})
    assert (world.row.status, error_of(world)["type"]) == (FAILED, "exec_timeout")


def test_lost_executors_use_up_no_retry() -> None:
    world = World(max_retries=1)
    for _ in range(2):
        world.acquire()
        world.lose()
    assert (world.row.status, world.row.losses, world.row.retries) == (QUEUED, 2, 0)
    world.acquire()
    world.fail()
    assert (world.row.status, world.row.retries) == (QUEUED, 1)


def test_a_backoff_without_a_delay_begins_with_a_second() -> None:
    definition = define(retry_backoff=2.0)
    delays = [retry_delay(definition, "job", n) for n in range(1, 6)]
    for delay, least in zip(delays, (1, 2, 4, 8, 16), strict=True):
        assert least <= delay <= least * 1.1


def test_a_task_with_a_backoff_and_no_delay_is_not_retried_at_once() -> None:
    world = World(max_retries=1, retry_backoff=2.0)
    world.acquire()
    world.fail()
    assert (world.row.status, world.row.reason) == (IDLE, "retry")
    assert world.row.due_at is not None
    assert 1001.0 <= world.row.due_at <= 1001.1


def test_a_cap_of_zero_retries_at_once_with_any_backoff() -> None:
    definition = define(retry_backoff=2.0, retry_max_delay=0.0)
    assert [retry_delay(definition, "job", n) for n in (1, 5, 10)] == [0.0] * 3


def test_neither_a_delay_nor_a_backoff_retries_at_once() -> None:
    assert [retry_delay(define(), "job", n) for n in (1, 5, 10)] == [0.0] * 3


def test_without_a_backoff_there_is_no_jitter() -> None:
    definition = define(retry_delay=10.0)
    assert [retry_delay(definition, "job", n) for n in (1, 5, 10)] == [10.0] * 3


@given(
    delay=st.floats(0, 31_622_400),
    backoff=st.floats(1, 1000),
    cap=st.none() | st.floats(0, 31_622_400),
    retries=st.integers(1, 10),
    job_id=st.text(max_size=9),
)
def test_a_retry_delay_is_bounded_and_always_the_same(
    delay: float, backoff: float, cap: float | None, retries: int, job_id: str
) -> None:
    definition = define(retry_delay=delay, retry_backoff=backoff, retry_max_delay=cap)
    found = retry_delay(definition, job_id, retries)
    assert 0 <= found <= (Limit.MAX_WAIT if cap is None else cap)
    assert found == retry_delay(definition, job_id, retries)


# -- execution time ------------------------------------------------------------------------


def test_execution_time_survives_hooks_and_waiting_does_not_count() -> None:
    world = World(command(), timer(500), command(), max_exec_timeout=100.0)
    world.acquire()
    world.now += 60
    world.finish()
    assert (world.row.status, world.row.exec_deadline) == (WAITING, None)
    world.at(world.now + 500)
    world.now += 1000
    world.acquire()
    assert world.row.exec_deadline == world.now + 40


def test_execution_time_survives_a_lost_executor() -> None:
    world = World(max_exec_timeout=100.0)
    world.acquire()
    world.now += 60
    world.lose()
    world.now += 60
    world.acquire()
    assert world.row.exec_deadline == world.now + 40


def test_execution_time_survives_a_hold() -> None:
    world = World(command(), command(), max_exec_timeout=100.0)
    world.acquire()
    world.now += 60
    world.apply(Suspend())
    world.now += 500
    world.apply(Resume())
    world.acquire()
    assert world.row.exec_deadline == world.now + 40


def test_execution_time_starts_anew_at_a_retry() -> None:
    world = World(max_exec_timeout=100.0, max_retries=1)
    world.acquire()
    world.now += 60
    world.fail()
    world.acquire()
    assert world.row.exec_deadline == world.now + 100


def test_an_executor_that_sleeps_over_its_deadline_is_revoked() -> None:
    world = World(max_exec_timeout=100.0)
    world.acquire()
    lease = world.lease
    assert not world.at(1101.9).changed
    step = world.at(1102.0)
    assert step.revoke is not None
    assert step.revoke.lease == lease
    assert (world.row.status, world.row.exit_code) == (FAILED, 130)
    assert error_of(world)["type"] == "exec_timeout"


def test_an_exec_timeout_is_retried_and_a_final_one_is_130() -> None:
    world = World(max_retries=1)
    world.acquire()
    world.fail("exec_timeout")
    assert (world.row.status, world.row.retries) == (QUEUED, 1)
    world.acquire()
    world.fail("exec_timeout")
    assert (world.row.status, world.row.exit_code) == (FAILED, 130)


def test_time_used_up_before_a_loss_is_an_exec_timeout_with_one_attempt() -> None:
    world = World(max_exec_timeout=100.0)
    world.acquire()
    world.now += 100
    world.lose()
    assert (world.row.status, error_of(world)["type"]) == (FAILED, "exec_timeout")
    assert attempts(world) == [(0, 1, "FAILED")]


def test_time_used_up_before_a_hold_is_an_exec_timeout_at_resume() -> None:
    world = World(max_exec_timeout=100.0)
    world.acquire()
    world.now += 101
    world.apply(Suspend())
    world.apply(Resume())
    assert (world.row.status, error_of(world)["type"]) == (FAILED, "exec_timeout")


def test_a_stage_may_ask_for_time_up_to_the_most_there_is() -> None:
    world = World(max_exec_timeout=100.0)
    world.acquire()
    world.apply(StageExtended(lease=world.lease, stage=0, seconds=50.0))
    assert (world.row.exec_deadline, world.row.due_at) == (1150.0, 1152.0)
    world.apply(StageExtended(lease=world.lease, stage=0, seconds=float("inf")))
    assert world.row.exec_deadline == 1000.0 + Limit.MAX_T
    assert not world.apply(StageExtended(lease=world.lease, stage=0, seconds=1.0)).changed


def test_time_that_was_granted_survives_a_lost_executor() -> None:
    world = World(max_exec_timeout=100.0)
    world.acquire()
    world.apply(StageExtended(lease=world.lease, stage=0, seconds=50.0))
    world.now += 120
    world.lose()
    world.acquire()
    assert world.row.exec_deadline == world.now + 30


# -- stages whose executor is silent ---------------------------------------------------------


def test_a_stage_that_is_silent_beyond_its_max_timeout_fails_as_its_executor_would_report() -> None:
    world = World(command(max_timeout=20.0), max_retries=1)
    world.acquire()
    assert (world.row.stage_deadline, world.row.due_at) == (1020.0, 1022.0)
    lease = world.lease
    assert not world.at(1021.9).changed
    step = world.at(1022.0)
    assert (step.revoke, world.row.status, world.row.retries) == (Revoke("e", lease), QUEUED, 1)
    assert error_of(world) == {
        "type": "stage_timeout",
        "message": "the stage ran longer than its `max_timeout` of 20 seconds",
        "stage": 0,
        "data": None,
    }
    world.acquire()
    world.at(world.row.due_at or 0.0)
    assert (world.row.status, world.row.exit_code) == (FAILED, 1)


def test_each_stage_of_a_segment_has_its_own_deadline() -> None:
    world = World(command(max_timeout=20.0), command(), command(max_timeout=30.0))
    world.acquire()
    world.now += 5
    world.finish()
    assert (world.row.stage_deadline, world.row.due_at) == (None, 1302.0)
    world.now += 5
    world.finish()
    assert (world.row.stage_deadline, world.row.due_at) == (1040.0, 1042.0)
    world.lose()
    assert (world.row.status, world.row.stage_deadline) == (QUEUED, None)


def test_the_end_of_the_run_comes_before_a_later_deadline_of_its_stage() -> None:
    world = World(command(max_timeout=200.0), max_exec_timeout=100.0)
    world.acquire()
    assert world.row.due_at == 1102.0
    world.at(1102.0)
    assert error_of(world)["type"] == "exec_timeout"


def test_a_stage_that_asks_for_time_gets_it_for_its_max_timeout_too() -> None:
    world = World(command(max_timeout=20.0), max_exec_timeout=float(Limit.MAX_T))
    world.acquire()
    world.apply(StageExtended(lease=world.lease, stage=0, seconds=15.0))
    assert (world.row.stage_deadline, world.row.exec_deadline) == (1035.0, 1000.0 + Limit.MAX_T)
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        event = StageExtended(lease=world.lease, stage=0, seconds=seconds)
        assert not world.apply(event).changed
    world.at(1037.0)
    assert "`max_timeout` of 35 seconds" in error_of(world)["message"]


def test_a_stage_that_ended_while_nobody_could_report_is_given_time_to_report() -> None:
    world = World(command(max_timeout=20.0))
    world.acquire()
    world.now = 2000.0
    world.apply(Due(job_id="j", heard_since=1999.0))
    assert (world.row.status, world.row.due_at) == (EXECUTED, 1999.0 + 3 * 2.0)
    world.finish("in time")
    assert world.row.status is FINISHED


def test_a_stage_that_is_silent_after_an_outage_ends_when_it_has_had_its_time() -> None:
    world = World(command(max_timeout=20.0))
    world.acquire()
    world.now = 2000.0
    world.apply(Due(job_id="j", heard_since=1999.0))
    world.now = world.row.due_at or 0.0
    world.apply(Due(job_id="j", heard_since=1999.0))
    assert error_of(world)["type"] == "stage_timeout"


def test_a_stage_that_began_after_an_outage_is_given_no_more_time() -> None:
    world = World(command(max_timeout=20.0))
    world.acquire()
    world.now = 1022.0
    world.apply(Due(job_id="j", heard_since=999.0))
    assert error_of(world)["type"] == "stage_timeout"


# -- lost executors ------------------------------------------------------------------------


def test_a_lost_task_is_queued_at_the_same_stage_with_its_results() -> None:
    world = World(command(), command())
    world.acquire()
    world.finish(1)
    world.now += 5
    world.lose()
    row = world.row
    assert (row.status, row.stage, row.ready, row.queued_at) == (QUEUED, 1, 1, 1005.0)
    assert world.events[-2:] == ["task.suspended", "task.queued"]
    assert (world.attempts[-1].outcome, world.attempts[-1].rescued) == ("LOST", True)


def test_two_losses_make_a_suspect_and_the_third_ends_it() -> None:
    world = World(max_retries=5)
    world.acquire()
    world.lose()
    assert (world.row.ready, world.row.reason) == (1, None)
    world.acquire()
    world.lose()
    assert (world.row.ready, world.row.reason) == (2, "suspect")
    world.acquire()
    world.lose()
    assert (world.row.status, world.row.exit_code) == (FAILED, 130)
    assert error_of(world)["type"] == "executor_lost"
    assert attempts(world) == [(0, 1, "LOST"), (0, 2, "LOST"), (0, 3, "LOST")]


def test_losses_count_for_one_stage() -> None:
    world = World(command(), command())
    for _ in range(2):
        world.acquire()
        world.lose()
    world.acquire()
    world.finish()
    for _ in range(2):
        assert world.row.losses < 2
        world.lose()
        world.acquire()
    assert world.row.status is EXECUTED


def test_graceful_leaving_does_not_count() -> None:
    world = World()
    for _ in range(5):
        world.acquire()
        world.lose(counted=False, outcome=Outcome.RELEASED)
    assert (world.row.status, world.row.losses, world.row.ready) == (QUEUED, 0, 1)
    assert {(a.outcome, a.rescued) for a in world.attempts} == {("RELEASED", True)}


def give_back(world: World, after: float = 0.0) -> None:
    """An executor takes the task as soon as it can, and gives it back."""
    if world.row.status is IDLE:
        assert world.row.next_run is not None
        world.now = world.row.next_run
        world.due()
    world.acquire("e")
    world.now += after
    world.apply(given_back("e", epoch=world.row.epoch))


def test_a_task_that_is_given_back_again_and_again_waits_and_is_lost_at_last() -> None:
    world = World()
    began, seen = world.now, []
    while world.row.open:
        give_back(world)
        seen.append((world.row.status, world.row.losses))
    assert seen[:5] == [(QUEUED, 0), (QUEUED, 0), (IDLE, 0), (IDLE, 0), (IDLE, 1)]
    assert seen[-1] == (FAILED, 3)
    assert len(world.attempts) == 15
    assert world.now - began > 60
    assert (error_of(world)["type"], world.row.exit_code) == ("executor_lost", 130)
    assert "15 times in a row" in error_of(world)["message"]


def test_a_task_that_found_no_free_thread_is_not_lost_however_often() -> None:
    world = World()
    for _ in range(30):
        world.acquire("e")
        world.apply(given_back("e", epoch=world.row.epoch, fruitless=False))
        row = world.row
        assert (row.status, row.losses, row.fruitless) == (QUEUED, 0, 0)


def test_a_task_waits_for_the_executor_to_come_back_and_says_so() -> None:
    world = World()
    for _ in range(3):
        give_back(world)
    row = world.row
    assert (row.status, row.reason, row.next_run) == (IDLE, "retry", world.now + 1.0)
    assert (row.retries, row.error) == (0, None)


@pytest.mark.parametrize("progress", ["finish", "extend", "fail"])
def test_progress_ends_the_count_of_what_was_given_back(progress: str) -> None:
    world = World(command(), command(), max_retries=1)
    for _ in range(4):
        give_back(world)
    assert world.row.fruitless == 4
    world.now = world.row.next_run or 0.0
    world.due()
    world.acquire("e")
    if progress == "finish":
        world.finish()
    elif progress == "fail":
        world.fail()
    else:
        world.apply(StageExtended(lease=world.lease, stage=0, seconds=1.0))
    assert (world.row.fruitless, world.row.losses) == (0, 0)


def test_a_stage_that_was_worked_on_is_given_back_as_often_as_need_be() -> None:
    world = World(max_exec_timeout=10_000)
    for _ in range(20):
        give_back(world, after=30.0)
        assert (world.row.status, world.row.losses) == (QUEUED, 0)


def test_a_suspect_stays_suspect_over_a_hold() -> None:
    world = World()
    for _ in range(2):
        world.acquire()
        world.lose()
    world.apply(Suspend())
    world.apply(Resume())
    assert (world.row.ready, world.row.reason) == (2, "suspect")


def test_another_executors_loss_changes_nothing() -> None:
    world = World()
    world.acquire("e")
    step = world.apply(ExecutorLost(executor_id="f"))
    assert not step.changed


@pytest.mark.parametrize("other", [{"epoch": 2}, {"nonce": "other"}], ids=["epoch", "nonce"])
def test_a_lease_before_is_not_given_back_again(other: dict[str, Any]) -> None:
    world = World()
    world.acquire("e")
    assert world.row.epoch == 1
    step = world.apply(given_back("e", **other))
    assert not step.changed
    assert world.apply(given_back("e", epoch=1, nonce=world.row.nonce)).changed


# -- queue time ----------------------------------------------------------------------------


def test_a_task_that_nobody_takes_in_time_is_aborted() -> None:
    world = World(max_queue_time=30.0, max_retries=3)
    assert world.row.due_at == 1030.0
    world.at(1030.0)
    assert (world.row.status, world.row.exit_code) == (FAILED, 130)
    assert error_of(world)["type"] == "queue_timeout"
    assert world.attempts == []


def test_holds_do_not_count_as_queue_time() -> None:
    world = World(max_queue_time=30.0)
    world.now += 20
    world.apply(Suspend())
    assert world.row.due_at is None
    world.now += 500
    world.apply(Resume())
    assert world.row.due_at == world.now + 10
    assert world.row.queued_at == 1000.0
    world.update(enabled=False)
    world.now += 500
    world.update(enabled=True)
    assert world.row.due_at == world.now + 10


def test_queue_time_starts_anew_when_the_task_is_queued_again() -> None:
    world = World(max_queue_time=30.0)
    world.now += 20
    world.acquire()
    assert world.row.queue_deadline is None
    world.now += 5
    world.lose()
    assert world.row.queue_deadline == world.now + 30


def test_a_queue_time_that_was_taken_away_meanwhile_still_ends_in_words() -> None:
    world = World(max_queue_time=30.0)
    world.update(max_queue_time=None)
    world.at(1030.0)
    assert error_of(world)["message"]
