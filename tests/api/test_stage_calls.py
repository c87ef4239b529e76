"""`manager.call`: a running stage calls the manager with the rights of its task."""

import asyncio
from typing import Any

import msgspec
import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.api.stage_calls import AT_ONCE
from kaiju_tasks.errors import (
    Conflict,
    Forbidden,
    InvalidParams,
    InvalidRequest,
    KaijuError,
    MethodNotFound,
    NotFound,
    StaleLease,
    TooManyRequests,
)
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.rights import Kind, Principal, Scope
from kaiju_tasks.rpc import Effort
from kaiju_tasks.settings import Settings
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until

Json = dict[str, Any]
WORK: Json = {"commands": [{"method": "later"}], "app_name": "elsewhere"}


class Stage:
    """The calls of a stage that an executor runs."""

    def __init__(self, executor: HandExecutor, assigned: Assignment) -> None:
        self._executor = executor
        self.assigned = assigned
        self.changed: Json = {}

    async def __call__(
        self, method: str, /, call_id: str | None = None, again: bool = False, **params: Any
    ) -> Any:
        token = {name: getattr(self.assigned, name) for name in ("id", "job_id", "epoch", "nonce")}
        call = {**token, "stage": self.assigned.stage, **self.changed}
        self.changed = {}
        return await self._executor.call(
            "manager.call",
            **call,
            call_id=call_id or f"{method}-{id(params)}",
            again=again,
            method=method,
            params=params,
        )

    def but(self, **changed: Any) -> "Stage":
        """Make the next call with other fields."""
        self.changed = changed
        return self


async def begin(call: Calls, executor: HandExecutor, **fields: Any) -> Stage:
    """A stage that runs on an executor."""
    await call.create("parent", **fields)
    return Stage(executor, await executor.take())


async def count(call: Calls) -> int:
    return int((await call("tasks.count"))["count"])


async def user(manager: Manager, name: str, **scope: Any) -> Caller:
    order = TokenOrder(principal=name, kind=Kind.USER, scope=Scope(**scope))
    issued = await database_issuer(manager.store).create(order)
    manager.auth.changed()
    principal: Principal = (await manager.auth.admit(issued.token)).principal
    return Caller(principal, remote="10.0.0.1")


async def test_a_created_task_is_a_child_of_the_task(call: Calls, executor: HandExecutor) -> None:
    stage = await begin(call, executor, id="p", labels={"team": "mail"}, priority=7)
    child = await stage("tasks.create", data={**WORK, "id": "c", "priority": 1})
    assert (child["id"], child["parent_id"], child["created"]) == ("c", "p", True)
    assert child["labels"] == {"team": "mail"}
    one, two = await stage("tasks.m_create", data=[WORK, WORK])
    assert [one["parent_id"], two["parent_id"]] == ["p", "p"]
    assert (await stage("tasks.get", id="c"))["id"] == "c"
    assert (await stage("tasks.cancel", id="c"))["status"] == "FAILED"
    (record,) = (await call("audit.list", conditions={"action": "tasks.cancel"}))["data"]
    assert record["remote"] == f"task:p/{stage.assigned.job_id}/0"


@pytest.mark.parametrize(
    "changed",
    [{"nonce": "x"}, {"epoch": 99}, {"job_id": "x"}, {"id": "nobody"}, {"stage": 1}],
    ids=str,
)
async def test_a_call_under_another_lease_or_stage_is_stale(
    call: Calls, executor: HandExecutor, changed: Json
) -> None:
    stage = await begin(call, executor)
    with pytest.raises(StaleLease):
        await stage.but(**changed)("tasks.create", data=WORK)
    assert await count(call) == 1


