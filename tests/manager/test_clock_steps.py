"""The store's clock is set while a manager is up: spans stay as long as they are."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from kaiju_tasks.lifecycle import Row
from kaiju_tasks.lifecycle.clock_step import NOT_MOVED, SPANS, SPANS_OF_INTERVALS
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.support.stepped import SetClock, stepped_store
from tests.support.wait import wait_until

HOUR = 3600.0
LONG = 2000.0
TIMER = {"method": "_TIMER_", "params": {"timer": 0}}
WAITS_FOR_LOCKS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
steps = pytest.mark.parametrize("step", [HOUR, -HOUR])


class Stepped:
    """A manager and the clock of its store."""

    def __init__(self, manager: Manager, set_clock: SetClock) -> None:
        self.manager = manager
        self.call = Calls(manager)
        self._set_clock = set_clock

    async def step(self, seconds: float) -> None:
        """Set the clock, and wait until the manager has noticed it."""
        before = self.manager.clock.now()
        await self._set_clock(seconds)

        async def noticed() -> bool:
            return abs(await self.manager.store.now() - before) > abs(seconds) / 2

        await wait_until(noticed, "the step is noticed")

    async def left(self, task_id: str, field: str) -> float:
        """The seconds until a time of a task."""
        moment = (await self.call.get(task_id))[field]
        return float(moment - await self.manager.store.now())


@pytest.fixture
async def stepped(store_url: str) -> AsyncIterator[Stepped]:
    store, set_clock = await stepped_store(store_url)
    await store.open()
    settings = Settings(db=store_url, poll_interval=0.2)
    async with Manager(store, settings).running() as manager:
        yield Stepped(manager, set_clock)
    await store.close()


def test_every_time_of_a_task_moves_or_is_known_not_to() -> None:
    floats = {name for name, kind in Row.__annotations__.items() if "float" in str(kind)}
    assert floats == SPANS | SPANS_OF_INTERVALS | NOT_MOVED


@steps
async def test_spans_stay_as_long_as_they_are(
    stepped: Stepped, step: float, caplog: pytest.LogCaptureFixture
) -> None:
    call = stepped.call
    executor = HandExecutor(stepped.manager, "hand")
    await executor.connect()
    async with pinging(executor):
        running = await call.create("work", max_exec_timeout=LONG)
        await call.until(running["id"], "EXECUTED")
        waiting = await call.create({"method": "_TIMER_", "params": {"timer": LONG}})
        asked = await call.create({"method": "_MESSAGE_", "max_timeout": LONG})
        delayed = await call.create(TIMER, delay=LONG)
        later = await call.create(TIMER, every=LONG, delay=LONG)
        every = await call.create(TIMER, every=LONG)
        queued = await call.create("work", app_name="nobody", max_queue_time=LONG)
        spans = {
            running["id"]: "exec_deadline",
            waiting["id"]: "wait_deadline",
            asked["id"]: "wait_deadline",
            delayed["id"]: "next_run",
            later["id"]: "next_run",
            every["id"]: "next_run",
        }
        before = {id: await stepped.left(id, field) for id, field in spans.items()}
        order = (await call.get(queued["id"]))["queued_at"] - stepped.manager.clock.now()
        await stepped.step(step)
        for id, field in spans.items():
            assert await stepped.left(id, field) == pytest.approx(before[id], abs=30), id
        moved = (await call.get(queued["id"]))["queued_at"] - stepped.manager.clock.now()
        assert moved == pytest.approx(order, abs=30)
        assert (await call.get(running["id"]))["status"] == "EXECUTED"
        assert (await call.get(queued["id"]))["status"] == "QUEUED"
        assert [one["status"] for one in await call("executors.list")] == ["ACTIVE"]
    assert caplog.text.count("was set") == 1


@steps
async def test_dates_and_cron_expressions_keep_their_time_of_day(
    stepped: Stepped, step: float
) -> None:
    call = stepped.call
    date = await call.create(TIMER, next_run="2100-01-01T00:00Z")
    cron = await call.create(TIMER, cron="0 0 1 1 *")
    await stepped.step(step)
    for task in (date, cron):
        assert (await call.get(task["id"]))["next_run"] == task["next_run"]


@pytest.mark.parametrize("misfire", ["skip", "last", "all"])
async def test_fires_that_the_clock_jumps_over_count_as_one(stepped: Stepped, misfire: str) -> None:
    call = stepped.call
    task = await call.create(TIMER, cron="*/10 * * * *", misfire=misfire)
    await stepped.step(HOUR)
    runs: list[dict[str, Any]] = []

    async def decided() -> bool:
        runs[:] = await call("tasks.runs", id=task["id"])
        return bool(runs)

    await wait_until(decided, "the fire is decided")
    assert [run["status"] for run in runs] == ["MISSED" if misfire == "skip" else "FINISHED"]
    now = await stepped.manager.store.now()
    assert now - 600 - 60 < runs[0]["scheduled_at"] <= now
    assert (await call.get(task["id"]))["next_run"] > now - 60


@pytest.mark.parametrize("schedule", [{"cron": "*/10 * * * *"}, {"every": 600.0}])
@pytest.mark.parametrize("misfire", ["skip", "all"])
async def test_a_first_run_counts_with_the_fires_that_the_clock_jumps_over(
    stepped: Stepped, misfire: str, schedule: dict[str, Any]
) -> None:
    call = stepped.call
    first = await stepped.manager.store.now() + 300.0
    task = await call.create(TIMER, next_run=first, misfire=misfire, **schedule)
    await stepped.step(HOUR)
    runs: list[dict[str, Any]] = []

    async def ran() -> bool:
        runs[:] = await call("tasks.runs", id=task["id"])
        return bool(runs)

    await wait_until(ran, "the task has run")
    assert [run["status"] for run in runs] == ["FINISHED"]
    now = await stepped.manager.store.now()
    assert now - 600 - 60 < runs[0]["scheduled_at"] <= now
    assert (await call.get(task["id"]))["next_run"] > now - 60


@pytest.mark.parametrize("schedule", [{"cron": "*/10 * * * *"}, {"every": 600.0}])
async def test_a_delayed_first_run_moves_with_the_clock_and_its_schedule_follows(
    stepped: Stepped, schedule: dict[str, Any]
) -> None:
    call = stepped.call
    task = await call.create(TIMER, delay=LONG, misfire="all", **schedule)
    await stepped.step(HOUR)
    assert await stepped.left(task["id"], "next_run") == pytest.approx(LONG, abs=30)
    assert await call("tasks.runs", id=task["id"]) == []


async def test_a_fire_that_the_clock_jumps_over_by_less_than_the_grace_runs_late(
    stepped: Stepped,
) -> None:
    call = stepped.call
    task = await call.create(TIMER, cron="* * * * * 0,20,40")
    await stepped.step(50.0)

    async def ran() -> bool:
        return bool(await call("tasks.runs", id=task["id"]))

    await wait_until(ran, "the fire has run")
    assert {run["status"] for run in await call("tasks.runs", id=task["id"])} == {"FINISHED"}


async def test_no_fire_is_decided_again_when_the_clock_is_set_back(stepped: Stepped) -> None:
    call = stepped.call
    task = await call.create(TIMER, cron="*/10 * * * *")
    await stepped.step(-HOUR)
    assert (await call.get(task["id"]))["next_run"] == task["next_run"]
    assert await call("tasks.runs", id=task["id"]) == []


async def test_what_is_created_after_a_step_counts_by_the_new_clock(stepped: Stepped) -> None:
    await stepped.step(HOUR)
    task = await stepped.call.create(TIMER, delay=LONG)
    assert await stepped.left(task["id"], "next_run") == pytest.approx(LONG, abs=30)


@pytest.fixture
async def two(postgres_dsn: str) -> AsyncIterator[tuple[Stepped, Stepped]]:
    """Two managers of one PostgreSQL."""
    store, set_clock = await stepped_store(postgres_dsn)
    other = make_store(postgres_dsn)
    settings = Settings(db=postgres_dsn, poll_interval=0.2)
    await store.open()
    await other.open()
    async with (
        Manager(store, settings).running() as manager,
        Manager(other, settings).running() as second,
    ):
        yield Stepped(manager, set_clock), Stepped(second, set_clock)
    await other.close()
    await store.close()


@steps
async def test_one_of_several_managers_moves_the_times(
    two: tuple[Stepped, Stepped], step: float, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two
    task = await one.call.create(TIMER, delay=LONG)
    await one.step(step)
    await other.step(0.0)
    for each in two:
        assert await each.left(task["id"], "next_run") == pytest.approx(LONG, abs=30)
    assert caplog.text.count("was set") == 1


@steps
async def test_a_heartbeat_that_reads_a_clock_that_was_set_is_no_witness_of_its_time(
    postgres_dsn: str, step: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Each heartbeat reads the new clock first. It must not let the other count that as time."""
    one, set_clock = await stepped_store(postgres_dsn)
    other = make_store(postgres_dsn)
    stores = {"one": one, "other": other}
    observer, holder = [await asyncpg.connect(postgres_dsn) for _ in stores]

    async def seen() -> None:
        await asyncio.gather(*(store.manager_seen(id, 10.0) for id, store in stores.items()))

    async def both_wait() -> bool:
        return bool(await observer.fetchval(WAITS_FOR_LOCKS) == len(stores))

    for store in stores.values():
        await store.open()
    await seen()
    await up_for_long(postgres_dsn)
    async with holder.transaction():
        await holder.execute("SELECT FROM revisions WHERE name = 'clock' FOR UPDATE")
        await set_clock(step)
        beating = asyncio.create_task(seen())
        await wait_until(both_wait, "both have read the new clock")
    await beating
    assert caplog.text.count("was set") == 1
    for connection in (observer, holder):
        await connection.close()
    for store in stores.values():
        await store.close()


