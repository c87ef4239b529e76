"""Commands and `kws` of a run that is open: when they can change, and what stays as it is."""

from typing import Any

import pytest

from kaiju_tasks.errors import Conflict, Forbidden
from kaiju_tasks.rights import Kind
from tests.api.test_rights import as_, failure
from tests.manager.hand import Calls, HandExecutor

ONE, TWO, NEW = {"method": "one"}, {"method": "two"}, {"method": "new"}
HOOK = {"method": "_MESSAGE_", "params": {"name": "go"}}


async def at_hook(call: Calls, executor: HandExecutor, hook: Any = HOOK, **fields: Any) -> None:
    """A task `t` that waits at its second stage, a hook."""
    await call("tasks.create", data={"id": "t", "commands": [ONE, hook, TWO], **fields})
    await executor.finish(await executor.take(), 1)
    await call.until("t", "WAITING")


async def suspended(call: Calls, executor: HandExecutor) -> str:
    """A task `t` that is held before its second stage. Returns the job_id."""
    await call("tasks.create", data={"id": "t", "commands": [ONE, TWO], "max_retries": 1})
    assignment = await executor.take()
    await executor.finish(assignment, 1, 0)
    await call("tasks.suspend", id="t")
    return assignment.job_id


async def test_a_run_that_waits_at_a_hook_goes_on_with_other_commands(
    call: Calls, executor: HandExecutor
) -> None:
    await at_hook(call, executor)
    job_id = (await call.get("t"))["job_id"]
    change = {"commands": [ONE, HOOK, NEW, TWO], "kws": {"n": 5}}
    task = await call("tasks.update", id="t", data=change, reason="add a check")
    assert (task["status"], task["stage"], task["stages"], task["rev"]) == ("WAITING", 1, 4, 2)
    assert task["job_id"] == job_id
    assert (await call("tasks.runs", id="t"))[0]["note"] == (
        "commands and kws changed from stage 2 on by rev 2"
    )
    await call("tasks.message", id="t", data="go on", name="go")
    assignment = await executor.take()
    assert [command.method for command in assignment.commands] == ["new", "two"]
    assert bytes(assignment.kws) == b'{"n":5}'
    await executor.finish(assignment, 2, 2)
    await executor.finish(assignment, 3, 3)
    done = await call.until("t", "FINISHED")
    assert done["result"] == [1, "go on", 2, 3]
    (run,) = await call("tasks.runs", id="t")
    assert (run["note"], run["rev"]) == ("commands and kws changed from stage 2 on by rev 2", 2)
    assert [one["rev"] for one in await call("tasks.stages", job_id=job_id)] == [1, 2, 2, 2]
    record = (await call("audit.list"))["data"][0]
    assert record["data"] == {"fields": ["commands", "kws"], "reason": "add a check"}


async def test_a_suspended_run_goes_on_with_other_commands(
    call: Calls, executor: HandExecutor
) -> None:
    job_id = await suspended(call, executor)
    await call("tasks.update", id="t", data={"commands": [ONE, NEW]})
    await call("tasks.update", id="t", data={"kws": {"n": 1}})
    await call("tasks.resume", id="t")
    assignment = await executor.take()
    assert [command.method for command in assignment.commands] == ["new"]
    assert assignment.job_id == job_id
    await executor.finish(assignment, 2)
    await call.until("t", "FINISHED")
    assert (await call("runs.get", job_id=job_id))["note"] == (
        "commands changed from stage 1 on by rev 2; kws changed from stage 1 on by rev 3"
    )
    await call("tasks.run_now", id="t")
    await executor.take()
    assert (await call("tasks.runs", id="t"))[0]["note"] is None


