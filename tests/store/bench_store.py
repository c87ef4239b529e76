"""How fast the stores are: python -m tests.store.bench_store [URL] [tasks] [stages].

Not a test. Without a URL: SQLite in a temporary folder, and a PostgreSQL of its own.
"""

import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kaiju_tasks.lifecycle import Acquired, Definition, Row, TaskState, advance
from kaiju_tasks.store import Store
from kaiju_tasks.store.open import make_store
from tests.store.making import connect, definition, finished, new_step
from tests.support.postgres import PostgresServer

BATCH = 500
Definitions = dict[str, Definition]


async def bench(url: str, tasks: int, stages: int) -> None:
    """Insert, acquire and complete in batches, and print rows per second of each."""
    async with opened(url) as store:
        known = {f"task-{n:08}": definition(f"task-{n:08}", stages=stages) for n in range(tasks)}
        await connect(store)
        start = time.perf_counter()
        await insert_all(store, list(known.values()))
        inserted = time.perf_counter()
        acquiring = completing = 0.0
        done = 0
        while done < tasks:
            begun = time.perf_counter()
            rows = await acquire_batch(store, known)
            acquired = time.perf_counter()
            for _ in range(stages):
                rows = await complete_batch(store, rows, known)
            acquiring += acquired - begun
            completing += time.perf_counter() - acquired
            done += len(rows)
        whole = acquiring + completing
        print(
            f"{url.partition(':')[0]:10} insert {tasks / (inserted - start):8,.0f}/s"
            f"  acquire {tasks / acquiring:8,.0f}/s  report {tasks * stages / completing:8,.0f}/s"
            f"  acquire and complete {stages} stage(s) {tasks / whole:8,.0f}/s",
            flush=True,
        )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """An open store."""
    store = make_store(url, connections=1)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def insert_all(store: Store, definitions: list[Definition]) -> None:
    """Insert in batches."""
    for first in range(0, len(definitions), BATCH):
        async with store.transaction() as tx:
            await tx.insert(
                [
                    new_step(one, tx.now, job_id=uuid.uuid4().hex)
                    for one in definitions[first : first + BATCH]
                ]
            )


async def acquire_batch(store: Store, known: Definitions) -> list[Row]:
    """As a manager with its definitions at hand does it."""
    event = Acquired(executor_id="e1", nonce=uuid.uuid4().hex)
    async with store.transaction() as tx:
        rows = await tx.lock_ready("default", BATCH, executor_id="e1", session="s1")
        assert rows
        steps = [advance(TaskState(row, known[row.id]), event, tx.now) for row in rows]
        await tx.save(steps)
    return [step.row for step in steps]


async def complete_batch(store: Store, rows: list[Row], known: Definitions) -> list[Row]:
    """Report one stage of each row."""
    async with store.transaction() as tx:
        locked = await tx.lock([row.id for row in rows])
        steps = [
            advance(TaskState(row, known[row.id]), finished(row, b'{"a":1}'), tx.now)
            for row in locked.values()
        ]
        await tx.save(steps)
    return [step.row for step in steps]


def main() -> None:
    given = [argument for argument in sys.argv[1:] if "://" in argument]
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    tasks, stages = (*numbers, 20_000, 1)[:2] if len(numbers) != 1 else (numbers[0], 1)
    if given:
        asyncio.run(bench(given[0], tasks, stages))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(bench(f"sqlite:///{folder}/bench.db", tasks, stages))
    with PostgresServer(settings={"fsync": "on"}) as server:
        asyncio.run(bench(server.dsn(), tasks, stages))


if __name__ == "__main__":
    main()
