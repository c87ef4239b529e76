"""Fires, missed ones and what becomes of them; editing a schedule. Fires stand at full hours."""

from typing import Any

import msgspec
import pytest

from kaiju_tasks.cron import jitter_offset
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Cancel, Reset, Resume, RunNow, Suspend, pass_over
from kaiju_tasks.lifecycle.schedule import MAX_LATE_RUNS, MAX_LISTED, MAX_MAKE_UP_RUNS
from kaiju_tasks.types import Misfire
from tests.core.lifecycle_kit import (
    EXECUTED,
    FAILED,
    FINISHED,
    IDLE,
    QUEUED,
    SUSPENDED,
    WAITING,
    World,
    message,
)

H = 3600.0
POLICIES = list(Misfire)


def hourly(**fields: Any) -> World:
    return World(cron="0 * * * *", **fields)


def missed(world: World) -> list[float]:
    """Hours recorded as missed."""
    return [(run.scheduled_at or 0.0) / H for run in world.runs if run.status == "MISSED"]


def run_through(world: World) -> list[float]:
    """Let all that is due run to its end; the hours that were run."""
    ran: list[float] = []
    world.due()
    while world.row.status is QUEUED:
        assert world.row.scheduled_at is not None
        ran.append(world.row.scheduled_at / H)
        world.acquire()
        world.finish()
        world.due()
    return ran


# -- fires ---------------------------------------------------------------------------------


def test_a_new_schedule_waits_for_its_next_fire() -> None:
    world = hourly()
    row = world.row
    assert (row.status, row.open, row.job_id, row.next_run) == (IDLE, False, None, H)


def test_a_fire_knows_its_moment_and_has_a_new_job_id() -> None:
    world = hourly()
    world.at(H + 0.25)
    row = world.row
    assert (row.status, row.scheduled_at, row.next_run) == (QUEUED, H, 2 * H)
    first = row.job_id
    world.acquire()
    world.finish(1)
    world.at(2 * H)
    assert world.row.job_id != first


def test_templates_of_hooks_know_the_moment_of_the_fire() -> None:
    world = World(message(None, 30.0, default="[scheduled_at]"), cron="0 * * * *")
    world.at(H + 5)
    assert (world.row.status, world.row.wait_deadline) == (WAITING, H + 35)
    world.at(H + 35)
    assert world.results[world.runs[-1].job_id or "", 0, 0] == msgspec.Raw(b"3600.0")


def test_a_retry_is_still_the_run_of_its_fire() -> None:
    world = hourly(max_retries=1)
    world.at(H)
    world.acquire()
    world.fail()
    assert (world.row.status, world.row.scheduled_at) == (QUEUED, H)
    world.acquire()
    world.finish()
    assert world.runs[-1].scheduled_at == H


@pytest.mark.parametrize(("end", "code"), [("finish", 0), ("fail", 1)])
def test_after_a_run_the_row_waits_and_the_outcome_stays_readable(end: str, code: int) -> None:
    world = hourly()
    world.at(H)
    world.acquire()
    getattr(world, end)()
    row = world.row
    assert (row.status, row.exit_code, row.next_run, row.due_at) == (IDLE, code, 2 * H, 2 * H)
    assert (row.error is None) == (code == 0)
    assert world.runs[-1].status == ("FINISHED" if code == 0 else "FAILED")
    assert world.runs[-1].scheduled_at == H
    world.at(2 * H)
    assert (world.row.exit_code, world.row.error) == (None, None)


def test_a_cancelled_run_of_a_schedule_waits_for_the_next_fire() -> None:
    world = hourly()
    world.at(H)
    world.apply(Cancel())
    assert (world.row.status, world.row.exit_code, world.row.due_at) == (IDLE, 130, 2 * H)


def test_an_interval_counts_from_its_first_fire_and_does_not_drift() -> None:
    world = World(every=60.0)
    assert world.row.next_run == 1060.0
    world.at(1063.0)
    assert (world.row.scheduled_at, world.row.next_run) == (1060.0, 1120.0)


def test_an_interval_with_a_first_run_counts_from_that() -> None:
    world = World(every=60.0, next_run=1500.0)
    world.at(1501.0)
    assert (world.row.scheduled_at, world.row.next_run) == (1500.0, 1560.0)


