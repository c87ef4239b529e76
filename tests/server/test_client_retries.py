"""What the client does while a manager is away, or when an answer is lost."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaiju_tasks import Client, Message, NewTask, TaskCommand
from kaiju_tasks.errors import Conflict, InvalidParams, NotFound, Unavailable
from tests.server.conftest import Site
from tests.support.proxy import Proxy, proxy
from tests.support.wait import wait_until

ECHO = {"commands": [{"method": "do.echo", "params": {"data": 1}}]}
AWAY = "does not answer; retrying."
BACK = "answers again."


@pytest.fixture
async def way(site: Site) -> AsyncIterator[Proxy]:
    async with proxy(site.port) as opened:
        yield opened


@pytest.fixture
async def client(way: Proxy) -> AsyncIterator[Client]:
    """A client that has been answered once."""
    async with Client(f"http://127.0.0.1:{way.port}", retry_seconds=30) as opened:
        await opened.system.info()
        yield opened


async def logged(caplog: pytest.LogCaptureFixture, end: str) -> None:
    """Wait until a warning of the client's has this end."""
    await wait_until(lambda: times_logged(caplog, end), f"the log says: {end}")


def times_logged(caplog: pytest.LogCaptureFixture, end: str) -> int:
    return sum(record.getMessage().endswith(end) for record in caplog.records)


async def test_a_read_is_repeated_when_its_answer_is_lost(client: Client, way: Proxy) -> None:
    way.lose = 2
    assert await client.tasks.count() == {"count": 0}
    assert await client.batch([("tasks.count", {})]) == [{"count": 0}]
    assert way.lost == 2


async def test_any_call_waits_for_a_manager_that_takes_no_connections(
    client: Client, way: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    await way.close()
    reading = asyncio.create_task(client.tasks.count())
    await logged(caplog, AWAY)
    writing = asyncio.create_task(client.tasks.cancel("a"))
    both = asyncio.create_task(client.batch([("tasks.delete", {"id": "nobody"})]))
    await asyncio.sleep(0)
    await way.open()
    counted, cancelled, batch = await reading, await writing, await both
    assert (cancelled["status"], counted) == ("FAILED", {"count": 1})
    assert batch == [{"deleted": False}]
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [w.getMessage().rpartition(f"{way.port} ")[2] for w in warnings] == [AWAY, BACK]


async def test_a_manager_that_never_answered_is_not_waited_for(way: Proxy) -> None:
    await way.close()
    async with Client(f"http://127.0.0.1:{way.port}", retry_seconds=math.inf) as client:
        for call in (client.tasks.count(), client.tasks.wait("a"), anext(client.events())):
            with pytest.raises(Unavailable, match="no manager answers at"):
                await call
    await way.open()


async def test_the_bound_is_the_callers(way: Proxy) -> None:
    async with Client(f"http://127.0.0.1:{way.port}", retry_seconds=0.3) as client:
        await client.tasks.create({**ECHO, "id": "a"})
        async with client.events() as events:
            await way.close()
            for call in (client.tasks.count(), client.tasks.wait("a"), anext(events)):
                with pytest.raises(Unavailable):
                    await call
        await way.open()
        assert await client.tasks.count() == {"count": 1}


@pytest.mark.parametrize("seconds", [-1, math.nan, "5", True, None])
def test_a_bound_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidParams, match="`retry_seconds`") as wrong:
        Client("http://127.0.0.1:9", retry_seconds=seconds)
    assert wrong.value.field == "retry_seconds"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tasks.cancel", {"id": "a"}),
        ("tasks.update", {"id": "a", "data": {"priority": 5}}),
        ("tasks.delete", {"id": "a"}),
        ("tasks.m_cancel", {"conditions": {"id": "a"}}),
    ],
)
async def test_another_write_is_not_repeated_when_its_answer_is_lost(
    client: Client, way: Proxy, method: str, params: Any
) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    way.lose = 1
    with pytest.raises(Unavailable, match="did not answer"):
        await client.call(method, **params)
    way.lose = 1
    with pytest.raises(Unavailable, match="did not answer"):
        await client.batch([(method, params)])


