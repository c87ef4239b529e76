"""What people do to a task: holds, `enabled`, edits, restarts, chaining, notifications."""

import pytest
from msgspec import Raw

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.lifecycle import (
    Cancel,
    Cause,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    StageFinished,
    Start,
    Suspend,
    Update,
)
from tests.core.lifecycle_kit import (
    EXECUTED,
    FAILED,
    FINISHED,
    IDLE,
    NULL,
    QUEUED,
    SUSPENDED,
    WAITING,
    World,
    attempts,
    command,
    message,
    timer,
)

# -- holds ---------------------------------------------------------------------------------


def test_suspend_with_wait_stage_lets_the_stage_end() -> None:
    world = World(command(), command())
    world.acquire()
    assert world.apply(Suspend(wait_stage=True)).revoke is None
    assert world.row.status is EXECUTED
    world.finish(1)
    assert (world.row.status, world.row.held, world.row.stage) == (SUSPENDED, QUEUED, 1)
    world.apply(Resume())
    assert (world.row.status, world.row.ready) == (QUEUED, 1)


def test_wait_stage_of_the_last_stage_ends_the_run() -> None:
    world = World()
    world.acquire()
    world.apply(Suspend(wait_stage=True))
    world.finish(1)
    assert (world.row.status, world.row.hold_next) == (FINISHED, False)


def test_wait_stage_of_the_last_stage_holds_a_schedule() -> None:
    world = World(cron="0 * * * *")
    world.at(3600.0)
    world.acquire()
    world.apply(Suspend(wait_stage=True))
    world.finish(1)
    assert (world.row.status, world.row.held, world.row.open) == (SUSPENDED, IDLE, False)
    assert world.runs[-1].status == "FINISHED"


def test_wait_stage_of_a_stage_that_fails_holds_the_retry() -> None:
    world = World(max_retries=1)
    world.acquire()
    world.apply(Suspend(wait_stage=True))
    world.fail()
    assert (world.row.status, world.row.held, world.row.retries) == (SUSPENDED, IDLE, 1)
    world.apply(Resume())
    world.due()
    assert (world.row.status, world.row.reason) == (QUEUED, "retry")


def test_wait_stage_of_a_lost_stage_holds() -> None:
    world = World()
    world.acquire()
    world.apply(Suspend(wait_stage=True))
    world.lose()
    assert (world.row.status, world.row.held) == (SUSPENDED, QUEUED)


def test_deadlines_that_pass_during_a_hold_act_at_resume() -> None:
    world = World(timer(100), command())
    world.apply(Suspend())
    assert not world.at(2000.0).changed
    world.apply(Resume())
    assert world.row.due_at == 1100.0
    world.due()
    assert (world.row.status, world.row.stage) == (QUEUED, 1)


def test_a_first_run_that_passes_during_a_hold_starts_at_resume() -> None:
    world = World(next_run=1500.0)
    world.apply(Suspend())
    assert not world.at(2000.0).changed
    world.apply(Resume())
    world.due()
    assert (world.row.status, world.row.job_id) == (QUEUED, "job1")


def test_suspending_twice_is_the_same() -> None:
    world = World()
    world.apply(Suspend())
    assert not world.apply(Suspend()).changed


def test_reset_lifts_a_hold_but_not_enabled() -> None:
    world = World()
    world.apply(Suspend())
    world.update(enabled=False)
    world.apply(Reset(job_id="new"))
    row = world.row
    assert (row.status, row.held, row.reason, row.due_at) == (IDLE, None, "disabled", None)
    world.update(enabled=True)
    world.due()
    assert (world.row.status, world.row.job_id) == (QUEUED, "new")


def test_reset_of_an_open_run_leaves_it_in_the_history() -> None:
    world = World()
    world.acquire()
    world.apply(Reset(job_id="new"))
    (run,) = world.runs
    assert (run.run_id, run.status, run.note, run.executor_id) == (
        "job1",
        "CANCELLED",
        "reset",
        "e",
    )
    assert attempts(world) == [(0, 1, "CANCELLED")]


def test_cancelling_a_held_wait_records_it() -> None:
    world = World(timer(100))
    world.apply(Suspend())
    world.apply(Cancel())
    assert attempts(world) == [(0, 1, "CANCELLED")]


# -- enabled -------------------------------------------------------------------------------


def test_a_disabled_task_starts_nothing() -> None:
    world = World(enabled=False)
    assert (world.row.status, world.row.reason, world.row.due_at) == (IDLE, "disabled", None)
    assert not world.at(9e9).changed
    world.update(enabled=True)
    world.due()
    assert world.row.status is QUEUED


