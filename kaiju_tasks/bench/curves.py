"""Measures how throughput changes as something grows."""

from collections.abc import AsyncIterator

from kaiju_tasks.bench.cluster import cluster
from kaiju_tasks.bench.create import created_one_by_one
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.rows import Figure, Unit
from kaiju_tasks.bench.stored import Kind
from kaiju_tasks.bench.throughput import create_job, drain

PAYLOADS = (100, 1000, 10_000, 100_000)
PAYLOAD_BYTES = 50_000_000
FEWEST = 100
STAGES = (1, 3, 10, 30)
CONCURRENCIES = (8, 32, 128, 512, 2000)
PROCESSES = (1, 2, 4)
SHARES = (0, 0.01, 0.1, 1)
UNITS: dict[str, Unit] = {"payload": "stages/s", "stages": "stages/s"}


async def payload(options: Options) -> AsyncIterator[Figure]:
    """Measure stages by the size of their parameters and results."""
    for size in PAYLOADS:
        tasks = min(options.tasks // 2, max(FEWEST, PAYLOAD_BYTES // size))
        job = Job("tasks", tasks, payload=size)
        async for figure in _run(options, "payload", job, size):
            yield figure


async def stages(options: Options) -> AsyncIterator[Figure]:
    """Measure stages by their number in each task."""
    for count in STAGES:
        job = Job("tasks", max(FEWEST, options.tasks // count), count)
        async for figure in _run(options, "stages", job, count):
            yield figure


async def concurrency(options: Options) -> AsyncIterator[Figure]:
    """Measure tasks by the number that an executor holds at once."""
    for count in CONCURRENCIES:
        job = Job("tasks", options.tasks)
        async for figure in _run(options, "concurrency", job, count, concurrency=count):
            yield figure


async def executors(options: Options) -> AsyncIterator[Figure]:
    """Measure tasks by the number of executors of one manager."""
    for count in PROCESSES:
        job = Job("tasks", options.tasks)
        async for figure in _run(options, "executors", job, count, executors=count):
            yield figure


async def managers(options: Options) -> AsyncIterator[Figure]:
    """Measure tasks by the number of managers, each with an executor."""
    for count in PROCESSES:
        job = Job("tasks", options.tasks)
        async for figure in _run(options, "managers", job, count, executors=count, managers=count):
            yield figure


async def backlog(options: Options) -> AsyncIterator[Figure]:
    """Measure by the number of tasks that are queued behind."""
    async for figure in _stored(options, "backlog"):
        yield figure


async def history(options: Options) -> AsyncIterator[Figure]:
    """Measure by the number of ended tasks in the database."""
    async for figure in _stored(options, "history"):
        yield figure


async def future(options: Options) -> AsyncIterator[Figure]:
    """Measure by the number of tasks that are due on another day."""
    async for figure in _stored(options, "future"):
        yield figure


async def _run(
    options: Options,
    part: str,
    job: Job,
    at: int,
    *,
    executors: int = 1,
    managers: int = 1,
    concurrency: int | None = None,
) -> AsyncIterator[Figure]:
    """Measure the stages per second of a job: its tasks per second, if they have one stage."""
    async with (
        cluster(options, managers) as one,
        one.with_executors(executors, concurrency or options.concurrency, drained=True),
    ):
        await create_job(one, job)
        ran = await drain(one, job)
    yield Figure(part, "run", UNITS.get(part, "tasks/s"), ran.rate * job.stages, at)
    for figure in ran.cpu_figures(part, "run", at):
        yield figure


async def _stored(options: Options, kind: Kind) -> AsyncIterator[Figure]:
    """Measure creates and runs with more and more stored tasks."""
    for share in SHARES:
        count = int(options.stored * share)
        options.say(f"{kind}: {count} stored tasks")
        job = Job("tasks", options.tasks)
        async with (
            cluster(options, kind=kind, stored=count) as one,
            one.with_executors(concurrency=options.concurrency, drained=True),
        ):
            for figure in await created_one_by_one(one, kind, options.tasks // 20, count):
                yield figure
            await create_job(one, job)
            ran = await drain(one, job)
        yield Figure(kind, "run", "tasks/s", ran.rate, count)
        for figure in ran.cpu_figures(kind, "run", count):
            yield figure
