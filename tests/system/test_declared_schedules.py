"""Executors that declare schedules, with processes and sockets."""

import json
import re
from pathlib import Path

import pytest

from kaiju_tasks import Client
from kaiju_tasks.errors import NotFound
from tests.support.processes import Processes
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


@pytest.mark.parametrize("granted", [True, False])
async def test_an_executor_that_the_manager_starts_declares_with_the_token_that_it_is_given(
    processes: Processes, tmp_path: Path, granted: bool
) -> None:
    db = f"sqlite:///{tmp_path / 'tasks.db'}"
    admin = await created(processes, db, "root", "--kind", "admin")
    grant = ("--verb", "serve", "--verb", "create", "--method", "report", "--stream", "system")
    file = tmp_path / "token"
    file.write_text(await created(processes, db, "house", "--kind", "executor", *grant))
    options = ("--executor-token-file", str(file)) if granted else ()
    serve = ("serve", "--port", "0", "--db", db, "--executor", NEW)
    process = processes.kaiju(*serve, *options)
    url = (await process.logged(r"^kaiju-tasks \S+ at (\S+)", SECONDS))[1]
    async with Client(url, token=admin) as client:
        if granted:
            assert (await has_cron(client, "2 3 * * *"))["user_id"] == "house"
            await client.tasks.run_now("nightly")

            async def reported() -> Json:
                task: Json = await client.tasks.get("nightly")
                return task if task["result"] else {}

            assert (await wait_until(reported, "it has run", SECONDS))["result"] == ["1.10"]
        else:
            await process.logged("are not declared: .* executor_token_file", SECONDS)
            assert not await client.tasks.exists("nightly")


async def created(processes: Processes, db: str, *arguments: str) -> str:
    """The text of a new token."""
    process = processes.kaiju("token", "create", *arguments, "--db", db, "--json")
    assert await process.ended(SECONDS) == 0
    found = re.search(r"\{.*\}", process.log, re.DOTALL)
    assert found is not None, process.log
    token: str = json.loads(found[0])["token"]
    return token