def quarter_past(**fields: Any) -> World:
    """An interval whose first run was asked for at 0:15; it is 5:20 now."""
    return World(every=H, next_run=0.25 * H, now=5 * H + 1200, **fields)


def test_an_interval_from_a_past_time_runs_now_and_then_in_the_phase_of_that_time() -> None:
    world = quarter_past()
    assert world.row.next_run == world.now
    assert run_through(world) == [world.now / H]
    assert world.row.next_run == 6.25 * H
    world.at(6.25 * H)
    assert (world.row.scheduled_at, world.row.next_run) == (6.25 * H, 7.25 * H)


@pytest.mark.parametrize("policy", POLICIES)
def test_missed_fires_and_holds_leave_an_interval_its_phase(policy: Misfire) -> None:
    world = quarter_past(misfire=policy)
    run_through(world)
    world.apply(Suspend())
    world.now = 8 * H
    world.apply(Resume())
    made_up = run_through(world)
    made_up_for = {Misfire.SKIP: [], Misfire.LAST: [7.25], Misfire.ALL: [6.25, 7.25]}
    assert (made_up, world.row.next_run) == (made_up_for[policy], 8.25 * H)


def test_a_first_run_in_the_past_gives_a_running_interval_its_phase() -> None:
    world = World(every=H, now=5 * H + 1200)
    world.update(next_run=0.25 * H)
    assert run_through(world) == [world.now / H]
    assert world.row.next_run == 6.25 * H


def test_an_explicit_first_run_is_added_before_the_schedule() -> None:
    world = hourly(next_run=1200.0)
    world.at(1200.0)
    assert (world.row.status, world.row.scheduled_at, world.row.next_run) == (QUEUED, 1200.0, H)


def test_an_explicit_first_run_is_not_missed() -> None:
    world = hourly(next_run=1200.0)
    world.at(1300.0, up_since=1290.0)
    assert (world.row.status, missed(world)) == (QUEUED, [])


# -- misfire -------------------------------------------------------------------------------

WAYS = ("downtime", "overlap", "hold", "hold_of_a_run")


def let_pass(world: World, way: str, until: float) -> None:
    """Let fires up to some hour be missed: the first of them is that of 2 o'clock."""
    if way in ("overlap", "hold_of_a_run"):
        world.at(H)
        world.acquire()
    else:
        world.at(H)
        world.acquire()
        world.finish()
    if way.startswith("hold"):
        world.apply(Suspend())
    world.now = until
    if way.startswith("hold"):
        assert not world.due().changed
        world.apply(Resume())
    if way == "hold_of_a_run":
        world.acquire()
    if way in ("overlap", "hold_of_a_run"):
        world.finish()
    world.due(up_since=until if way == "downtime" else 0.0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("policy", "not_run", "made_up"),
    [("skip", [2, 3, 4], []), ("last", [2, 3], [4]), ("all", [], [2, 3, 4])],
)
def test_missed_fires_follow_the_policy(
    way: str, policy: str, not_run: list[float], made_up: list[float]
) -> None:
    world = hourly(misfire=Misfire(policy))
    let_pass(world, way, 4.5 * H)
    assert run_through(world) == made_up
    assert missed(world) == not_run
    assert (world.row.status, world.row.next_run) == (IDLE, 5 * H)


@pytest.mark.parametrize("way", WAYS)
def test_all_makes_up_for_a_hundred_at_most(way: str) -> None:
    world = hourly(misfire=Misfire.ALL)
    let_pass(world, way, 252.5 * H)
    ran = run_through(world)
    assert len(ran) == MAX_MAKE_UP_RUNS
    assert (ran[-1], missed(world)) == (252.0, [float(n) for n in range(2, 153)])


