"""A bulk call of many tasks whose manager dies or hangs in the middle of it."""

import pytest

from kaiju_tasks import Client
from tests.support.wait import wait_until
from tests.system.fleet import SECONDS, Fleet, Json, call_all

TASKS = 2000
RATE = 400
AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}


async def make(client: Client) -> list[str]:
    """Finished tasks, each with one run."""
    ids = [f"task-{n:04}" for n in range(TASKS)]
    for start in range(0, TASKS, 1000):
        await client.tasks.m_create(
            [{"id": id, "commands": [AT_ONCE]} for id in ids[start : start + 1000]]
        )
    await finished(client)
    return ids


async def finished(client: Client) -> None:
    async def all_have() -> bool:
        counted = await client.tasks.count({"status": "FINISHED"})
        return bool(counted["count"] == TASKS)

    await wait_until(all_have, "all tasks have finished", SECONDS)


async def seen(client: Client, bulk_id: str, least: int, state: str) -> Json:
    """Wait until a call has handled so many tasks and is in a state."""

    async def there() -> Json:
        found: Json = await client.bulk.get(bulk_id)
        return found if found["done"] >= least and found["state"] == state else {}

    return await wait_until(there, f"the call is {state} with {least} tasks", SECONDS)


async def test_a_call_goes_on_after_a_restart(fleet: Fleet) -> None:
    manager = await fleet.manager()
    client = fleet.client(manager, retry_seconds=SECONDS)
    ids = await make(client)
    begun = await client.tasks.m_reset({"status": "FINISHED"}, rate=RATE, wait=0)
    await seen(client, begun["bulk_id"], TASKS // 5, "RUNNING")
    manager.process.kill()
    await manager.process.ended()
    await fleet.again(manager)
    over = await seen(client, begun["bulk_id"], TASKS, "FINISHED")
    assert (over["done"], over["refused"], over["pending"]) == (TASKS, 0, 0)
    await finished(client)
    runs = await call_all(client, [("tasks.runs", {"id": id}) for id in ids])
    assert {len(one) for one in runs} == {2}


@pytest.mark.parametrize("hangs", [False, True], ids=["killed", "hangs"])
async def test_every_task_is_handled_exactly_once(team: Fleet, hangs: bool) -> None:
    first, second = await team.manager(), await team.manager()
    begins, watches = team.client(first), team.client(second)
    ids = await make(begins)
    begun = await begins.tasks.m_reset({"status": "FINISHED"}, rate=RATE, wait=0)
    assert (begun["state"], begun["matched"]) == ("RUNNING", TASKS)
    before = await seen(watches, begun["bulk_id"], TASKS // 5, "RUNNING")
    assert before["done"] < TASKS
    if hangs:
        first.process.pause()
    else:
        first.process.kill()
    over = await seen(watches, begun["bulk_id"], TASKS, "FINISHED")
    if hangs:
        first.process.resume()
    assert over["manager_id"] != before["manager_id"]
    counts = ("matched", "done", "changed", "refused", "pending")
    assert [over[name] for name in counts] == [TASKS, TASKS, TASKS, 0, 0]
    await finished(watches)
    runs = await call_all(watches, [("tasks.runs", {"id": id}) for id in ids])
    assert {len(one) for one in runs} == {2}
    (record,) = (await watches.audit.list({"action": "tasks.m_reset"}))["data"]
    assert (record["data"]["done"], record["data"]["state"]) == (TASKS, "FINISHED")
    if hangs:
        assert await begins.bulk.get(begun["bulk_id"]) == over
