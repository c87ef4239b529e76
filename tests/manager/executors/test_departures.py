"""An executor whose connection a manager saw close is replaced, however young the manager is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from kaiju_tasks.manager import Dice, Manager
from kaiju_tasks.manager.executors import roster
from kaiju_tasks.manager.executors.departures import Departures
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.simulation.loop import SimLoop
from tests.store.making import acquire, add, connect
from tests.support.clock import HandClock
from tests.support.virtual_time import in_virtual_time

AGE = 2.0
"""Of the manager when the connection closes, in seconds."""


def test_a_departure_is_over_after_the_grace() -> None:
    clock = HandClock(100.0)
    departures = Departures(15.0, clock)
    departures.closed("e", "s", 5.0)
    clock.now += 4
    assert (departures.over(6.0), departures.seconds_until_over(6.0)) == ([], 1.0)
    clock.now += 1
    assert (departures.over(7.0), departures.seconds_until_over(7.0)) == (["s"], 0.0)


def test_a_departure_before_an_outage_is_forgotten() -> None:
    clock = HandClock(100.0)
    departures = Departures(15.0, clock)
    departures.closed("e", "s", 5.0)
    clock.now += 6
    assert departures.over(5.9) == []
    assert departures.over(7.0) == []
    assert departures.seconds_until_over(7.0) == float("inf")


def test_an_executor_that_cannot_come_back_departed_when_its_connection_closed() -> None:
    clock = HandClock(100.0)
    departures = Departures(15.0, clock)
    departures.closed("e", "s", 5.0)
    clock.now += 1
    departures.closed("e", "s", 0.0)
    assert departures.over(1.0) == ["s"]
    departures.forget("e")
    assert departures.over(1.0) == []


def test_departures_are_not_kept_for_ever() -> None:
    clock = HandClock(100.0)
    departures = Departures(15.0, clock)
    departures.closed("e", "s", 5.0)
    clock.now += 15.1
    assert departures.over(1000.0) == []


class Scene:
    """A young manager with the default settings, and two executors of which the first has a task.

    :ivar spare: the second executor
    """

    def __init__(self, manager: Manager, loop: SimLoop) -> None:
        self.manager = manager
        self.loop = loop
        self.call = Calls(manager)
        self.first = HandExecutor(manager, "first")
        self.spare = HandExecutor(manager, "spare")

    async def seconds_until_replaced(self) -> float:
        """The seconds until the second executor gets a task."""
        began = self.loop.now
        await self.spare.take(timeout=1000.0)
        return self.loop.now - began


@asynccontextmanager
async def a_scene(loop: SimLoop, remote: str) -> AsyncIterator[Scene]:
    """:param remote: the address of the first executor"""
    store: Any = make_store("sqlite://:memory:", clock=lambda: 1.8e9 + loop.now, inline=True)
    await store.open()
    async with Manager(store, Settings(), Dice(Random(0))).running() as manager:
        scene = Scene(manager, loop)
        scene.first.caller.remote = remote
        await scene.first.connect()
        await scene.call.create("work", id="t")
        await scene.first.take()
        await scene.spare.connect()
        async with pinging(scene.spare):
            await asyncio.sleep(AGE)
            yield scene
    await store.close()


def play(act: Callable[[Scene], Awaitable[None]], remote: str = "192.0.2.1") -> None:
    async def whole(loop: SimLoop) -> None:
        async with a_scene(loop, remote) as scene:
            await act(scene)

    in_virtual_time(whole)


def test_a_young_manager_replaces_an_executor_whose_connection_it_saw_close() -> None:
    async def act(scene: Scene) -> None:
        await scene.first.cut()
        assert 5.0 <= await scene.seconds_until_replaced() < 5.2
        assert (await scene.call("executors.get", id="first"))["status"] == "LOST"

    play(act)


def test_after_an_outage_it_needs_a_whole_lease() -> None:
    async def act(scene: Scene) -> None:
        await scene.first.cut()
        await asyncio.sleep(1)
        scene.manager.uptime.reached(False)
        assert 15.0 <= await scene.seconds_until_replaced() < 18.0

    play(act)


def test_who_comes_back_in_time_keeps_its_task() -> None:
    async def act(scene: Scene) -> None:
        (lease,) = (await scene.manager.store.holders(["first"]))["first"].leases
        await scene.first.cut()
        await asyncio.sleep(4.9)
        again = HandExecutor(scene.manager, "first")
        await again.connect(holding=[lease])
        async with pinging(again):
            await asyncio.sleep(30)
        assert (await scene.call.get("t"))["executor_id"] == "first"
        assert scene.spare.assigned.empty()

    play(act)


def test_the_executors_of_an_earlier_manager_have_a_whole_lease() -> None:
    async def whole(loop: SimLoop) -> None:
        store: Any = make_store("sqlite://:memory:", clock=lambda: 1.8e9 + loop.now, inline=True)
        await store.open()
        await connect(store, "old")
        await add(store, "t")
        await acquire(store, executor_id="old")
        await asyncio.sleep(60)
        async with Manager(store, Settings(), Dice(Random(0))).running() as manager:
            scene = Scene(manager, loop)
            await scene.first.connect()
            await scene.spare.connect()
            async with pinging(scene.spare):
                await scene.first.cut()
                assert 15.0 <= await scene.seconds_until_replaced() < 15.2
        await store.close()

    in_virtual_time(whole)


class EndsLater:
    """A process that ends a moment after its sockets are closed."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def has_ended(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("looks", [0, 2, 1000])
def test_an_executor_whose_process_has_ended_is_replaced_at_once(
    monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    monkeypatch.setattr(roster, "local_process", lambda host, pid: EndsLater(looks))

    async def act(scene: Scene) -> None:
        await scene.first.cut()
        seconds = await scene.seconds_until_replaced()
        assert 5.0 <= seconds < 5.2 if looks == 1000 else 0.5 <= seconds < 1.0

    play(act, remote="127.0.0.1")


def test_the_process_of_an_executor_of_another_machine_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roster, "local_process", lambda host, pid: EndsLater(0))

    async def act(scene: Scene) -> None:
        await scene.first.cut()
        assert 5.0 <= await scene.seconds_until_replaced() < 5.2

    play(act)
