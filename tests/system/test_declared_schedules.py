"""Executors of two versions that declare the same schedule, with processes and sockets."""

from kaiju_tasks import Client
from kaiju_tasks.errors import NotFound
from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, SECONDS, Fleet, Json

OLD, NEW = "tests.system.declaring:old", "tests.system.declaring:new"
APART = "schedule nightly: older"


async def has_cron(client: Client, cron: str) -> Json:
    async def there() -> Json:
        try:
            found: Json = await client.tasks.get("nightly")
        except NotFound:
            return {}
        return found if found["cron"] == cron else {}

    return await wait_until(there, f"the schedule is {cron}", SECONDS)


async def test_the_newer_version_wins_in_a_rolling_deploy(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    client = fleet.client(manager)
    fleet.commands = OLD
    first = await fleet.executor(manager)
    await has_cron(client, "1 3 * * *")
    fleet.commands = NEW
    second = await fleet.executor(manager)
    await has_cron(client, "2 3 * * *")
    fleet.commands = OLD
    late = await fleet.executor(manager)
    await late.process.logged(APART, SECONDS)
    task = await has_cron(client, "2 3 * * *")
    assert task["rev"] == 2
    manager.process.terminate()
    await manager.process.ended(SECONDS)
    again = await fleet.again(manager)
    client = fleet.client(again)
    for executor in (first, second, late):
        await fleet.connected(again, executor)
    await client.tasks.run_now("nightly")

    async def reported() -> list[Json]:
        runs: list[Json] = await client.tasks.runs("nightly")
        return [run for run in runs if run["status"] == "FINISHED"]

    await wait_until(reported, "the run has ended", SECONDS)
    task = await client.tasks.get("nightly")
    assert (task["cron"], task["rev"], task["result"]) == ("2 3 * * *", 2, ["1.10"])