@pytest.mark.parametrize("policy", POLICIES)
def test_very_many_missed_fires_are_listed_up_to_a_limit_and_the_last_are_made_up(
    policy: Misfire,
) -> None:
    world = World(cron="* * * * *", misfire=policy)
    world.at(40 * 86400.0 + 30, up_since=40 * 86400.0 + 30)
    ran = run_through(world)
    count = {"skip": 0, "last": 1, "all": MAX_MAKE_UP_RUNS}[policy]
    assert ran == [40 * 24 - n / 60 for n in range(count)][::-1]
    lost = [run for run in world.runs if run.status == "MISSED"]
    assert len(lost) == MAX_LISTED - count
    assert (
        lost[0].note == "missed; earlier missed fires since 1970-01-01 00:17:00 UTC are not listed"
    )
    assert {run.note for run in lost[1:]} == {"missed"}
    assert world.row.next_run == 40 * 86400.0 + 60


def test_a_fire_that_only_came_late_is_run() -> None:
    world = hourly()
    world.at(H + 5, up_since=H - 1)
    assert (world.row.status, missed(world)) == (QUEUED, [])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("fields", [{}, {"jitter": 600.0}], ids=["plain", "jitter"])
def test_all_fires_that_only_came_late_are_run_in_order(
    policy: Misfire, fields: dict[str, Any]
) -> None:
    world = hourly(misfire=policy, **fields)
    world.at(H + 700)
    assert run_through(world) == [1.0]
    world.now = 4.5 * H
    assert run_through(world) == [2.0, 3.0, 4.0]
    assert (missed(world), world.row.fire_at, world.row.late_until) == ([], 5 * H, None)


def behind(world: World, grace: float) -> None:
    """Run the fires of 1 and 2 o'clock late, from 2:30 on, for an hour each."""
    world.at(2.5 * H, grace=grace)
    for now in (3.5 * H, 4.5 * H):
        world.acquire()
        world.now = now
        world.finish()
        world.due(grace=grace)


def test_fires_that_come_while_a_task_catches_up_run_late_too() -> None:
    world = hourly()
    behind(world, grace=10 * H)
    assert (run_through(world), missed(world)) == ([3.0, 4.0], [])
    assert (world.row.next_run, world.row.late_until) == (5 * H, None)
    world.at(5 * H)
    world.acquire()
    world.now = 7.5 * H
    world.finish()
    assert missed(world) == [6.0, 7.0], "the task has caught up"


def test_a_fire_that_follows_one_of_a_break_runs_late_too() -> None:
    world = hourly()
    world.now = 1.1 * H
    world.due(grace=10 * H, heard_since=1.05 * H)
    world.now = 2.5 * H  # executors come back later than the manager
    world.acquire()
    world.finish()
    assert (missed(world), world.row.next_run) == ([], 2 * H)
    world.due(grace=10 * H, heard_since=1.05 * H)
    assert run_through(world) == [2.0]
    assert (world.row.next_run, world.row.late_until) == (3 * H, None)


def test_a_fire_that_follows_one_of_no_break_is_missed() -> None:
    world = hourly()
    world.now = 1.1 * H
    world.due(grace=10 * H, heard_since=1.0 * H)
    world.now = 2.5 * H
    world.acquire()
    world.finish()
    assert missed(world) == [2.0]


def test_a_task_that_does_not_catch_up_within_the_grace_misses_fires_again() -> None:
    world = hourly()
    behind(world, grace=0.75 * H)
    assert (world.row.scheduled_at, missed(world)) == (3 * H, [])
    world.acquire()
    world.finish()
    assert (missed(world), world.row.next_run, world.row.late_until) == ([4.0], 5 * H, None)


def test_no_more_than_a_hundred_fires_run_late() -> None:
    world = World(every=1.0)
    first = world.row.fire_at or 0.0
    world.now = first + 249.5
    assert len(run_through(world)) == MAX_LATE_RUNS
    assert [run.scheduled_at for run in world.runs if run.status == "MISSED"] == [
        first + n for n in range(1, 151)
    ]


@pytest.mark.parametrize("how", ["longer", "disabled", "edited"])
def test_fires_that_wait_for_their_late_run_are_given_up(how: str) -> None:
    world = hourly()
    world.at(3.5 * H)
    world.acquire()
    world.finish()
    if how == "longer":
        world.now = 6.5 * H
        world.due(up_since=6.25 * H)
    elif how == "disabled":
        world.update(enabled=False)
        world.update(enabled=True)
    else:
        world.update(cron="30 * * * *")
    assert missed(world) == ([2.0, 3.0, 4.0, 5.0, 6.0] if how == "longer" else [2.0, 3.0])
    assert world.row.status is IDLE


