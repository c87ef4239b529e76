"""Managers and executors that die all the time, and a queue that is emptied all the same."""

import asyncio
import itertools
from collections import Counter
from random import Random

from kaiju_tasks import Client
from kaiju_tasks.errors import Conflict, Unavailable
from tests.system.fleet import (
    ExecutorProcess,
    Fleet,
    Json,
    ManagerProcess,
    call_all,
    command,
    task,
)

PIPELINES = 3_000
SEED = 20
CHURN_SECONDS = 15.0
PAUSE_SECONDS = (0.3, 1.2)
DRAIN_SECONDS = 120.0


async def test_many_pipelines_are_drained_exactly_once_while_everybody_dies(team: Fleet) -> None:
    managers = [await team.manager() for _ in range(3)]
    executors = [await team.executor(*turned(managers, n), concurrency=8) for n in range(3)]
    clients = [team.client(manager) for manager in managers]
    trace = team.file("trace")
    note = command("note", file=trace)
    data = [task(f"{n:04}", note, note, note) for n in range(PIPELINES)]
    holds, gate = team.file("holds"), team.file("gate")
    hold = command("hold", file=holds, gate=gate)
    held = [task(f"held {n}", hold, note, note) for n in range(4)]
    await clients[0].tasks.m_create(held)
    await holds.has(len(held))
    filling = asyncio.create_task(fill(clients, data))
    for at in range(len(executors)):  # whoever holds work now loses it
        restart_executor(team, managers, executors, at)
    gate.touch()
    await churn(team, managers, executors)
    await filling
    client = clients[0]
    async with asyncio.timeout(DRAIN_SECONDS):
        while (await client.tasks.count({"status": "FINISHED"}))["count"] < PIPELINES + len(held):
            await asyncio.sleep(0.1)
    tasks = await call_all(client, [("tasks.get", {"id": one["id"]}) for one in data + held])
    effects = Counter([*trace.lines, *(line.split()[0] for line in holds.lines)])
    calls = [("tasks.stages", {"job_id": one["job_id"]}) for one in tasks]
    lost_in_all = 0
    for one, records in zip(tasks, await call_all(client, calls), strict=True):
        for stage in range(3):
            outcomes = Counter(r["outcome"] for r in records if r["stage"] == stage)
            lost = outcomes["LOST"]
            assert outcomes["FINISHED"] == 1, records
            # What was begun on an executor that died is begun again, and nothing else is.
            assert 1 <= effects.pop(f"{one['job_id']}/{stage}") <= 1 + lost, records
            lost_in_all += lost
    assert not effects
    assert lost_in_all >= len(held)


async def churn(
    fleet: Fleet, managers: list[ManagerProcess], executors: list[ExecutorProcess]
) -> None:
    """Kill or stop one after the other at random and start it again."""
    loop = asyncio.get_running_loop()
    random = Random(SEED)
    until = loop.time() + CHURN_SECONDS
    count = 0
    while loop.time() < until:
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
        count += 1
        if random.random() < 0.4:
            at = random.randrange(len(managers))
            victim = managers[at].process
            victim.kill() if random.random() < 0.7 else victim.terminate()
            await victim.ended(30)
            managers[at] = await fleet.again(managers[at])
        else:
            at = random.randrange(len(executors))
            restart_executor(fleet, managers, executors, at)
    assert count > 5


def restart_executor(
    fleet: Fleet, managers: list[ManagerProcess], executors: list[ExecutorProcess], at: int
) -> None:
    """Kill an executor and start another one in its place."""
    executors[at].process.kill()
    executors[at] = fleet.start_executor(*turned(managers, at), concurrency=8)


def turned(managers: list[ManagerProcess], by: int) -> list[ManagerProcess]:
    """The same managers, another one first."""
    by %= len(managers)
    return managers[by:] + managers[:by]


async def fill(clients: list[Client], data: list[Json]) -> None:
    """Create all tasks during the churn, through whichever manager lives."""
    living = itertools.cycle(clients)
    for start in range(0, len(data), 50):
        while not await stored(next(living), data[start : start + 50]):
            await asyncio.sleep(0.01)
        await asyncio.sleep(CHURN_SECONDS * 0.8 / (len(data) / 50))


async def stored(client: Client, data: list[Json]) -> bool:
    """Whether these tasks are stored for certain."""
    try:
        await client.tasks.m_create(data)
    except Conflict:  # by an earlier try, whose manager died before it could say so
        return True
    except Unavailable:
        return False
    return True
