"""Tasks that wait for tasks: created, named, for each item; ended, failed, cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing import consequences
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import StoreUnavailable, Transaction
from kaiju_tasks.types import Tasks
from tests.manager.hand import Calls, HandExecutor, finished
from tests.support.wait import wait_until


def tasks(*, max_timeout: float | None = None, **params: Any) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(Tasks(max_timeout=max_timeout, **params))
    return made


KEY = {"key": "k"}
AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}


def child(*methods: Any, **fields: Any) -> dict[str, Any]:
    commands = [{"method": m} if isinstance(m, str) else m for m in methods or ("work",)]
    return {"commands": commands, **fields}


async def names(call: Calls, parent: str) -> list[str]:
    page = await call("tasks.list", conditions={"parent_id": parent}, sort=["id"])
    return [task["id"] for task in page["data"]]


async def test_a_parent_waits_for_the_tasks_it_creates_and_holds_no_executor(
    call: Calls, executor: HandExecutor
) -> None:
    hook = tasks(create=[child(id="c1", kws={"n": 1}), child(id="c2")])
    parent = await call.create(hook, "after", id="p")
    assert (parent["status"], parent["status_reason"]) == ("WAITING", "tasks")
    assert parent["executor_id"] is None
    assert await names(call, "p") == ["c1", "c2"]
    first, second = await executor.take(), await executor.take()
    await executor.finish(second, "two")
    assert (await call.get("p"))["status"] == "WAITING"
    await executor.finish(first, {"one": 1})
    after = await executor.take()
    assert (after.id, after.stage) == ("p", 1)
    result = (await call.get("p"))["result"][0]
    ok = {"status": "FINISHED", "exit_code": 0, "error": None}
    assert result == [
        {"id": "c1", **ok, "result": [{"one": 1}]},
        {"id": "c2", **ok, "result": ["two"]},
    ]


async def test_results_of_children_feed_later_stages(call: Calls, executor: HandExecutor) -> None:
    hook = {**tasks(create=[child()]), "name": "kids"}
    later = {"method": "later", "params": {"x": "[kids.0.result.0]"}}
    await call.create(hook, later, id="p")
    await executor.finish(await executor.take(), 42)
    assignment = await executor.take()
    assert msgspec.json.decode(assignment.results["kids"])[0]["result"] == [42]


async def test_the_hook_may_be_the_last_command(call: Calls, executor: HandExecutor) -> None:
    await call.create("first", tasks(create=[child(id="c")]), id="p")
    await executor.finish(await executor.take())
    await executor.finish(await executor.take())
    assert (await call.until("p", "FINISHED"))["exit_code"] == 0


async def test_one_task_for_each_item(call: Calls, executor: HandExecutor) -> None:
    task = child(
        {"method": "work", "params": {"x": "[kws.x]"}},
        id="c-[index]-[item]",
        kws={"x": "[item]", "of": "[kws.all]"},
        meta={"n": "[index]"},
    )
    await call.create("list", tasks(foreach="[0]", task=task), id="p", kws={"all": 7})
    await executor.finish(await executor.take(), ["a", "b"])
    first, second = await executor.take(), await executor.take()
    assert {first.id, second.id} == {"c-0-a", "c-1-b"}
    one = await call.get("c-1-b")
    assert (one["kws"], one["meta"]) == ({"x": "b", "of": 7}, {"n": 1})
    assert one["commands"][0]["params"] == {"x": "[kws.x]"}
    assert one["parent_id"] == "p"


async def test_keys_of_children_are_filled_with_what_is_filled(
    call: Calls, executor: HandExecutor
) -> None:
    key = {"key": "of-[kws.x]"}
    task = child(id="c[index]", kws={"x": "[item]"}, concurrency={**key, "limit": 1}, unique=key)
    await call.create(tasks(foreach=["a", "b"], task=task), id="p")
    assert {(await executor.take()).id for _ in range(2)} == {"c0", "c1"}
    assert (await call.create("work", unique={"key": "of-b"}))["id"] == "c1"


async def test_children_have_the_priority_of_their_parent_or_their_own(
    call: Calls, executor: HandExecutor
) -> None:
    nested = child(tasks(create=[child(id="grandchild")]), id="inherits")
    hook = tasks(create=[nested, child(id="own", priority=0)])
    each = tasks(foreach=[1], task=child(id="each"))
    await call.create(AT_ONCE, hook, id="p", priority=7)
    await call.create(each, id="q", priority=-7)
    ids = ["inherits", "grandchild", "own", "each"]
    assert [(await call.get(id))["priority"] for id in ids] == [7, 7, 0, -7]
    first = [(await executor.take()).id for _ in range(3)]
    assert first == ["grandchild", "own", "each"]


async def test_a_retry_gives_its_children_the_priority_that_the_parent_has_then(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create(tasks(create=[child(id="kid")]), id="p", priority=1, max_retries=1)
    task = await executor.take()
    await call("tasks.update", id="p", data={"priority": 2})
    await executor.fail(task)
    await executor.take()
    assert (await call.get("kid"))["priority"] == 2


async def test_nothing_to_wait_for_is_an_empty_result(call: Calls, executor: HandExecutor) -> None:
    await call.create(tasks(foreach="[kws.items]", task=child()), id="p", kws={"items": []})
    assert (await call.get("p"))["result"] == [[]]
    assert (await call.get("p"))["status"] == "FINISHED"


async def test_named_tasks_are_waited_for_and_ended_ones_count_at_once(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="done")
    await executor.finish(await executor.take(), 1)
    await call.create("work", id="open")
    running = await executor.take()
    await call.create(tasks(ids=["done", "open"]), id="p")
    await call.create(tasks(ids=["done"]), id="q")
    assert (await call.until("q", "FINISHED"))["result"][0][0]["result"] == [1]
    assert (await call.get("p"))["status"] == "WAITING"
    await executor.finish(running, 2)
    ended = await call.until("p", "FINISHED")
    assert [one["result"] for one in ended["result"][0]] == [[1], [2]]
    assert (await call.get("open"))["parent_id"] is None


async def test_a_failed_child_fails_the_stage_and_cancels_its_siblings(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="named")
    await executor.take()
    await call.create(tasks(create=[child(id="bad"), child(id="left")]), id="p")
    bad, left = await executor.take(), await executor.take()
    await executor.fail(bad, message="no luck")
    ended = await call.until("p", "FAILED")
    assert (ended["exit_code"], ended["error"]["type"]) == (1, "child_failed")
    assert ended["error"]["data"]["id"] == "bad"
    assert "no luck" in ended["error"]["message"]
    cancelled = await call.get("left")
    assert (cancelled["status"], cancelled["error"]["type"]) == ("FAILED", "cancelled")
    assert left.id in [lease.id for lease in executor.revoked]
    assert (await call.get("named"))["status"] == "EXECUTED"


async def test_a_stage_may_go_on_in_spite_of_failures(call: Calls, executor: HandExecutor) -> None:
    hook = tasks(create=[child(id="bad"), child(id="good")], on_error="continue")
    await call.create(hook, id="p")
    bad, good = await executor.take(), await executor.take()
    await executor.fail(bad)
    await executor.finish(good, 1)
    (result,) = (await call.until("p", "FINISHED"))["result"]
    assert [(one["id"], one["status"], one["exit_code"]) for one in result] == [
        ("bad", "FAILED", 1),
        ("good", "FINISHED", 0),
    ]
    assert result[0]["error"]["type"] == "execution_error"


async def test_any_goes_on_with_the_first_that_finishes(
    call: Calls, executor: HandExecutor
) -> None:
    hook = tasks(
        create=[child(id="a"), child(id="b"), child(id="c")], mode="any", on_error="continue"
    )
    await call.create(hook, id="p")
    taken = {task.id: task for task in [await executor.take() for _ in range(3)]}
    await executor.fail(taken["a"])
    await executor.finish(taken["b"], "won")
    (result,) = (await call.until("p", "FINISHED"))["result"]
    assert [(one["id"], one["status"]) for one in result] == [
        ("a", "FAILED"),
        ("b", "FINISHED"),
        ("c", "FAILED"),
    ]
    assert result[2]["error"]["type"] == "cancelled"
    assert (await call.get("c"))["exit_code"] == 130


async def test_a_retry_creates_only_what_has_not_finished(
    call: Calls, executor: HandExecutor
) -> None:
    hook = tasks(create=[child(id="good"), child(), child(id="late")])
    await call.create(hook, id="p", max_retries=1)
    taken = {task.id: task for task in [await executor.take() for _ in range(3)]}
    (made,) = set(taken) - {"good", "late"}
    jobs = {id: task.job_id for id, task in taken.items()}
    await executor.finish(taken["good"], "kept")
    await executor.fail(taken[made])
    again = {task.id: task for task in [await executor.take() for _ in range(2)]}
    assert set(again) == {made, "late"}
    assert all(again[id].job_id != jobs[id] for id in again)
    for id, task in again.items():
        await executor.finish(task, f"new {id}")
    (result,) = (await call.until("p", "FINISHED"))["result"]
    assert [one["result"] for one in result] == [["kept"], [f"new {made}"], ["new late"]]
    assert (await call.get("good"))["job_id"] == jobs["good"]


@pytest.mark.parametrize("policy", ["CURRENT", "FIRST"])
async def test_a_child_that_ended_by_abort_is_not_repeated_by_a_retry(
    call: Calls, executor: HandExecutor, policy: str
) -> None:
    hook = tasks(create=[child(id="kid", max_retries=3)])
    await call.create(hook, id="p", max_retries=3, restart_policy=policy)
    task = await executor.take()
    await executor.fail(task, "abort", "never again")
    ended = await call.until("p", "FAILED")
    assert (ended["exit_code"], ended["retries"]) == (1, 0)
    assert ended["error"]["type"] == "child_failed"
    assert ended["error"]["data"]["error"]["type"] == "abort"
    assert (await call.get("kid"))["job_id"] == task.job_id


async def test_an_abort_below_a_child_ends_all_parents_above(
    call: Calls, executor: HandExecutor
) -> None:
    kid = child(tasks(create=[child(id="grandchild")]), id="kid", max_retries=2)
    await call.create(tasks(create=[kid]), id="p", max_retries=2)
    await executor.fail(await executor.take(), "abort")
    ended = await call.until("p", "FAILED")
    assert (ended["retries"], (await call.get("kid"))["retries"]) == (0, 0)


async def test_an_error_that_only_looks_like_that_of_a_child_is_retried(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create(tasks(create=[child(id="kid")]), id="p", max_retries=1)
    await executor.fail(await executor.take(), "child_failed")
    await executor.finish(await executor.take())
    assert (await call.until("p", "FINISHED"))["retries"] == 1


async def test_an_abort_counts_beside_a_failure_that_could_be_retried(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="failed")
    await executor.fail(await executor.take())
    await call.create("work", id="aborted")
    await executor.fail(await executor.take(), "abort")
    await call.create(tasks(ids=["failed", "aborted"]), id="p", max_retries=2)
    ended = await call.until("p", "FAILED")
    assert (ended["retries"], ended["error"]["data"]["id"]) == (0, "aborted")


async def test_a_stage_that_goes_on_in_spite_of_failures_goes_on_after_an_abort(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create(tasks(create=[child(id="kid")], on_error="continue"), id="p", max_retries=2)
    await executor.fail(await executor.take(), "abort")
    ((result,),) = (await call.until("p", "FINISHED"))["result"]
    assert result["error"]["type"] == "abort"


async def test_a_retry_from_the_first_stage_forgets_children_that_are_wanted_no_more(
    call: Calls, executor: HandExecutor
) -> None:
    hook = tasks(foreach="[0]", task=child(id="c[item]"))
    await call.create("list", hook, id="p", max_retries=1, restart_policy="FIRST")
    await executor.finish(await executor.take(), [1, 2, 3])
    taken = {task.id: task for task in [await executor.take() for _ in range(3)]}
    await executor.fail(taken["c3"])
    await executor.finish(await executor.take(), [1])
    await executor.finish(await executor.take(), "again")
    _, result = (await call.until("p", "FINISHED"))["result"]
    assert [(one["id"], one["result"]) for one in result] == [("c1", ["again"])]


async def test_children_that_need_no_executor_are_over_at_once(
    call: Calls, executor: HandExecutor
) -> None:
    hook = tasks(create=[child(AT_ONCE, id="c", unique=KEY)])
    await call.create(hook, "after", id="p")
    assert (await call.create("work", unique=KEY, delay=60))["created"]
    await executor.finish(await executor.take())
    ((result,), _) = (await call.until("p", "FINISHED"))["result"]
    assert (result["status"], result["result"]) == ("FINISHED", [None])


async def test_a_child_that_ends_with_its_sibling_is_told_as_it_ended(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="x")
    x = await executor.take()
    await call.create(
        tasks(create=[child(id="a"), child(tasks(ids=["x"]), id="b")], mode="any"), id="p"
    )
    await executor.report(finished(await executor.take()), finished(x))
    (result,) = (await call.until("p", "FINISHED"))["result"]
    assert [(one["id"], one["status"]) for one in result] == [("a", "FINISHED"), ("b", "FINISHED")]


@pytest.mark.parametrize("verb", ["cancel", "reset", "delete"])
async def test_children_go_with_their_parent(
    call: Calls, executor: HandExecutor, verb: str
) -> None:
    inner = child(tasks(create=[child(id="grandchild")]), id="child")
    await call.create("first", tasks(create=[inner, child(id="other")]), id="p")
    await executor.finish(await executor.take())
    taken = {task.id for task in [await executor.take() for _ in range(2)]}
    assert taken == {"grandchild", "other"}
    await call(f"tasks.{verb}", id="p")
    for id in ("child", "grandchild", "other"):
        task = await call.get(id)
        assert (task["status"], task["exit_code"], task["error"]["type"]) == (
            "FAILED",
            130,
            "cancelled",
        )
    assert {lease.id for lease in executor.revoked} >= taken


async def test_children_go_on_while_their_parent_is_held(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create(tasks(create=[child(id="c")]), id="p")
    task = await executor.take()
    await call("tasks.suspend", id="p")
    await executor.finish(task, 1)
    assert (await call.get("p"))["status"] == "SUSPENDED"
    await call("tasks.resume", id="p")
    await call.until("p", "FINISHED")


async def test_a_deleted_child_counts_as_failed(call: Calls, executor: HandExecutor) -> None:
    await call.create(tasks(create=[child(id="c")], on_error="continue"), id="p")
    await executor.take()
    await call("tasks.delete", id="c")
    ((result,),) = (await call.until("p", "FINISHED"))["result"]
    assert (result["status"], result["exit_code"]) == ("FAILED", 130)
    assert "deleted" in result["error"]["message"]


async def test_the_wait_ends_with_its_time(call: Calls, executor: HandExecutor) -> None:
    await call.create(tasks(create=[child(id="a")], max_timeout=0.2), id="p")
    await call.create(tasks(create=[child(id="b")], default=[], max_timeout=0.2), id="q")
    await executor.take()
    aborted = await call.until("p", "FAILED")
    assert (aborted["exit_code"], aborted["error"]["type"]) == (130, "message_timeout")
    assert (await call.until("q", "FINISHED"))["result"] == [[]]
    for id in ("a", "b"):
        assert (await call.get(id))["error"]["type"] == "cancelled"


async def test_waiting_in_a_circle_is_refused(call: Calls, executor: HandExecutor) -> None:
    with pytest.raises(InvalidParams) as caught:
        await call.create(tasks(ids=["p"]), id="p")
    assert caught.value.data["field"] == "data.commands.0.params.ids"
    template = await call.create(tasks(ids=["[kws.me]"]), id="self", kws={"me": "self"})
    assert "wait for itself" in template["error"]["message"]
    message = {"method": "_MESSAGE_"}
    await call.create(message, tasks(ids=["c"]), id="a")
    await call.create(tasks(ids=["a"]), id="b")
    await call.create(tasks(ids=["b"]), id="c")
    await call("tasks.message", id="a", data=None)
    circle = await call.until("a", "FAILED")
    assert "form a cycle" in circle["error"]["message"]
    assert circle["error"]["type"] == "invalid_params"
    assert (await call.until("c", "FAILED"))["error"]["type"] == "child_failed"


async def test_a_child_that_waits_for_its_parent_is_refused(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create(tasks(create=[child(tasks(ids=["[kws.p]"]), kws={"p": "p"})]), id="p")
    ended = await call.until("p", "FAILED")
    assert "form a cycle" in ended["error"]["message"]


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (tasks(ids=["[kws.nobody]"]), "there is no task 'nobody'"),
        (tasks(create=[child(id="taken")]), "'taken' already exists"),
        (tasks(create=[child(id="[kws.bad]")]), "text of 1 to 255 characters"),
        (tasks(create=[child(kws={"x": "[kws.missing]"})]), "kws.missing"),
        (tasks(create=[child(id="x"), child(id="[kws.x]")]), "'x' is named twice"),
        (tasks(foreach="[kws.bad]", task=child()), "`foreach` must be a list"),
        (tasks(create=[child(next_task="nobody")]), "there is no task 'nobody'"),
        (tasks(create=[child(id="a", unique=KEY), child(id="b", unique=KEY)]), "same unique key"),
    ],
)
async def test_what_cannot_be_waited_for_fails_the_stage_and_leaves_nothing(
    call: Calls, executor: HandExecutor, hook: dict[str, Any], said: str
) -> None:
    await call.create("work", id="taken")
    kws = {"nobody": "nobody", "bad": "", "x": "x"}
    ended = await call.create(hook, id="p", kws=kws)
    assert ended["status"] == "FAILED", ended
    assert said in ended["error"]["message"]
    assert (await call("tasks.count"))["count"] == 2


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "params"),
        ({"create": [], "ids": []}, "params"),
        ({"create": []}, "params.create"),
        ({"ids": [1]}, "params.ids.0"),
        ({"foreach": "[kws.x]"}, "params.task"),
        ({"create": [{"commands": []}]}, "params.create.0.commands"),
        ({"create": [{"commands": [{"method": "x"}], "status": "IDLE"}]}, "params.create.0.status"),
        ({"create": [{"commands": [{"method": "x"}], "kws": "[0"}]}, "params.create.0.kws"),
        ({"create": [child(unique={"key": "[kws"})]}, "params.create.0.unique.key"),
        ({"create": [child()], "mode": "most"}, "params.mode"),
        ({"create": [child(cron="0 3 * * *")]}, "params.create.0.cron"),
        ({"foreach": [1], "task": child(every=60)}, "params.task.every"),
        ({"create": [child()], "on_error": "x"}, "params.on_error"),
        ({"create": [child()], "more": 1}, "params.more"),
        ({"foreach": [1], "task": child({"method": "_TASKS_", "params": {"ids": []}})},
         "params.task.commands.0.params.ids"),
    ],
)  # fmt: skip
async def test_a_wrong_hook_is_refused_at_create(
    call: Calls, params: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        await call.create("work", {"method": "_TASKS_", "params": params})
    assert caught.value.data["field"] == f"data.commands.1.{field}", str(caught.value)


async def test_a_result_too_large_for_the_list_is_left_out_and_said(
    settings: Settings, call: Calls, executor: HandExecutor
) -> None:
    large = "x" * (settings.max_result_bytes * 2 // 3)
    hook = tasks(create=[child(id="a"), child(id="b"), child(id="c")])
    await call.create(hook, id="p")
    for _ in range(3):
        task = await executor.take()
        await executor.finish(task, "small" if task.id == "c" else large)
    (result,) = (await call.until("p", "FINISHED"))["result"]
    shown = {one["id"]: (one["result"] is None, one.get("truncated")) for one in result}
    assert shown == {"a": (False, None), "b": (True, True), "c": (False, None)}


async def test_a_unique_child_may_be_a_task_that_is_there(
    call: Calls, executor: HandExecutor
) -> None:
    unique = {"key": "shared"}
    await call.create("work", id="there", unique=unique)
    task = await executor.take()
    await call.create(tasks(create=[child(id="mine", unique=unique)]), id="p")
    await call("tasks.cancel", id="p")
    assert (await call.get("there"))["status"] == "EXECUTED"
    await call.create(tasks(create=[child(id="mine", unique=unique)]), id="q")
    await executor.finish(task, 5)
    ((result,),) = (await call.until("q", "FINISHED"))["result"]
    assert (result["id"], result["result"]) == ("there", [5])


async def test_a_child_made_anew_leaves_the_slot_of_the_key_it_had(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    kid = child(id="kid", kws="[kws]", concurrency={"key": "[kws.who]", "limit": 1})
    await call.create(tasks(create=[kid]), id="p", kws={"who": "one"})
    await executor.finish(await executor.take())
    await call.until("p", "FINISHED")
    await call("tasks.run_now", id="kid")
    await executor.take()
    await call("tasks.update", id="p", data={"kws": {"who": "two"}})
    await call("tasks.reset", id="p")
    assert (await executor.take()).id == "kid"
    used = manager.store.slot_used
    assert (await used("one"), await used("two")) == (0, 1)


async def test_parents_that_are_due_at_once_create_their_children_by_turns(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consequences, "MAX_SPAWNED", 5)
    hook = tasks(create=[child()] * 3)
    due = (await manager.store.now()) + 0.5
    ids = [f"p{i}" for i in range(12)]
    parents = [{"id": id, "commands": [hook], "next_run": due} for id in ids]
    await call("tasks.m_create", data=parents)
    for id in ids:
        assert (await call.until(id, "WAITING"))["error"] is None
    assert (await call("tasks.count", conditions={"parent_id": "p11"}))["count"] == 3


async def test_a_call_that_creates_too_many_tasks_at_once_is_refused_whole(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consequences, "MAX_SPAWNED", 5)
    hook = tasks(create=[child()] * 3)
    with pytest.raises(InvalidParams, match="create fewer of them in one call") as caught:
        await call("tasks.m_create", data=[{"commands": [hook]}] * 2)
    assert caught.value.data["field"] == "data"
    assert (await call("tasks.count"))["count"] == 0


async def test_a_circle_that_two_managers_would_close_at_once_is_seen_by_one(
    call: Calls, other_manager: Manager
) -> None:
    """a waits for b and c for d; then b waits for c, and d for a: no two of these share a row."""
    there = Calls(other_manager)
    message = {"method": "_MESSAGE_"}
    for round in range(6):
        a, b, c, d = (f"{name}{round}" for name in "abcd")
        await call.create(message, tasks(ids=[c]), id=b)
        await call.create(message, tasks(ids=[a]), id=d)
        await call.create(tasks(ids=[b]), id=a)
        await call.create(tasks(ids=[d]), id=c)
        await asyncio.gather(
            call("tasks.message", id=b, data=1), there("tasks.message", id=d, data=1)
        )
        ended = [await call.until(id, "FAILED") for id in (a, b, c, d)]
        assert any("form a cycle" in task["error"]["message"] for task in ended)


async def test_outcomes_that_fit_in_no_result_fail_the_stage(
    settings: Settings, call: Calls, executor: HandExecutor
) -> None:
    long = "x" * 200
    count = settings.max_result_bytes // 240
    hook = tasks(
        foreach="[kws.items]",
        task=child({"method": "_TIMER_", "params": {"timer": 0}}, id=f"{long}[index]"),
    )
    made = await call.create(hook, id="p", kws={"items": [0] * count})
    assert made["status"] in ("WAITING", "FAILED")
    assert (await call.until("p", "FAILED"))["error"]["type"] == "result_too_large"


@pytest.mark.slow
async def test_hundreds_of_children_end_in_time_linear_in_them(
    call: Calls, executor: HandExecutor, manager: Manager
) -> None:
    """Each end costs the same, however many are left: counted in statements, not in seconds."""
    asked: dict[int, int] = {}
    store = manager.store
    summary = store.work_summary
    for count in (50, 500):
        looks = 0

        async def counted() -> Any:
            nonlocal looks
            looks += 1
            return await summary()

        store.work_summary = counted  # type: ignore[method-assign]
        items = list(range(count))
        await call.create(tasks(foreach=items, task=child(kws={"n": "[item]"})), id=f"p{count}")
        for _ in range(count):
            await executor.finish(await executor.take())
        (result,) = (await call.until(f"p{count}", "FINISHED"))["result"]
        assert len(result) == count
        asked[count] = looks
    assert asked[500] < 20 * asked[50]


async def test_parents_end_whichever_manager_sees_the_last_child(
    settings: Settings, call: Calls, manager: Manager, executor: HandExecutor
) -> None:
    hooks = [tasks(create=[child(id=f"{p}.{n}") for n in range(5)]) for p in range(20)]
    await asyncio.gather(*(call.create(hook, id=f"p{i}") for i, hook in enumerate(hooks)))

    async def work() -> None:
        while True:
            await executor.finish(await executor.take())

    workers = [asyncio.create_task(work()) for _ in range(8)]

    async def all_ended() -> bool:
        page = await call("tasks.count", conditions={"status": "FINISHED"})
        return bool(page["count"] == 120)

    await wait_until(all_ended, "parents and children have ended")
    for worker in workers:
        worker.cancel()


async def test_a_create_in_doubt_starts_no_child_twice(
    call: Calls, executor: HandExecutor, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = manager.store.transaction
    broken: list[str] = []

    @asynccontextmanager
    async def break_once_it_is_over() -> AsyncIterator[Transaction]:
        async with transaction() as tx:
            yield tx
        rows = await manager.store.tasks(["p"], ALL_SIGHT)
        if "p" in rows and not broken:
            broken.append("connection")
            await executor.call("manager.ping", id=executor.id, capacity=1)
            await executor.finish(await executor.take())
            await call.until("p", "FINISHED")
            raise StoreUnavailable("it broke after the commit", unknown=True)

    monkeypatch.setattr(manager.store, "transaction", break_once_it_is_over)
    unique = {"key": "task"}
    await executor.call("manager.ping", id=executor.id, capacity=0)
    made = await call.create(tasks(create=[child(id="c")]), id="p", unique=unique)
    assert (made["created"], made["status"]) == (True, "FINISHED")
    assert ((await call.get("c"))["status"], executor.assigned.qsize()) == ("FINISHED", 0)
    assert len(await call("tasks.runs", id="c")) == 1
    assert (await call.create(tasks(create=[child()]), id="q", unique=unique))["created"] is True
