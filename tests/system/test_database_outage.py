"""PostgreSQL restarted and killed under load: nobody notices more than a pause."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kaiju_tasks import Client
from kaiju_tasks.errors import Unavailable
from tests.support.postgres import PostgresServer
from tests.support.processes import Processes
from tests.system.fleet import (
    PATIENT,
    Fleet,
    Json,
    Trace,
    call_all,
    command,
    ended,
    outcomes,
    task,
)

LEASE_SECONDS = 4.0
TASKS = 60
"""Created in each outage."""


@pytest.fixture
async def outage_fleet(
    processes: Processes, own_postgres_server: PostgresServer, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """A fleet on a database server of its own, with a lease shorter than the longest outage."""
    own_postgres_server.create_database("tasks")
    fleet = Fleet(processes, own_postgres_server.dsn("tasks"), tmp_path)
    fleet.settings = {**PATIENT, "suspend_after_pings": 8, "reconnect_grace": LEASE_SECONDS}
    yield fleet
    await fleet.close()


async def test_a_database_that_restarts_under_load_costs_nobody_anything(
    outage_fleet: Fleet, own_postgres_server: PostgresServer
) -> None:
    fleet = outage_fleet
    managers = [await fleet.manager(), await fleet.manager()]
    executors = [
        await fleet.executor(managers[0], managers[1]),
        await fleet.executor(managers[1], managers[0]),
    ]
    client = fleet.client(managers[0])
    trace, holds, gate = fleet.file("trace"), fleet.file("holds"), fleet.file("gate")
    hold = command("hold", file=holds, gate=gate)
    long = [f"long-{n}" for n in range(8)]
    for id in long:
        await client.tasks.create(task(id, hold, command("note", file=trace)))
    await holds.has(len(long))
    ids = []
    for outage in ("fast", "immediate", "kill", "gone longer than a lease"):
        load = asyncio.create_task(created(client, outage, trace))
        await trace.has(len(trace.lines) + 1)
        await asyncio.to_thread(take_away, own_postgres_server, outage)
        ids += await load
    gate.touch()
    done = [await ended(client, id) for id in [*long, *ids]]
    assert {one["status"] for one in done} == {"FINISHED"}
    await nothing_was_lost(client, done)
    assert len(holds.lines) == len(long)
    assert len(trace.lines) == len(set(trace.lines)) == len(long) + 2 * len(ids)
    for executor in executors:
        assert (await client.executors.get(executor.id))["status"] == "ACTIVE"
    assert len(await client.executors.list()) == len(executors)
    assert len(fleet.living) == len(executors)
    assert [manager.process.exit_code for manager in managers] == [None, None]


def take_away(server: PostgresServer, how: str) -> None:
    """Restart or kill the server."""
    if how == "kill":
        server.kill()
        server.start()
    elif how.startswith("gone"):
        server.stop("immediate")
        time.sleep(LEASE_SECONDS + 0.5)
        server.start()
    else:
        server.restart("fast" if how == "fast" else "immediate")


async def created(client: Client, prefix: str, trace: Trace) -> list[str]:
    """Create tasks one after the other, each as often as it needs."""
    note = command("note", file=trace)
    ids = [f"{prefix} {n}" for n in range(TASKS)]
    for id in ids:
        while not await accepted(client, task(id, note, note)):
            pass
    return ids


async def accepted(client: Client, data: Json) -> bool:
    """Whether a task is stored for certain."""
    try:
        await client.tasks.create(data, on_conflict="ignore")
    except Unavailable:
        await asyncio.sleep(0.05)  # what a client does that must not drown a server
        return False
    return True


async def nothing_was_lost(client: Client, done: list[Json]) -> None:
    """Each task has one run, and no attempt of it was lost."""
    runs = await call_all(client, [("tasks.runs", {"id": one["id"]}) for one in done])
    assert {len(of_task) for of_task in runs} == {1}
    attempts = await call_all(client, [("tasks.stages", {"job_id": one["job_id"]}) for one in done])
    seen = {outcome for records in attempts for outcome in outcomes(records)}
    # A push that the outage cut off is given back before anybody has begun it.
    assert seen <= {"FINISHED", "RELEASED"}
