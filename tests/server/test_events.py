"""Events over a WebSocket, and through the client."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kaiju_tasks import Client, Context
from kaiju_tasks.client import Events
from kaiju_tasks.errors import InvalidParams, TooSlow, Unavailable
from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.samples import executor as samples
from kaiju_tasks.types import EventName, TaskEvent
from tests.manager.events.test_matching import event
from tests.server.conftest import Site
from tests.server.test_websocket import INFO, create_call
from tests.support.wait import PATIENCE_SECONDS, wait_until
from tests.support.work import at_most_lines


class Socket:
    """A WebSocket that calls, and keeps the notifications that come meanwhile."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.notifications: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        await self.socket.send_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        while "id" not in (said := await self.socket.receive_json(timeout=PATIENCE_SECONDS)):
            self.notifications.append(said)
        answer: dict[str, Any] = said
        return answer

    async def subscribe(self, **conditions: Any) -> str:
        answer = await self.call("events.subscribe", conditions=conditions)
        id: str = answer["result"]["subscription"]
        return id

    async def next(self) -> dict[str, Any]:
        said: dict[str, Any] = await self.socket.receive_json(timeout=PATIENCE_SECONDS)
        return said


@pytest.fixture
async def socket(site: Site) -> AsyncIterator[Socket]:
    async with site.socket() as opened:
        yield Socket(opened)


@contextlib.asynccontextmanager
async def executing(site: Site, executor: Executor) -> AsyncIterator[None]:
    running = asyncio.create_task(run_executor(executor, [site.url], handle_signals=False))
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_events_are_notifications_that_name_their_subscription(
    site: Site, socket: Socket
) -> None:
    subscription = await socket.subscribe()
    await site.call("tasks.create", **create_call("a")["params"])
    said = await socket.next()
    assert set(said) == {"jsonrpc", "method", "params"}
    assert said["method"] == "task.queued"
    params = said["params"]
    assert params.pop("subscription") == subscription
    assert set(params) == set(TaskEvent.__struct_fields__)
    assert (params["event"], params["id"], params["status"]) == ("task.queued", "a", "QUEUED")


async def test_each_subscription_has_its_own_conditions(site: Site, socket: Socket) -> None:
    of_a, of_b = await socket.subscribe(id="a"), await socket.subscribe(id=["b", "c"])
    for name in ("a", "b"):
        await site.call("tasks.create", **create_call(name)["params"])
    received = [(await socket.next())["params"] for _ in range(2)]
    assert [(one["subscription"], one["id"]) for one in received] == [(of_a, "a"), (of_b, "b")]


async def test_after_unsubscribing_nothing_comes(site: Site, socket: Socket) -> None:
    subscription = await socket.subscribe()
    end = {"subscription": subscription}
    assert (await socket.call("events.unsubscribe", **end))["result"] is True
    assert (await socket.call("events.unsubscribe", **end))["result"] is False
    await site.call("tasks.create", **create_call("a")["params"])
    assert "result" in await socket.call("system.info")
    assert socket.notifications == []


async def test_one_socket_cannot_end_anothers_subscription(site: Site, socket: Socket) -> None:
    subscription = await socket.subscribe()
    async with site.socket() as opened:
        answer = await Socket(opened).call("events.unsubscribe", subscription=subscription)
    assert answer["result"] is False
    assert site.manager.events.listened


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"nope": 1}, "conditions.nope"),
        ({"data": 1}, "conditions.data"),
        ({"event": "task.done"}, "conditions.event"),
        ({"stage": "one"}, "conditions.stage"),
        ({"id": {"near": "x"}}, "conditions.id.near"),
        ({"id": {"like": "x" * 1_001}}, "conditions.id"),
    ],
)
async def test_wrong_conditions_are_named(
    site: Site, socket: Socket, conditions: Any, field: str
) -> None:
    answer = await socket.call("events.subscribe", conditions=conditions)
    if answer["error"]["code"] == 413:  # the site takes small bodies only
        conditions["id"]["like"] = "x" * 9_000
        assert "result" in await socket.call("events.subscribe", conditions=conditions)
        return
    assert answer["error"]["code"] == -32602
    assert answer["error"]["data"]["field"] == field
    assert not site.manager.events.listened


@pytest.mark.parametrize("method", ["events.subscribe", "events.unsubscribe"])
async def test_events_want_a_socket(site: Site, method: str) -> None:
    params = {"subscription": "x"} if method.endswith("unsubscribe") else {}
    answer = await site.call(method, **params)
    assert answer["error"]["code"] == -32600
    assert "WebSocket" in answer["error"]["message"]


async def test_a_socket_holds_a_hundred_subscriptions_and_all_end_with_it(site: Site) -> None:
    async with site.socket() as opened:
        socket = Socket(opened)
        ids = {await socket.subscribe() for _ in range(100)}
        assert len(ids) == 100
        refused = await socket.call("events.subscribe")
        assert (refused["error"]["code"], refused["error"]["data"]["limit"]) == (429, 100)
        await socket.call("events.unsubscribe", subscription=ids.pop())
        await socket.subscribe()
    await wait_until(lambda: not site.manager.events.listened, "the subscriptions have ended")


