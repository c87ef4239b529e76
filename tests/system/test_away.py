"""Fires that come while no manager is up."""

import signal
import time

import pytest

from kaiju_tasks import Client
from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, SECONDS, Fleet, Json, command, has_status, task


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_loses_no_fire(fleet: Fleet, end: signal.Signals) -> None:
    client = await restart(fleet, end)
    runs = await decided(client, 5)
    moments = [run["scheduled_at"] for run in runs]
    assert moments == [moments[0] + 2 * n for n in range(len(moments))]
    assert {run["status"] for run in runs} == {"FINISHED"}


async def restart(fleet: Fleet, end: signal.Signals) -> Client:
    """Stop a manager between two fires of a task, and start it again after the next fire."""
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client, trace = fleet.client(manager), fleet.file("fires")
    await client.tasks.create(task("cron", command("fire", file=trace), cron="* * * * * */2"))
    await trace.has(1)
    idle = await has_status(client, "cron", "IDLE")
    manager.process.send(end)
    await manager.process.ended(30)
    await wait_until(lambda: time.time() > idle["next_run"], "the next fire comes", SECONDS)
    return fleet.client(await fleet.again(manager))


async def decided(client: Client, count: int) -> list[Json]:
    """The runs of the task, oldest first, when so many fires are decided."""

    async def there() -> list[Json]:
        runs = [run for run in await client.tasks.runs("cron") if run["ended_at"] is not None]
        return sorted(runs, key=lambda run: run["scheduled_at"]) if len(runs) >= count else []

    return await wait_until(there, "the fires are decided", SECONDS)
