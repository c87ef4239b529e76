"""Measures what users notice: throughput, start latency and timer lateness."""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from kaiju_tasks.bench import processes
from kaiju_tasks.bench.jobs import BATCH, Job
from kaiju_tasks.bench.place import Place
from kaiju_tasks.client import Client
from kaiju_tasks.errors import Unavailable

CREATORS = 4
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 600.0


class Rate(Struct):
    """Tasks per second of the manager and of the limit, and their ratio."""

    what: str
    tasks: int
    product: float
    limit: float

    @property
    def ratio(self) -> float:
        return self.product / self.limit


class Delay(Struct):
    """Statistics of a delay, in milliseconds."""

    what: str
    count: int
    median: float
    p95: float
    worst: float


async def throughput(
    place: Place, job: Job, limit: tuple[float, float], concurrency: int, say: Callable[[str], None]
) -> list[Rate]:
    """Create and drain a job with real processes."""
    say(f"{job.name}: {job.tasks} tasks of {job.stages} stages through manager and executor")
    async with processes.manager(place.url) as url, Client(url) as client:
        created = await _create(client, job)
        async with processes.executor(url, concurrency):
            drained = await _drain(client, job)
    return [
        Rate(f"create {job.name}", job.tasks, created, limit[0]),
        Rate(f"drain {job.name}", job.tasks, drained, limit[1]),
    ]


async def _create(client: Client, job: Job) -> float:
    commands = job.commands
    batches = [
        [
            {"id": f"{job.name}-{n}", "app_name": "bench", "group": job.name, "commands": commands}
            for n in range(first, min(first + BATCH, job.tasks))
        ]
        for first in range(0, job.tasks, BATCH)
    ]

    async def create() -> None:
        while batches:
            await client.call("tasks.m_create", data=batches.pop())

    started = time.perf_counter()
    await asyncio.gather(*(create() for _ in range(CREATORS)))
    return job.tasks / (time.perf_counter() - started)


async def _drain(client: Client, job: Job) -> float:
    """Measure from the first acquisition to the last end, by the database's clock."""
    wanted = {"group": job.name, "status": "FINISHED"}
    until = time.monotonic() + PATIENCE_SECONDS
    while (await client.call("tasks.count", conditions=wanted))["count"] < job.tasks:
        if time.monotonic() > until:
            raise Unavailable(f"{job.name} did not end within {PATIENCE_SECONDS:g} seconds")
        await asyncio.sleep(POLL_SECONDS)
    first = await _extreme(client, job, "status_change")
    last = await _extreme(client, job, "-status_change")
    (run,) = await client.call("tasks.runs", id=first["id"])
    return float(job.tasks / (last["status_change"] - run["started_at"]))


async def _extreme(client: Client, job: Job, sort: str) -> dict[str, float]:
    page = await client.call("tasks.list", conditions={"group": job.name}, sort=[sort], limit=1)
    task: dict[str, float] = page["data"][0]
    return task


async def delays(place: Place, count: int, say: Callable[[str], None]) -> list[Delay]:
    """Measure the start latency and the timer lateness of an otherwise idle manager."""
    say(f"start latency and timer lateness, {count} tasks each, one at a time")
    async with (
        processes.manager(place.url) as url,
        Client(url) as client,
        processes.executor(url, 100),
    ):
        await _one(client, ECHO)
        return [
            _delay("start (create called to command run)", await _starts(client, count)),
            _delay("round trip (create to result read)", await _trips(client, count)),
            _delay("due task (moment to result stored)", await _due(client, count)),
            _delay("timer (moment to result stored)", await _timers(client, count)),
        ]


def _delay(what: str, seconds: list[float]) -> Delay:
    ms = sorted(value * 1000 for value in seconds)
    return Delay(what, len(ms), statistics.median(ms), ms[int(len(ms) * 0.95)], ms[-1])


async def _one(
    client: Client, *commands: Mapping[str, object], **fields: object
) -> dict[str, float]:
    """Create a task, wait for its end and return its run."""
    task = await client.call(
        "tasks.create", data={"app_name": "bench", "commands": list(commands), **fields}
    )
    await client.call("tasks.wait", id=task["id"], timeout=60)
    (run,) = await client.call("tasks.runs", id=task["id"])
    return {**run, "next_run": task["next_run"]}


ECHO = {"method": "do.echo", "params": {"data": 1}}


async def _starts(client: Client, count: int) -> list[float]:
    """By the clock of this machine, on which client and executor run."""
    seconds = []
    for _ in range(count):
        called = time.time()
        data = {"app_name": "bench", "commands": [{"method": "do.now"}]}
        task = await client.call("tasks.create", data=data)
        ended = await client.call("tasks.wait", id=task["id"], timeout=60)
        (began,) = ended["result"]
        seconds.append(began - called)
    return seconds


async def _trips(client: Client, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        await _one(client, ECHO)
        seconds.append(time.perf_counter() - started)
    return seconds


async def _due(client: Client, count: int) -> list[float]:
    runs = [await _one(client, ECHO, delay=0.05 + 0.003 * n) for n in range(count)]
    return [run["ended_at"] - run["next_run"] for run in runs]


async def _timers(client: Client, count: int) -> list[float]:
    late = []
    for n in range(count):
        seconds = 0.05 + 0.003 * n
        timer = {"method": "_TIMER_", "params": {"timer": seconds}}
        run = await _one(client, timer)
        late.append(run["ended_at"] - run["started_at"] - seconds)
    return late
