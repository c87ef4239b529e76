"""Webhooks of managers that die or are stopped."""

from typing import Any

from kaiju_tasks import Client
from tests.support.wait import wait_until
from tests.system.fleet import SECONDS, Fleet, Json, ended
from tests.system_executor.receiver import Receiver, receiving

COUNT = 20
"""More than the calls that are open at once: some deliveries are under way, some are not."""
OPEN = 16


async def end_tasks(client: Client, receiver: Receiver, count: int = COUNT) -> list[str]:
    """Let tasks end; their deliveries."""
    timer = {"method": "_TIMER_", "params": {"timer": 0}}
    hook = {"url": receiver.url}
    made: list[Json] = await client.tasks.m_create(
        [{"id": f"task-{n}", "commands": [timer], "webhook": hook} for n in range(count)]
    )
    return [f"webhook:{task['job_id']}" for task in made]


async def all_delivered(client: Client, receiver: Receiver, ids: list[str]) -> None:
    deliveries: list[Any] = [await ended(client, id) for id in ids]
    assert {d["status"] for d in deliveries} == {"FINISHED"}, deliveries
    assert set(receiver.accepted) == set(ids)
    assert {call.id for call in receiver.calls} == set(ids)
    received = {call.json["task_id"] for call in receiver.calls}
    assert received == {f"task-{n}" for n in range(len(ids))}


async def test_a_manager_killed_before_it_has_delivered_delivers_when_it_is_back(
    fleet: Fleet,
) -> None:
    manager = await fleet.manager()
    async with receiving() as receiver:
        receiver.gate.clear()
        ids = await end_tasks(fleet.client(manager), receiver)
        await wait_until(lambda: len(receiver.calls) == OPEN, "calls are under way", SECONDS)
        manager.process.kill()
        receiver.gate.set()
        again = await fleet.again(manager)
        await all_delivered(fleet.client(again), receiver, ids)


async def test_another_manager_delivers_for_one_that_was_killed(team: Fleet) -> None:
    first, second = await team.manager(), await team.manager()
    async with receiving() as receiver:
        receiver.gate.clear()
        ids = await end_tasks(team.client(first), receiver)
        await wait_until(lambda: len(receiver.calls) == OPEN, "calls are under way", SECONDS)
        first.process.kill()
        receiver.gate.set()
        await all_delivered(team.client(second), receiver, ids)


async def test_a_stopped_manager_hears_the_answers_to_its_calls(fleet: Fleet) -> None:
    manager = await fleet.manager()
    async with receiving() as receiver:
        receiver.gate.clear()
        ids = await end_tasks(fleet.client(manager), receiver)
        await wait_until(lambda: len(receiver.calls) == OPEN, "calls are under way", SECONDS)
        manager.process.terminate()
        await manager.process.logged("stopping", SECONDS)
        receiver.gate.set()
        assert await manager.process.ended(30) == 0
        again = await fleet.again(manager)
        await all_delivered(fleet.client(again), receiver, ids)
        assert len(receiver.calls) == COUNT
