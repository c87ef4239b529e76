"""Measures pgqueuer. Runs in an environment of its own, started by `tests.benchmarks.pgqueuer`.

`pgqueuer_jobs.py measure DSN JOBS SAMPLES PAUSE` prints the figures as JSON. The worker is a
process of its own: `pgqueuer_jobs.py work DSN BATCH_SIZE MODE`.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import asyncpg
import uvloop
from pgqueuer import PgQueuer  # type: ignore[import-not-found]
from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found]
from pgqueuer.domain.types import QueueExecutionMode  # type: ignore[import-not-found]
from pgqueuer.models import Job  # type: ignore[import-not-found]
from pgqueuer.queries import Queries  # type: ignore[import-not-found]

PGQ = Path(sys.executable).with_name("pgq")
PAYLOAD = b'{"n":1}'
BATCH = 500
WARM_UP = 10
DEFAULT_BATCH = 10
FAST_BATCH = 500
DRAINED_SECONDS = """
SELECT extract(epoch FROM max(created) FILTER (WHERE status = 'successful')
    - min(created) FILTER (WHERE status = 'picked'))::float8
FROM pgqueuer_log WHERE entrypoint = 'noop'"""


async def work(dsn: str, batch_size: int, mode: str) -> None:
    """Run jobs: until the process ends, or until none is left."""
    connection = await asyncpg.connect(dsn)
    pgq = PgQueuer(AsyncpgDriver(connection))

    @pgq.entrypoint("noop")
    async def noop(job: Job) -> None:
        pass

    @pgq.entrypoint("now")
    async def now(job: Job) -> None:
        print(time.time(), flush=True)

    await pgq.run(batch_size=batch_size, mode=QueueExecutionMode[mode])


async def start(dsn: str, batch_size: int, mode: str) -> asyncio.subprocess.Process:
    """Start a worker as a process of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", __file__, "work", dsn, str(batch_size), mode),
        stdout=asyncio.subprocess.PIPE,
    )


async def delays(queries: Queries, dsn: str, samples: int, pause: float) -> list[float]:
    """Measure the seconds from enqueue to start, one job at a time, with default settings."""
    worker = await start(dsn, DEFAULT_BATCH, "continuous")
    assert worker.stdout is not None
    seconds = []
    try:
        for _ in range(WARM_UP + samples):
            await asyncio.sleep(pause)
            called = time.time()
            await queries.enqueue("now", PAYLOAD)
            seconds.append(float(await worker.stdout.readline()) - called)
    finally:
        worker.terminate()
        await worker.wait()
    return seconds[WARM_UP:]


async def created(queries: Queries, count: int) -> float:
    """Measure single enqueues, one after the other, while no worker runs."""
    began = time.perf_counter()
    for _ in range(count):
        await queries.enqueue("noop", PAYLOAD)
    return count / (time.perf_counter() - began)


async def drained(queries: Queries, dsn: str, count: int) -> float:
    """Measure a worker that runs no-op jobs until none is left, by the times in pgqueuer's log."""
    await queries.clear_queue()
    await queries.clear_queue_log()
    for first in range(0, count, BATCH):
        size = min(BATCH, count - first)
        await queries.enqueue(["noop"] * size, [PAYLOAD] * size, [0] * size)
    worker = await start(dsn, FAST_BATCH, "drain")
    assert await worker.wait() == 0
    (row,) = await queries.driver.fetch(DRAINED_SECONDS)
    return count / float(row["extract"])


async def measure(dsn: str, count: int, samples: int, pause: float) -> None:
    for command in ("install", "autovac"):
        installed = await asyncio.create_subprocess_exec(PGQ, "--pg-dsn", dsn, command, stdout=2)
        assert await installed.wait() == 0
    connection = await asyncpg.connect(dsn)
    try:
        queries = Queries(AsyncpgDriver(connection))
        figures = {
            "delays": await delays(queries, dsn, samples, pause),
            "create": await created(queries, count // 10),
            "drain": await drained(queries, dsn, count),
        }
    finally:
        await connection.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    role, dsn, *rest = sys.argv[1:]
    if role == "work":
        uvloop.run(work(dsn, int(rest[0]), rest[1]))
    else:
        uvloop.run(measure(dsn, int(rest[0]), int(rest[1]), float(rest[2])))
