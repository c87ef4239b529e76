"""What real stages log and print, from the process of a command to `logs.list`."""

import asyncio
from typing import Any

from kaiju_tasks import Client
from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, SECONDS, Fleet, command, ended, task

Json = dict[str, Any]


async def log_of(client: Client, job_id: str, count: int) -> list[Json]:
    """Wait until a run has so many lines: those of a busy machine may come after its end."""
    lines: list[Json] = []

    async def there() -> bool:
        nonlocal lines
        lines = (await client.logs.list(job_id))["data"]
        return len(lines) >= count

    await wait_until(there, f"{job_id} has {count} lines", SECONDS)
    return lines


async def test_what_a_process_prints_is_kept_with_its_run(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager)
    async with client.events({"event": "task.log"}) as events:
        await client.tasks.create(task("t", command("print_lines", lines=50)))
        done = await ended(client, "t")
        assert (done["status"], done["result"]) == ("FINISHED", ["printed"])
        shown = await log_of(client, done["job_id"], 54)
        assert [line["n"] for line in shown] == list(range(1, 55))
        (logged,) = [line for line in shown if line["source"] == "log"]
        assert (logged["message"], logged["fields"]) == ("begins", {"lines": 50})
        printed = [line["message"] for line in shown if line["source"] == "output"]
        numbered = [f"line {number}" for number in range(50)]
        assert printed == [*numbered, "on stderr", "of a child", "the end"]
        async with asyncio.timeout(SECONDS):
            async for event in events:
                assert (event["id"], event["job_id"]) == ("t", done["job_id"])
                if event["data"]["message"] == "the end":
                    break
    await client.tasks.delete("t")


async def test_the_last_words_of_a_process_that_dies_are_kept(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager)
    await client.tasks.create(task("t", command("print_and_die")))
    done = await ended(client, "t")
    assert done["status"] == "FAILED"
    (line,) = await log_of(client, done["job_id"], 1)
    assert (line["message"], line["source"]) == ("the last words", "output")


async def test_lines_are_kept_while_the_manager_is_away(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager)
    trace = fleet.file("begun")
    held = fleet.file("gate")
    run = task("t", command("log_around", file=trace, gate=held))
    created = await client.tasks.create(run)
    await trace.has(1)
    manager.process.kill()
    held.touch()
    client = fleet.client(await fleet.again(manager))
    done = await ended(client, "t")
    assert done["status"] == "FINISHED"
    lines = await log_of(client, created["job_id"], 2)
    assert [line["message"] for line in lines] == ["before", "after"]
