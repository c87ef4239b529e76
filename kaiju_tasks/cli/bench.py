"""`kaiju-tasks bench`"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import click
import msgspec

from kaiju_tasks.cli.fail import USAGE, Failed, when_interrupted
from kaiju_tasks.cli.streams import OutputFailed
from kaiju_tasks.errors import KaijuError, SettingsError

__all__ = ["bench"]

STOPPED = "Benchmark stopped. Its processes have ended and its temporary database was removed."


@click.command(short_help="Measure throughput and delays on this machine.")
@click.option(
    "--db", default="sqlite:///kaiju-tasks.db", show_default=True, help="The database to measure."
)
@click.option(
    "--tasks",
    type=click.IntRange(500, 1_000_000),
    default=20_000,
    show_default=True,
    help="The number of no-op tasks. Half as many pipelines are run.",
)
@click.option(
    "--delays",
    type=click.IntRange(10, 1000),
    default=50,
    show_default=True,
    help="The number of samples for each delay.",
)
@click.option(
    "--future",
    type=click.IntRange(0, 5_000_000),
    default=0,
    show_default=True,
    help="First store this number of tasks that are due on another day.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100_000),
    default=2000,
    show_default=True,
    help="The number of tasks that the executor holds at once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def bench(db: str, tasks: int, delays: int, future: int, concurrency: int, as_json: bool) -> None:
    """Measure a manager and an executor, and compare them with the limit of their database.

    The benchmark creates a temporary file or schema next to the database of --db and leaves that
    database unchanged. The limit is the same work as plain SQL on the same tables: batched inserts,
    acquisition with SKIP LOCKED, and completion.
    """
    from kaiju_tasks.store.base import StoreError

    try:
        with when_interrupted(STOPPED):
            asyncio.run(_bench(db, tasks, delays, future, concurrency, as_json))
    except SettingsError as error:
        raise Failed(str(error), USAGE, error) from error
    except OutputFailed:
        raise
    except (KaijuError, StoreError, OSError) as error:
        raise Failed(f"The benchmark failed: {error}") from error


@contextlib.contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP as Ctrl-C: the processes end and the database is removed.

    Enter it only inside the event loop. There Ctrl-C cancels the main task, so a process that is
    just starting is ended too.
    """
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.getsignal(signal.SIGINT)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


async def _bench(
    db: str, tasks: int, delays: int, future: int, concurrency: int, as_json: bool
) -> None:
    from kaiju_tasks.bench import measure
    from kaiju_tasks.bench.jobs import Job
    from kaiju_tasks.bench.place import fresh_place

    def show_step(line: str) -> None:
        if not as_json:
            click.echo(f"… {line}", err=True)

    jobs = [Job("no-op tasks", tasks, 1), Job("3-stage pipelines", tasks // 2, 3)]
    rates: list[measure.Rate] = []
    with _ending_like_ctrl_c():
        async with fresh_place(db) as place:
            if future:
                show_step(f"storing {future} tasks that are due on another day")
                await place.plant_future(future)
            show_step("the limit: the same work as plain SQL")
            limits = await place.limit(jobs)
            for job in jobs:
                rates += await measure.throughput(
                    place, job, limits[job.name], concurrency, show_step
                )
            times = await measure.delays(place, delays, show_step)
    if as_json:
        figures = {
            "rates": [{**msgspec.to_builtins(rate), "ratio": rate.ratio} for rate in rates],
            "delays_ms": msgspec.to_builtins(times),
        }
        click.echo(msgspec.json.encode(figures))
        return
    click.echo(f"{'tasks a second':<38}{'product':>10}{'limit':>10}{'ratio':>8}")
    for rate in rates:
        click.echo(f"{rate.what:<38}{rate.product:>10.0f}{rate.limit:>10.0f}{rate.ratio:>8.2f}")
    click.echo(f"\n{'milliseconds':<38}{'median':>10}{'p95':>10}{'worst':>8}")
    for delay in times:
        click.echo(f"{delay.what:<38}{delay.median:>10.1f}{delay.p95:>10.1f}{delay.worst:>8.1f}")
