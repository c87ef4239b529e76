"""Managers and executors that die all the time, and a queue that is emptied all the same."""

import asyncio
from collections import Counter

from tests.system.churn import Churn, all_ended, fill
from tests.system.fleet import Fleet, call_all, command, task

PIPELINES = 1_000
SEED = 20
CHURN_SECONDS = 15.0
DRAIN_SECONDS = 120.0


async def test_many_pipelines_are_drained_exactly_once_while_everybody_dies(team: Fleet) -> None:
    churn = await Churn.begin(team, managers=3, executors=3, seed=SEED)
    client = churn.clients[0]
    trace = team.file("trace")
    note = command("note", file=trace)
    data = [task(f"{n:04}", note, note, note) for n in range(PIPELINES)]
    holds, gate = team.file("holds"), team.file("gate")
    hold = command("hold", file=holds, gate=gate)
    held = [task(f"held {n}", hold, note, note) for n in range(4)]
    await client.tasks.m_create(held)
    await holds.has(len(held))
    filling = asyncio.create_task(fill(churn.clients, data, CHURN_SECONDS * 0.8))
    for at in range(len(churn.executors)):  # whoever holds work now loses it
        churn.restart_executor(at)
    gate.touch()
    await churn.go_on(CHURN_SECONDS)
    await filling
    await all_ended(client, PIPELINES + len(held), DRAIN_SECONDS)
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
