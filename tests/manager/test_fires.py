"""Fires that come while a manager cannot act: its process or its machine was stopped."""

from collections.abc import AsyncIterator

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from tests.manager.hand import Calls
from tests.support.clock import HandClock
from tests.support.wait import wait_until

EVERY = 20.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_800_000_000.0)


@pytest.fixture
async def manager(clock: HandClock) -> AsyncIterator[Manager]:
    settings = Settings(db="sqlite://:memory:", poll_interval=0.1)
    store = make_store(settings.db, clock=clock)
    await store.open()
    async with Manager(store, settings).running() as manager:
        yield manager
    await store.close()


@pytest.mark.parametrize(
    ("seconds", "statuses"),
    [(50.0, ["FINISHED", "FINISHED"]), (90.0, ["MISSED", "MISSED", "MISSED", "MISSED"])],
)
async def test_a_manager_that_stood_still_within_the_grace_runs_the_fires_of_that_time(
    manager: Manager, clock: HandClock, seconds: float, statuses: list[str]
) -> None:
    call = Calls(manager)
    timer = {"method": "_TIMER_", "params": {"timer": 0}}
    task = await call.create(timer, every=EVERY)
    clock.now += seconds

    async def decided() -> bool:
        return len(await call("tasks.runs", id=task["id"])) >= len(statuses)

    await wait_until(decided, "the fires are decided")
    runs = await call("tasks.runs", id=task["id"])
    assert [run["status"] for run in runs] == statuses
    assert (await call.get(task["id"]))["next_run"] > clock.now
