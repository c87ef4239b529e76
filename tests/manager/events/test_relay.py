"""What managers send each other of events, and when they send nothing."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec
import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.events import looks
from kaiju_tasks.manager.events import relay as relay_module
from kaiju_tasks.manager.events.hub import EventHub, Subscription
from kaiju_tasks.manager.events.interest import Interest
from kaiju_tasks.manager.events.relay import Relay
from kaiju_tasks.manager.events.waiters import Waiters
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import MESSAGE_BYTES, Condition, Store
from kaiju_tasks.store.open import make_store
from tests.manager.events.test_events import Heard
from tests.manager.events.test_matching import event
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.support.wait import PATIENCE_SECONDS, wait_until

INTERVAL = 0.2


class Team:
    """Managers on one database, each with a count of the messages it sent."""

    def __init__(self, dsn: str, interval: float = INTERVAL) -> None:
        self._settings = Settings(db=dsn, ping_interval=interval, reconnect_grace=5.0)
        self._stack = AsyncExitStack()
        self.sent: dict[str, list[bytes]] = {}
        self._renewals: dict[str, int] = {}

    async def manager(self) -> Manager:
        store = make_store(self._settings.db)
        await store.open()
        self._stack.push_async_callback(store.close)
        manager = Manager(store, self._settings)
        self._count_renewals(manager)
        sent = self.sent[manager.id] = []
        send = store.send

        async def counted(messages: Sequence[bytes]) -> None:
            sent.extend(messages)
            await send(messages)

        store.send = counted  # type: ignore[method-assign]
        return await self._stack.enter_async_context(manager.running())

    async def executor(self, manager: Manager) -> HandExecutor:
        executor = HandExecutor(manager, "hand")
        await executor.connect()
        await self._stack.enter_async_context(pinging(executor))
        return executor

    async def close(self) -> None:
        await self._stack.aclose()

    def _count_renewals(self, manager: Manager) -> None:
        renew = manager.relay.renew

        def counted() -> None:
            self._renewals[manager.id] += 1
            renew()

        self._renewals[manager.id] = 0
        manager.relay.renew = counted  # type: ignore[method-assign]

    async def renew(self, manager: Manager, times: int = 2) -> None:
        """Wait until a manager has had so many more occasions to say again what it wants."""
        enough = self._renewals[manager.id] + times
        await wait_until(lambda: self._renewals[manager.id] >= enough, f"{times} renewals")

    def said(self, manager: Manager, say: str) -> list[bytes]:
        """The messages of a manager of one kind."""
        return [m for m in self.sent[manager.id] if msgspec.json.decode(m)["say"] == say]


@pytest.fixture
async def team(postgres_dsn: str) -> AsyncIterator[Team]:
    team = Team(postgres_dsn)
    yield team
    await team.close()


@pytest.fixture
async def slow_team(postgres_dsn: str) -> AsyncIterator[Team]:
    """Its managers do not say again what is wanted while a test lasts."""
    team = Team(postgres_dsn, interval=30.0)
    yield team
    await team.close()


async def knows(manager: Manager) -> None:
    """Wait until a manager will send its events to others."""
    await wait_until(lambda: bool(manager.relay._interest), "the manager knows what is wanted")


async def run(manager: Manager, executor: HandExecutor, task_id: str) -> None:
    await Calls(manager).create("work", id=task_id)
    await executor.finish(await executor.take())


async def test_a_subscriber_hears_of_tasks_that_another_manager_handles(slow_team: Team) -> None:
    here, there = await slow_team.manager(), await slow_team.manager()
    executor = await slow_team.executor(there)
    heard = Heard(here)
    await knows(there)
    await run(there, executor, "a")
    finished = await heard.until("finished")
    assert heard.names == ["queued", "started", "stage", "finished"]
    assert (finished.manager_id, finished.executor_id) == (there.id, "hand")
    assert finished.time == (await Calls(here).get("a"))["status_change"]


def heard_all(heard: Heard) -> bool:
    return heard.names.count("finished") == 20


async def test_each_event_is_heard_once(slow_team: Team) -> None:
    here, there = await slow_team.manager(), await slow_team.manager()
    executor = await slow_team.executor(there)
    heard, heard_there = Heard(here), Heard(there)
    await knows(there)
    await knows(here)
    for number in range(20):
        await run(here if number % 2 else there, executor, f"task-{number}")
    for one in (heard, heard_there):
        await wait_until(partial(heard_all, one), "all is heard")
        assert len(one.names) == 80
        assert len({(e.id, e.event) for e in one.events}) == 80


async def test_a_manager_that_comes_later_asks_what_is_wanted(slow_team: Team) -> None:
    here = await slow_team.manager()
    heard = Heard(here, Condition("event", "eq", "task.queued"))
    there = await slow_team.manager()
    await knows(there)
    await Calls(there).create("work", id="a")
    await heard.until("queued")


async def test_only_what_is_wanted_is_sent(team: Team) -> None:
    here, there = await team.manager(), await team.manager()
    executor = await team.executor(there)
    heard = Heard(here, Condition("group", "like", "x%"), Condition("event", "eq", "task.finished"))
    await knows(there)
    await run(there, executor, "a")
    await Calls(there).create("work", id="b", group="xy")
    await executor.finish(await executor.take())
    await heard.until("finished")
    assert [e.id for e in heard.events] == ["b"]
    (sent,) = team.said(there, "tell")
    assert len(msgspec.json.decode(sent)["events"]) == 1


async def test_nothing_is_sent_when_nobody_elsewhere_listens(team: Team) -> None:
    here, there = await team.manager(), await team.manager()
    executor = await team.executor(there)
    heard_there = Heard(there)
    await run(there, executor, "a")
    await heard_there.until("finished")
    assert team.said(there, "tell") == []
    heard = Heard(here)
    await knows(there)
    await run(there, executor, "b")
    await heard.until("finished")
    delivered = len(team.said(there, "tell"))
    here.events.unsubscribe(heard.subscription)
    there.events.unsubscribe(heard_there.subscription)
    await wait_until(lambda: not there.events.listened, "the interest is forgotten")
    await wait_until(lambda: not here.events.listened, "the interest is forgotten")
    sent = {id: len(messages) for id, messages in team.sent.items()}
    await run(there, executor, "c")
    await team.renew(here)
    await team.renew(there)
    assert {id: len(messages) for id, messages in team.sent.items()} == sent
    assert len(team.said(there, "tell")) == delivered


async def test_a_manager_alone_says_nothing_but_hello(team: Team) -> None:
    alone = await team.manager()
    executor = await team.executor(alone)
    heard = Heard(alone)
    await run(alone, executor, "a")
    await heard.until("finished")
    await Calls(alone)("tasks.wait", id="a")
    await team.renew(alone)
    assert len(team.sent[alone.id]) == 1


async def test_a_wait_ends_without_a_look_when_another_manager_ends_the_run(
    slow_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 3600.0)
    here, there = await slow_team.manager(), await slow_team.manager()
    executor = await slow_team.executor(there)
    for number in range(3):
        task_id = f"task-{number}"
        await Calls(here).create("work", id=task_id)
        waiting = asyncio.create_task(Calls(here)("tasks.wait", id=task_id, timeout=60))
        work = await executor.take()
        await wait_until(partial(there.relay.of_task, task_id), "the wait is known")
        await executor.finish(work)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await waiting)["status"] == "FINISHED"
    assert slow_team.said(there, "tell")


async def test_a_wait_that_begins_as_the_run_ends_elsewhere_looks_again(
    slow_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 3600.0)
    here, there = await slow_team.manager(), await slow_team.manager()
    executor = await slow_team.executor(there)
    await wait_until(lambda: not here.relay.alone, "they know each other")
    for number in range(20):
        await Calls(here).create("work", id=f"task-{number}")
        work = await executor.take()
        waiting = asyncio.create_task(Calls(here)("tasks.wait", id=work.id, timeout=60))
        await executor.finish(work)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await waiting)["status"] == "FINISHED"


async def test_a_wait_that_is_over_at_once_is_not_told(team: Team) -> None:
    here, there = await team.manager(), await team.manager()
    executor = await team.executor(there)
    await wait_until(lambda: not here.relay.alone, "they know each other")
    await run(here, executor, "a")
    words = len(team.sent[here.id])
    assert (await Calls(here)("tasks.wait", id="a"))["status"] == "FINISHED"
    assert len(team.sent[here.id]) == words


async def test_what_is_wanted_is_forgotten_when_it_is_not_said_again(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await team.manager(), await team.manager()
    Heard(here)
    await knows(there)
    await team.renew(here, 2 * relay_module.KEPT_INTERVALS)
    await knows(there)
    muted: list[bytes] = []

    async def mute(messages: Sequence[bytes]) -> None:
        muted.extend(messages)

    monkeypatch.setattr(here.store, "send", mute)
    await wait_until(lambda: not there.events.listened, "the interest is forgotten")
    assert muted


async def test_a_listener_that_was_cut_asks_again_and_says_that_events_were_lost(
    team: Team,
) -> None:
    here, there = await team.manager(), await team.manager()
    heard = Heard(here)
    await knows(there)
    here._on_wake(frozenset())
    assert heard.lost == ["events of other managers may have been lost"]
    await wait_until(lambda: len(team.said(here, "hello")) == 2, "it asks again")
    here._on_wake(frozenset())
    assert len(heard.lost) == 1


# without a database


class Line:
    """A store that keeps what is sent, and sends while it is let."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.open = asyncio.Event()

    async def send(self, messages: Sequence[bytes]) -> None:
        await self.open.wait()
        self.messages += messages


