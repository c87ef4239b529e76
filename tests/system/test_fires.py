"""Fires of schedules while managers die and come back."""

import asyncio
import time
from itertools import pairwise
from typing import Any

from kaiju_tasks import Client
from tests.support.ports import free_port
from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, SECONDS, Fleet, ManagerProcess, Trace, command, task

MISFIRES = ("skip", "last", "all")
TASKS = [f"{misfire}-{n}" for misfire in MISFIRES for n in range(5)]


async def test_each_fire_is_decided_once_while_managers_are_killed(team: Fleet) -> None:
    team.settings = PATIENT
    ports = {n: free_port() for n in range(3)}
    managers = await start(team, ports)
    for _ in range(2):
        await team.executor(*managers.values())
    client = team.client(managers[0])
    traces = {id: team.file(id) for id in TASKS}
    first = {}
    for id, trace in traces.items():
        misfire = id.partition("-")[0]
        fire = task(id, command("fire", file=trace), cron="* * * * * */1", misfire=misfire)
        first[id] = (await client.tasks.create(fire))["next_run"]
    for victims in ([0], [1, 2], [0, 1, 2], [2]):
        await two_more(traces[TASKS[0]])
        for victim in victims:
            managers[victim].process.kill()
        managers |= await start(team, {victim: ports[victim] for victim in victims})
    await two_more(traces[TASKS[0]])
    for id, trace in traces.items():
        disabled_at = time.time()
        await client.tasks.update(id, {"enabled": False})
        runs = await all_runs(client, id)
        scheduled = sorted(run["scheduled_at"] for run in runs)
        assert scheduled == [first[id] + n for n in range(len(scheduled))], id
        assert scheduled[-1] > disabled_at - 1, f"{id}: the last fires are forgotten"
        assert {run["status"] for run in runs} <= {"FINISHED", "MISSED"}, id
        done = [run for run in runs if run["status"] == "FINISHED"]
        done.sort(key=lambda run: run["started_at"])
        assert all(one["ended_at"] <= other["started_at"] for one, other in pairwise(done)), id
        ran = [float(line) for line in trace.lines]
        assert sorted(ran) == sorted(run["scheduled_at"] for run in done), id


async def start(team: Fleet, ports: dict[int, int]) -> dict[int, ManagerProcess]:
    """Start managers side by side."""
    started = [team.start_manager(port) for port in ports.values()]
    ready = await asyncio.gather(*(team.ready(manager) for manager in started))
    return dict(zip(ports, ready, strict=True))


async def two_more(trace: Trace) -> None:
    """Wait for two more runs."""
    await trace.has(len(trace.lines) + 2)


async def all_runs(client: Client, id: str) -> list[dict[str, Any]]:
    """A disabled task's runs and missed fires, when the last run has ended."""

    async def ended() -> bool:
        return bool((await client.tasks.get(id))["status"] == "IDLE")

    try:
        await wait_until(ended, f"the last run of {id} has ended", SECONDS)
    except AssertionError as error:
        error.add_note(f"{await client.tasks.get(id)}\n{await client.tasks.explain(id)}")
        raise
    runs: list[dict[str, Any]] = await client.tasks.runs(id)
    return runs
