"""Measures the goals of speed, and prints for each what is reached.

`python -m tests.benchmarks.goals` starts a PostgreSQL with fsync, measures everything on it and on
SQLite, and takes about 20 minutes. Executors run with their default settings. The limits are those
of `kaiju-tasks bench`. All rows are measured in each round, and the table has their medians.
`--write` puts it into docs/performance.md. The machine should have nothing else to do.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
from msgspec import Struct

from kaiju_tasks.bench import create, delays, processes, throughput
from kaiju_tasks.bench.cluster import Cluster, cluster
from kaiju_tasks.bench.cpu import resident_bytes
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.place import fresh_place
from kaiju_tasks.bench.rows import Figure, Row, collect
from kaiju_tasks.bench.stored import Kind
from tests.support.postgres import PostgresServer

PART = "goals"
SETTINGS = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "512MB"}
SETTINGS |= {"max_wal_size": "4GB", "autovacuum_naptime": "1min"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- goals: python -m tests.benchmarks.goals --write -->", "<!-- /goals -->"
DUE_TOGETHER = 500
IDLE_SECONDS = 30.0
SETTLE_SECONDS = 12.0
"""An idle connection of PostgreSQL counts its last transactions up to 10 seconds later."""
SIZES = ((1, 2), (2, 2), (4, 4))
OLD_STAGES = 5
SLICES = 20
MORE_STAGES = """
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, executor_id,
    queued_at, started_at, ended_at, outcome, rescued, result)
SELECT job_id, cycle, k, 0, task_id, 1, method, executor_id, queued_at, started_at, ended_at,
    outcome, rescued, result