async def test_who_does_not_read_is_dropped_and_nobody_else_feels_it(site: Site) -> None:
    hub = site.manager.events
    async with site.socket() as lazy, site.socket() as eager:
        slow, quick = Socket(lazy), Socket(eager)
        subscription = await slow.subscribe()
        await quick.subscribe()
        read = 0
        for number in range(20_000):
            with at_most_lines(1_000):
                hub.deliver([event(id=f"task-{number}", data={"x": "y" * 2_000})])
            read += 1
            assert (await quick.next())["params"]["id"] == f"task-{number}"
            if len(hub.subscriptions) == 1:
                break
        assert len(hub.subscriptions) == 1
        assert read > 1_000
        heard = 0
        while (said := await slow.next())["method"] != "events.dropped":
            assert said["params"]["id"] == f"task-{heard}"
            heard += 1
        assert heard == read - 1
        assert said["params"]["subscription"] == subscription
        assert "faster" in said["params"]["reason"]
        assert "result" in await slow.call("system.info")
        again = await slow.subscribe(id="a")
        await site.call("tasks.create", **create_call("a")["params"])
        assert (await slow.next())["params"]["subscription"] == again


async def test_the_answer_comes_before_the_first_event(site: Site) -> None:
    async with site.socket() as opened:
        for number in range(50):
            create = site.call("tasks.create", **create_call(f"task-{number}")["params"])
            creating = asyncio.create_task(create)
            await opened.send_json({**INFO, "method": "events.subscribe"})
            seen: set[str] = set()
            while "id" not in (said := await opened.receive_json(timeout=PATIENCE_SECONDS)):
                seen.add(said["params"]["subscription"])
            assert said["result"]["subscription"] not in seen
            await creating
            await opened.send_json(
                {**INFO, "method": "events.unsubscribe", "params": said["result"]}
            )
            while "id" not in (said := await opened.receive_json(timeout=PATIENCE_SECONDS)):
                pass


def test_the_page_names_every_field_and_every_event() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text()
    fields = text.partition("<!-- fields")[2].partition("\n\nMessages")[0]
    firsts = " ".join(line.split("|")[1] for line in fields.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", firsts)) == set(TaskEvent.__struct_fields__)
    names = text.partition("## The events")[2].partition("\n\nThere is no event")[0]
    firsts = " ".join(line.split("|")[1] for line in names.splitlines() if line.startswith("| `"))
    assert re.findall(r"`([\w.]+)`", firsts) == [str(name) for name in EventName]


# the client


async def soon(events: Events) -> dict[str, Any]:
    """The next event."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await anext(events)


async def test_the_client_gives_events_as_plain_data(site: Site) -> None:
    names: list[str] = []
    async with executing(site, samples), Client(site.url) as client:
        async with client.events({"id": "a"}) as events:
            await client.tasks.create({"id": "a", "commands": [{"method": "do.echo"}]})
            async for one in events:
                names.append(one["event"])
                assert "subscription" not in one
                if one["event"] == "task.finished":
                    break
        await wait_until(lambda: not site.manager.events.listened, "the subscription has ended")
    assert names == ["task.queued", "task.started", "task.stage", "task.finished"]


async def test_the_progress_of_a_stage_reaches_the_client(site: Site) -> None:
    working = Executor("working")
    go_on = asyncio.Event()

    @working.command("work")
    async def work(ctx: Context) -> None:
        ctx.progress(1, 3, "one of three")
        await go_on.wait()

    wanted = {"event": ["task.progress", "task.finished"]}
    async with (
        executing(site, working),
        Client(site.url) as client,
        client.events(wanted) as events,
    ):
        task = {"id": "a", "app_name": "working", "commands": [{"method": "work"}]}
        await client.tasks.create(task)
        one = await soon(events)
        assert one["data"] == {"done": 1, "total": 3, "message": "one of three"}
        go_on.set()
        assert (await soon(events))["event"] == "task.finished"


async def test_the_client_says_what_is_wrong(site: Site) -> None:
    async with Client(site.url) as client:
        with pytest.raises(InvalidParams) as wrong:
            await soon(client.events({"nope": 1}))
        assert wrong.value.field == "conditions.nope"
    async with Client("http://127.0.0.1:9") as nowhere:
        with pytest.raises(Unavailable):
            await soon(nowhere.events())


async def test_a_client_that_does_not_retry_raises_when_it_is_cut_and_may_go_on(site: Site) -> None:
    async with Client(site.url, retry_seconds=0) as client, client.events() as events:
        assert len(site.manager.events.subscriptions) == 1
        waiting = asyncio.ensure_future(soon(events))
        await asyncio.sleep(0)
        assert events._socket is not None
        await events._socket.close()
        with pytest.raises(Unavailable):
            await waiting
        waiting = asyncio.ensure_future(soon(events))
        await wait_until(
            lambda: len(site.manager.events.subscriptions) == 1 and events._socket, "it is back"
        )
        assert (await waiting)["event"] == "events.lost"
        await client.tasks.create({"id": "a", "commands": [{"method": "do.echo"}]})
        assert (await soon(events))["id"] == "a"


async def test_a_client_that_is_too_slow_is_told_at_the_end(site: Site) -> None:
    hub = site.manager.events
    async with Client(site.url) as client, client.events() as events:
        while hub.listened:
            hub.deliver([event(data={"x": "y" * 100_000}) for _ in range(10)])
            await asyncio.sleep(0)
        with pytest.raises(TooSlow):
            await to_the_end(events)


async def to_the_end(events: Events) -> None:
    async for one in events:
        assert one["event"] == "task.queued"


async def test_lost_events_are_told_as_such(site: Site) -> None:
    async with Client(site.url) as client, client.events() as events:
        site.manager.events.lost("of the test")
        assert await soon(events) == {"event": "events.lost", "reason": "of the test"}
