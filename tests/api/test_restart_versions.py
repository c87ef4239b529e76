"""Runs that start again with an earlier version of their task's definition."""

from typing import Any

import pytest
from msgspec.structs import replace

from kaiju_tasks.errors import Conflict, InvalidParams, NotFound
from kaiju_tasks.rights import ALL_SIGHT, Kind
from tests.api.test_rights import as_, failure
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until

TWO = [{"method": "one", "name": "one"}, {"method": "two"}]


async def failed_at_two(call: Calls, executor: HandExecutor, **fields: Any) -> None:
    """A task `t` whose run has failed at its second stage."""
    await call("tasks.create", data={"id": "t", "commands": TWO, **fields})
    assignment = await executor.take()
    await executor.finish(assignment, {"n": 1}, 0)
    await executor.fail(replace(assignment, stage=1))
    await call.until("t", "FAILED")


async def test_a_run_starts_again_with_an_earlier_version(
    call: Calls, executor: HandExecutor
) -> None:
    await failed_at_two(call, executor, kws={"n": 1}, max_retries=0)
    bad = [TWO[0], {"method": "bad"}]
    change = {"commands": bad, "kws": {"n": 2}, "retry_delay": 5, "priority": 2, "notify": True}
    await call("tasks.update", id="t", data=change)
    task = await call("tasks.restart_from", id="t", stage=1, version=1, reason="rev 2 is broken")
    assert (task["rev"], task["kws"], task["retry_delay"]) == (3, {"n": 1}, 0)
    assert (task["priority"], task["notify"]) == (2, True)  # they do not change what a run does
    again = await executor.take()
    assert [command.method for command in again.commands] == ["two"]
    await executor.finish(again, "done")
    done = await call.until("t", "FINISHED")
    assert done["result"] == [{"n": 1}, "done"]
    newest = (await call("tasks.versions", id="t"))[0]
    assert newest["changed"] == ["commands", "kws", "retry_delay"]
    assert newest["reason"] == "rev 2 is broken"
    assert [run["rev"] for run in await call("tasks.runs", id="t")] == [3, 1]
    record = (await call("audit.list"))["data"][0]
    assert record["data"] == {"stage": 1, "version": 1, "reason": "rev 2 is broken"}


async def test_a_run_starts_again_at_the_stage_that_has_failed(
    call: Calls, executor: HandExecutor
) -> None:
    await failed_at_two(call, executor)
    assert (await call("tasks.restart_from", id="t", stage="failed"))["stage"] == 1
    again = await executor.take()
    assert [command.method for command in again.commands] == ["two"]
    with pytest.raises(Conflict, match="the last run has not failed") as refused:
        await call("tasks.restart_from", id="t", stage="failed")
    assert refused.value.data["status"] == "EXECUTED"
    await executor.fail(again)
    await call.until("t", "FAILED")
    named = [{**TWO[0], "name": "failed"}, TWO[1]]
    await call("tasks.update", id="t", data={"commands": named})
    assert (await call("tasks.restart_from", id="t", stage="failed", version=1))["stage"] == 1
    await executor.fail(await executor.take())
    await call.until("t", "FAILED")
    await call("tasks.update", id="t", data={"commands": named})
    assert (await call("tasks.restart_from", id="t", stage="failed"))["stage"] == 0


async def test_the_current_version_makes_no_new_one(call: Calls, executor: HandExecutor) -> None:
    await failed_at_two(call, executor)
    task = await call("tasks.restart_from", id="t", stage="one", version=1)
    assert task["rev"] == 1
    assert [command.method for command in (await executor.take()).commands] == ["one", "two"]


async def test_hooks_of_an_earlier_version_read_results_that_were_not_loaded_before(
    call: Calls, executor: HandExecutor
) -> None:
    hook = {"method": "_MESSAGE_", "params": {"name": "[one.n]"}}
    await call("tasks.create", data={"id": "t", "commands": [TWO[0], hook]})
    await executor.finish(await executor.take(), {"n": "paid"})
    await call.until("t", "WAITING")
    await call("tasks.cancel", id="t")
    await call("tasks.update", id="t", data={"commands": TWO})
    await call("tasks.restart_from", id="t", stage=1, version=1)
    await call.until("t", "WAITING")
    await call("tasks.message", id="t", data=7, name="paid")
    done = await call.until("t", "FINISHED")
    assert done["result"] == [{"n": "paid"}, 7]


async def test_names_and_numbers_are_those_of_the_version(
    call: Calls, executor: HandExecutor
) -> None:
    await failed_at_two(call, executor)
    three = [TWO[0], {"method": "other", "name": "other"}, {"method": "two"}]
    await call("tasks.update", id="t", data={"commands": three[:1]})
    await call("tasks.update", id="t", data={"commands": three})
    for stage, version, field in (("other", 1, "stage"), (1, 2, "stage"), (0, 9, "version")):
        refused = await failure(
            call, "tasks.restart_from", {"id": "t", "stage": stage, "version": version}
        )
        assert (refused.code, refused.data["field"]) == (InvalidParams.code, field), stage
    assert (await call("tasks.restart_from", id="t", stage="other", version=3))["stage"] == 1


async def test_a_slot_of_the_replaced_version_is_freed(call: Calls, executor: HandExecutor) -> None:
    limit = {"key": "[kws.k]", "limit": 1}
    await call.create("one", id="t", kws={"k": "b"}, concurrency=limit, delay=600)
    await call("tasks.update", id="t", data={"kws": {"k": "a"}})
    await call("tasks.run_now", id="t")
    await executor.take()
    await call.create("one", id="u", kws={"k": "a"}, concurrency=limit)

    async def waits() -> bool:
        return bool((await call.get("u"))["status_reason"] == "concurrency")

    await wait_until(waits, "u waits for the slot")
    await call("tasks.restart_from", id="t", stage=0, version=1)
    taken = {(await executor.take()).id, (await executor.take()).id}
    assert taken == {"t", "u"}


async def test_an_operator_restarts_with_what_the_owner_had_defined_then(
    call: Calls, executor: HandExecutor
) -> None:
    ann = await as_(call, "ann", Kind.USER, methods=["one"])
    wide = await as_(call, "ann", Kind.USER)
    operator = await as_(call, "olga", Kind.OPERATOR)
    await ann.create("one", id="t", delay=600)
    await wide("tasks.update", id="t", data={"commands": [{"method": "two"}]})
    task = await operator("tasks.restart_from", id="t", stage=0, version=1)
    assert task["user_id"] == "ann"
    assert (await executor.take()).commands[0].method == "one"
    store = call.manager.store
    first = (await store.versions("t", ALL_SIGHT, before=2, limit=1))[0]
    current = (await store.tasks(["t"], ALL_SIGHT))["t"].definition
    assert current.token_id == first.token_id
    refused = await failure(ann, "tasks.restart_from", {"id": "t", "stage": 0, "version": 2})
    assert refused.data["field"] == "version.commands.0.method"


async def test_who_does_not_see_a_task_is_not_told_its_versions(call: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    bob = await as_(call, "bob", Kind.USER)
    await ann.create("one", id="t", delay=600)
    refused = await failure(bob, "tasks.restart_from", {"id": "t", "stage": 0, "version": 7})
    assert refused.code == NotFound.code