FROM stages CROSS JOIN generate_series(1, $1::int) AS k"""
TRANSACTIONS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"

Measure = Callable[[Options], AsyncIterator[Figure]]


class Goal(Struct, frozen=True):
    """A figure, and the least or the most that it should be.

    :param of: the rows whose medians are added up: (part, what, unit, at)
    """

    name: str
    bound: float
    of: tuple[tuple[str, str, str, int | None], ...]
    least: bool = False
    sqlite: float | None = None
    """The bound on SQLite; None if it is only measured on PostgreSQL."""


def least(name: str, bound: float, part: str, what: str, unit: str, **more: object) -> Goal:
    return Goal(name, bound, ((part, what, unit, None),), least=True, **more)  # type: ignore[arg-type]


def ms(name: str, bound: float, part: str, what: str, at: int, sqlite: float | None = None) -> Goal:
    return Goal(name, bound, ((part, what, "ms", at),), sqlite=sqlite)


def cpu(part: str, what: str, *groups: str) -> tuple[tuple[str, str, str, int | None], ...]:
    return tuple((part, f"{what}: {group}", "CPU µs", None) for group in groups)


START, NEXT, WHOLE = (
    "create to start",
    "end of a stage to start of the next",
    "create to the result at the client",
)
ONE, MANY = "one by one, HTTP", "50 clients, HTTP"
NO_OP, STAGES = "run no-op tasks", "run 3-stage tasks"
GOALS = (
    least("creates one by one over HTTP, each second", 1500, "create", ONE, "tasks/s"),
    Goal("the same, CPU of the manager, µs", 350, cpu("create", ONE, "manager")),
    Goal("the same, CPU of PostgreSQL, µs", 250, cpu("create", ONE, "database")),
    least("creates of 50 clients, each second", 5000, "create", MANY, "tasks/s"),
    least("tasks by `m_create` of 100, each second", 20_000, PART, "m_create of 100", "tasks/s"),
    ms("create to start, p50, ms", 1.8, "delays", START, 50, 0.8),
    ms("create to start, p99, ms", 5, "delays", START, 99, 3),
    ms("end of a stage to start of the next, p50, ms", 1.8, "delays", NEXT, 50, 1.8),
    ms("create to the result at the client, p50, ms", 4, "delays", WHOLE, 50, 4),
    ms("500 due at one moment, p99 late, ms", 20, PART, "due together", 99, 20),
    Goal("the earliest of them, ms before", 0, ((PART, "early", "ms", None),), sqlite=0),
    least("no-op tasks, of the limit", 0.7, "throughput", NO_OP, "of the limit", sqlite=0.5),
    least("3-stage tasks, of the limit", 0.6, "throughput", STAGES, "of the limit", sqlite=0.45),
    Goal(
        "a no-op task, CPU of all processes, µs",
        120,
        cpu("throughput", NO_OP, "manager", "executor", "database"),
    ),
    least("beside many future tasks, of none", 0.9, PART, "future", "of the limit"),
    least("beside many old stages, of none", 0.9, PART, "history", "of the limit"),
    least("stages with 10 kB, of those with 100 B", 0.6, PART, "10 kB", "of the limit", sqlite=0.6),
    *(
        least(f"{m} managers, {e} executors, of 1 and 1", 0.9, PART, f"{m} x {e}", "of the limit")
        for m, e in SIZES
    ),
    least("a manager with many tasks behind it, of none", 0.9, PART, "behind", "of the limit"),
    Goal("transactions of an idle manager, each second", 1, ((PART, "idle", "tasks/s", None),)),
    Goal("memory of an idle manager, MiB", 60, ((PART, "manager", "MiB", None),), sqlite=60),
    Goal("memory of an idle executor, MiB", 48, ((PART, "executor", "MiB", None),), sqlite=48),
    Goal("`serve` until ready, ms", 700, ((PART, "serve", "ms", None),), sqlite=700),
    Goal("`task list`, ms", 120, ((PART, "task list", "ms", None),), sqlite=120),
)


async def batches(options: Options) -> AsyncIterator[Figure]:
    """Measure creates in batches of 100, one after the other."""
    data = [create.TASK] * 100
    async with cluster(options) as one:
        await one.client.call("tasks.m_create", data=data)
        began = time.perf_counter()
        for _ in range(options.tasks // 100):
            await one.client.call("tasks.m_create", data=data)
        rate = options.tasks // 100 * 100 / (time.perf_counter() - began)
    yield Figure(PART, "m_create of 100", "tasks/s", rate)


async def due_together(options: Options) -> AsyncIterator[Figure]:
    """Measure how late tasks start that are due at one moment."""
    async with cluster(options) as one, one.with_executors():
        late = await delays.lateness(one, DUE_TOGETHER, 0)
    for figure in delays.percentiles(PART, "due together", late):
        yield figure
    yield Figure(PART, "early", "ms", max(0.0, -min(late)) * 1000)


async def payloads(options: Options) -> AsyncIterator[Figure]:
    """Measure stages with large parameters and results."""
    rates = {}
    for name, size in (("100 B", 100), ("10 kB", 10_000), ("200 kB", 200_000)):
        job = Job("tasks", min(options.tasks // 4, 40_000_000 // size), payload=size)
        async with cluster(options) as one, one.with_executors(drained=True):
            await throughput.create_job(one, job)
            rates[name] = (await throughput.drain(one, job)).rate
        yield Figure(PART, f"payload of {name}", "stages/s", rates[name])
        yield Figure(PART, name, "of the limit", rates[name] / rates["100 B"])


async def sizes(options: Options) -> AsyncIterator[Figure]:
    """Measure several managers and executors beside one of each."""
    alone = 0.0
    for managers, executors in ((1, 1), *SIZES):
        job = Job("tasks", options.tasks)
        async with (
            cluster(options, managers) as one,
            one.with_executors(executors, drained=True),
        ):
            await throughput.create_job(one, job)
            rate = (await throughput.drain(one, job)).rate
        alone = alone or rate
        yield Figure(PART, f"{managers} x {executors}", "of the limit", rate / alone)


async def beside_stored(options: Options) -> AsyncIterator[Figure]:
    """Measure in turns in a database with many future tasks, in one with many old stages, and in an
    empty one."""
    kinds: tuple[Kind, ...] = ("future", "history")
    async with AsyncExitStack() as stack:
        ones: dict[str, Cluster] = {"": await stack.enter_async_context(cluster(options))}
        for kind in kinds:
            ones[kind] = one = await stack.enter_async_context(cluster(options))
            await one.place.store(kind, options.stored)
            if kind == "history":
                await more_stages(one)
        for one in ones.values():
            await stack.enter_async_context(one.with_executors())
            await through(one, Job("first", options.tasks // 4))
        rates: dict[str, list[float]] = {name: [] for name in ones}
        for turn in range(4):
            for name, one in ones.items():
                rates[name].append(await through(one, Job(f"turn {turn}", options.tasks)))
    for kind in kinds:
        ratios = [there / empty for there, empty in zip(rates[kind], rates[""], strict=True)]
        yield Figure(PART, kind, "of the limit", statistics.median(ratios))


async def more_stages(one: Cluster) -> None:
    settings = {"search_path": one.place.schema}
    connection = await asyncpg.connect(one.place.dsn, server_settings=settings)
    try:
        await connection.execute(MORE_STAGES, OLD_STAGES - 1, timeout=1800)
        await connection.execute("VACUUM (ANALYZE) stages", timeout=1800)
    finally:
        await connection.close()


async def behind(options: Options) -> AsyncIterator[Figure]:
    """Measure a manager through which many tasks have passed beside its first ones: the CPU time of
    one task, because the rate is also that of a database that grows."""
    size = max(100, options.stored // SLICES)
    cpu: list[float] = []
    async with cluster(options) as one, one.with_executors():
        await through(one, Job("warm", size // 4))
        for number in range(SLICES):
            meter = await one.start_meter()
            await through(one, Job(f"slice {number}", size))
            await one.stop_meter(meter)
            cpu.append(meter.used["manager"] / size)
    first, last = statistics.median(cpu[:3]), statistics.median(cpu[-3:])
    yield Figure(PART, "behind", "of the limit", first / last)


async def through(one: Cluster, job: Job) -> float:
    """Create tasks while executors run them, and return how many ended each second."""
    began = time.perf_counter()
    await throughput.create_job(one, job)
    await throughput.all_finished(one, job)
    return job.tasks / (time.perf_counter() - began)


async def idle(options: Options) -> AsyncIterator[Figure]:
    """Measure processes that have nothing to do, and their start."""
    async with fresh_place(options.db) as place:
        began = time.perf_counter()
        async with processes.manager(place.url) as manager:
            yield Figure(PART, "serve", "ms", (time.perf_counter() - began) * 1000)
            yield Figure(PART, "task list", "ms", await listed(manager.url) * 1000)
            if place.dsn:
                yield Figure(PART, "idle", "tasks/s", await transactions(place.dsn))
            async with processes.executor(manager.url) as executor:
                await asyncio.sleep(5)
                for name, process in (("manager", manager), ("executor", executor)):
                    size = resident_bytes(process.pid)
                    assert size is not None
                    yield Figure(PART, name, "MiB", size / 2**20)


async def listed(url: str) -> float:
    """The seconds of `kaiju-tasks task list`, the best of some."""
    seconds = []
    program = Path(sys.executable).with_name("kaiju-tasks")
    for _ in range(5):
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            str(program),
            "task",
            "list",
            env={**os.environ, "KAIJU_URL": url},
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0
        seconds.append(time.perf_counter() - began)
    return min(seconds)


async def transactions(dsn: str) -> float:
    """The transactions of a database each second."""
    connection = await asyncpg.connect(dsn)
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        before = await connection.fetchval(TRANSACTIONS)
        await asyncio.sleep(IDLE_SECONDS)
        after = await connection.fetchval(TRANSACTIONS)
    finally:
        await connection.close()
    return float(after - before - 1) / IDLE_SECONDS


EACH_ROUND: tuple[Measure, ...] = (
    create.create,
    batches,
    delays.delays,
    due_together,
    throughput.throughput,
    payloads,
    idle,
)
POSTGRES_EACH_ROUND: tuple[Measure, ...] = (sizes,)
POSTGRES_ONCE: tuple[Measure, ...] = (beside_stored, behind)


async def measure(options: Options, rounds: int) -> list[Row]:
    figures: list[Figure] = []
    each = EACH_ROUND if options.is_sqlite else EACH_ROUND + POSTGRES_EACH_ROUND
    for number in range(rounds):
        for one in each:
            options.say(f"round {number + 1} of {rounds}: {one.__name__}")
            figures += [figure async for figure in one(options)]
    for one in () if options.is_sqlite else POSTGRES_ONCE:
        options.say(one.__name__)
        figures += [figure async for figure in one(options)]
    return collect(figures)


def table(postgres: Sequence[Row], sqlite: Sequence[Row]) -> list[str]:
    """The goals and what is reached, as Markdown."""
    lines = [
        "| | goal | PostgreSQL | rounds | | goal | SQLite | rounds | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for goal in GOALS:
        cells = _cells(goal, goal.bound, postgres)
        others = ["", "", "", ""]
        if goal.sqlite is not None:
            others = _cells(goal, goal.sqlite, sqlite)
        lines.append(f"| {' | '.join([goal.name, *cells, *others])} |".replace("|  |", "| |"))
    return lines


def _cells(goal: Goal, bound: float, rows: Sequence[Row]) -> list[str]:
    found = [row for key in goal.of for row in rows if row.key == key]
    if len(found) < len(goal.of):
        return [_bound(goal, bound), "not measured", "", ""]
    sums = [sum(values) for values in zip(*(row.rounds for row in found), strict=True)]
    reached = statistics.median(sums)
    met = reached >= bound if goal.least else reached <= bound
    spread = "" if len(sums) < 2 else f"{_number(min(sums))}–{_number(max(sums))}"
    return [_bound(goal, bound), _number(reached), spread, "met" if met else "**not met**"]


def _bound(goal: Goal, bound: float) -> str:
    return f"{'≥' if goal.least else '≤'} {_number(bound)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(lines: Sequence[str], options: Options, rounds: int) -> None:
    """Put the table into the document."""
    text = DOCUMENT.read_text()
    block = "\n".join(
        [
            BEGIN,
            f"Medians of {rounds} rounds on a machine with {os.cpu_count()} cores, which all "
            f"processes share; {options.tasks:,} tasks in each measurement, {options.stored:,} "
            "stored. PostgreSQL with fsync.",
            "",
            *lines,
            END,
        ]
    )
    if BEGIN in text:
        before, _, rest = text.partition(BEGIN)
        text = before + block + rest.partition(END)[2]
    else:
        before, heading, rest = text.partition("## How it grows\n")
        text = f"{before}## Goals\n\n{block}\n\n{heading}{rest}"
    DOCUMENT.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.goals", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--db", choices=["postgres", "sqlite"], help="default: both")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    chosen = parser.parse_args()

    def options(db: str) -> Options:
        return Options(
            db=db,
            tasks=chosen.tasks,
            samples=chosen.samples,
            stored=chosen.stored,
            concurrency=None,
            say=lambda line: print(f"… {time.strftime('%H:%M:%S')} {line}", file=sys.stderr),
        )

    postgres: list[Row] = []
    sqlite: list[Row] = []
    if chosen.db != "postgres":
        with tempfile.TemporaryDirectory(prefix="kaiju-goals-") as folder:
            of_sqlite = options(f"sqlite:///{folder}/tasks.db")
            sqlite = asyncio.run(measure(of_sqlite, chosen.rounds))
    if chosen.db != "sqlite":
        with PostgresServer(settings=SETTINGS) as server:
            of_postgres = options(server.create_database("goals"))
            postgres = asyncio.run(measure(of_postgres, chosen.rounds))
    lines = table(postgres, sqlite)
    print("\n".join(lines))
    if chosen.write:
        write(lines, options(""), chosen.rounds)


if __name__ == "__main__":
    main()