async def test_a_manager_that_starts_after_a_step_is_no_witness_of_the_time(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, set_clock = await stepped_store(postgres_dsn)
    await store.open()
    await store.manager_seen("old", 10.0)
    await set_clock(HOUR)
    new = make_store(postgres_dsn)
    await new.open()
    await new.manager_seen("new", 10.0)
    await store.manager_seen("old", 10.0)
    assert caplog.text.count("was set") == 1
    await new.close()
    await store.close()


async def up_for_long(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("UPDATE managers SET up_since = up_since - 100")
    await connection.close()


async def test_a_manager_whose_machine_stood_still_moves_nothing(
    two: tuple[Stepped, Stepped], postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two
    task = await one.call.create(TIMER, delay=LONG)
    await up_for_long(postgres_dsn)
    clock = one.manager.store._clock  # type: ignore[attr-defined]
    clock._low -= HOUR
    clock._high -= HOUR
    for each in (one, other):
        assert await each.left(task["id"], "next_run") == pytest.approx(LONG, abs=30)
    assert "was set" not in caplog.text


async def test_a_transaction_that_reads_a_stepped_clock_decides_nothing(
    two: tuple[Stepped, Stepped],
) -> None:
    one, _ = two
    task = await one.call.create(TIMER, delay=LONG)
    tried: list[float] = []

    async def work(tx: Transaction) -> Written[None]:
        await tx.lock([task["id"]])
        tried.append(tx.now)
        return Written(None, [])

    before = one.manager.clock.now()
    await one._set_clock(HOUR)
    await one.manager.committer.transact(work)
    assert tried[0] > before + HOUR - 30
    assert one.manager.clock.now() > before + HOUR - 30