async def test_a_lease_of_another_executor_is_stale(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    stage = await begin(call, executor)
    other = HandExecutor(manager, "other")
    await other.connect(app="others")
    with pytest.raises(StaleLease):
        await Stage(other, stage.assigned)("tasks.create", data=WORK)
    with pytest.raises(InvalidRequest):
        await Stage(HandExecutor(manager, "unknown"), stage.assigned)("tasks.create", data=WORK)
    assert await count(call) == 1


async def test_an_ended_lease_calls_nothing(call: Calls, executor: HandExecutor) -> None:
    stage = await begin(call, executor, id="p")
    await executor.finish(stage.assigned)
    with pytest.raises(StaleLease):
        await stage("tasks.create", data=WORK)
    assert await count(call) == 1


@pytest.mark.parametrize("method", ["tasks.create", "tasks.m_create"])
async def test_a_lease_that_ends_before_the_transaction_creates_nothing(
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    stage = await begin(call, executor, id="p")
    name = "create" if method == "tasks.create" else "create_all"
    create = getattr(manager.committer, name)

    async def after_the_revocation(*values: Any) -> Any:
        """The check has passed."""
        monkeypatch.undo()
        await call("tasks.suspend", id="p")
        return await create(*values)

    monkeypatch.setattr(manager.committer, name, after_the_revocation)
    with pytest.raises(StaleLease):
        await stage(method, data=WORK if name == "create" else [WORK, WORK])
    assert await count(call) == 1


async def test_others_are_created_in_the_batch_of_a_stale_lease(
    manager: Manager, call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [await begin(call, executor, id=f"p{n}") for n in range(3)]
    create, waiting, go_on = manager.committer.create, 0, asyncio.Event()

    async def together(draft: Any) -> Any:
        nonlocal waiting
        waiting += 1
        await go_on.wait()
        return await create(draft)

    monkeypatch.setattr(manager.committer, "create", together)
    creates = [
        asyncio.create_task(stage("tasks.create", data={**WORK, "id": f"c{n}"}))
        for n, stage in enumerate(stages)
    ]
    await wait_until(lambda: waiting == 3, "all are checked")
    await call("tasks.suspend", id="p1")
    go_on.set()
    made = await asyncio.gather(*creates, return_exceptions=True)
    assert isinstance(made[1], StaleLease)
    children = [made[0], made[2]]
    assert [task["parent_id"] for task in children if isinstance(task, dict)] == ["p0", "p2"]
    assert await count(call) == 5


async def test_a_repeated_call_creates_and_sends_once(call: Calls, executor: HandExecutor) -> None:
    await call.create({"method": "_MESSAGE_"}, {"method": "_MESSAGE_"}, id="parked")
    stage = await begin(call, executor, id="p")
    first = await stage("tasks.create", "1", data=WORK)
    for again in (False, True):
        repeated = await stage("tasks.create", "1", again, data=WORK)
        assert (repeated["id"], repeated["created"]) == (first["id"], False)
    many = await stage("tasks.m_create", "2", data=[WORK, {**WORK, "id": "named"}])
    repeated = await stage("tasks.m_create", "2", True, data=[WORK, {**WORK, "id": "named"}])
    assert [task["id"] for task in repeated] == [task["id"] for task in many]
    receipts = [await stage("tasks.message", "3", id="parked", data=1) for _ in range(2)]
    assert [receipt["state"] for receipt in receipts] == ["delivered", "duplicate"]
    other = await stage("tasks.create", "4", data=WORK)
    assert other["id"] != first["id"]
    assert await count(call) == 6


async def test_a_repeated_call_finds_the_task_that_it_has_created_with_an_id(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("own", id="theirs")
    stage = await begin(call, executor, id="p")
    data = {**WORK, "id": "c"}
    await stage("tasks.create", "1", data=data)
    again = await stage("tasks.create", "1", True, data=data)
    assert (again["id"], again["created"]) == ("c", False)
    with pytest.raises(Conflict):
        await stage("tasks.create", "2", data=data)
    with pytest.raises(Conflict):  # it is no child of this task
        await stage("tasks.create", "3", True, data={**WORK, "id": "theirs"})
    pair = [{**WORK, "id": "d"}, {**WORK, "id": "e"}]
    await stage("tasks.m_create", "4", data=pair)
    again = await stage("tasks.m_create", "4", True, data=pair)
    assert [task["id"] for task in again] == ["d", "e"]
    with pytest.raises(Conflict):
        await stage("tasks.m_create", "5", True, data=[{**WORK, "id": "f"}, {**WORK, "id": "d"}])
    fresh = await stage("tasks.create", "6", True, data={**WORK, "id": "g"})
    assert fresh["created"]


async def test_stages_call_methods_of_tasks_only(call: Calls, executor: HandExecutor) -> None:
    stage = await begin(call, executor)
    for method in ("system.info", "tokens.list", "manager.ping", "executors.list", "bulk.list"):
        with pytest.raises(Forbidden):
            await stage(method)
    with pytest.raises(MethodNotFound) as refused:
        await stage("tasks.invented")
    assert refused.value.data["method"] == "tasks.invented"
    with pytest.raises(InvalidParams) as wrong:
        await stage("tasks.get", idd=1)
    assert wrong.value.field == "idd"
    with pytest.raises(NotFound):
        await stage("tasks.get", id="nobody")


async def test_a_stage_has_the_rights_of_its_owner_within_those_of_the_token(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    root = await user(manager, "ann")
    narrow = await user(manager, "bob", methods=("parent", "lat*"), streams=("default", "else*"))
    await call.by(root).create("own", id="of-ann", app_name="elsewhere")
    stage = await begin(call.by(narrow), executor, id="p")
    child = await stage("tasks.create", data=WORK)
    assert child["user_id"] == "bob"
    for wrong in ({"commands": [{"method": "x"}]}, {**WORK, "app_name": "third"}):
        with pytest.raises(Forbidden):
            await stage("tasks.create", data=wrong)
    with pytest.raises(NotFound):
        await stage("tasks.get", id="of-ann")
    with pytest.raises(NotFound):
        await stage("tasks.cancel", id="of-ann")


async def test_a_scope_without_stages_lets_stages_call_nothing(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    stage = await begin(call.by(await user(manager, "ann", stages=())), executor)
    with pytest.raises(Forbidden):
        await stage("tasks.create", data=WORK)


async def test_a_disabled_owner_has_no_rights(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    stage = await begin(call.by(await user(manager, "ann")), executor)
    await call("principals.update", id="ann", data={"disabled": True})
    with pytest.raises(KaijuError) as refused:
        await stage("tasks.create", data=WORK)
    assert isinstance(refused.value, Forbidden | StaleLease)
    assert await count(call) == 1


class TestLimits:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, max_family_depth=1, max_family_tasks=3)

    async def test_what_stages_create_is_bounded_in_number_and_depth(
        self, call: Calls, executor: HandExecutor
    ) -> None:
        stage = await begin(call, executor)
        own = {"commands": [{"method": "child"}]}
        await stage("tasks.create", data=own)
        below = Stage(executor, await executor.take())
        with pytest.raises(TooManyRequests) as deep:
            await below("tasks.create", data=WORK)
        assert deep.value.data["type"] == "too_many_tasks"
        await stage("tasks.m_create", data=[WORK, WORK])
        with pytest.raises(TooManyRequests) as many:
            await stage("tasks.create", data=WORK)
        assert many.value.data["type"] == "too_many_tasks"


async def test_a_call_is_work_for_which_the_executor_does_not_rest(
    call: Calls, executor: HandExecutor
) -> None:
    stage = await begin(call, executor, id="p")
    effort = Effort()
    await effort.measure(stage("tasks.get", id="p"))
    assert effort.useful
    refused = Effort()
    with pytest.raises(StaleLease):
        await refused.measure(stage.but(nonce="x")("tasks.get", id="p"))
    assert not refused.useful


async def test_waits_hold_up_no_other_call(call: Calls, executor: HandExecutor) -> None:
    stage = await begin(call, executor)
    await call.create("never", app_name="elsewhere", id="w")
    waits = [
        asyncio.create_task(stage("tasks.wait", f"w{n}", id="w", timeout=60))
        for n in range(AT_ONCE * 3)
    ]
    await wait_until(lambda: len(call.manager.waiters) >= len(waits), "all wait")
    assert (await stage("tasks.create", data=WORK))["created"]
    await call("tasks.cancel", id="w")
    for task in await asyncio.gather(*waits):
        assert task["status"] == "FAILED"


async def test_a_wait_ends_with_the_lease(call: Calls, executor: HandExecutor) -> None:
    stage = await begin(call, executor, id="p")
    await call.create("never", app_name="elsewhere", id="w")
    wait = asyncio.create_task(stage("tasks.wait", id="w", timeout=60))
    await wait_until(lambda: len(call.manager.waiters) == 1, "it waits")
    await call("tasks.suspend", id="p")
    async with asyncio.timeout(45):
        assert (await wait)["status"] == "QUEUED"


async def test_a_stage_does_not_wait_for_its_own_task(call: Calls, executor: HandExecutor) -> None:
    stage = await begin(call, executor, id="p")
    with pytest.raises(InvalidParams):
        await stage("tasks.wait", id="p", timeout=60)


async def test_too_many_waits_are_refused(
    call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaiju_tasks.api.stage_calls.WAITS_EACH", 2)
    stage = await begin(call, executor)
    await call.create("never", app_name="elsewhere", id="w")
    waits = [
        asyncio.create_task(stage("tasks.wait", f"w{n}", id="w", timeout=60)) for n in range(2)
    ]
    await wait_until(lambda: len(call.manager.waiters) == 2, "both wait")
    with pytest.raises(TooManyRequests) as refused:
        await stage("tasks.wait", "third", id="w", timeout=60)
    assert refused.value.data["retry_after"] == 1
    await call("tasks.cancel", id="w")
    await asyncio.gather(*waits)
    assert (await stage("tasks.wait", "fourth", id="w", timeout=60))["status"] == "FAILED"