@pytest.mark.parametrize(
    "task",
    [
        ECHO,
        {**ECHO, "id": "mine"},
        NewTask(commands=[TaskCommand("do.echo", {"data": 1}), Message("go", 5)]),
        NewTask(id="mine", commands=[TaskCommand("do.echo", {"data": 1}, max_timeout=5)]),
        {**ECHO, "unique": {"key": "k", "on_conflict": "error"}},
        {**ECHO, "unique": {"key": "k"}},
        {"id": "mine", "kws": {"x": 1}, "commands": [{"method": "do.echo", "params": None}]},
    ],
)
async def test_a_create_whose_answer_is_lost_creates_one_task(
    client: Client, way: Proxy, task: Any
) -> None:
    way.lose = 1
    created = await client.tasks.create(task)
    assert way.lost == 1
    assert created["created"] is True
    assert [row["id"] for row in (await client.tasks.list())["data"]] == [created["id"]]


async def test_many_creates_whose_answer_is_lost_create_each_task_once(
    client: Client, way: Proxy
) -> None:
    way.lose = 1
    created = await client.tasks.m_create([ECHO, {**ECHO, "id": "mine"}])
    assert [task["created"] for task in created] == [True, True]
    assert await client.tasks.count() == {"count": 2}


async def test_an_id_that_another_task_has_is_a_conflict_after_a_lost_answer_too(
    client: Client, way: Proxy
) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    other = {"id": "a", "commands": [{"method": "do.fail"}]}
    way.lose = 1
    with pytest.raises(Conflict):
        await client.tasks.create(other)
    way.lose = 1
    ignored = await client.tasks.create(other, on_conflict="ignore")
    assert ignored["created"] is False


async def test_a_create_that_replaces_is_not_repeated_when_its_answer_is_lost(
    client: Client, way: Proxy
) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    await client.tasks.cancel("a")
    way.lose = 1
    with pytest.raises(Unavailable, match="did not answer"):
        await client.tasks.create({**ECHO, "id": "a"}, on_conflict="replace")
    assert (await client.tasks.get("a"))["rev"] == 2


async def test_a_message_whose_answer_is_lost_is_sent_once(client: Client, way: Proxy) -> None:
    await client.tasks.create(NewTask(id="a", commands=[Message("go"), Message("go")]))
    way.lose = 1
    receipt = await client.tasks.message("a", 1, name="go")
    assert (receipt["accepted"], receipt["state"]) == (True, "duplicate")
    way.lose = 1
    receipt = await client.tasks.message("a", 2, name="go")
    assert (await client.tasks.get("a"))["status"] == "FINISHED"
    assert (receipt["accepted"], receipt["state"]) == (True, "duplicate")
    way.lose = 1
    receipt = await client.tasks.message("a", 3, name="go")
    assert (receipt["accepted"], receipt["state"]) == (False, "rejected")


