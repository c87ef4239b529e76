"""A manager whose connections to PostgreSQL fall silent, while new ones work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec
import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.server import health
from kaiju_tasks.server.health import Readiness
from kaiju_tasks.settings import Settings
from kaiju_tasks.store import StoreUnavailable
from kaiju_tasks.store.postgres import PostgresStore
from kaiju_tasks.store.postgres.bounds import Bounds
from tests.manager.hand import HandExecutor, pinging
from tests.support.proxy import Proxy, proxy
from tests.support.wait import PATIENCE_SECONDS, wait_until

SOON = Bounds(
    doubt_seconds=0.2, look_seconds=0.05, probe_seconds=1, idle_seconds=2, close_seconds=0.5
)


@asynccontextmanager
async def a_manager(dsn: str, bounds: Bounds) -> AsyncIterator[tuple[Manager, Proxy]]:
    parts = urlsplit(dsn)
    async with proxy(parts.port or 0) as way:
        address = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{way.port}"))
        store = PostgresStore(address.geturl(), bounds=bounds)
        await store.open()
        settings = Settings(db=address.geturl(), ping_interval=5, poll_interval=0.2)
        try:
            async with Manager(store, settings).running() as manager:
                yield manager, way
        finally:
            await store.close()


async def next_task(hand: HandExecutor) -> Assignment:
    """The next task. If the manager does not know whether it has leased some, it closes the
    connection, and an executor connects again."""
    while hand.assigned.empty():
        await wait_until(lambda: hand.closed or not hand.assigned.empty(), "a task, or the end")
        if hand.closed:
            hand.closed = False
            await hand.connect()
    return hand.assigned.get_nowait()


@pytest.mark.parametrize("answers_only", [False, True])
async def test_dispatch_goes_on_without_the_silent_connections(
    postgres_dsn: str, answers_only: bool
) -> None:
    async with a_manager(postgres_dsn, SOON) as (manager, way):
        hand = HandExecutor(manager, "hand")
        await hand.connect()
        async with pinging(hand):
            for index in range(3):
                way.silence(answers_only=answers_only)
                await hand.call.create("work", id=f"t{index}")
                task = await next_task(hand)
                assert task.id == f"t{index}"
                way.silence(answers_only=answers_only)
                await hand.finish(task, index)
                assert (await hand.call.until(task.id, "FINISHED"))["result"] == [index]


async def test_a_connection_that_falls_silent_while_it_is_opened_is_not_waited_for(
    postgres_dsn: str,
) -> None:
    patient = msgspec.structs.replace(SOON, connect_seconds=PATIENCE_SECONDS * 10)
    async with a_manager(postgres_dsn, patient) as (manager, way):
        way.silence()
        way.mute = True
        asking = asyncio.create_task(manager.store.now())
        await wait_until(lambda: way.muted > 0, "a connection is silent from the start")
        way.mute = False
        await asyncio.wait_for(asking, PATIENCE_SECONDS)


async def test_a_manager_says_at_once_that_its_database_is_silent_and_when_it_is_not(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ASK_SECONDS", 0.05)
    async with a_manager(postgres_dsn, SOON) as (manager, way):
        readiness = Readiness(manager)
        ready = readiness.problem

        async def is_ready() -> bool:
            return await ready() is None

        await wait_until(is_ready, "it is ready")
        way.silence()
        assert await ready() == "the database has not answered within 0.05 seconds"
        await wait_until(is_ready, "it is ready again")


async def test_health_checks_of_a_silent_database_use_one_connection(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ASK_SECONDS", 0.05)
    async with a_manager(postgres_dsn, SOON) as (manager, _):
        asked, answer = 0, asyncio.Event()

        async def silent() -> float:
            nonlocal asked
            asked += 1
            await answer.wait()
            raise StoreUnavailable("10.0.0.1 is silent", brief="the database does not answer")

        monkeypatch.setattr(manager.store, "now", silent)
        readiness = Readiness(manager)
        problems = await asyncio.gather(*(readiness.problem() for _ in range(5)))
        assert set(problems) == {"the database has not answered within 0.05 seconds"}
        assert asked == 1
        monkeypatch.setattr(health, "ASK_SECONDS", PATIENCE_SECONDS)
        answer.set()
        assert await readiness.problem() == "the database does not answer"


async def test_a_manager_stops_while_its_database_is_silent(postgres_dsn: str) -> None:
    async with a_manager(postgres_dsn, SOON) as (manager, way):
        way.silence()
        creation = asyncio.create_task(HandExecutor(manager, "hand").call.create("work", id="t"))
        await asyncio.sleep(0)
        await asyncio.wait_for(manager.stop(), PATIENCE_SECONDS)
        await asyncio.wait({creation}, timeout=PATIENCE_SECONDS)
        assert isinstance(creation.exception(), Exception)
