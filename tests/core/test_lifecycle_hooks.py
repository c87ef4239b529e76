"""Timer and Message: what they wait for, what ends the wait, and hostile parameters."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from kaiju_tasks.lifecycle import (
    Cancel,
    GateOpened,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    SlotFull,
    Suspend,
)
from kaiju_tasks.types import Concurrency, RestartPolicy
from tests.core.lifecycle_kit import (
    EXECUTED,
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


def result(world: World, stage: int) -> Any:
    return msgspec.json.decode(world.results[world.row.job_id or "", world.row.cycle, stage])


# -- Timer ---------------------------------------------------------------------------------


def test_a_timer_parks_the_task_without_an_executor() -> None:
    world = World(command(), timer(2.5), command())
    world.acquire()
    world.finish()
    row = world.row
    assert (row.status, row.reason, row.wait_deadline) == (WAITING, "timer", 1002.5)
    assert row.executor_id is None
    assert not world.at(1002.4).changed
    world.at(1002.5)
    assert (world.row.status, world.row.stage, result(world, 1)) == (QUEUED, 2, None)


@pytest.mark.parametrize("hook", [timer(5), message(None, 5.0, default=None)])
def test_a_hook_may_be_the_first_and_the_last_command(hook: Any) -> None:
    world = World(hook)
    assert (world.row.status, world.row.due_at) == (WAITING, 1005.0)
    world.at(1005.0)
    assert (world.row.status, world.row.exit_code, world.row.stage) == (FINISHED, 0, 1)


def test_a_timer_of_no_time_goes_straight_on() -> None:
    world = World(timer(0), timer(0))
    assert (world.row.status, len(world.attempts)) == (FINISHED, 2)


def test_a_timer_reads_earlier_results_by_index_and_by_name() -> None:
    world = World(command(name="first"), timer("[first.wait]"), timer("[0.wait]"))
    world.acquire()
    world.finish({"wait": 7})
    assert world.row.wait_deadline == 1007.0
    world.at(1007.0)
    assert world.row.wait_deadline == 1014.0


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"timer": None},
        {"timer": True},
        {"timer": "5"},
        {"timer": -1},
        {"timer": 366 * 86400 + 1},
        {"timer": "[0]"},
        {"timer": "[kws.missing]"},
        {"timer": "[kws.huge]"},
        {"timer": "[kws]"},
        {"$raw": [1]},
        {"$raw": None},
    ],
)
def test_a_timer_that_makes_no_sense_fails_its_stage(params: Any) -> None:
    world = World(command("_TIMER_", params=params), kws={"huge": 10**4000}, max_retries=1)
    assert (world.row.status, world.row.exit_code, world.row.retries) == (FAILED, 1, 1)
    error = msgspec.json.decode(world.row.error or "")
    assert (error["type"], error["stage"], bool(error["message"])) == ("template_error", 0, True)


@pytest.mark.parametrize("ref", ["9" * 5000, "٣", "²", "007", "1", "-1"])
def test_a_reference_to_no_earlier_stage_fails_its_stage(ref: str) -> None:
    world = World(command(), timer(f"[{ref}]"))
    world.acquire()
    world.finish(5)
    assert world.row.status is FAILED


def test_a_path_that_is_itself_a_template_finds_every_result() -> None:
    world = World(command(), command(), timer("[[0]]"))
    world.acquire()
    world.finish("1")
    world.finish(30)
    assert (world.row.status, world.row.wait_deadline) == (WAITING, 1030.0)


def test_a_timer_with_a_shorter_max_timeout_is_aborted_or_has_its_default() -> None:
    world = World(timer(100, max_timeout=5.0))
    world.at(1005.0)
    assert (world.row.status, world.row.exit_code) == (FAILED, 130)
    world = World(timer(5, max_timeout=100.0))
    world.at(1005.0)
    assert world.row.status is FINISHED


def test_a_message_never_ends_a_timer() -> None:
    world = World(timer(100), message())
    assert world.send("m") == "buffered"
    assert (world.row.status, world.row.reason) == (WAITING, "timer")
    world.at(1100.0)
    assert world.row.status is FINISHED


def test_a_condition_that_does_not_hold_skips_a_hook() -> None:
    world = World(timer(100, condition={"kws.wait": True}), kws={"wait": False})
    assert (world.row.status, world.attempts[0].outcome) == (FINISHED, "SKIPPED")
    assert result(world, 0) is None


# -- Message -------------------------------------------------------------------------------


def test_a_message_that_comes_before_is_kept_for_the_hook() -> None:
    world = World(command(), message(), command())
    assert world.send("m", data={"ok": 1}) == "buffered"
    world.acquire()
    world.finish()
    assert (world.row.status, world.row.stage, result(world, 1)) == (QUEUED, 2, {"ok": 1})


def test_a_message_to_a_waiting_hook_is_delivered() -> None:
    world = World(message(), command())
    assert world.send("m", data=5) == "delivered"
    assert (world.row.status, result(world, 0)) == (QUEUED, 5)


def test_a_message_that_ends_the_run_was_delivered() -> None:
    world = World(message())
    assert world.send("m", data=5) == "delivered"
    assert (world.row.status, world.inbox) == (FINISHED, [])


def test_a_named_hook_takes_only_its_name() -> None:
    world = World(message("a"), message())
    assert world.send("1", "b", 1) == "buffered"
    assert world.send("2", "a", 2) == "delivered"
    assert (world.row.status, result(world, 0), result(world, 1)) == (FINISHED, 2, 1)


def test_an_unnamed_hook_takes_the_oldest() -> None:
    world = World(command(), message(), message())
    world.send("1", "x", 1)
    world.send("2", None, 2)
    world.acquire()
    world.finish()
    assert (result(world, 1), result(world, 2)) == (1, 2)


def test_a_message_id_makes_repeats_harmless() -> None:
    world = World(message(), message())
    assert world.send("m") == "delivered"
    assert world.send("m") == "duplicate"
    assert world.row.stage == 1
    kept = World(command(), message())
    assert [kept.send("m"), kept.send("m")] == ["buffered", "duplicate"]


@pytest.mark.parametrize("state", ["delivered", "buffered"])
@pytest.mark.parametrize("end", ["finish", "cancel", "reset", "restart_from", "update"])
def test_a_repeat_after_the_run_is_a_duplicate(end: str, state: str) -> None:
    hooks = [message(), message()] if state == "delivered" else [timer(5), message()]
    world = World(*hooks, every=60.0)
    world.at(1060.0)
    job_id = world.row.job_id
    assert world.send("m") == state
    if end == "finish":
        world.at(1065.0)
        world.send("last")
        assert not world.row.open
    elif end == "cancel":
        world.apply(Cancel())
    elif end == "reset":
        world.apply(Reset(job_id=world.new_id()))
    elif end == "restart_from":
        world.apply(RestartFrom(job_id=world.new_id(), stage=0))
    else:
        world.apply(Cancel())
        world.send("next")
        world.update(commands=[command()])
        assert world.send("next") == "duplicate"
    assert world.received["m"] == job_id
    for job in (None, job_id, "another"):
        assert world.send("m", job_id=job) == "duplicate"
    assert "m" not in [one.message_id for one in world.inbox]


def test_a_repeat_to_a_one_off_that_has_ended_is_a_duplicate() -> None:
    world = World(message())
    assert world.send("m") == "delivered"
    assert world.row.status is FINISHED
    assert world.send("m") == "duplicate"
    assert world.send("other") == "rejected"
    world.apply(RunNow(job_id=world.new_id()))
    assert world.send("m") == "duplicate"
    assert world.row.status is WAITING


def test_a_message_kept_between_fires_is_received_by_the_next_run_only() -> None:
    world = World(message(), every=60.0)
    assert world.send("m") == "buffered"
    assert world.send("m") == "duplicate"
    world.at(1060.0)
    assert (world.row.open, result(world, 0)) == (False, 1)
    assert world.send("m") == "duplicate"
    world.at(1120.0)
    assert (world.row.status, world.inbox) == (WAITING, [])


def test_a_message_kept_between_fires_that_a_reset_drops_is_remembered() -> None:
    world = World(message(), every=60.0)
    assert world.send("m") == "buffered"
    world.apply(Reset(job_id=world.new_id()))
    assert world.row.status is WAITING
    assert world.send("m") == "duplicate"


def test_a_rejected_message_is_not_remembered() -> None:
    world = World(command(), message("a"), every=60.0)
    assert world.send("m", "b") == "rejected"
    assert world.send("m", "a", job_id="another") == "rejected"
    assert world.send("m", "a") == "buffered"
    over = World(message())
    over.apply(Cancel())
    assert over.send("m") == "rejected"
    over.apply(Reset(job_id=over.new_id()))
    assert over.send("m") == "delivered"


def test_a_message_is_rejected_when_no_stage_can_still_take_it() -> None:
    assert World(command()).send("m") == "rejected"
    world = World(message("a"), command())
    assert world.send("1", "b") == "rejected"
    assert world.send("2", "a") == "delivered"
    assert world.send("3", "a") == "rejected"
    world = World(command(), message("a"), message())
    states = [world.send(str(n), name) for n, name in enumerate(["a", "b", "b", "a"])]
    assert states == ["buffered", "buffered", "rejected", "rejected"]


def test_a_name_that_is_a_template_may_turn_out_to_be_any() -> None:
    world = World(command(), message("[0]"))
    assert [world.send("1", "x"), world.send("2", "y")] == ["buffered", "buffered"]
    world.acquire()
    world.finish("y")
    assert [(m.message_id, m.consumed) for m in world.inbox] == []
    assert (world.row.status, world.attempts[-1].outcome) == (FINISHED, "FINISHED")


def test_a_hook_that_waits_has_its_name_filled() -> None:
    world = World(message("[kws.n]"), command(), kws={"n": "x"})
    assert world.send("1", "y") == "rejected"
    assert world.send("2", "x") == "delivered"


@pytest.mark.parametrize("end", ["cancel", "finish"])
def test_a_message_to_a_run_that_is_over_is_rejected(end: str) -> None:
    world = World(command(condition=None), message(None, 1.0, default=1))
    world.acquire()
    world.finish()
    if end == "cancel":
        world.apply(Cancel())
    else:
        world.at(1001.0)
    assert world.send("m") == "rejected"


def test_a_message_for_another_run_is_rejected() -> None:
    world = World(message())
    assert world.send("1", job_id="other") == "rejected"
    assert world.send("2", job_id="job1") == "delivered"


def test_a_message_that_would_break_the_limit_is_rejected() -> None:
    world = World(command(), message(), message())
    assert world.send("1", data="x" * 50, max_run_bytes=100) == "buffered"
    assert world.send("2", data="x" * 50, max_run_bytes=100) == "rejected"


def test_time_that_is_over_goes_on_with_the_default() -> None:
    world = World(message(None, 5.0, default={"a": "[kws.x]"}), command(), kws={"x": 3})
    world.at(1005.0)
    assert (world.row.status, result(world, 0)) == (QUEUED, {"a": 3})


def test_a_default_of_null_is_a_default() -> None:
    world = World(message(None, 5.0, default=None))
    world.at(1005.0)
    assert (world.row.status, result(world, 0)) == (FINISHED, None)


def test_time_that_is_over_without_a_default_aborts_without_retry() -> None:
    world = World(message(None, 5.0), max_retries=3)
    world.at(1005.0)
    assert (world.row.status, world.row.exit_code, world.row.retries) == (FAILED, 130, 0)
    assert msgspec.json.decode(world.row.error or "")["type"] == "message_timeout"
    assert [(a.stage, a.outcome) for a in world.attempts] == [(0, "FAILED")]


def test_a_message_without_a_timeout_waits_for_ever() -> None:
    world = World(message())
    assert world.row.due_at is None
    assert not world.at(9e9).changed


# -- holds, retries, resets ----------------------------------------------------------------


def test_a_message_during_a_hold_counts_at_resume() -> None:
    world = World(message(None, 50.0), command())
    world.apply(Suspend())
    assert world.send("m", data=5) == "buffered"
    world.now += 100
    world.apply(Resume())
    assert (world.row.status, result(world, 0)) == (QUEUED, 5)


def test_a_hold_before_a_hook_is_reached_goes_through_it_at_resume() -> None:
    world = World(command(), message(), command())
    world.acquire()
    world.apply(Suspend(wait_stage=True))
    world.finish()
    assert world.send("m") == "buffered"
    world.apply(Resume())
    assert (world.row.status, world.row.stage) == (QUEUED, 2)


def test_first_replays_the_consumed_messages_in_order() -> None:
    world = World(
        message(), message("b"), command(), max_retries=1, restart_policy=RestartPolicy.FIRST
    )
    world.send("1", "a", 1)
    world.send("2", "b", 2)
    assert world.row.status is QUEUED
    world.acquire()
    world.fail()
    row = world.row
    assert (row.status, row.stage, row.cycle) == (QUEUED, 2, 1)
    assert (result(world, 0), result(world, 1)) == (1, 2)
    assert [(m.message_id, m.consumed) for m in world.inbox] == [("1", True), ("2", True)]
    assert world.send("1", "a") == "duplicate"


def test_current_keeps_what_was_consumed() -> None:
    world = World(message(), command(), max_retries=1)
    world.send("1")
    world.acquire()
    world.fail()
    assert (world.row.stage, world.row.cycle, world.inbox[0].consumed) == (1, 0, True)


def test_reset_starts_with_an_empty_inbox() -> None:
    world = World(command(), message(), message())
    world.send("1")
    world.apply(Reset(job_id="new"))
    assert world.inbox == []
    assert [world.send("1"), world.send("2")] == ["duplicate", "buffered"]


def test_a_reset_drops_messages_when_the_first_hook_fails_and_is_repeated() -> None:
    hook = message(None, 40.0, default="[0]")
    world = World(hook, max_retries=1, restart_policy=RestartPolicy.FIRST, retry_delay=60.0)
    assert (world.row.status, world.row.retries) == (IDLE, 1)
    assert world.send("m1") == "buffered"
    step = world.apply(Reset(job_id="new"))
    assert (world.row.status, world.row.retries, step.inbox) == (IDLE, 1, "clear")
    assert world.inbox == []
    assert world.send("m1") == "duplicate"


def test_a_hook_that_fails_under_first_replays_until_no_retry_is_left() -> None:
    world = World(
        message(), timer("[0]"), max_retries=2, restart_policy=RestartPolicy.FIRST, notify=True
    )
    assert world.send("1", data="no number") == "delivered"
    row = world.row
    assert (row.status, row.retries, row.cycle, row.exit_code) == (FAILED, 2, 2, 1)


def test_all_hooks_after_a_stage_are_passed_in_one_move() -> None:
    world = World(command(), timer(0), message(None, 1.0, default=1), timer(0), command())
    world.send("m")
    world.acquire()
    world.finish()
    assert (world.row.status, world.row.stage) == (QUEUED, 4)
    world.acquire()
    assert world.row.status is EXECUTED
    assert world.row.error is None


def test_the_same_raw_bytes_pass_through() -> None:
    world = World(message())
    world.send("m", data={"a": [1.5, "ü"]})
    assert world.results["job1", 0, 0] == Raw('{"a":[1.5,"ü"]}'.encode())


# -- moments -------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [[], [timer(0)]], ids=len)
def test_each_hook_has_its_own_moment(between: list[Any]) -> None:
    world = World(timer(6), *between, message(None, 5.0))
    assert (world.row.status_change, world.row.since) == (1000.0, 1000.0)
    world.at(1006.0)
    row = world.row
    assert (row.status, row.reason) == (WAITING, "message")
    assert (row.status_change, row.since, row.wait_deadline) == (1006.0, 1006.0, 1011.0)
    world.now = 1007.0
    world.apply(Suspend())
    world.now = 1008.0
    world.apply(Resume())
    assert (world.row.status_change, world.row.since) == (1008.0, 1008.0)


def test_a_skipped_hook_before_another_leaves_the_moment_of_the_other() -> None:
    skipped = command("_TIMER_", params=Raw(b'{"timer":9}'), condition={"kws.x": {"eq": 1}})
    world = World(timer(6), skipped, message(), kws={"x": 2})
    world.at(1006.0)
    assert (world.row.stage, world.row.status_change) == (2, 1006.0)


def test_a_retry_at_the_same_hook_begins_a_new_wait() -> None:
    world = World(timer(6), message("[0.x]"), max_retries=1, restart_policy=RestartPolicy.FIRST)
    world.at(1006.0)
    row = world.row
    assert (row.status, row.reason, row.retries) == (WAITING, "timer", 1)
    assert (row.status_change, row.since) == (1006.0, 1006.0)


def test_a_run_that_ends_as_it_begins_has_a_moment() -> None:
    world = World(timer(0), every=60.0)
    assert world.row.since == 1000.0
    world.at(1060.0)
    assert (world.row.status, world.runs[-1].ended_at) == (IDLE, 1060.0)
    assert (world.row.status_change, world.row.since) == (1060.0, 1060.0)


def test_a_gate_and_a_hold_have_moments_of_their_own() -> None:
    limit = Concurrency("k", 1)
    world = World(command(), concurrency=limit, slot_key="k")
    world.now = 1001.0
    world.apply(SlotFull())
    assert (world.row.status_change, world.row.since, world.row.queued_at) == (
        1000.0,
        1001.0,
        1000.0,
    )
    world.now = 1002.0
    world.apply(GateOpened(gate="c:k"))
    assert (world.row.status_change, world.row.since) == (1000.0, 1002.0)
    world.now = 1003.0
    world.update(enabled=False)
    assert (world.row.status_change, world.row.since) == (1000.0, 1003.0)
    world.now = 1004.0
    world.update(enabled=True)
    world.acquire()
    assert (world.row.status_change, world.row.since) == (1004.0, 1004.0)


def test_a_stage_that_runs_is_where_a_task_stands() -> None:
    world = World(command(), command())
    world.acquire()
    world.now = 1005.0
    world.finish()
    assert (world.row.status, world.row.status_change, world.row.since) == (
        EXECUTED,
        1000.0,
        1005.0,
    )


def test_a_new_first_run_does_not_shorten_a_hold() -> None:
    world = World(command(), next_run=2000.0)
    world.apply(Suspend())
    world.apply(Cancel())
    world.update(next_run=3000.0)
    world.now = 1001.0
    world.apply(Suspend())
    world.now = 1002.0
    world.update(next_run=4000.0)
    assert (world.row.held, world.row.since) == (IDLE, 1001.0)
