"""Measures how fast an executor runs tasks that are ready."""

import asyncio
import time
from collections.abc import AsyncIterator

from msgspec import Struct

from kaiju_tasks.bench.cluster import (
    APP,
    EXECUTOR,
    PATIENCE_SECONDS,
    POLL_SECONDS,
    Cluster,
    cluster,
    cpu_figures,
)
from kaiju_tasks.bench.cpu import Meter
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.place import fresh_place
from kaiju_tasks.bench.rows import Figure
from kaiju_tasks.errors import Unavailable

PART = "throughput"
CREATORS = 4
LAST = "the-last-one"


class Drained(Struct, frozen=True):
    """How fast a job ran.

    :param rate: tasks per second
    :param ended: number of tasks that ended while the processes were measured: those of the job,
        and others that were queued
    :param meter: has measured the processes
    """

    rate: float
    ended: int
    meter: Meter

    def cpu_figures(self, part: str, what: str, at: int | None = None) -> list[Figure]:
        """Return the CPU time of each group of processes for one task."""
        return cpu_figures(part, what, self.meter, self.ended, at)


async def throughput(options: Options) -> AsyncIterator[Figure]:
    """Measure creates in large batches and the executor that runs these tasks, and compare both
    with the limit of the database."""
    for job in (Job("no-op tasks", options.tasks), Job("3-stage tasks", options.tasks // 2, 3)):
        options.say(f"{job.name}: the limit, which is the same work as plain SQL")
        async with fresh_place(options.db) as place:
            limits = await place.limit(job)
        options.say(f"{job.name}: through manager and executor")
        async with (
            cluster(options) as one,
            one.with_executors(concurrency=options.concurrency, drained=True),
        ):
            meter = await one.start_meter()
            created = await create_job(one, job)
            await one.stop_meter(meter)
            ran = await drain(one, job)
        create, run = f"create {job.name}", f"run {job.name}"
        for figure in (
            *_beside_limit(create, created, limits[0]),
            *cpu_figures(PART, create, meter, job.tasks, without=EXECUTOR),
            *_beside_limit(run, ran.rate, limits[1]),
            *ran.cpu_figures(PART, run),
        ):
            yield figure


def _beside_limit(what: str, rate: float, limit: float) -> list[Figure]:
    return [
        Figure(PART, what, "tasks/s", rate),
        Figure(PART, f"{what}: limit", "tasks/s", limit),
        Figure(PART, what, "of the limit", rate / limit),
    ]


async def create_job(one: Cluster, job: Job) -> float:
    """Create the tasks of a job in batches, and return how many per second."""
    data = {"app_name": APP, "group": job.name, "commands": job.commands}
    sizes = [min(job.batch, job.tasks - first) for first in range(0, job.tasks, job.batch)]

    async def create() -> None:
        while sizes:
            await one.client.call("tasks.m_create", data=[data] * sizes.pop())

    started = time.perf_counter()
    await asyncio.gather(*(create() for _ in range(CREATORS)))
    return job.tasks / (time.perf_counter() - started)


async def drain(one: Cluster, job: Job) -> Drained:
    """Run the tasks of a job that have been created, by executors that have been drained.

    The rate is measured from the first start to the last end, by the clock of the managers.
    """
    last = {"id": LAST, "app_name": APP, "commands": Job("last", 1).commands}
    await one.client.call("tasks.create", data=last)
    before = await _finished(one)
    meter = await one.start_meter()
    await one.resume()
    await one.ended(LAST)
    await all_finished(one, job)
    await one.stop_meter(meter)
    ended = await _finished(one) - before
    first, end = (
        await _extreme(one, job, "status_change"),
        await _extreme(one, job, "-status_change"),
    )
    (run,) = await one.client.call("tasks.runs", id=first["id"])
    return Drained(job.tasks / (end["status_change"] - run["started_at"]), ended, meter)


async def all_finished(one: Cluster, job: Job) -> None:
    """Wait for the tasks that started before the last one and that have not ended yet."""
    until = time.monotonic() + PATIENCE_SECONDS
    while await _finished(one, group=job.name) < job.tasks:
        if time.monotonic() > until:
            raise Unavailable(f"{job.name} did not end within {PATIENCE_SECONDS:g} seconds")
        await asyncio.sleep(POLL_SECONDS)


async def _finished(one: Cluster, **conditions: str) -> int:
    wanted = {"app_name": APP, "status": "FINISHED", **conditions}
    count: int = (await one.client.call("tasks.count", conditions=wanted))["count"]
    return count


async def _extreme(one: Cluster, job: Job, sort: str) -> dict[str, float]:
    wanted = {"group": job.name}
    page = await one.client.call("tasks.list", conditions=wanted, sort=[sort], limit=1)
    task: dict[str, float] = page["data"][0]
    return task
