"""Why a task is not running: for each reason a sentence, and data for programs."""

from typing import Any

import pytest
from msgspec import structs

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Principal
from kaiju_tasks.store.base import PageQuery
from tests.manager.hand import Calls, HandExecutor, executors_are_lost_soon, pinging, released
from tests.support.wait import wait_until

ONE = {"key": "k", "limit": 1}


async def codes(call: Calls, id: str) -> dict[str, dict[str, Any]]:
    explained = await call("tasks.explain", id=id)
    assert explained["reasons"][0]["message"] in explained["message"]
    assert explained["running"] is (explained["status"] == "EXECUTED")
    assert all(reason["message"] for reason in explained["reasons"])
    return {reason["code"]: reason["data"] for reason in explained["reasons"]}


async def test_a_future_time(call: Calls) -> None:
    made = await call.create("work", id="t", delay=3 * 3600)
    assert await codes(call, "t") == {"future": {"next_run": made["next_run"]}}
    explained = await call("tasks.explain", id="t")
    assert "its first run begins in 3.0 hours" in explained["message"]
    await call.create("work", id="s", cron="0 3 * * *")
    assert "its next fire is in" in (await call("tasks.explain", id="s"))["message"]


async def test_no_executor_on_the_stream(call: Calls) -> None:
    await call.create("work", id="t", app_name="nobody")
    assert await codes(call, "t") == {"no_executor": {"app_name": "nobody", "executors": 0}}


