"""Clients and commands that go on when their manager restarts."""

import asyncio
import json
import signal

import pytest

from kaiju_tasks import Client, SyncClient
from tests.support.processes import Processes, RunningProcess
from tests.support.wait import wait_until
from tests.system.fleet import SECONDS, Fleet, ManagerProcess, command, task

PROBED = 'id=["held", "probe"]'
AWAY = r"^The manager at \S+ does not answer; retrying\.$"
BACK = r"^The manager at \S+ answers again\.$"


@pytest.fixture
async def manager(fleet: Fleet) -> ManagerProcess:
    """A manager with an executor, and a task `held` whose stage is running."""
    started = await fleet.manager()
    await fleet.executor(started)
    hold = command("hold", file=fleet.file("holds"), gate=fleet.file("gate"))
    await fleet.client(started).tasks.create(task("held", hold))
    await fleet.file("holds").has(1)
    return started


async def away(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until a client has seen that nobody answers."""
    await wait_until(
        lambda: any("does not answer" in record.getMessage() for record in caplog.records),
        "the client says that nobody answers",
        SECONDS,
    )


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_waits_and_subscriptions_go_on_when_the_manager_restarts(
    fleet: Fleet, manager: ManagerProcess, end: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    client = fleet.client(manager, retry_seconds=SECONDS)
    async with client.events({"id": "held"}) as events:
        waiting = asyncio.create_task(client.tasks.wait("held", SECONDS))
        following = asyncio.create_task(anext(events))
        manager.process.send(end)
        await manager.process.ended(30)
        await away(caplog)
        creating = asyncio.create_task(client.tasks.create(task("new", command("echo"))))
        await fleet.again(manager)
        assert (await following)["event"] == "events.lost"
        fleet.file("gate").touch()
        assert (await waiting)["status"] == "FINISHED"
        heard = [await anext(events)]
        while heard[-1]["event"] != "task.finished":
            heard.append(await anext(events))
    created = await creating
    assert created["created"] is True
    assert (await client.tasks.wait(created["id"], SECONDS))["status"] == "FINISHED"


async def test_a_synchronous_wait_goes_on_when_the_manager_restarts(
    fleet: Fleet, manager: ManagerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with SyncClient(manager.url, retry_seconds=SECONDS) as client:
        waiting = asyncio.create_task(asyncio.to_thread(client.tasks.wait, "held", SECONDS))
        counted = await asyncio.to_thread(client.tasks.count)
        assert counted["count"] == 1
        manager.process.kill()
        await away(caplog)
        await fleet.again(manager)
        fleet.file("gate").touch()
        assert (await waiting)["status"] == "FINISHED"


async def test_watch_and_events_say_that_the_manager_is_away_and_go_on(
    fleet: Fleet, manager: ManagerProcess, processes: Processes
) -> None:
    env = {"KAIJU_URL": manager.url}
    watch = processes.kaiju("task", "watch", "held", name="watch", env=env)
    create = processes.kaiju(
        "task", "create", "--method", "hold", "--set", "app_name=system", "--set", "id=second",
        "--param", f"file={json.dumps(str(fleet.file('holds')))}",
        "--param", f"gate={json.dumps(str(fleet.file('gate')))}",
        "--watch", name="create", env=env,
    )  # fmt: skip
    events = processes.kaiju("events", "--json", "--where", PROBED, name="events", env=env)
    for process, ready in ((watch, "held: EXECUTED"), (create, "second: EXECUTED")):
        await process.logged(ready, SECONDS)
    await subscribed(events, fleet.client(manager))
    manager.process.kill()
    for process in (watch, create, events):
        await process.logged(AWAY, SECONDS)
    await fleet.again(manager)
    for process in (watch, create, events):
        await process.logged(BACK, SECONDS)
    await events.logged('"events.lost"', SECONDS)
    fleet.file("gate").touch()
    for process in (watch, create):
        assert await process.ended(SECONDS) == 0
        assert "FINISHED, stage 1 of 1" in process.log
    await events.logged('"task.finished"', SECONDS)
    events.send(signal.SIGINT)
    assert await events.ended() == 130
    for process in (watch, create, events):
        assert said(process, "does not answer") == said(process, "answers again") == 1


async def subscribed(events: RunningProcess, client: Client) -> None:
    """Make events of the task `probe` until the command prints one."""
    await client.tasks.create(task("probe", command("echo")))

    async def printed() -> bool:
        await client.tasks.reset("probe")
        return "probe" in events.log

    await wait_until(printed, "events of the probe are printed", SECONDS)


def said(process: RunningProcess, words: str) -> int:
    return sum(words in line for line in process.log.splitlines())


async def test_watch_and_events_end_with_3_when_their_bound_is_over(
    fleet: Fleet, manager: ManagerProcess, processes: Processes
) -> None:
    env, bound = {"KAIJU_URL": manager.url}, ("--retry-seconds", "0.5")
    watch = processes.kaiju("task", "watch", "held", *bound, name="watch", env=env)
    events = processes.kaiju("events", "--where", PROBED, *bound, name="events", env=env)
    await watch.logged("held: EXECUTED", SECONDS)
    await subscribed(events, fleet.client(manager))
    manager.process.kill()
    for process in (watch, events):
        assert await process.ended(SECONDS) == 3
        assert "kaiju-tasks serve" in process.log
