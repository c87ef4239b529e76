"""Measures the limit of PostgreSQL: the same work in plain SQL, on a manager's connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import asyncpg

from kaiju_tasks.bench.jobs import BATCH, LANES, Job
from kaiju_tasks.store.sql import Statements

SQL = Statements((files("kaiju_tasks.bench") / "limit_postgres.sql").read_text())


async def measure(dsn: str, schema: str, job: Job) -> tuple[float, float]:
    """Measure tasks per second: (created, drained)."""
    pool = await asyncpg.create_pool(
        dsn, min_size=LANES, max_size=LANES, server_settings={"search_path": schema}
    )
    async with pool:
        return await _measure(pool, job)


async def _measure(pool: Any, job: Job) -> tuple[float, float]:
    ids = [f"limit-{job.name}-{n}" for n in range(job.tasks)]
    batches = [ids[n : n + BATCH] for n in range(0, len(ids), BATCH)]
    created = await _timed(job.tasks, lambda: _on_lanes(pool, lambda c: _create(c, batches, job)))
    drained = await _timed(job.tasks, lambda: _on_lanes(pool, lambda c: _drain(c, job.stages)))
    return created, drained


async def _timed(tasks: int, work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return tasks / (time.perf_counter() - started)


async def _on_lanes(pool: Any, work: Callable[[Any], Awaitable[None]]) -> None:
    async def lane() -> None:
        async with pool.acquire() as connection:
            await work(connection)

    await asyncio.gather(*(lane() for _ in range(LANES)))


async def _create(connection: Any, batches: list[list[str]], job: Job) -> None:
    while batches:
        ids = batches.pop()
        async with connection.transaction():
            await connection.execute(SQL["insert_tasks"], ids, job.stages)
            await connection.execute(SQL["insert_definitions"], ids, job.body)


async def _drain(connection: Any, stages: int) -> None:
    while True:
        async with connection.transaction():
            ids = [row[0] for row in await connection.fetch(SQL["acquire"], BATCH)]
        if not ids:
            return
        for stage in range(stages):
            async with connection.transaction():
                await connection.fetch(SQL["lock"], ids)
                await connection.execute(SQL["store_results"], ids, stage)
                if stage + 1 < stages:
                    await connection.execute(SQL["next_stage"], ids)
                else:
                    await connection.execute(SQL["finish"], ids)
                    await connection.execute(SQL["end_runs"], ids, stages)