def test_a_fire_during_retries_and_waits_is_missed() -> None:
    world = hourly(max_retries=1, retry_delay=2 * H)
    world.at(H)
    world.acquire()
    world.fail()
    assert (world.row.reason, world.row.due_at) == ("retry", 3 * H)
    world.at(3 * H)
    world.acquire()
    world.now += 1
    world.finish()
    assert missed(world) == [2.0, 3.0]


def test_one_fire_is_decided_once() -> None:
    world = hourly()
    world.at(H)
    assert not world.due().changed
    world.acquire()
    world.finish()
    assert not world.due().changed


@pytest.mark.parametrize("policy", POLICIES)
def test_fires_while_disabled_are_neither_recorded_nor_replayed(policy: Misfire) -> None:
    world = hourly(misfire=policy)
    world.update(enabled=False)
    assert not world.at(4.5 * H).changed
    world.update(enabled=True)
    assert not world.due().changed
    assert (missed(world), world.row.next_run) == ([], 5 * H)


@pytest.mark.parametrize("policy", POLICIES)
def test_fires_while_disabled_within_a_run_or_a_hold_are_not_recorded(policy: Misfire) -> None:
    world = hourly(misfire=policy)
    world.apply(Suspend())
    world.update(enabled=False)
    world.now = 4.5 * H
    world.update(enabled=True)
    world.apply(Resume())
    assert (missed(world), run_through(world), world.row.next_run) == ([], [], 5 * H)
    world.at(5 * H)
    world.acquire()
    world.update(enabled=False)
    world.now = 7.5 * H
    world.finish()
    world.update(enabled=True)
    assert (missed(world), run_through(world), world.row.next_run) == ([], [], 8 * H)


def test_disabling_writes_off_what_was_missed_before() -> None:
    world = hourly(misfire=Misfire.ALL)
    world.at(H)
    world.acquire()
    world.now = 3.5 * H
    world.update(enabled=False)
    assert missed(world) == [2.0, 3.0]
    world.finish()
    world.update(enabled=True)
    assert run_through(world) == []


def test_an_explicit_first_run_outlives_disabling() -> None:
    world = hourly(next_run=1200.0)
    world.update(enabled=False)
    world.now = 1300.0
    world.update(enabled=True)
    world.due()
    assert world.row.scheduled_at == 1200.0


# -- steps of the clock --------------------------------------------------------------------


def jump(world: World, now: float) -> bool:
    """Set the clock forward; whether fires were passed over."""
    changed = pass_over(world.row, world.definition, now)
    world.now = now
    if changed is not None:
        world.row = changed
    return changed is not None


@pytest.mark.parametrize("schedule", [{"cron": "0 * * * *"}, {"every": H}])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_first_run_and_the_fires_that_the_clock_jumps_over_are_one_run(
    schedule: dict[str, Any], policy: Misfire
) -> None:
    world = World(next_run=2 * H, misfire=policy, **schedule)
    assert jump(world, 7.5 * H)
    world.due(up_since=world.now)
    assert (world.row.status, world.row.scheduled_at, world.row.next_run) == (QUEUED, 7 * H, 8 * H)
    assert missed(world) == []


@pytest.mark.parametrize("schedule", [{"cron": "0 * * * *"}, {"every": H}, {}])
def test_a_first_run_that_the_clock_jumps_over_alone_keeps_its_time(
    schedule: dict[str, Any],
) -> None:
    world = World(next_run=2 * H, **schedule)
    assert not jump(world, 2.5 * H)
    world.due(up_since=world.now)
    assert world.row.status is QUEUED
    assert world.row.scheduled_at == (2 * H if schedule else None)


@pytest.mark.parametrize("fields", [{}, {"next_run": 2 * H, "delayed": True}])
def test_the_clock_jumps_over_no_fire_of_an_interval_that_moves_with_it(
    fields: dict[str, Any],
) -> None:
    world = World(every=H, **fields)
    assert not jump(world, 7.5 * H)


# -- run_now, reset ------------------------------------------------------------------------