def test_a_disabled_task_ends_its_stage_and_keeps_its_place_for_the_next() -> None:
    world = World(command(), command())
    world.acquire()
    world.update(enabled=False)
    world.finish(1)
    row = world.row
    assert (row.status, row.reason, row.stage, row.ready) == (QUEUED, "disabled", 1, 0)
    world.update(enabled=True)
    assert (world.row.status, world.row.ready) == (QUEUED, 1)


def test_disabled_while_waiting_stays_put_before_the_next_hook() -> None:
    world = World(timer(10), timer(10))
    world.update(enabled=False)
    world.at(1010.0)
    row = world.row
    assert (row.status, row.reason, row.stage, row.due_at) == (QUEUED, "disabled", 1, None)
    world.update(enabled=True)
    assert (world.row.status, world.row.reason) == (WAITING, "timer")


def test_the_last_stage_of_a_disabled_task_ends_its_run() -> None:
    world = World()
    world.acquire()
    world.update(enabled=False)
    world.finish()
    assert world.row.status is FINISHED


def test_a_retry_of_a_disabled_task_waits_for_enabled() -> None:
    world = World(max_retries=1, retry_delay=5.0)
    world.acquire()
    world.update(enabled=False)
    world.fail()
    assert (world.row.status, world.row.reason, world.row.due_at) == (IDLE, "disabled", None)
    world.update(enabled=True)
    assert (world.row.reason, world.row.due_at) == ("retry", 1005.0)


# -- editing -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["commands", "kws", "app_name", "unique", "concurrency"])
def test_these_cannot_change_while_a_run_is_open(field: str) -> None:
    world = World()
    event = Update(
        definition=world.definition,
        rev=2,
        enabled=True,
        changed=frozenset({field, "notify"}),
        job_id="x",
    )
    with pytest.raises(Conflict) as caught:
        world.apply(event)
    assert caught.value.data["field"] == field


def test_commands_may_change_before_a_run_begins_and_after_it_ended() -> None:
    world = World(next_run=2000.0)
    world.update(commands=[command(), command()])
    assert world.row.stages == 2
    world.apply(RunNow(job_id="x"))
    world.acquire()
    world.finish()
    world.finish()
    world.update(commands=[command()])
    assert (world.row.status, world.row.stage, world.row.stages) == (FINISHED, 1, 1)


def test_a_run_that_failed_at_its_first_hook_is_open() -> None:
    world = World(timer("[kws.missing]"), max_retries=1, retry_delay=10.0)
    assert (world.row.status, world.row.reason, world.row.retries) == (IDLE, "retry", 1)
    with pytest.raises(Conflict):
        world.update(commands=[command()])


def test_other_fields_act_from_the_next_transition() -> None:
    world = World(max_retries=0)
    world.acquire()
    world.update(max_retries=1, max_exec_timeout=20.0)
    assert world.row.exec_deadline == 1300.0
    world.fail()
    world.acquire()
    assert (world.row.retries, world.row.exec_deadline) == (1, 1020.0)


def test_a_next_run_of_an_ended_task_opens_a_run() -> None:
    world = World()
    world.acquire()
    world.finish()
    world.update(next_run=5000.0)
    assert (world.row.status, world.row.due_at, world.row.job_id) == (IDLE, 5000.0, "job2")


def test_a_next_run_of_a_running_task_adds_a_run_after_it() -> None:
    world = World()
    world.acquire()
    world.update(next_run=5000.0)
    world.finish()
    assert (world.row.status, world.row.due_at, world.row.exit_code) == (IDLE, 5000.0, 0)
    world.at(5000.0)
    assert (world.row.status, world.row.next_run) == (QUEUED, None)
    world.acquire()
    world.finish()
    assert world.row.status is FINISHED


def test_a_next_run_moves_a_retry() -> None:
    world = World(max_retries=1, retry_delay=500.0)
    world.acquire()
    world.fail()
    world.update(next_run=1001.0)
    world.at(1001.0)
    assert (world.row.status, world.row.retries) == (QUEUED, 1)


# -- restart_from --------------------------------------------------------------------------


def test_restart_from_copies_the_earlier_results() -> None:
    world = World(command(), command(), timer("[1]"), command())
    world.acquire()
    world.finish(1)
    world.finish(5)
    world.at(world.now + 5)
    world.acquire()
    world.fail()
    world.apply(RestartFrom(job_id="new", stage=2))
    row = world.row
    assert (row.status, row.job_id, row.stage, row.wait_deadline) == (WAITING, "new", 2, 1010.0)
    assert (row.retries, row.exit_code, row.error) == (0, None, None)
    assert world.results["new", 0, 1] == Raw(b"5")