def relay_over(line: Line) -> tuple[Relay, EventHub]:
    store: Store = line  # type: ignore[assignment]
    hub = EventHub("here")
    spawned: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        spawned.add(task)
        return task

    return Relay(store, "here", hub, Waiters(), spawn, 1.0), hub


async def test_a_burst_is_sent_in_few_messages_and_what_is_too_much_is_counted() -> None:
    line = Line()
    relay, hub = relay_over(line)
    relay.received(b'{"say":"want","manager_id":"there","filters":[[]],"seconds":60}')
    count = 5_000
    hub.deliver(event(id=f"task-{n}", manager_id="here") for n in range(count))
    line.open.set()
    await wait_until(lambda: b'"lost"' in (line.messages or [b""])[-1], "all is sent")
    assert all(len(message) <= MESSAGE_BYTES for message in line.messages)
    sent = [e for m in line.messages[:-1] for e in msgspec.json.decode(m)["events"]]
    lost = msgspec.json.decode(line.messages[-1])["count"]
    assert [e[1] for e in sent] == [f"task-{n}" for n in range(len(sent))]
    assert 1_000 < len(sent) == count - lost
    assert len(line.messages) <= relay_module.WAITING_BYTES_MAX / MESSAGE_BYTES * 1.1


async def test_what_was_lost_later_is_said_later() -> None:
    line = Line()
    line.open.set()
    relay, hub = relay_over(line)
    relay.received(b'{"say":"want","manager_id":"there","filters":[[]],"seconds":60}')
    giant = event(manager_id="here", group="x" * MESSAGE_BYTES)
    for _ in range(5):
        hub.deliver([giant])
        await asyncio.sleep(0)
    await wait_until(lambda: line.messages, "the first is said")
    relay._dropped_sent_at -= relay_module.LOST_SECONDS
    relay.renew()
    await wait_until(lambda: len(line.messages) == 2, "the rest is said")
    assert sum(msgspec.json.decode(m)["count"] for m in line.messages) == 5