def test_run_now_and_reset_leave_the_schedule_alone() -> None:
    for event in (RunNow(job_id="new"), Reset(job_id="new")):
        world = hourly()
        world.apply(event)
        row = world.row
        assert (row.status, row.job_id, row.scheduled_at, row.next_run) == (QUEUED, "new", None, H)
        world.acquire()
        world.finish()
        assert (world.row.status, world.row.next_run, missed(world)) == (IDLE, H, [])


def test_a_fire_during_run_now_is_missed() -> None:
    world = hourly()
    world.apply(RunNow(job_id="new"))
    world.acquire()
    world.now = 1.5 * H
    world.finish()
    assert (missed(world), world.row.next_run) == ([1.0], 2 * H)


def test_run_now_of_a_disabled_schedule_waits_for_enabled() -> None:
    world = hourly(enabled=False)
    world.apply(RunNow(job_id="new"))
    assert (world.row.status, world.row.reason, world.row.due_at) == (IDLE, "disabled", None)
    world.update(enabled=True)
    world.due()
    assert (world.row.status, world.row.job_id, world.row.next_run) == (QUEUED, "new", H)


# -- jitter --------------------------------------------------------------------------------


def test_jitter_moves_the_moment_not_the_fire() -> None:
    world = hourly(jitter=600.0)
    moment = H + jitter_offset("t", 600.0)
    assert world.row.next_run == world.row.due_at == moment > H
    assert not world.at(H + 0.001).changed
    world.at(moment)
    assert world.row.scheduled_at == H


def test_a_new_jitter_decides_no_fire_twice() -> None:
    world = hourly()
    world.at(H)
    world.acquire()
    world.finish()
    world.update(jitter=600.0)
    assert world.row.next_run == 2 * H + jitter_offset("t", 600.0)
    world.now = 2 * H + 599
    assert run_through(world) == [2.0]
    world.update(jitter=0.0)
    assert world.row.next_run == 3 * H


def test_a_jitter_that_grew_while_disabled_brings_no_decided_fire_back() -> None:
    for while_running in (False, True):
        world = hourly()
        world.at(H)
        world.acquire()
        if not while_running:
            world.finish()
        world.now = H + 1
        world.update(enabled=False, jitter=600.0)
        assert jitter_offset("t", 600.0) > 1
        if while_running:
            world.finish()
        world.update(enabled=True)
        assert world.row.next_run == 2 * H + jitter_offset("t", 600.0)


# -- editing -------------------------------------------------------------------------------


def test_editing_the_schedule_moves_next_run() -> None:
    world = hourly()
    world.update(cron="30 * * * *")
    assert (world.row.next_run, world.row.due_at) == (1800.0, 1800.0)
    world.update(cron=None, every=60.0)
    assert world.row.next_run == 1060.0


@pytest.mark.parametrize(
    ("every", "next_run"), [(0.5 * H, 5.75 * H), (2 * H, 6.25 * H), (0.1 * H, 5.35 * H)]
)
def test_editing_the_seconds_of_an_interval_keeps_its_phase(every: float, next_run: float) -> None:
    world = quarter_past()
    run_through(world)
    world.update(every=every)
    assert world.row.next_run == pytest.approx(next_run)


def test_a_shorter_interval_does_not_wait_for_the_first_fire_of_the_longer_one() -> None:
    world = World(every=24 * H, now=H)
    world.now += 600
    world.update(every=0.5 * H)
    assert world.row.next_run == 1.5 * H


def test_a_longer_interval_counts_from_the_same_fires() -> None:
    world = World(every=60.0)
    world.now = 1090.0
    world.due()
    world.update(every=600.0)
    assert world.row.next_run == 1660.0


def test_editing_the_seconds_of_an_interval_keeps_the_first_run_that_was_asked_for() -> None:
    world = World(every=H, next_run=5000.0)
    world.update(every=60.0)
    assert world.row.next_run == 5000.0
    world.at(5000.0)
    assert (world.row.scheduled_at, world.row.next_run) == (5000.0, 5060.0)


