"""Pipelines through a manager, its store and an executor worked by hand."""

import asyncio
import time

import pytest

from kaiju_tasks.errors import Conflict, InvalidParams, NotFound
from kaiju_tasks.protocol import AckState
from kaiju_tasks.types import Timer
from tests.manager.hand import (
    Calls,
    HandExecutor,
    executors_are_lost_soon,
    finished,
    lease_of,
    pinging,
)
from tests.support.wait import PATIENCE_SECONDS


def timer(seconds: float) -> dict:
    return {"method": Timer(0).method, "params": {"timer": seconds}}


def message(name: str | None = None, **more) -> dict:
    params = {} if name is None else {"name": name}
    if "default" in more:
        params["default"] = more.pop("default")
    return {"method": "_MESSAGE_", "params": params, **more}


async def test_a_pipeline_runs_stage_by_stage(call: Calls, executor: HandExecutor) -> None:
    made = await call.create("a", "b", "c", id="p1")
    assert made["created"] is True
    task = await executor.take()
    assert [c.method for c in task.commands] == ["a", "b", "c"]
    assert (await executor.finish(task, {"x": 1})).state is AckState.OK
    stored = await call.get("p1")
    assert stored["status"] == "EXECUTED"
    assert stored["result"] == [{"x": 1}]
    assert (await executor.finish(task, 2, stage=1)).state is AckState.OK
    assert (await executor.finish(task, 3, stage=2)).state is AckState.RELEASED
    ended = await call.get("p1")
    assert (ended["status"], ended["exit_code"], ended["error"]) == ("FINISHED", 0, None)
    assert ended["result"] == [{"x": 1}, 2, 3]
    assert ended["stage"] == ended["stages"] == 3
    assert ended["executor_id"] is None


async def test_history_tells_runs_and_attempts(call: Calls, executor: HandExecutor) -> None:
    made = await call.create("a", id="h1", max_retries=1)
    await executor.fail(await executor.take())
    await executor.finish(await executor.take(), "ok")
    (run,) = await call("tasks.runs", id="h1")
    assert (run["status"], run["exit_code"], run["retries"]) == ("FINISHED", 0, 1)
    assert run["queued_at"] <= run["started_at"] <= run["ended_at"]
    stages = await call("tasks.stages", job_id=made["job_id"])
    assert [(s["attempt"], s["outcome"]) for s in stages] == [(1, "FAILED"), (2, "FINISHED")]
    assert stages[0]["executor_id"] == "hand"
    assert stages[0]["error"]["message"] == "no"


