"""Measures kaiju_tasks beside pgqueuer: `python -m tests.benchmarks.pgqueuer`.

Installs pgqueuer from PyPI into a temporary environment, and measures both in turns on one
PostgreSQL with fsync. The tasks of kaiju_tasks go over HTTP to a manager, which stores them with
their results, and over a WebSocket to an executor. The jobs of pgqueuer are rows that its client
and its worker write and read themselves; it keeps a log of them, and no results.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from kaiju_tasks.bench.cluster import APP, Cluster, cluster
from kaiju_tasks.bench.create import TASK
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.throughput import create_job, drain
from tests.benchmarks.goals import SETTINGS
from tests.support.postgres import PostgresServer

JOBS = Path(__file__).with_name("pgqueuer_jobs.py")
WARM_UP = 10
PAUSE_SECONDS = 0.15
"""Before each single task, so that both have written what the one before left behind."""


class Figures(Struct):
    """What one round of one of them has measured.

    :param delays: seconds from submit to start
    :param create: tasks created each second, one by one
    :param drain: no-op tasks ended each second
    """

    delays: list[float]
    create: float
    drain: float

    def delay_ms(self, at: int) -> float:
        values = sorted(self.delays)
        return values[min(len(values) - 1, len(values) * at // 100)] * 1000


ROWS: tuple[tuple[str, Callable[[Figures], float]], ...] = (
    ("submit to start, p50, ms", lambda figures: figures.delay_ms(50)),
    ("submit to start, p99, ms", lambda figures: figures.delay_ms(99)),
    ("creates one by one, each second", lambda figures: figures.create),
    ("no-op tasks, each second", lambda figures: figures.drain),
)


async def measure_ours(options: Options) -> Figures:
    async with cluster(options) as one, one.with_executors():
        seconds = await _delays(one, options.samples)
    async with cluster(options) as one:
        created = await _created(one, options.tasks // 10)
    job = Job("no-op", options.tasks)
    async with cluster(options) as one, one.with_executors(drained=True):
        await create_job(one, job)
        return Figures(seconds, created, (await drain(one, job)).rate)


async def _delays(one: Cluster, samples: int) -> list[float]:
    seconds = []
    for _ in range(WARM_UP + samples):
        await asyncio.sleep(PAUSE_SECONDS)
        called = time.time()
        data = {"app_name": APP, "commands": [{"method": "do.now"}]}
        task = await one.client.call("tasks.create", data=data)
        (began,) = (await one.client.call("tasks.wait", id=task["id"], timeout=60))["result"]
        seconds.append(began - called)
    return seconds[WARM_UP:]


async def _created(one: Cluster, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await one.client.call("tasks.create", data=TASK)
    return count / (time.perf_counter() - began)


def measure_pgqueuer(python: Path, dsn: str, options: Options) -> Figures:
    arguments = ("measure", dsn, str(options.tasks), str(options.samples), str(PAUSE_SECONDS))
    done = subprocess.run((python, "-P", JOBS, *arguments), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Figures)


def install(folder: Path) -> Path:
    """Install pgqueuer, and return the Python that has it."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run(
        (python, "-m", "pip", "install", "-q", "pgqueuer[asyncpg]"), check=True, stdout=sys.stderr
    )
    return python


def table(ours: list[Figures], theirs: list[Figures]) -> list[str]:
    """The medians of the rounds, and the median of the ratios of each round, as Markdown."""
    lines = ["| | kaiju_tasks | pgqueuer | ratio | rounds |", "| --- | --- | --- | --- | --- |"]
    for name, read in ROWS:
        here, there = [read(one) for one in ours], [read(one) for one in theirs]
        ratios = [a / b for a, b in zip(here, there, strict=True)]
        cells = [f"{statistics.median(values):,.4g}" for values in (here, there, ratios)]
        lines.append(f"| {name} | {' | '.join(cells)} | {min(ratios):.2g}–{max(ratios):.2g} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pgqueuer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=200)
    chosen = parser.parse_args()
    ours, theirs = [], []
    with (
        tempfile.TemporaryDirectory(prefix="kaiju-pgqueuer-") as folder,
        PostgresServer(settings=SETTINGS) as postgres,
    ):
        python = install(Path(folder))
        options = Options(
            db=postgres.create_database("ours"),
            tasks=chosen.tasks,
            samples=chosen.samples,
            stored=0,
            concurrency=None,
            say=lambda line: None,
        )
        for number in range(chosen.rounds):
            ours.append(uvloop.run(measure_ours(options)))
            name = f"theirs{number}"
            theirs.append(measure_pgqueuer(python, postgres.create_database(name), options))
            postgres.drop_database(name)
            print("\n".join(table(ours, theirs)), flush=True)


if __name__ == "__main__":
    main()