async def test_a_hook_before_which_a_task_is_held_is_taken_up_again(
    call: Calls, executor: HandExecutor
) -> None:
    await at_hook(call, executor)
    await call("tasks.suspend", id="t")
    await call("tasks.update", id="t", data={"commands": [ONE, HOOK, NEW]})
    await call("tasks.message", id="t", data=2, name="go")
    await call("tasks.resume", id="t")
    assert [command.method for command in (await executor.take()).commands] == ["new"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a finished stage": ({"commands": [NEW, HOOK, TWO]}, "commands.0"),
    "the hook": ({"commands": [ONE, {**HOOK, "max_timeout": 5}, TWO]}, "commands.1"),
    "fewer stages": ({"commands": [ONE]}, "commands.1"),
    "a name of a finished stage": ({"commands": [{**ONE, "name": "x"}, HOOK]}, "commands.0"),
    "the stream": ({"app_name": "other"}, "app_name"),
    "the slot": ({"concurrency": {"key": "k", "limit": 1}}, "concurrency"),
    "the key": ({"unique": {"key": "k"}}, "unique"),
}


@pytest.mark.parametrize(("data", "field"), REFUSED.values(), ids=REFUSED)
async def test_what_has_begun_stays_as_it_is(
    call: Calls, executor: HandExecutor, data: dict[str, Any], field: str
) -> None:
    await at_hook(call, executor)
    refused = await failure(call, "tasks.update", {"id": "t", "data": data})
    assert (refused.code, refused.data["field"]) == (Conflict.code, field)
    assert refused.data["status"] == "WAITING"
    task = await call.get("t")
    assert (task["rev"], task["commands"]) == (
        1,
        [{**c, "params": c.get("params", {})} for c in (ONE, HOOK, TWO)],
    )


async def test_equal_commands_in_another_spelling_have_not_changed(
    call: Calls, executor: HandExecutor
) -> None:
    hook = {"method": "_MESSAGE_", "params": {"name": "go", "default": {"a": 1, "b": 2}}}
    await at_hook(call, executor, {**hook, "max_timeout": 600})
    turned = {"params": {"default": {"b": 2, "a": 1}, "name": "go"}, "method": "_MESSAGE_"}
    changed = {"commands": [ONE, {**turned, "max_timeout": 600}, NEW]}
    assert (await call("tasks.update", id="t", data=changed))["rev"] == 2


async def test_kws_that_the_hook_reads_stay_as_they_are(
    call: Calls, executor: HandExecutor
) -> None:
    hook = {"method": "_MESSAGE_", "params": {"name": "[kws.name]"}}
    await at_hook(call, executor, hook, kws={"name": "go"})
    refused = await failure(call, "tasks.update", {"id": "t", "data": {"kws": {"name": "stop"}}})
    assert (refused.code, refused.data["field"]) == (Conflict.code, "kws")
    await call("tasks.update", id="t", data={"commands": [ONE, hook, NEW]})
    await call("tasks.message", id="t", data=1, name="go")
    assert (await executor.take()).commands[0].method == "new"


async def test_the_stage_that_is_next_must_be_left(call: Calls, executor: HandExecutor) -> None:
    await suspended(call, executor)
    refused = await failure(call, "tasks.update", {"id": "t", "data": {"commands": [ONE]}})
    assert (refused.code, refused.data["field"]) == (Conflict.code, "commands")


async def test_a_run_that_could_be_executed_does_not_change(
    call: Calls, executor: HandExecutor
) -> None:
    change = {"id": "t", "data": {"commands": [ONE, NEW]}}
    await call("tasks.create", data={"id": "t", "commands": [ONE, TWO], "max_retries": 1})
    assignment = await executor.take()
    for _ in range(2):  # EXECUTED, and IDLE until its retry
        refused = await failure(call, "tasks.update", change)
        assert (refused.code, refused.data["field"]) == (Conflict.code, "commands")
        await call("tasks.update", id="t", data={"retry_delay": 600})
        await executor.fail(assignment)
    await call("tasks.suspend", id="t")
    assert (await call("tasks.update", **change))["stages"] == 2