def test_editing_the_schedule_during_a_run_acts_after_it() -> None:
    world = hourly()
    world.at(H)
    world.acquire()
    world.update(cron="30 * * * *")
    assert (world.row.status, world.row.next_run) == (EXECUTED, 1.5 * H)
    world.finish()
    assert world.row.due_at == 1.5 * H


def test_editing_records_what_was_missed_by_the_old_schedule() -> None:
    for changes in (
        {"cron": "30 * * * *"},
        {"cron": None, "every": 60.0},
        {"timezone": "Asia/Kabul"},
    ):
        world = hourly(misfire=Misfire.ALL)
        world.at(H)
        world.acquire()
        world.now = 3.2 * H
        world.update(**changes)
        assert missed(world) == [2.0, 3.0]
        assert (world.row.next_run or 0.0) > world.now


def test_a_new_first_run_records_what_was_missed_before_it() -> None:
    world = hourly()
    world.at(H)
    world.acquire()
    world.now = 3.5 * H
    world.update(next_run=4.2 * H)
    assert (missed(world), world.row.next_run) == ([2.0, 3.0], 4.2 * H)
    world.finish()
    world.at(4.2 * H)
    assert (world.row.scheduled_at, world.row.next_run) == (4.2 * H, 5 * H)


def test_the_same_schedule_once_more_moves_nothing() -> None:
    world = World(every=600.0)
    world.now = 1100.0
    world.update()
    assert world.row.next_run == 1600.0
    world.update(timezone="Asia/Kabul")
    assert world.row.next_run == 1600.0


def test_a_schedule_that_is_taken_away_leaves_the_last_outcome() -> None:
    for end, status in (("finish", FINISHED), ("fail", FAILED)):
        world = hourly()
        world.at(H)
        world.acquire()
        getattr(world, end)()
        world.update(cron=None)
        assert (world.row.status, world.row.next_run) == (status, None)


def test_a_schedule_that_is_taken_away_during_a_run_lets_it_end() -> None:
    world = hourly()
    world.at(H)
    world.acquire()
    world.update(cron=None)
    world.finish()
    assert world.row.status is FINISHED


def test_the_schedule_of_a_task_that_never_ran_cannot_be_taken_away_alone() -> None:
    world = hourly()
    with pytest.raises(InvalidParams) as caught:
        world.update(cron=None)
    assert caught.value.field == "cron"
    world.update(cron=None, next_run=2000.0)
    assert (world.row.status, world.row.open, world.row.due_at) == (IDLE, True, 2000.0)


def test_taking_the_schedule_away_does_not_lift_a_hold() -> None:
    world = hourly()
    world.apply(Suspend())
    world.update(cron=None, next_run=2000.0)
    assert (world.row.status, world.row.held) == (SUSPENDED, IDLE)
    world.apply(Resume())
    assert world.row.due_at == 2000.0


@pytest.mark.parametrize("ended", [True, False])
def test_a_schedule_makes_a_one_off_wait_for_its_fire(ended: bool) -> None:
    world = World(next_run=None if ended else 2000.0)
    if ended:
        world.acquire()
        world.finish()
    world.update(cron="0 * * * *")
    assert (world.row.status, world.row.open, world.row.due_at) == (IDLE, False, H)


def test_a_schedule_and_a_first_run_together_make_one_run_each() -> None:
    world = World(next_run=2000.0)
    world.update(cron="0 * * * *", next_run=2500.0)
    assert world.row.due_at == 2500.0
    world.now = 2600.0
    world.due()
    world.acquire()
    world.finish()
    assert (world.row.due_at, len(world.runs)) == (H, 1)


def test_a_held_schedule_stays_held_when_it_is_edited() -> None:
    world = hourly()
    world.apply(Suspend())
    world.update(cron="30 * * * *")
    row = world.row
    assert (row.status, row.next_run, row.due_at) == (SUSPENDED, 1800.0, None)


def test_messages_kept_between_fires_belong_to_the_next_run() -> None:
    world = World(message(), cron="0 * * * *")
    assert world.send("m", data=5) == "buffered"
    world.at(H)
    assert (world.row.status, world.runs[-1].status) == (IDLE, "FINISHED")
    assert world.results[world.row.job_id or "", 0, 0] == msgspec.Raw(b"5")
    assert world.inbox == []