async def test_events_of_others_and_giants_are_not_sent() -> None:
    line = Line()
    line.open.set()
    relay, hub = relay_over(line)
    relay.received(b'{"say":"want","manager_id":"there","filters":[[]],"seconds":60}')
    hub.deliver([event(manager_id="there"), event(manager_id="here", group="ü" * 8_000)])
    await wait_until(lambda: line.messages, "something is sent")
    assert [msgspec.json.decode(m)["say"] for m in line.messages] == ["lost"]


async def test_words_that_are_not_understood_do_no_harm() -> None:
    relay, hub = relay_over(Line())
    for word in (b"{", b"{}", b'{"say":"sing","manager_id":"x"}', b'{"say":"want"}', b"[1]"):
        relay.received(word)
    assert not hub.listened


async def test_many_long_conditions_become_a_wish_for_everything() -> None:
    line = Line()
    line.open.set()
    relay, hub = relay_over(line)
    relay.received(b'{"say":"hello","manager_id":"there"}')
    for number in range(200):
        condition = Condition("group", "eq", f"{number}" * 20)
        hub.subscribe(Subscription([condition], lambda event: None))
    relay.want()
    await wait_until(lambda: line.messages, "it is said")
    assert msgspec.json.decode(line.messages[-1])["filters"] == [[]]


def test_interest_ends_for_each_manager_by_itself() -> None:
    interest = Interest()
    interest.listen("b", [[Condition("id", "eq", "x")]], until=10)
    interest.listen("c", [[Condition("stage", "gt", 2)]], until=20)
    interest.wait(["y"], until=15)
    assert interest.of_task("x")
    assert interest.matches(event(id="y", stage=0))
    interest.forget(12)
    assert not interest.matches(event(id="x", stage=0))
    assert interest.matches(event(id="x", stage=3))
    interest.listen("c", [], until=30)
    assert interest
    interest.forget(16)
    assert not interest


def test_conditions_of_a_later_version_let_everything_through() -> None:
    interest = Interest()
    interest.listen("b", [[Condition("mood", "eq", "x")], [Condition("id", "near", "x")]], until=1)
    assert interest.matches(event())