def test_restart_from_a_stage_that_was_never_reached_is_refused() -> None:
    world = World(command(), command())
    world.acquire()
    for stage in (-1, 1, 2):
        with pytest.raises(InvalidParams) as caught:
            world.apply(RestartFrom(job_id="new", stage=stage))
        assert caught.value.field == "stage"


def test_restart_from_revokes_and_keeps_the_old_run_in_the_history() -> None:
    world = World(command(), command())
    world.acquire()
    world.finish(1)
    assert world.apply(RestartFrom(job_id="new", stage=1)).revoke is not None
    assert (world.runs[0].run_id, world.runs[0].note) == ("job1", "restarted")


# -- chaining, notifications ---------------------------------------------------------------


def test_next_task_starts_only_when_the_run_finished() -> None:
    for end, starts in (("finish", ["other"]), ("fail", [])):
        world = World(next_task="other")
        world.acquire()
        getattr(world, end)()
        assert world.starts == starts


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_a_notification_is_written_on_every_final_outcome(end: str) -> None:
    world = World(notify=True)
    world.acquire()
    draft = getattr(world, end)().notification
    assert (draft.status, draft.exit_code) == (world.row.status, world.row.exit_code)
    assert draft.job_id == "job1"


def start(world: World) -> None:
    world.apply(Start(job_id="chained", cause=Cause(by="first", root="first", depth=0)))


@pytest.mark.parametrize("enabled", [True, False])
def test_start_of_an_ended_task_opens_a_run_unless_it_is_disabled(enabled: bool) -> None:
    world = World()
    world.acquire()
    world.finish()
    world.update(enabled=enabled)
    start(world)
    if enabled:
        assert (world.row.status, world.row.job_id) == (QUEUED, "chained")
    else:
        assert (world.row.status, world.runs[-1].status) == (FINISHED, "MISSED")
        assert "disabled" in (world.runs[-1].note or "")


def test_two_starts_that_are_skipped_at_once_are_both_told() -> None:
    world = World(enabled=False)
    world.apply(Start(job_id="x", cause=Cause(by="a", root="a", depth=0)))
    world.apply(Start(job_id="y", cause=Cause(by="b", root="b", depth=0)))
    assert len(world.runs) == 2


def test_start_of_a_task_that_has_not_begun_begins_its_run() -> None:
    world = World(next_run=5000.0)
    start(world)
    assert (world.row.status, world.row.job_id) == (QUEUED, "job1")


def test_start_between_fires_leaves_the_schedule_alone() -> None:
    world = World(cron="0 * * * *")
    start(world)
    assert (world.row.status, world.row.job_id, world.row.fire_at) == (QUEUED, "chained", 3600.0)


@pytest.mark.parametrize("where", ["queued", "executed", "waiting", "retry", "suspended"])
def test_start_of_an_open_run_starts_once_after_it(where: str) -> None:
    first = message() if where == "waiting" else command()
    world = World(first, max_retries=1, retry_delay=50.0)
    if where in ("executed", "retry"):
        world.acquire()
    if where == "retry":
        world.fail()
    if where == "suspended":
        world.apply(Suspend())
    job_id = world.row.job_id
    start(world)
    start(world)
    assert (world.row.job_id, world.row.start_next) == (job_id, True)
    if where == "retry":
        assert world.row.due_at == 1050.0
        assert not world.due().changed
    world.apply(Cancel())
    assert (world.row.status, world.row.exit_code) == (IDLE, 130)
    world.due()
    assert world.row.status is (WAITING if where == "waiting" else QUEUED)
    assert not world.row.start_next
    world.apply(Cancel())
    assert world.row.status is FAILED


def test_a_start_during_a_hold_before_the_first_run_begins_that_run_once() -> None:
    world = World(next_run=5000.0)
    world.apply(Suspend())
    start(world)
    world.apply(Resume())
    world.due()
    assert (world.row.status, world.row.job_id, world.row.start_next) == (QUEUED, "job1", False)


def test_a_start_that_waits_survives_the_end_of_the_schedule() -> None:
    world = World(cron="0 * * * *")
    world.apply(Suspend())
    start(world)
    world.update(cron=None)
    world.apply(Resume())
    world.due()
    assert world.row.status is QUEUED


def test_a_result_of_another_stage_does_not_count_twice() -> None:
    world = World(command(), timer(1), command())
    world.acquire()
    lease = world.lease
    world.finish(1)
    assert world.apply(StageFinished(lease=lease, stage=0, result=NULL)).stale
    assert world.row.stage == 1