async def test_a_wait_outlasts_lost_answers_and_outages(
    client: Client, way: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    waiting = asyncio.create_task(client.tasks.wait("a"))
    for _ in range(3):
        caplog.clear()
        await way.close()
        await logged(caplog, AWAY)
        await way.open()
        await logged(caplog, BACK)
    assert not waiting.done()
    await client.tasks.cancel("a")
    assert (await waiting)["status"] == "FAILED"


async def test_a_wait_that_is_the_first_call_outlasts_an_outage(
    site: Site, way: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    await site.call("tasks.create", data={**ECHO, "id": "a"})
    async with Client(f"http://127.0.0.1:{way.port}", retry_seconds=30) as client:
        waiting = asyncio.create_task(client.tasks.wait("a"))
        await wait_until(lambda: "a" in site.manager.waiters.task_ids, "the manager is asked")
        await way.close()
        await logged(caplog, AWAY)
        await way.open()
        await site.call("tasks.cancel", id="a")
        assert (await waiting)["status"] == "FAILED"


async def test_a_wait_keeps_its_timeout_through_an_outage(client: Client, way: Proxy) -> None:
    await client.tasks.create({**ECHO, "id": "a"})
    waiting = asyncio.create_task(client.tasks.wait("a", timeout=0.5))
    await way.close()
    with pytest.raises(Unavailable):
        await waiting
    await way.open()
    assert (await client.tasks.wait("a", timeout=0.01))["status"] == "QUEUED"


async def test_a_wait_for_what_is_not_there_does_not_go_on(client: Client) -> None:
    with pytest.raises(NotFound):
        await client.tasks.wait("nope")


async def test_a_wait_sees_that_a_schedules_run_ended_while_nobody_answered(
    site: Site, client: Client, way: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    await client.tasks.create({**ECHO, "id": "a", "every": 3600, "delay": 0})

    async def begun() -> bool:
        return bool((await client.tasks.get("a"))["status"] != "IDLE")

    await wait_until(begun, "the run has begun")
    waiting = asyncio.create_task(client.tasks.wait("a"))
    await wait_until(lambda: site.manager.waiters, "the manager is waited at")
    await way.close()
    await logged(caplog, AWAY)
    async with Client(site.url) as beside:
        cancelled = await beside.tasks.cancel("a")
    await way.open()
    ended = await waiting
    assert (ended["status"], ended["job_id"]) == ("IDLE", cancelled["job_id"])
    again = asyncio.create_task(client.tasks.wait("a", timeout=0.2))
    await way.close()
    await logged(caplog, AWAY)
    await way.open()
    assert (await again)["exit_code"] == 130  # at the timeout: that run ended before this wait


async def test_a_subscription_that_was_cut_goes_on_and_says_that_events_may_be_lost(
    client: Client, way: Proxy, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.events({"event": "task.queued"}) as events:
        for id in ("a", "b"):
            following = asyncio.create_task(anext(events))
            await way.close()
            await logged(caplog, AWAY)
            await way.open()
            lost = await following
            assert lost["event"] == "events.lost"
            assert "read the tasks" in lost["reason"]
            await client.tasks.create({**ECHO, "id": id})
            event = await anext(events)
            assert (event["event"], event["id"]) == ("task.queued", id)
            caplog.clear()


async def test_a_subscription_without_a_bound_raises_when_it_is_cut(way: Proxy) -> None:
    async with Client(f"http://127.0.0.1:{way.port}", retry_seconds=0) as client:
        async with client.events() as events:
            await way.close()
            with pytest.raises(Unavailable, match="was lost"):
                await anext(events)
        await way.open()


@pytest.mark.parametrize("seconds", [0, 0.2])
async def test_a_subscription_that_goes_on_after_an_error_says_that_events_may_be_lost(
    way: Proxy, seconds: float
) -> None:
    async with (
        Client(f"http://127.0.0.1:{way.port}", retry_seconds=seconds) as client,
        client.events({"event": "task.queued"}) as events,
    ):
        await way.close()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await anext(events)
        await way.open()
        assert (await anext(events))["event"] == "events.lost"
        await client.tasks.create({**ECHO, "id": "a"})
        assert (await anext(events))["event"] == "task.queued"


async def test_a_subscription_that_was_closed_begins_again_without_a_loss(
    client: Client, way: Proxy
) -> None:
    events = client.events({"event": "task.queued"})
    reading = asyncio.create_task(anext(events))
    await wait_until(lambda: events._socket is not None, "it is subscribed")
    await way.close()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await events.close()
    await way.open()
    async with events:
        await client.tasks.create({**ECHO, "id": "a"})
        assert (await anext(events))["event"] == "task.queued"