async def test_a_failed_task_says_why(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", "b", id="f1")
    task = await executor.take()
    await executor.finish(task, 1)
    (ack,) = await executor.report(finished(task, 1, stage=1))
    assert ack.state is AckState.RELEASED
    await call.create("a", id="f2")
    await executor.fail(await executor.take(), message="broken")
    failed = await call.get("f2")
    assert (failed["status"], failed["exit_code"]) == ("FAILED", 1)
    assert failed["error"] == {
        "type": "execution_error",
        "message": "broken",
        "stage": 0,
        "data": None,
    }


async def test_retry_current_repeats_only_the_failed_stage(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", "b", id="r1", max_retries=1)
    task = await executor.take()
    await executor.finish(task, "kept")
    await executor.report(finished(task, None, stage=5))
    await executor.fail(_at(task, 1))
    again = await executor.take()
    assert again.stage == 1
    assert [c.method for c in again.commands] == ["b"]
    await executor.finish(again, "done")
    ended = await call.get("r1")
    assert ended["result"] == ["kept", "done"]
    assert ended["error"] is None
    assert ended["retries"] == 1


async def test_retry_first_starts_over_with_results_cleared(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", "b", id="r2", max_retries=1, restart_policy="FIRST")
    task = await executor.take()
    await executor.finish(task, "old")
    await executor.fail(_at(task, 1))
    again = await executor.take()
    assert (again.stage, again.cycle) == (0, 1)
    assert (await call.get("r2"))["result"] == []
    await executor.finish(again, "new")
    await executor.finish(again, "end", stage=1)
    assert (await call.get("r2"))["result"] == ["new", "end"]


async def test_earlier_results_reach_later_segments(call: Calls, executor: HandExecutor) -> None:
    second = {"method": "b", "params": {"x": "[first.value]", "y": "[0.value]"}}
    await call.create({"method": "a", "name": "first"}, timer(0.01), second, id="t1")
    task = await executor.take()
    assert len(task.commands) == 1
    await executor.finish(task, {"value": 7})
    later = await executor.take()
    assert later.stage == 2
    assert bytes(later.results["first"]) == bytes(later.results["0"]) == b'{"value":7}'


@pytest.mark.parametrize(
    "commands",
    [
        [timer(0.05)],
        [timer(0.02), timer(0.02)],
        [timer(0.02), "a"],
        ["a", timer(0.02)],
        [timer(0.0)],
    ],
    ids=["alone", "doubled", "first", "last", "zero"],
)
async def test_timers_pass_wherever_they_stand(
    call: Calls, executor: HandExecutor, commands: list
) -> None:
    await call.create(*commands, id="t")
    if "a" in commands:
        await executor.finish(await executor.take(), "r")
    ended = await call.until("t", "FINISHED")
    assert len(ended["result"]) == len(commands)


async def test_a_message_that_comes_early_is_kept(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", message("go"), "b", id="m1")
    task = await executor.take()
    receipt = await call("tasks.message", id="m1", data={"n": 1}, name="go", message_id="x")
    assert (receipt["state"], receipt["accepted"]) == ("buffered", True)
    again = await call("tasks.message", id="m1", data={"n": 2}, name="go", message_id="x")
    assert again["state"] == "duplicate"
    await executor.finish(task, 1)
    later = await executor.take()
    assert later.stage == 2
    assert (await call.get("m1"))["result"] == [1, {"n": 1}]


async def test_a_message_is_delivered_to_a_waiting_hook(call: Calls) -> None:
    await call.create(message(), id="m2")
    assert (await call.get("m2"))["status"] == "WAITING"
    receipt = await call("tasks.write_message", id="m2", data=None)
    assert receipt["state"] == "delivered"
    assert (await call.get("m2"))["result"] == [None]
    over = await call("tasks.message", id="m2", data=1)
    assert (over["accepted"], over["state"]) == (False, "rejected")


async def test_a_message_never_ends_a_timer(call: Calls) -> None:
    await call.create(timer(3600), message(), id="m3")
    receipt = await call("tasks.message", id="m3", data=1)
    assert receipt["state"] == "buffered"
    assert (await call.get("m3"))["status_reason"] == "timer"


async def test_a_message_timeout_aborts_or_takes_the_default(call: Calls) -> None:
    await call.create(message(max_timeout=0.05), id="m4")
    await call.create(message(max_timeout=0.05, default={"d": 1}), id="m5")
    failed = await call.until("m4", "FAILED")
    assert (failed["exit_code"], failed["error"]["type"]) == (130, "message_timeout")
    assert (await call.until("m5", "FINISHED"))["result"] == [{"d": 1}]


async def test_due_tasks_start_at_their_moment(call: Calls, executor: HandExecutor) -> None:
    made = await call.create("a", id="d1", delay=0.3)
    assert made["status"] == "IDLE"
    await executor.take()
    late = (await call.get("d1"))["queued_at"] - made["next_run"]
    assert 0 <= late < 0.25


async def test_next_task_starts_in_the_finishing_transaction(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("b", id="second", enabled=True, next_run=time.time() + 3600)
    await call.create("a", id="firsttask", next_task="second")
    await executor.finish(await executor.take(), 1)
    task = await executor.take()
    assert task.id == "second"
    await executor.finish(task, 2)
    assert (await call.get("second"))["status"] == "FINISHED"
    await call("tasks.reset", id="firsttask")
    await executor.finish(await executor.take(), 1)
    again = await executor.take()
    assert again.id == "second"
    assert again.job_id != task.job_id
    assert (await call.get("second"))["result"] == []


async def test_cancel_revokes_the_lease(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", id="c1")
    task = await executor.take()
    cancelled = await call("tasks.cancel", id="c1")
    assert (cancelled["status"], cancelled["exit_code"]) == ("FAILED", 130)
    assert executor.revoked == [lease_of(task)]
    assert (await executor.finish(task, 1)).state is AckState.STALE
    assert (await call.get("c1"))["result"] == []
    with pytest.raises(Conflict) as error:
        await call("tasks.cancel", id="c1")
    assert error.value.data["status"] == "FAILED"


async def test_suspend_and_resume(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", "b", id="s1")
    task = await executor.take()
    await executor.finish(task, 1)
    held = await call("tasks.suspend", id="s1")
    assert (held["status"], held["status_reason"]) == ("SUSPENDED", "operator")
    assert (await executor.finish(task, 2, stage=1)).state is AckState.STALE
    back = await call("tasks.resume", id="s1")
    assert back["status"] in ("QUEUED", "EXECUTED")
    again = await executor.take()
    assert again.stage == 1
    await executor.finish(again, 2)
    assert (await call.get("s1"))["result"] == [1, 2]


@executors_are_lost_soon
async def test_a_lost_executor_loses_its_tasks_and_its_reports_change_nothing(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", "b", id="l1")
    task = await executor.take()
    await executor.finish(task, 1)
    await executor.cut()
    other = HandExecutor(executor.manager, "other")
    await other.connect()
    async with pinging(other):
        again = await other.take()
        assert (again.stage, again.epoch) == (1, task.epoch + 1)
        assert (await executor.finish(task, "zombie", stage=1)).state is AckState.STALE
        await other.finish(again, 2)
    assert (await call.get("l1"))["result"] == [1, 2]
    records = await call("tasks.stages", job_id=task.job_id)
    assert [(r["stage"], r["outcome"], r["rescued"]) for r in records] == [
        (0, "FINISHED", False),
        (1, "LOST", True),
        (1, "FINISHED", False),
    ]


async def test_a_reconnect_keeps_what_is_held_and_gives_back_what_never_came(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="k1")
    await call.create("a", id="k2")
    first, second = await executor.take(), await executor.take()
    await executor.cut()
    stranger = lease_of(first).__class__("nope", "j", 1, "n")
    answer = await executor.connect(holding=[lease_of(first), stranger])
    assert [lease["id"] for lease in answer["revoked"]] == ["nope"]
    again = await executor.take()
    assert (again.id, again.epoch) == (second.id, second.epoch + 1)
    assert (await executor.finish(first, 1)).state is AckState.RELEASED


async def test_bulk_of_tasks_is_done_once_each(call: Calls, manager, executor) -> None:
    big = HandExecutor(manager, "big", capacity=50)
    data = [{"id": f"t{i}", "commands": [{"method": "work"}]} for i in range(300)]
    made = await call("tasks.m_create", data=data)
    assert len(made) == 300
    await big.connect()
    seen: set[str] = set()

    async def work(hand: HandExecutor) -> None:
        while len(seen) < 300:
            task = await hand.assigned.get()
            assert task.id not in seen
            seen.add(task.id)
            assert (await hand.finish(task, task.id)).state is AckState.RELEASED

    async with pinging(big), asyncio.timeout(PATIENCE_SECONDS):
        workers = [asyncio.create_task(work(hand)) for hand in (big, executor)]
        await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        for worker in workers:
            worker.cancel()
    assert (await call("tasks.count", conditions={"status": "FINISHED"}))["count"] == 300


async def test_bad_input_names_the_field(call: Calls) -> None:
    cases = [
        ({"commands": []}, "data.commands"),
        ({"commands": [{"method": "a"}], "status": "IDLE"}, "data.status"),
        ({"commands": [{"method": "a"}], "max_retries": 11}, "data.max_retries"),
        ({"commands": [{"method": "a"}], "cron": "0 0 31 2 *"}, "data.cron"),
        ({"commands": [{"method": "a"}], "cron": "* * * * *", "timezone": "X"}, "data.timezone"),
        ({"commands": [{"method": "a"}], "delay": 1, "next_run": 5}, "data.delay"),
        ({"commands": [{"method": "a", "params": {"x": "[0."}}]}, "data.commands.0.params.x"),
        ({"commands": [{"method": "a"}], "next_task": "none"}, "data.next_task"),
        ({"commands": [timer(-1)]}, "data.commands.0.params.timer"),
        ({"commands": [{"method": "a"}], "id": "a\nb"}, "data.id"),
        ({"commands": [{"method": "a"}], "id": "a\n"}, "data.id"),
    ]
    for data, field in cases:
        with pytest.raises(InvalidParams) as error:
            await call("tasks.create", data=data)
        assert error.value.data["field"] == field, data
    assert (await call("tasks.count"))["count"] == 0


async def test_create_says_what_stands_already(call: Calls) -> None:
    await call.create("a", id="x", delay=3600)
    with pytest.raises(Conflict) as error:
        await call.create("a", id="x")
    assert error.value.data["status"] == "IDLE"
    data = {"id": "x", "commands": [{"method": "b"}], "delay": 10}
    same = await call("tasks.create", data=data, on_conflict="ignore")
    assert (same["created"], same["commands"][0]["method"]) == (False, "a")
    new = await call("tasks.create", data=data, on_conflict="replace")
    assert (new["created"], new["commands"][0]["method"]) == (False, "b")


async def test_unknown_ids_are_not_found(call: Calls) -> None:
    for method in ("get", "reset", "cancel", "suspend", "resume", "run_now", "runs", "wait"):
        with pytest.raises(NotFound):
            await call(f"tasks.{method}", id="nope")
    assert (await call("tasks.delete", id="nope"))["deleted"] is False


async def test_delete_old_tasks_leaves_cron_system_and_unfinished(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="cron", cron="0 0 1 1 *")
    await call("tasks.run_now", id="cron")
    await call.create("a", id="system", system=True)
    await call.create("a", id="done")
    await call.create("a", id="later", delay=3600)
    for _ in range(3):
        await executor.finish(await executor.take(), 1)
    assert (await call("tasks.delete_old_tasks", interval_days=0))["deleted"] == 1
    left = await call("tasks.list", sort=["id"])
    assert [t["id"] for t in left["data"]] == ["cron", "later", "system"]


async def test_a_cron_task_runs_now_and_goes_back_to_its_schedule(
    call: Calls, executor: HandExecutor
) -> None:
    made = await call.create("a", id="cron", cron="0 0 1 1 *")
    assert made["status"] == "IDLE"
    assert made["job_id"] is None
    started = await call("tasks.run_now", id="cron")
    waiting = asyncio.create_task(call("tasks.wait", id="cron", timeout=10))
    await executor.finish(await executor.take(), "r")
    done = await waiting
    assert (done["status"], done["exit_code"], done["result"]) == ("IDLE", 0, ["r"])
    assert done["next_run"] == started["next_run"] == made["next_run"]


async def test_every_second_fires_in_time(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", id="tick", every=0.3)
    moments = []
    for _ in range(3):
        task = await executor.take()
        moments.append(task.scheduled_at or 0.0)
        await executor.finish(task)
    assert moments[1] - moments[0] == pytest.approx(0.3)
    assert moments[2] - moments[1] == pytest.approx(0.3)


async def test_update_during_a_run_is_refused_for_what_is_fixed(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("a", id="u1")
    await executor.take()
    with pytest.raises(Conflict) as error:
        await call("tasks.update", id="u1", data={"commands": [{"method": "b"}]})
    assert error.value.data["field"] == "commands"
    changed = await call("tasks.update", id="u1", data={"priority": 5, "description": "x"})
    assert (changed["priority"], changed["description"]) == (5, "x")


def _at(task, stage: int):
    import msgspec

    return msgspec.structs.replace(task, stage=stage)
