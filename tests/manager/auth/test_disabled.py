"""The tasks of a disabled principal are held, and continue when it is enabled again."""

from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import Forbidden, InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.rights import Kind
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until


async def as_(call: Calls, name: str, kind: Kind) -> Calls:
    """Calls with a new token."""
    issued = await database_issuer(call.manager.store).create(TokenOrder(principal=name, kind=kind))
    call.manager.auth.changed()
    admission = await call.manager.auth.admit(issued.token)
    return call.by(Caller(admission.principal))


@pytest.fixture
async def root(call: Calls) -> Calls:
    return await as_(call, "root", Kind.ADMIN)


@pytest.fixture
async def bob(call: Calls, root: Calls) -> Calls:
    return await as_(call, "bob", Kind.USER)


async def disable(root: Calls, disabled: bool = True) -> None:
    await root("principals.update", id="bob", data={"disabled": disabled})


async def held(root: Calls, task_id: str) -> dict[str, Any]:
    """Wait until a task is held, and return it."""
    task: dict[str, Any] = {}

    async def there() -> bool:
        nonlocal task
        task = await root.get(task_id)
        return (task["status"], task["status_reason"]) == ("QUEUED", "paused")

    await wait_until(there, f"{task_id} is held")
    return task


async def test_queued_tasks_are_held_and_those_of_others_run(
    root: Calls, bob: Calls, manager: Manager
) -> None:
    await bob.create("work", id="his")
    await root.create("work", id="hers")
    await disable(root)
    await held(root, "his")
    explained = await root("tasks.explain", id="his")
    assert "the principal bob is disabled" in explained["message"]
    executor = HandExecutor(manager, "e1")
    await executor.connect()
    assert (await executor.take()).id == "hers"
    await disable(root, False)
    assert (await executor.take()).id == "his"


async def test_no_executor_gets_a_task_although_the_manager_does_not_know_yet(
    root: Calls, bob: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bob.create("work", id="his")
    await root.create("work", id="hers")
    monkeypatch.setattr(manager.pauses, "changed", lambda: None)
    await disable(root)
    executor = HandExecutor(manager, "e1")
    await executor.connect()
    assert (await executor.take()).id == "hers"
    assert (await held(root, "his"))["executor_id"] is None


async def test_a_running_task_is_held_before_its_next_stage(
    root: Calls, bob: Calls, executor: HandExecutor
) -> None:
    await bob.create("work", "work", id="his")
    task = await executor.take()
    await disable(root)
    await wait_until(lambda: bool(executor.manager.committer.states.pauses), "it is known")
    await executor.finish(task, 1)
    assert (await held(root, "his"))["result"] == [1]
    await disable(root, False)
    again = await executor.take()
    assert (again.id, again.stage) == ("his", 1)


@pytest.mark.parametrize(
    "task",
    [
        {"every": 1},
        {"commands": [{"method": "_TIMER_", "params": {"timer": 0.3}}, {"method": "work"}]},
    ],
    ids=["schedule", "timer"],
)
async def test_what_comes_due_later_is_held_too(
    root: Calls, bob: Calls, executor: HandExecutor, task: dict[str, Any]
) -> None:
    data = {"id": "his", "commands": [{"method": "work"}], **task}
    await bob("tasks.create", data=data)
    await disable(root)
    await held(root, "his")
    assert executor.assigned.empty()


async def test_a_child_of_a_disabled_principal_is_held(
    root: Calls, bob: Calls, executor: HandExecutor
) -> None:
    await disable(root)
    child = {"id": "child", "commands": [{"method": "work"}]}
    await bob.create({"method": "_TASKS_", "params": {"create": [child]}}, id="his")
    await held(root, "child")


async def test_a_next_task_of_somebody_else_is_not_started(
    root: Calls, bob: Calls, executor: HandExecutor
) -> None:
    await root.create("work", id="hers", delay=3600)
    await bob.create("work", id="his")
    await root("tasks.cancel", id="hers")
    task = await executor.take()
    await root("tasks.update", id="his", data={"next_task": "hers"})
    await disable(root)
    await wait_until(lambda: bool(executor.manager.committer.states.pauses), "it is known")
    await executor.finish(task)
    await root.until("his", "FINISHED")
    assert (await root.get("hers"))["status"] == "FAILED"
    (newest, *_) = await root("tasks.runs", id="hers")
    assert newest["note"] == "skipped: next_task of his, but the owner of that task is disabled"


async def test_nobody_else_ends_the_hold(root: Calls, bob: Calls) -> None:
    await disable(root)
    (pause,) = await root("pauses.list")
    assert (pause["id"], pause["owner"], pause["author"]) == ("owner:bob", "bob", "root")
    with pytest.raises(Forbidden):
        await root("pauses.remove", id="owner:bob")
    with pytest.raises(InvalidParams):
        await root("pauses.add", id="owner:ann", app_name="default", reason="r")
    assert await (await as_(root, "ann", Kind.USER))("pauses.list") == []
    await disable(root)
    await disable(root, False)
    assert await root("pauses.list") == []
