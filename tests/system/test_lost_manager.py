"""Managers that die or are stopped, alone and with an executor."""

import time

from kaiju_tasks import Client
from tests.support.wait import wait_until
from tests.system.fleet import (
    PATIENT,
    QUICK,
    SECONDS,
    Fleet,
    command,
    ended,
    has_status,
    history,
    outcomes,
    task,
)

LEASE_SECONDS = QUICK["ping_interval"] * QUICK["suspend_after_pings"]


async def test_executors_of_a_killed_manager_go_on_at_another_one(team: Fleet) -> None:
    team.settings = PATIENT
    first, second = await team.manager(), await team.manager()
    executor = await team.executor(first, second)
    client = team.client(second)
    holds, trace, gate = team.file("holds"), team.file("trace"), team.file("gate")
    running = command("hold", file=holds, gate=gate)
    note = command("note", file=trace)
    ids = [f"task-{n}" for n in range(5)]
    for id in ids:
        await client.tasks.create(task(id, note, running, note))
    await client.tasks.create(task("later", note, delay=2))
    await holds.has(len(ids))
    assert (await client.executors.get(executor.id))["manager_id"] != await manager_id(client)
    first.process.kill()
    await comes_to(client, executor.id)
    gate.touch()
    for id in [*ids, "later"]:
        done = await ended(client, id)
        assert done["status"] == "FINISHED"
        records = await history(client, done)
        assert set(outcomes(records)) == {"FINISHED"}
        assert {r["executor_id"] for r in records} == {executor.id}
    assert len(holds.lines) == len(ids)
    assert len(trace.lines) == len(set(trace.lines)) == 2 * len(ids) + 1


async def test_a_manager_and_its_executor_killed_together_cost_no_more_than_the_lease(
    team: Fleet,
) -> None:
    first, second = await team.manager(), await team.manager()
    both = await team.executor(first)
    other = await team.executor(second)
    client = team.client(second)
    await client.executors.drain(other.id)
    trace, holds, gate = team.file("trace"), team.file("holds"), team.file("gate")
    hold = command("hold", file=holds, gate=gate)
    await client.tasks.create(task("a", command("note", file=trace), hold))
    await holds.has(1)
    await client.executors.resume(other.id)
    killed_at = time.time()
    first.process.kill()
    both.process.kill()
    await holds.has(2)
    gate.touch()
    done = await ended(client, "a")
    records = await history(client, done)
    assert outcomes(records) == ["FINISHED", "LOST", "FINISHED"]
    assert [r["executor_id"] for r in records] == [both.id, both.id, other.id]
    assert records[-1]["started_at"] - killed_at < 2 * LEASE_SECONDS
    assert len(trace.lines) == 1


async def test_executors_leave_a_manager_that_hangs_and_it_does_no_harm_when_it_wakes(
    team: Fleet,
) -> None:
    team.settings = PATIENT
    first, second = await team.manager(), await team.manager()
    executor = await team.executor(first, second)
    client = team.client(second)
    holds, trace, gate = team.file("holds"), team.file("trace"), team.file("gate")
    hold = command("hold", file=holds, gate=gate)
    note = command("note", file=trace)
    await client.tasks.create(task("a", hold, note))
    await holds.has(1)
    first.process.pause()
    await comes_to(client, executor.id)
    gate.touch()
    done = await ended(client, "a")
    await client.tasks.create(task("b", note))
    await ended(client, "b")
    first.process.resume()
    woken = team.client(first)
    await woken.tasks.create(task("c", note))
    for id in ("a", "b", "c"):
        done = await ended(woken, id)
        records = await history(woken, done)
        assert set(outcomes(records)) == {"FINISHED"}
        assert {r["executor_id"] for r in records} == {executor.id}
    assert (len(holds.lines), len(trace.lines)) == (1, 3)


async def test_a_stopped_manager_exits_with_0_and_its_executor_comes_back_with_its_work(
    fleet: Fleet,
) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    executor = await fleet.executor(manager)
    client = fleet.client(manager)
    holds, trace, gate = fleet.file("holds"), fleet.file("trace"), fleet.file("gate")
    hold = command("hold", file=holds, gate=gate)
    await client.tasks.create(task("ends-later", hold, command("note", file=trace)))
    away = command("hold", file=holds, gate=fleet.file("away"))
    await client.tasks.create(task("ends-meanwhile", away, command("note", file=trace)))
    await holds.has(2)
    manager.process.terminate()
    assert await manager.process.ended(30) == 0
    fleet.file("away").touch()
    again = await fleet.again(manager)
    await fleet.connected(again, executor)
    meanwhile = await ended(client, "ends-meanwhile")
    assert (await client.tasks.get("ends-later"))["executor_id"] == executor.id
    gate.touch()
    later = await ended(client, "ends-later")
    for done in (meanwhile, later):
        assert done["status"] == "FINISHED"
        assert outcomes(await history(client, done)) == ["FINISHED", "FINISHED"]
    assert (len(holds.lines), len(trace.lines)) == (2, 2)
    assert executor.process.exit_code is None


async def test_what_stood_in_the_database_goes_on_after_a_kill(fleet: Fleet) -> None:
    manager = await fleet.manager()
    client = fleet.client(manager)
    trace = fleet.file("trace")
    note = command("note", file=trace)
    timer = {"method": "_TIMER_", "params": {"timer": 0.5}}
    message = {"method": "_MESSAGE_", "params": {}}
    await client.tasks.create(task("queued", note))
    await client.tasks.create(task("timer", timer, note))
    await client.tasks.create(task("message", message, note))
    await client.tasks.create(task("delayed", note, delay=0.5))
    await client.tasks.create(task("early", command("echo"), message, note))
    assert (await client.tasks.message("early", 1))["state"] == "buffered"
    manager.process.kill()
    again = await fleet.again(manager)
    await fleet.executor(again)
    await has_status(client, "message", "WAITING")
    assert (await client.tasks.message("message", {"word": "go"}))["state"] == "delivered"
    for id in ("queued", "timer", "message", "delayed", "early"):
        done = await ended(client, id)
        assert done["status"] == "FINISHED"
        assert f"{done['job_id']}/{done['stages'] - 1}" in trace.lines
    assert (await client.tasks.get("early"))["result"][1] == 1
    assert len(trace.lines) == 5


async def comes_to(client: Client, executor_id: str) -> None:
    """Wait until an executor is connected to the manager that this client asks."""
    here = await manager_id(client)

    async def came() -> bool:
        return bool((await client.executors.get(executor_id))["manager_id"] == here)

    await wait_until(came, f"{executor_id} is connected to {here}", SECONDS)


async def manager_id(client: Client) -> str:
    """The manager that this client asks."""
    info = await client.system.info()
    return str(info["manager_id"])
