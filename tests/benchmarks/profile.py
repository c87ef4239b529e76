"""Shows where the CPU time of manager and executor goes: `python -m tests.benchmarks.profile`.

Creates tasks one by one over HTTP, creates them with `m_create`, and runs no-op tasks, on a
PostgreSQL with fsync, while py-spy (`pip install py-spy`) samples the processes. A sample counts
for the innermost frame of this package, or for the library that runs on its own. The shares of a
process add up to 1.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

from kaiju_tasks.bench import create, throughput
from kaiju_tasks.bench.cluster import Cluster, cluster
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from tests.benchmarks.goals import SETTINGS
from tests.support.postgres import PostgresServer

RATE = 500
LEAST = 0.015
PACKAGE = "kaiju_tasks/"
LIBRARIES = ("asyncpg", "aiohttp", "yarl", "multidict", "logging", "asyncio", "uvloop")


def place_of(stack: str) -> str:
    """The part of the package, or the library, that a sampled stack counts for."""
    frames = [frame[frame.find("(") + 1 :] for frame in stack.split(";")]
    for path in reversed(frames):
        if PACKAGE in path and f"{PACKAGE}cli/" not in path:
            inside = path.split(PACKAGE, 1)[1].split(":")[0]
            return "/".join(inside.split("/")[:2]).removesuffix(".py")
    for path in reversed(frames):
        for library in LIBRARIES:
            if f"{library}/" in path:
                return library
    return "other"


def shares(raw: str) -> list[tuple[str, float]]:
    """The share of each place, the largest first.

    :param raw: lines of py-spy with a stack and the number of its samples
    """
    counts = Counter[str]()
    for line in raw.splitlines():
        stack, _, number = line.rpartition(" ")
        counts[place_of(stack)] += int(number)
    total = counts.total() or 1
    return [(place, number / total) for place, number in counts.most_common()]


@asynccontextmanager
async def sampled(name: str, pid: int, found: dict[str, str]) -> AsyncIterator[None]:
    """Sample a process until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="kaiju-profile-") as folder:
        file = Path(folder) / "raw"
        process = await asyncio.create_subprocess_exec(
            *("py-spy", "record", "--pid", str(pid), "--rate", str(RATE), "--duration", "600"),
            *("--format", "raw", "--output", str(file), "--gil"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(1.0)
        try:
            yield
        finally:
            process.send_signal(2)
            await process.wait()
        found[name] = file.read_text(encoding="utf-8")


async def profile(options: Options) -> None:
    async with cluster(options) as one:
        count = options.tasks // 5

        async def singly() -> None:
            for _ in range(count):
                await one.client.call("tasks.create", data=create.TASK)

        await measure("tasks.create, one by one", one, singly())
    async with cluster(options) as one:
        job = Job("tasks", 4 * options.tasks)
        await measure("tasks.m_create", one, throughput.create_job(one, job))
    async with cluster(options) as one, one.with_executors(drained=True):
        job = Job("tasks", 2 * options.tasks)
        await throughput.create_job(one, job)
        await measure("no-op tasks", one, throughput.drain(one, job))


async def measure(what: str, one: Cluster, work: Awaitable[object]) -> None:
    found: dict[str, str] = {}
    processes = {"manager": one.managers[0].pid}
    if one.executors:
        processes["executor"] = one.executors[0].pid
    async with asyncio.TaskGroup() as group:
        done = asyncio.Event()

        async def watch(name: str, pid: int) -> None:
            async with sampled(name, pid, found):
                ready.release()
                await done.wait()

        ready = asyncio.Semaphore(0)
        for name, pid in processes.items():
            group.create_task(watch(name, pid))
        for _ in processes:
            await ready.acquire()
        await work
        done.set()
    for name, raw in found.items():
        print(f"\n{what}: {name}")
        for place, share in shares(raw):
            if share >= LEAST:
                print(f"{share:6.1%}  {place}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.profile", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    tasks = parser.parse_args().tasks
    if shutil.which("py-spy") is None:
        sys.exit("py-spy is missing: pip install py-spy")
    with PostgresServer(settings=SETTINGS) as server:
        db = server.create_database("profile")
        chosen = Options(db=db, tasks=tasks, samples=1, stored=0, concurrency=None, say=print)
        asyncio.run(profile(chosen))


if __name__ == "__main__":
    main()
