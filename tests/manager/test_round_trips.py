"""What one task costs the database, counted: a regression is seen without a clock."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import pytest

from kaiju_tasks.manager import Dice, Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from tests.manager.conftest import a_manager
from tests.manager.hand import Calls, HandExecutor
from tests.simulation.database import CALLS
from tests.simulation.loop import SimLoop
from tests.support.counted import Counted, counted
from tests.support.virtual_time import in_virtual_time
from tests.support.wait import wait_until

HOUR = 3600.0


@pytest.fixture
async def manager(store_url: str) -> AsyncIterator[Manager]:
    """A manager that does nothing of its own accord."""
    settings = Settings(db=store_url, ping_interval=60.0, poll_interval=HOUR)
    async with a_manager(settings) as manager:
        await manager.retention.stop()
        await wait_until(lambda: manager.scheduler._next_due is None, "it has looked for work")
        yield manager


@pytest.fixture
def call(manager: Manager) -> Calls:
    return Calls(manager)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    with counted(monkeypatch) as count:
        yield count


@pytest.fixture
def postgres(store_url: str) -> bool:
    return store_url.startswith("postgres")


async def settled(count: Counted) -> None:
    """Wait until nothing has been asked for a while: what follows a commit is counted, too."""
    before = -1
    while before != count.trips:
        before = count.trips
        await asyncio.sleep(0.2)


async def warmed(call: Calls, executor: HandExecutor | None = None) -> None:
    """Open the connections that are needed."""
    await call.create("work", "work", id="first")
    if executor is not None:
        await executor.finish(await executor.take())


async def test_a_create_is_one_statement(call: Calls, count: Counted, postgres: bool) -> None:
    await warmed(call)
    await settled(count)
    count.clear()
    await call.create("work", id="t")
    await settled(count)
    assert (count.statements, count.trips) == (
        (["write definitions tasks"], 1)
        if postgres
        else (["BEGIN", "read tasks", "write tasks", "write definitions", "COMMIT"], 1)
    )


async def test_many_tasks_are_created_in_one_trip(
    call: Calls, count: Counted, postgres: bool
) -> None:
    await warmed(call)
    await settled(count)
    count.clear()
    await call("tasks.m_create", data=[{"commands": [{"method": "work"}]}] * 20)
    await settled(count)
    assert count.trips == 1
    assert count.counts == (
        {"write definitions tasks": 1}
        if postgres
        else {"BEGIN": 1, "read tasks": 1, "write tasks": 20, "write definitions": 20, "COMMIT": 1}
    )


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"delay": 3600.0, "priority": 3, "enabled": False, "max_retries": 2, "retry_delay": 1.5},
        {"cron": "5 4 * * *", "timezone": "Europe/Berlin", "misfire": "all", "jitter": 0.25},
        {"every": 7.1, "group": "ab", "description": "ü", "meta": {"a": [1.10, "\\"]}},
        {"webhook": {"url": "https://x.test/", "secret": "s" * 32}, "kws": {"b": 1, "a": 2}},
        {"unique": {"key": "k"}, "concurrency": {"key": "c", "limit": 1}},
    ],
)
@pytest.mark.parametrize("many", [False, True])
async def test_the_answer_of_a_create_is_what_is_stored(
    call: Calls, more: dict[str, Any], many: bool
) -> None:
    data = {"commands": [{"method": "work", "params": {"x": 1e3}, "name": "n"}], **more}
    if many:
        (created,) = await call("tasks.m_create", data=[data])
    else:
        created = await call("tasks.create", data=data)
    read = await call.get(created["id"])
    del read["created"], created["created"], created["warnings"]
    assert created == read


async def test_a_task_that_is_created_and_acquired(
    call: Calls, manager: Manager, count: Counted, postgres: bool
) -> None:
    executor = HandExecutor(manager, "hand")
    await executor.connect()
    await warmed(call, executor)
    await settled(count)
    count.clear()
    await call.create("work", id="t")
    await executor.take()
    await settled(count)
    held, written = ["read revisions", "read executors"], ["write tasks", "write definitions"]
    assert (count.statements, count.trips) == (
        (["write definitions tasks"], 1)
        if postgres
        else (["BEGIN", "read tasks", *held, *written, "COMMIT"], 1)
    )


async def test_an_acquisition_from_a_backlog(
    call: Calls, manager: Manager, count: Counted, postgres: bool
) -> None:
    for index in range(20):
        await call.create("work", id=f"t{index}")
    executor = HandExecutor(manager, "hand", capacity=20)
    await settled(count)
    await executor.connect()
    count.clear()
    for _ in range(20):
        await executor.take()
    await settled(count)
    looked, looked_ahead = ["read tasks"], ["read tasks"]
    presumed = ["read tasks", "read revisions", "read executors"]
    written = (
        ["write runs stages tasks"]
        if postgres
        else ["BEGIN", *presumed, *["write tasks"] * 20, "COMMIT"]
    )
    assert (count.counts, count.trips) == (Counter([*looked, *written, *looked_ahead]), 2 + 1)


async def test_an_acquisition_beside_another_one_locks_the_tasks(
    postgres_dsn: str, count: Counted
) -> None:
    other = make_store(postgres_dsn)
    settings = Settings(db=postgres_dsn, ping_interval=60.0, poll_interval=HOUR)
    async with a_manager(settings) as manager:
        await other.open()
        call = Calls(manager)
        for index in range(20):
            await call.create("work", id=f"t{index}")
        executor = HandExecutor(manager, "hand", capacity=19)
        async with other.transaction() as tx:
            await tx.lock(["t5"])
            await settled(count)
            count.clear()
            await executor.connect()
            taken = {(await executor.take()).id for _ in range(19)}
            written = count.counts["write runs stages tasks"], count.counts["write tasks"]
        await other.close()
    assert taken == {f"t{index}" for index in range(20)} - {"t5"}
    assert written == (1, 1), "presumed in vain, and written with locks"


async def test_a_report_is_one_statement(
    call: Calls, manager: Manager, count: Counted, postgres: bool
) -> None:
    executor = HandExecutor(manager, "hand")
    await executor.connect()
    await warmed(call, executor)
    await call.create("work", "work", id="t")
    task = await executor.take()
    for stage, history in enumerate((["stages"], ["stages", "runs"])):
        await settled(count)
        count.clear()
        await executor.finish(task, stage=stage)
        await settled(count)
        written = [f"write {table}" for table in ("tasks", *history)]
        assert (count.statements, count.trips) == (
            (["write runs stages tasks"], 1)
            if postgres
            else (["BEGIN", "read tasks", *written, "COMMIT"], 1)
        )


def test_an_idle_minute() -> None:
    asked: Counter[str] = Counter()
    in_virtual_time(lambda loop: _idle_minute(loop, asked))
    assert asked == {"work_summary": 30, "manager_seen": 12}


async def _idle_minute(loop: SimLoop, asked: Counter[str]) -> None:
    """Count the calls of a manager with the default settings; each is one statement."""
    store: Any = make_store("sqlite://:memory:", clock=lambda: 1.8e9 + loop.now, inline=True)
    await store.open()
    async with Manager(store, Settings(), Dice(Random(0))).running():
        await asyncio.sleep(30)
        for name in (*CALLS, "transaction", "wake", "send", "write_presumed"):
            _count(store, name, asked)
        await asyncio.sleep(60)
        for name in vars(store).keys() & {*CALLS, "transaction", "wake", "send", "write_presumed"}:
            delattr(store, name)
    await store.close()


def _count(store: Any, name: str, asked: Counter[str]) -> None:
    method = getattr(store, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        asked[name] += 1
        return method(*args, **kwargs)

    setattr(store, name, call)
