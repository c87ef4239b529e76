"""Executors are who they say: their own id, streams and capacity, and nothing of others."""

from typing import Any

import pytest
from msgspec.structs import replace

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import Conflict, Forbidden, NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.rights import ALL_SIGHT, Kind, Principal, Scope
from tests.manager.hand import Calls, HandExecutor, finished, pinging


async def principal_of(manager: Manager, name: str, **scope: Any) -> Principal:
    order = TokenOrder(principal=name, kind=Kind.EXECUTOR, scope=Scope(**scope))
    issued = await database_issuer(manager.store).create(order)
    manager.auth.changed()
    return (await manager.auth.admit(issued.token)).principal


async def executor_of(manager: Manager, id: str, name: str, **scope: Any) -> HandExecutor:
    """The connection of an executor with a token of its own."""
    made = HandExecutor(manager, id)
    made.caller.principal = await principal_of(manager, name, **scope)
    return made


@pytest.mark.parametrize(
    ("id", "app", "scope", "field"),
    [
        ("e9", "orders", {"streams": ("billing",)}, "app_names"),
        ("e9", "default", {"executors": ("x-*",)}, "id"),
        ("manager-7", "default", {}, "id"),
        ("e9", "manager", {}, "app_names"),
    ],
)
async def test_an_executor_beyond_its_rights_is_refused(
    manager: Manager, id: str, app: str, scope: dict[str, Any], field: str
) -> None:
    executor = await executor_of(manager, id, "ex", **scope)
    with pytest.raises(Forbidden) as refused:
        await executor.connect(app=app)
    assert refused.value.data["field"] == field
    assert await manager.store.executors(ALL_SIGHT, [id]) == []


async def test_nobody_takes_the_id_of_a_connected_executor_of_another(manager: Manager) -> None:
    mine, other = [await executor_of(manager, "e1", name) for name in ("ann", "bob")]
    await mine.connect()
    with pytest.raises(Forbidden, match="an executor with the id 'e1' is connected"):
        await other.connect()
    again = await executor_of(manager, "e1", "ann2")
    again.caller.principal = mine.caller.principal
    await again.connect()
    await again.call("manager.suspend_executor", id="e1")
    await other.connect()
    (row,) = await manager.store.executors(ALL_SIGHT, ["e1"])
    assert row.owner == "bob"


async def test_a_second_process_with_the_id_of_a_connected_one_is_refused_and_the_first_goes_on(
    manager: Manager, other_manager: Manager, call: Calls
) -> None:
    first, second = HandExecutor(manager, "e1"), HandExecutor(other_manager, "e1")
    await first.connect(instance="p", host="host7", pid=4021)
    for other in (second, HandExecutor(manager, "e1")):
        with pytest.raises(Conflict, match="'e1' is in use by process 4021 on host7") as refused:
            await other.connect(instance="q")
        assert refused.value.data["field"] == "id"
    async with pinging(first):
        await call.create("work", id="t")
        assert (await first.finish(await first.take())).state == "released"
    await first.cut()
    assert (await second.connect(instance="q"))["status"] == "ACTIVE"
    await second.call("manager.suspend_executor", id="e1")
    assert (await first.connect(instance="p"))["status"] == "ACTIVE"


async def test_an_executor_disconnects_only_itself(manager: Manager) -> None:
    mine, other = [await executor_of(manager, f"e-{name}", name) for name in ("ann", "bob")]
    await mine.connect()
    await other.connect()
    by_post = mine.call.by(mine.caller)
    for call, id in ((other.call, "e-ann"), (by_post, "e-bob")):
        with pytest.raises(Forbidden):
            await call("manager.suspend_executor", id=id)
    statuses = {str(row.status) for row in await manager.store.executors(ALL_SIGHT)}
    assert statuses == {"ACTIVE"}


async def test_another_connection_of_its_principal_keeps_an_executor_whose_loop_is_blocked(
    manager: Manager, call: Calls
) -> None:
    mine = await executor_of(manager, "e1", "ann")
    await mine.connect()
    beside, other, narrow = [HandExecutor(manager, "x") for _ in range(3)]
    beside.caller.principal = mine.caller.principal
    other.caller.principal = await principal_of(manager, "bob")
    narrow.caller.principal = await principal_of(manager, "ann", executors=("e2",))
    by_post = call.by(Caller(mine.caller.principal))
    await beside.call("manager.ping", id="e1", capacity=0)
    assert mine.caller.session is not None
    assert mine.caller.session.capacity == 0
    for stranger in (other.call, narrow.call, by_post):
        with pytest.raises(NotFound):
            await stranger("manager.ping", id="e1", capacity=7)
        with pytest.raises(Forbidden):
            await stranger("manager.suspend_executor", id="e1")
    await beside.call("manager.suspend_executor", id="e1")
    (row,) = await manager.store.executors(ALL_SIGHT, ["e1"])
    assert row.status == "GONE"


async def test_a_capacity_is_cut_to_that_of_the_token(manager: Manager, call: Calls) -> None:
    executor = await executor_of(manager, "e1", "ex", capacity=2)
    for number in range(5):
        await call.create("work", id=f"t{number}")
    await executor.connect()
    await executor.call("manager.ping", id="e1", capacity=50)
    async with pinging(executor):
        first = [await executor.take() for _ in range(2)]
        await executor.finish(first[0])
        await executor.take()
        await executor.finish(first[1])
        await executor.take()
    assert executor.caller.session is not None
    assert len(executor.caller.session.leases) == 2
    (row,) = await manager.store.executors(ALL_SIGHT, ["e1"])
    assert row.capacity == 2


async def test_without_the_nonce_of_a_lease_nobody_reports_for_it(
    manager: Manager, call: Calls
) -> None:
    mine, other = [await executor_of(manager, f"e-{name}", name) for name in ("ann", "bob")]
    await mine.connect()
    await call.create("work", id="t")
    run = await mine.take()
    await other.connect(app="elsewhere")
    report = replace(finished(run, "stolen"), nonce="0" * 16)
    (ack,) = await other.report(report)
    assert ack.state == "stale_lease"
    assert (await call.get("t"))["status"] == "EXECUTED"
    with pytest.raises(Forbidden):
        await other.call("tasks.get", id="t")
