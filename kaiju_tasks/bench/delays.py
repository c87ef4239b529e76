"""Measures the delays of a task on a manager that has nothing else to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from kaiju_tasks.bench.cluster import APP, Cluster, cluster
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.rows import Figure
from kaiju_tasks.bench.throughput import LAST, create_job

PERCENTILES = (50, 90, 99)
NOW = {"method": "do.now"}
"""Returns the time at which it began, by the clock of this machine, where the client runs too."""
WARM_UP = 10
TIMER_SECONDS = 0.05
AHEAD_SECONDS = 2.0
APART_SECONDS = 0.02
DUE_TOGETHER = 500


async def delays(options: Options) -> AsyncIterator[Figure]:
    """Measure tasks one at a time."""
    count = options.samples
    async with cluster(options) as one, one.with_executors(concurrency=options.concurrency):
        await _singles(one, WARM_UP)
        found = await _singles(one, count)
        found["end of a stage to start of the next"] = await _stages(one, count)
        found["due time to start"] = await lateness(one, count, APART_SECONDS)
        found["timer to its end"] = await _timers(one, count)
    for what, seconds in found.items():
        for figure in percentiles("delays", what, seconds):
            yield figure


async def crowds(options: Options) -> AsyncIterator[Figure]:
    """Measure tasks that are not alone: many are due at one moment, or many are queued."""
    async with cluster(options) as one, one.with_executors(concurrency=options.concurrency):
        late = await lateness(one, DUE_TOGETHER, 0)
    for figure in percentiles("crowds", f"due time to start, {DUE_TOGETHER} at once", late):
        yield figure
    async with cluster(options) as one:
        await create_job(one, Job("queued", options.tasks))
        await _create(one, NOW, id=LAST)
        async with one.with_executors(concurrency=options.concurrency):
            starts = await _urgent(one, options.samples)
    for figure in percentiles("crowds", "create to start of an urgent task, many queued", starts):
        yield figure


def percentiles(part: str, what: str, seconds: Sequence[float]) -> list[Figure]:
    """Return the percentiles of delays, in milliseconds."""
    values = sorted(seconds)
    return [
        Figure(part, what, "ms", values[min(len(values) - 1, len(values) * at // 100)] * 1000, at)
        for at in PERCENTILES
    ]


async def _create(one: Cluster, *commands: Mapping[str, object], **fields: object) -> Any:
    data = {"app_name": APP, "commands": list(commands), **fields}
    return await one.client.call("tasks.create", data=data)


async def _wait(one: Cluster, task_id: str) -> Any:
    return await one.client.call("tasks.wait", id=task_id, timeout=60)


async def _singles(one: Cluster, count: int) -> dict[str, list[float]]:
    answered, started, ended = [], [], []
    for _ in range(count):
        called, clock = time.time(), time.perf_counter()
        task = await _create(one, NOW)
        answered.append(time.perf_counter() - clock)
        (began,) = (await _wait(one, task["id"]))["result"]
        ended.append(time.perf_counter() - clock)
        started.append(began - called)
    return {
        "create to its answer": answered,
        "create to start": started,
        "create to the result at the client": ended,
    }


async def _stages(one: Cluster, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        task = await _create(one, NOW, NOW)
        first, second = (await _wait(one, task["id"]))["result"]
        seconds.append(second - first)
    return seconds


async def lateness(one: Cluster, count: int, apart: float) -> list[float]:
    """Measure how late tasks start that are due at moments `apart` from each other, in seconds."""
    first = time.time() + AHEAD_SECONDS + count / 500
    fields = [{"next_run": first + apart * n} for n in range(count)]
    data = [{"app_name": APP, "commands": [NOW], **each} for each in fields]
    tasks = await one.client.call("tasks.m_create", data=data)
    await asyncio.sleep(first + apart * count - time.time())
    late = []
    for task in tasks:
        (began,) = (await _wait(one, task["id"]))["result"]
        late.append(began - task["next_run"])
    return late


async def _timers(one: Cluster, count: int) -> list[float]:
    late = []
    for n in range(count):
        seconds = TIMER_SECONDS + 0.003 * (n % 20)
        task = await _create(one, {"method": "_TIMER_", "params": {"timer": seconds}})
        await _wait(one, task["id"])
        (run,) = await one.client.call("tasks.runs", id=task["id"])
        late.append(run["ended_at"] - run["started_at"] - seconds)
    return late


async def _urgent(one: Cluster, count: int) -> list[float]:
    """Measure the starts of tasks of a high priority while others are queued, at least one."""
    seconds: list[float] = []
    queued = True
    while queued and len(seconds) < count:
        called = time.time()
        task = await _create(one, NOW, priority=100)
        (began,) = (await _wait(one, task["id"]))["result"]
        seconds.append(began - called)
        queued = (await one.client.call("tasks.get", id=LAST))["status"] == "QUEUED"
    return seconds