async def test_the_slot_of_a_run_is_that_of_its_present_kws(
    call: Calls, executor: HandExecutor
) -> None:
    limit = {"key": "[kws.who]", "limit": 1}

    async def used() -> tuple[int, int]:
        return await call.manager.store.slot_used("a"), await call.manager.store.slot_used("b")

    commands = [ONE, HOOK, TWO]
    await call.create(*commands, id="t", kws={"who": "a"}, concurrency=limit)
    await executor.finish(await executor.take())
    await call.until("t", "WAITING")
    await call.create("one", id="b", kws={"who": "b"}, concurrency=limit)
    holder = await executor.take()
    assert await used() == (0, 1)
    await call("tasks.update", id="t", data={"kws": {"who": "b"}})
    assert await used() == (0, 1)
    await call("tasks.message", id="t", data=1, name="go")
    await call.create("one", id="a", kws={"who": "a"}, concurrency=limit)
    other = await executor.take()  # t waits for b
    assert other.id == "a"
    assert await used() == (1, 1)
    await executor.finish(holder)
    assert (await executor.take()).id == "t"
    assert await used() == (1, 1)
    await executor.finish(other)
    await call("tasks.suspend", id="t")
    assert await used() == (0, 0)
    await call("tasks.update", id="t", data={"kws": {"who": "a"}})
    await call("tasks.resume", id="t")
    again = await executor.take()
    assert await used() == (1, 0)
    await executor.finish(again, None, 2)
    assert await used() == (0, 0)


async def test_the_unique_key_of_a_run_is_that_of_its_present_kws(
    call: Calls, executor: HandExecutor
) -> None:
    unique = {"key": "[kws.who]", "scope": "active", "on_conflict": "reuse"}
    await call.create(ONE, HOOK, TWO, id="t", kws={"who": "a"}, unique=unique)
    await executor.finish(await executor.take(), 1)
    await call.until("t", "WAITING")
    await call.create(ONE, id="held", kws={"who": "c"}, unique=unique, delay=600)
    with pytest.raises(Conflict, match="held"):
        await call("tasks.update", id="t", data={"kws": {"who": "c"}})
    await call("tasks.update", id="t", data={"kws": {"who": "b"}})
    found = await call.create(ONE, kws={"who": "b"}, unique=unique, delay=600)
    assert (found["id"], found["created"]) == ("t", False)
    free = await call.create(ONE, id="a", kws={"who": "a"}, unique=unique, delay=600)
    assert free["created"] is True


async def test_a_replacement_never_changes_an_open_run(call: Calls, executor: HandExecutor) -> None:
    await at_hook(call, executor)
    data = {"id": "t", "commands": [ONE, HOOK, NEW]}
    refused = await failure(call, "tasks.create", {"data": data, "on_conflict": "replace"})
    assert (refused.code, refused.data["field"]) == (Conflict.code, "commands")


async def test_only_its_owner_and_admins_change_what_a_run_does(
    call: Calls, executor: HandExecutor
) -> None:
    ann = await as_(call, "ann", Kind.USER)
    operator = await as_(call, "olga", Kind.OPERATOR)
    admin = await as_(call, "root", Kind.ADMIN)
    await at_hook(ann, executor)
    change = {"id": "t", "data": {"commands": [ONE, HOOK, NEW]}}
    assert (await failure(operator, "tasks.update", change)).code == Forbidden.code
    assert (await ann("tasks.update", **change))["rev"] == 2
    assert (await admin("tasks.update", id="t", data={"kws": {"n": 1}}))["rev"] == 3


async def test_results_of_earlier_stages_are_there_for_a_hook_that_was_added(
    call: Calls, executor: HandExecutor
) -> None:
    await suspended(call, executor)
    hook = {"method": "_TIMER_", "params": {"timer": "[0]"}}
    later = {"method": "_MESSAGE_", "params": {"default": "[0]"}, "max_timeout": 600}
    await call("tasks.update", id="t", data={"commands": [ONE, later, NEW, hook]})
    await call("tasks.resume", id="t")
    await call.until("t", "WAITING")
    await call("tasks.message", id="t", data=2)
    await executor.finish(await executor.take(), 3)
    done = await call.until("t", "FINISHED")
    assert done["result"] == [1, 2, 3, None]
