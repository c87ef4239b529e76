"""Moved time: it goes on when nothing is left that can happen at the moment, so that a world ends
alike however slow the machine is."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from kaiju_tasks.manager.executors.reports import Reports
from kaiju_tasks.manager.executors.streams import Streams
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.scheduler import Scheduler
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.settings import load_settings
from kaiju_tasks.store.base import Ping
from kaiju_tasks.store.sqlite.store import SqliteStore
from kaiju_tasks.testing import Kaiju, running
from kaiju_tasks.types import ExecutorStatus
from tests.server.world_commands import executor
from tests.system_executor.receiver import receiving

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
WORLDS_OF_A_SHAPE = 15
LOADED_WORLDS_OF_A_SHAPE = 2
Json = dict[str, Any]


def timer(seconds: float) -> Json:
    return {"method": "_TIMER_", "params": {"timer": seconds}}


def message(seconds: float, **params: Any) -> Json:
    return {"method": "_MESSAGE_", "params": params, "max_timeout": seconds}


def create(*tasks: Json, **params: Any) -> Json:
    return {"method": "_TASKS_", "params": {"create": list(tasks), **params}}


def task(id: str, *commands: Json | str, **fields: Any) -> Json:
    named = [{"method": c} if isinstance(c, str) else c for c in commands]
    return {"id": id, "app_name": "world", "commands": named, **fields}


FLAKY = {"method": "flaky", "params": {"failures": 2}}
RETRIED = {"max_retries": 3, "retry_delay": 10 * MINUTE, "retry_backoff": 2, "app_name": "world"}
SHAPES: dict[str, list[Json]] = {
    "children between hooks": [
        task(
            "parent",
            timer(60),
            create(
                task("a", "on_the_loop", "in_a_thread"), task("b", "in_a_thread", "on_the_loop")
            ),
            message(HOUR, default=False),
            "on_the_loop",
        )
    ],
    "children of children, some of which fail": [
        task(
            "parent",
            create(
                task("a", timer(5), create(task("aa", "in_a_thread"), task("ab", timer(7)))),
                task("b", {"method": "flaky", "params": {"failures": 9}}, "on_the_loop"),
                task("c", message(30)),
                on_error="continue",
            ),
            message(HOUR),
        )
    ],
    "retries with growing delays": [
        task("retried", "in_a_thread", FLAKY, timer(1), FLAKY, **RETRIED),
        task("given_up", {"method": "flaky", "params": {"failures": 9}}, **RETRIED),
    ],
    "schedules, slots and next tasks": [
        task("last", "in_a_thread", enabled=True, next_run=4e9),
        task("four_hourly", "in_a_thread", cron="0 */4 * * *", next_task="last"),
        *(
            task(f"slot-{n}", "on_the_loop", timer(30), "in_a_thread", every=6 * HOUR,
                 concurrency={"key": "one", "limit": 1})
            for n in range(3)
        ),
    ],
    "a pause, and a task that a stage creates": [
        task("held", timer(90), "on_the_loop", "in_a_thread"),
        task("manager", {"method": "tasks.create", "params": {"data": {
            "id": "made", "app_name": "world", "delay": 2 * HOUR,
            "commands": {"$raw": [{"method": "in_a_thread"}]}}}}, app_name="manager"),
    ],
    "webhooks that are tried again": [
        task("one", timer(5), "on_the_loop", webhook={"url": "RECEIVER"}),
        task("two", message(10)),
    ],
}  # fmt: skip


async def world(shape: str, receiver: str) -> Json:
    """Run a shape for a day, and return the history of every task."""
    async with running(executor) as kaiju:
        if shape == "a pause, and a task that a stage creates":
            pause = {"app_name": "world", "reason": "test", "until": kaiju.now + 2 * HOUR}
            await kaiju.call("pauses.add", **pause)
        for made in SHAPES[shape]:
            if "webhook" in made:
                made = {**made, "webhook": {"url": receiver}}
            await kaiju.create(made)
        await kaiju.move(DAY)
        return await histories(kaiju)


async def histories(kaiju: Kaiju) -> Json:
    rows = (await kaiju.call("tasks.list", sort=["id"], limit=1000))["data"]
    return {row["id"].partition(":")[0]: await history(kaiju, row["id"]) for row in rows}


async def history(kaiju: Kaiju, id: str) -> list[Any]:
    got = await kaiju.get(id)
    runs = await kaiju.call("tasks.runs", id=id)
    stages = [await kaiju.call("tasks.stages", job_id=r["job_id"]) for r in runs if r["job_id"]]
    return [
        got["status"],
        got["status_reason"],
        got["exit_code"],
        [run["status"] for run in runs],
        [[(s["stage"], s["attempt"], s["outcome"]) for s in of_run] for of_run in stages],
    ]


async def worlds(shape: str, count: int) -> list[Json]:
    async with receiving() as receiver:
        receiver.answer = lambda n: 200 if n % 3 == 0 else 500  # the third call of each world
        return [await world(shape, receiver.url) for _ in range(count)]


@contextmanager
def all_cores_busy() -> Iterator[None]:
    spin = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


@pytest.mark.parametrize("shape", SHAPES)
async def test_all_worlds_of_a_shape_end_alike(shape: str) -> None:
    first, *others = await worlds(shape, WORLDS_OF_A_SHAPE)
    with all_cores_busy():
        others += await worlds(shape, LOADED_WORLDS_OF_A_SHAPE)
    for number, other in enumerate(others, 2):
        assert other == first, f"world {number}"
    assert not [end for end in first.values() if end[0] in ("QUEUED", "EXECUTED")]


SLOW_SECONDS = 0.03
QUICK_WORLDS: dict[str, Json] = {}
DUTIES = [
    (Scheduler, "_pass"),
    (Scheduler, "_do_signals"),
    (PauseBook, "_turn"),
    (Streams, "_serve_all"),
    (Reports, "write"),
    (Committer, "_commit"),
]


def slowed(duty: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def slow(self: Any, *values: Any, **named: Any) -> Any:
        await asyncio.sleep(SLOW_SECONDS)
        return await duty(self, *values, **named)

    return slow


@pytest.mark.parametrize(("owner", "duty"), DUTIES)
async def test_a_world_ends_alike_when_one_duty_of_the_manager_is_slow(
    owner: type, duty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = [shape for shape in SHAPES if "slots" not in shape]
    quick = [await quick_world(shape) for shape in shapes]
    monkeypatch.setattr(owner, duty, slowed(getattr(owner, duty)))
    for shape, expected in zip(shapes, quick, strict=True):
        assert await worlds(shape, 1) == [expected], shape


async def quick_world(shape: str) -> Json:
    """A world with no slow duty; all tests compare with the same one."""
    if shape not in QUICK_WORLDS:
        (QUICK_WORLDS[shape],) = await worlds(shape, 1)
    return QUICK_WORLDS[shape]


async def test_what_a_pause_held_goes_on_at_the_moment_the_pause_ends() -> None:
    async with running(executor) as kaiju:
        until = kaiju.now + HOUR
        await kaiju.call("pauses.add", app_name="world", reason="test", until=until)
        await kaiju.create(task("t", "on_the_loop"))
        await kaiju.move(DAY)
        (run,) = await kaiju.call("tasks.runs", id="t")
        assert (run["started_at"], run["ended_at"]) == (until, until)


async def test_time_stands_still_at_each_stop_and_ends_where_it_was_moved_to() -> None:
    async with running(executor) as kaiju:
        pairs: list[Json | str] = [timer(60), "in_a_thread"]
        await kaiju.create(task("t", *(pairs * 20), message(60, default=1)))
        await kaiju.wait_for("t", "WAITING")
        first = (await kaiju.get("t"))["wait_deadline"]
        await kaiju.move(DAY)
        records = await kaiju.call("tasks.stages", job_id=(await kaiju.get("t"))["job_id"])
        ends = [record["ended_at"] for record in records]
        assert ends == [first + 60 * (n // 2) for n in range(40)] + [first + 60 * 20]


async def test_a_delay_counts_from_the_time_that_was_moved_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Scheduler, "_look_ahead", slowed(Scheduler._look_ahead))
    async with running(executor) as kaiju:
        for number in range(20):
            await kaiju.move(HOUR)
            await kaiju.create(task(f"{number}", "on_the_loop", delay=60))
            assert (await kaiju.get(f"{number}"))["status"] == "IDLE"
            await kaiju.move(60)
            assert (await kaiju.get(f"{number}"))["status"] == "FINISHED"


async def test_an_executor_that_pings_while_time_moves_keeps_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ping_twice(
        store: SqliteStore, pings: Sequence[Ping], lease_seconds: float
    ) -> dict[str, ExecutorStatus]:
        statuses = await ping(store, pings, lease_seconds)
        await ping(store, pings, load_settings(environ={}).lease_seconds)
        return statuses

    ping = SqliteStore.ping
    async with running(executor) as kaiju:
        await kaiju.move(HOUR)  # a manager that has just started expels no executor
        monkeypatch.setattr(SqliteStore, "ping", ping_twice)
        await kaiju.create(task("t", timer(HOUR), "in_a_thread"))
        (before,) = kaiju.manager.sessions
        await kaiju.move(DAY)
        assert [*kaiju.manager.sessions] == [before]


async def test_time_goes_on_past_a_stage_that_does_not_end() -> None:
    async with running(executor) as kaiju:
        await kaiju.create(task("t", "never", timer(1)))
        await kaiju.create(task("beside", timer(HOUR), "in_a_thread"))
        await kaiju.move(DAY, patience=0.2)
        assert (await kaiju.get("t"))["error"]["type"] == "exec_timeout"
        assert (await kaiju.get("beside"))["status"] == "FINISHED"


async def test_moves_at_the_same_time_come_one_after_the_other() -> None:
    async with running(executor) as kaiju:
        await kaiju.create(task("t", timer(3 * HOUR)))
        before = kaiju.now
        await asyncio.gather(*(kaiju.move(HOUR) for _ in range(3)))
        assert kaiju.now >= before + 3 * HOUR
        assert (await kaiju.get("t"))["status"] == "FINISHED"


async def test_a_process_command_is_waited_for_however_long_it_takes_to_begin() -> None:
    chain = task("chain", "in_a_process", timer(60), "in_a_process", message(60, default=None))
    with all_cores_busy():
        async with running(executor) as kaiju:
            await kaiju.create(chain)
            await kaiju.move(120, patience=60)
            ended = await kaiju.get("chain")
    assert (ended["status"], ended["result"]) == ("FINISHED", [2, None, 2, None])
