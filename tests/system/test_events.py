"""Events and waits over managers that are processes."""

import asyncio

import pytest

from kaiju_tasks import Client
from kaiju_tasks.client import Events
from kaiju_tasks.errors import Unavailable
from tests.support.wait import wait_until
from tests.system.fleet import SECONDS, Fleet, Json, command, task


async def test_one_manager_tells_of_a_task_that_another_one_runs(team: Fleet) -> None:
    here, there = await team.manager(), await team.manager()
    await team.executor(there)
    creates = team.client(there)
    async with team.client(here).events({"id": ["probe", "watched"]}) as events:
        await heard_of_probes(events, creates)
        await creates.tasks.create(task("watched", command("echo"), command("echo")))
        received = await until_the_end(events, "watched")
    assert [event["event"] for event in received] == [
        "task.queued",
        "task.started",
        "task.stage",
        "task.stage",
        "task.finished",
    ]
    moments = [event["time"] for event in received]
    assert moments == sorted(moments)


async def heard_of_probes(events: Events, client: Client) -> None:
    """Make events until one is heard: the other manager knows that somebody listens."""
    heard = asyncio.ensure_future(anext(events))
    await client.tasks.create(task("probe", command("echo")))

    async def reset() -> bool:
        await client.tasks.reset("probe")
        return heard.done()

    await wait_until(reset, "a probe is heard of", SECONDS)


async def until_the_end(events: Events, task_id: str) -> list[Json]:
    received: list[Json] = []
    async with asyncio.timeout(SECONDS):
        while not received or received[-1]["event"] != "task.finished":
            event = await anext(events)
            if event["id"] == task_id:
                received.append(event)
    return received


async def test_a_wait_at_one_manager_ends_with_the_run_at_another(team: Fleet) -> None:
    here, there = await team.manager(), await team.manager()
    await team.executor(there)
    client = team.client(here)
    for number in range(5):
        begun, gate = team.file(f"begun-{number}"), team.file(f"gate-{number}")
        await client.tasks.create(task(f"{number}", command("hold", file=begun, gate=gate)))
        waiting = asyncio.ensure_future(client.tasks.wait(f"{number}", SECONDS))
        await begun.has(1)
        gate.touch()
        assert (await waiting)["status"] == "FINISHED"


async def test_a_client_that_does_not_retry_raises_when_its_manager_dies(team: Fleet) -> None:
    here = await team.manager()
    async with team.client(here).events() as events:
        here.process.kill()
        with pytest.raises(Unavailable):
            await anext(events)
