"""Measures memory, and what a task adds to the database."""

from collections.abc import AsyncIterator

from kaiju_tasks.bench.cluster import Cluster, cluster
from kaiju_tasks.bench.cpu import resident_bytes
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.rows import Figure
from kaiju_tasks.bench.throughput import create_job, drain

MIB = 1024 * 1024
PART = "space"


async def space(options: Options) -> AsyncIterator[Figure]:
    """Measure the processes before and after many tasks, and the database between."""
    for job in (Job("no-op tasks", options.tasks), Job("3-stage tasks", options.tasks // 2, 3)):
        async with (
            cluster(options) as one,
            one.with_executors(concurrency=options.concurrency, drained=True),
        ):
            if job.stages == 1:
                for figure in _memory(one, "idle"):
                    yield figure
            before = await one.place.used_bytes()
            await create_job(one, job)
            await drain(one, job)
            after = await one.place.used_bytes()
            for figure in _memory(one, f"after {job.name}"):
                yield figure
        stored = (after.stored - before.stored) / job.tasks
        yield Figure(PART, f"{job.name}: tables and indexes", "bytes", stored)
        if before.logged is not None and after.logged is not None:
            logged = (after.logged - before.logged) / job.tasks
            yield Figure(PART, f"{job.name}: WAL", "bytes", logged)


def _memory(one: Cluster, when: str) -> list[Figure]:
    processes = [("manager", one.managers[0]), *(("executor", each) for each in one.executors)]
    return [
        Figure(PART, f"{name}, {when}", "MiB", size / MIB)
        for name, process in processes
        if (size := resident_bytes(process.pid)) is not None
    ]
