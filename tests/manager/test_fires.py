"""Fires that come while a manager cannot act: its process or its machine was stopped."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls
from tests.support.clock import HandClock
from tests.support.wait import wait_until

EVERY = 20.0
AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_800_000_000.0)


@asynccontextmanager
async def _manager(db: str, clock: HandClock) -> AsyncIterator[Manager]:
    settings = Settings(db=db, poll_interval=0.1)
    store = make_store(db, clock=clock)
    await store.open()
    async with Manager(store, settings).running() as manager:
        yield manager
    await store.close()


@pytest.fixture
async def manager(clock: HandClock) -> AsyncIterator[Manager]:
    async with _manager("sqlite://:memory:", clock) as manager:
        yield manager


@pytest.mark.parametrize(
    ("seconds", "statuses"),
    [(50.0, ["FINISHED", "FINISHED"]), (90.0, ["MISSED", "MISSED", "MISSED", "MISSED"])],
)
async def test_a_manager_that_stood_still_within_the_grace_runs_the_fires_of_that_time(
    manager: Manager, clock: HandClock, seconds: float, statuses: list[str]
) -> None:
    call = Calls(manager)
    task = await call.create(AT_ONCE, every=EVERY)
    clock.now += seconds

    async def decided() -> bool:
        return len(await call("tasks.runs", id=task["id"])) >= len(statuses)

    await wait_until(decided, "the fires are decided")
    runs = await call("tasks.runs", id=task["id"])
    assert [run["status"] for run in runs] == statuses
    assert (await call.get(task["id"]))["next_run"] > clock.now


SCHEDULES: dict[str, dict[str, Any]] = {
    "every": {"every": 20.0},
    "every with jitter": {"every": 20.0, "jitter": 7.0},
    "seconds of cron": {"cron": "* * * * * */10"},
    "minutes of cron": {"cron": "* * * * *"},
}


@pytest.mark.parametrize("misfire", ["skip", "last", "all"])
@pytest.mark.parametrize("schedule", SCHEDULES)
async def test_a_planned_restart_of_up_to_a_minute_loses_no_fire(
    clock: HandClock, tmp_path: Path, schedule: str, misfire: str
) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    fields = SCHEDULES[schedule]
    async with _manager(url, clock) as first:
        call = Calls(first)
        task = await call.create(AT_ONCE, misfire=misfire, **fields)
        stopped_at = clock.now
    clock.now += 58.0
    period = fields.get("every") or (10.0 if "*/10" in fields["cron"] else 60.0)
    first_fire = task["next_run"] - stopped_at
    expected = math.floor((58.0 - first_fire) / period) + 1
    assert expected >= 0
    async with _manager(url, clock) as second:
        call = Calls(second)

        async def caught_up() -> bool:
            row = await call.get(task["id"])
            return bool(row["status"] == "IDLE" and row["next_run"] > clock.now)

        await wait_until(caught_up, "the fires of the restart have run")
        runs = await call("tasks.runs", id=task["id"])
    assert [run["status"] for run in runs] == ["FINISHED"] * expected
    assert len({run["scheduled_at"] for run in runs}) == expected