async def test_executors_that_are_full_or_take_no_work(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    small = HandExecutor(manager, "small", capacity=1)
    await small.connect(app="small")
    async with pinging(small):
        await call.create("work", id="running", app_name="small")
        await small.take()
        for id in ("first", "second"):
            await call.create("work", id=id, app_name="small")
        assert (await codes(call, "second"))["executors_full"] == {
            "app_name": "small",
            "executors": 1,
            "capacity": 1,
            "ahead": 1,
        }
        running = await codes(call, "running")
        assert running["running"]["executor_id"] == "small"
        assert running["running"]["method"] == "work"
        await call("executors.drain", id="small")
        assert (await codes(call, "first"))["executors_unavailable"]["statuses"] == ["DRAINING"]


async def test_a_method_nobody_knows(call: Calls, executor: HandExecutor) -> None:
    await executor.connect(commands=[{"method": "work"}, {"method": "b", "app_name": "default"}])
    await call.create("wrok", id="t")

    async def waits() -> bool:
        return bool((await call.get("t"))["status_reason"] == "method")

    await wait_until(waits, "it waits for its method")
    assert await codes(call, "t") == {
        "unknown_method": {
            "app_name": "default",
            "executors": 1,
            "method": "wrok",
            "methods": ["b", "work"],
        }
    }
    text = (await call("tasks.explain", id="t"))["message"]
    assert (
        "no connected executor of the stream 'default' has the method 'wrok', only b, work" in text
    )


async def test_the_executors_that_have_the_method_are_full(
    call: Calls, executor: HandExecutor
) -> None:
    await executor.connect(commands=[{"method": "work"}])
    other = HandExecutor(executor.manager, "other", capacity=1)
    await other.connect(commands=[{"method": "rare"}])
    async with pinging(other):
        await call.create("rare", id="running")
        await other.take()
        await call.create("rare", id="t")
        full = (await codes(call, "t"))["executors_full"]
        assert full == {"app_name": "default", "executors": 2, "capacity": 1, "ahead": 0}


async def test_concurrency(call: Calls, executor: HandExecutor) -> None:
    for id in ("holder", "a", "b"):
        await call.create("work", id=id, concurrency=ONE)
    await executor.take()

    async def waits() -> bool:
        return bool((await call.get("b"))["status_reason"] == "concurrency")

    await wait_until(waits, "it waits for a slot")
    explained = (await codes(call, "b"))["concurrency"]
    assert explained == {"key": "k", "limit": 1, "used": 1, "ahead": 1}
    assert "; one task waits before it" in (await call("tasks.explain", id="b"))["message"]
    assert "; no task waits before it" in (await call("tasks.explain", id="a"))["message"]


async def test_a_pause(call: Calls, executor: HandExecutor) -> None:
    await call("pauses.add", id="p", app_name="default", reason="new disks")
    await call.create("work", id="t")
    await call.create("work", id="later", delay=3600)
    explained = await call("tasks.explain", id="t")
    assert "a pause holds it (new disks), until it is removed" in explained["message"]
    paused = (await codes(call, "t"))["paused"]
    assert (paused["pause_id"], paused["reason"], paused["until"]) == ("p", "new disks", None)
    assert list(await codes(call, "later")) == ["future", "paused"]
    await call("pauses.remove", id="p")
    alice = call.by(Caller(Principal("alice", kind=None)))
    await alice("pauses.add", id="q", app_name="default", reason="new disks")
    await call.create("work", id="held")
    explained = await call("tasks.explain", id="held")
    assert "a pause of alice holds it (new disks), until" in explained["message"]


async def test_a_pause_is_not_mistaken_for_a_full_slot(call: Calls, executor: HandExecutor) -> None:
    await call("pauses.add", id="p", app_name="default", reason="new disks")
    await call.create("work", id="t", concurrency=ONE)

    async def paused() -> bool:
        return bool((await call.get("t"))["status_reason"] == "paused")

    await wait_until(paused, "a pause holds it")
    assert list(await codes(call, "t")) == ["paused"]


async def test_who_has_suspended_it_and_why(call: Calls) -> None:
    alice, bob = (call.by(Caller(Principal(name, kind=None))) for name in ("alice", "bob"))
    await call.create("work", id="t", delay=3600)
    await alice("tasks.suspend", id="t", reason="legal asks")
    data = (await codes(call, "t"))["operator"]
    assert (data["user_id"], data["reason"]) == ("alice", "legal asks")
    message = (await call("tasks.explain", id="t"))["message"]
    assert "alice suspended it at 2" in message
    assert message.endswith(" UTC (legal asks); tasks.resume resumes it.")
    await alice("tasks.m_resume", conditions={"id": "t"})
    await bob("tasks.m_suspend", conditions={"id": "t"}, reason="new prices")
    data = (await codes(call, "t"))["operator"]
    assert (data["user_id"], data["reason"]) == ("bob", "new prices")
    await alice("tasks.m_suspend", conditions={"id": "other"})
    assert (await codes(call, "t"))["operator"]["user_id"] == "bob"
    await call("tasks.resume", id="t")
    await call("tasks.suspend", id="t")
    assert (await codes(call, "t"))["operator"]["user_id"] is None


@pytest.mark.parametrize(("of_alice", "named"), [(["t", "other"], False), (["other"], True)])
async def test_nobody_is_said_to_have_suspended_what_two_may_have(
    call: Calls, manager: Manager, of_alice: list[str], named: bool
) -> None:
    alice, bob = (call.by(Caller(Principal(name, kind=None))) for name in ("alice", "bob"))
    await alice("tasks.m_suspend", conditions={"id": of_alice})
    await call.create("work", id="t", delay=3600)
    await bob("tasks.m_suspend", conditions={"id": ["t"]})
    first, second = (await manager.store.bulks(PageQuery())).bulks
    async with manager.store.transaction() as tx:
        await tx.save_bulk(structs.replace(second, ended=first.ended))
    found = (await codes(call, "t"))["operator"]
    assert found.get("user_id") == ("bob" if named else None)


async def test_hooks(call: Calls, executor: HandExecutor) -> None:
    timer = {"method": "_TIMER_", "params": {"timer": 600}}
    message = {"method": "_MESSAGE_", "params": {"name": "ok"}, "max_timeout": 600}
    children = {"method": "_TASKS_", "params": {"create": [{"commands": [timer], "id": "c"}]}}
    await call.create(timer, id="timer")
    await call.create(message, id="message")
    await call.create(children, id="tasks")
    assert (await codes(call, "timer"))["timer"]["wait_deadline"] > 0
    assert (await codes(call, "message"))["message"]["name"] == "ok"
    waits = (await codes(call, "tasks"))["tasks"]
    assert (waits["left"], waits["children"], waits["mode"]) == (["c"], 1, "all")
    assert "1 of 1 have not ended ('c')" in (await call("tasks.explain", id="tasks"))["message"]


async def test_a_retry_delay(call: Calls, executor: HandExecutor) -> None:
    await call.create("work", id="t", max_retries=2, retry_delay=600)
    await executor.fail(await executor.take(), message="no luck")
    explained = (await codes(call, "t"))["retry"]
    assert (explained["retries"], explained["error"]["message"]) == (1, "no luck")


async def test_a_command_that_asks_to_be_run_again(call: Calls, executor: HandExecutor) -> None:
    await call.create("work", id="t")
    await executor.fail(await executor.take(), "retry_after", "not yet", {"seconds": 600})
    explained = (await codes(call, "t"))["retry_after"]
    assert explained["error"]["message"] == "not yet"
    task = await call.get("t")
    assert (task["status"], task["retries"], task["exit_code"]) == ("IDLE", 0, None)
    assert task["next_run"] - task["status_change"] == pytest.approx(600)


async def test_disabled(call: Calls) -> None:
    await call.create("work", id="t", enabled=False)
    assert next(iter(await codes(call, "t"))) == "disabled"


async def test_an_operators_hold(call: Calls) -> None:
    await call.create("work", id="t")
    await call("tasks.suspend", id="t")
    assert (await codes(call, "t"))["operator"]["held"] == "QUEUED"


@executors_are_lost_soon
async def test_quarantine(call: Calls, executor: HandExecutor, manager: Manager) -> None:
    await call.create("work", id="t", app_name="doomed")
    for n in range(3):
        doomed = HandExecutor(manager, f"doomed{n}")
        await doomed.connect(app="doomed")
        await doomed.take()
        await doomed.cut()
        await call.until("t", "FAILED" if n == 2 else "QUEUED")
        if n == 1:

            async def suspect() -> object:
                return (await codes(call, "t")).get("suspect")

            found = await wait_until(suspect, "the task is suspect")
            assert found == {"stage": 0, "losses": 2}
    explained = await codes(call, "t")
    error = explained["quarantined"]["error"]
    assert (error["type"], error["stage"]) == ("executor_lost", 0)
    assert error["message"] == "stage 1 of 1 lost 3 executors and is quarantined"


async def test_given_back(call: Calls, executor: HandExecutor) -> None:
    await call.create("work", id="t")
    for _ in range(3):
        await executor.report(released(await executor.take()))
    task = await call.until("t", "IDLE")
    assert (await codes(call, "t"))["given_back"] == {"next_run": task["next_run"], "times": 3}


async def test_ended_tasks(call: Calls, executor: HandExecutor) -> None:
    await call.create("work", id="good")
    await executor.finish(await executor.take())
    await call.create("work", id="bad")
    await executor.fail(await executor.take(), message="no luck")
    assert (await codes(call, "good"))["finished"]["exit_code"] == 0
    assert "no luck" in (await call("tasks.explain", id="bad"))["message"]


async def test_many_tasks_are_explained_as_each_is(call: Calls, executor: HandExecutor) -> None:
    await call.create("a", id="later", delay=600)
    await call.create("a", id="queued", app_name="nobody")
    await call.create({"method": "_TIMER_", "params": {"timer": 600}}, id="waits")
    await call.until("waits", "WAITING")
    ids = ["waits", "later", "nope", "queued", "later"]
    found = await call("tasks.m_explain", ids=ids)
    assert [one["id"] for one in found] == ["waits", "later", "queued"]
    for one in found:
        alone = await call("tasks.explain", id=one["id"])
        assert [reason["code"] for reason in one["reasons"]] == [
            reason["code"] for reason in alone["reasons"]
        ]
        assert one["since"] == alone["since"]


async def test_no_more_than_a_hundred_tasks_are_explained_at_once(call: Calls) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("tasks.m_explain", ids=[f"t{n}" for n in range(101)])
    assert refused.value.field == "ids"
