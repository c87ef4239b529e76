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

STOPPED = "Stopped measuring; the processes have ended and the temporary database is removed."


@click.command(short_help="Measure this machine beside its database's limit.")
@click.option(
    "--db", default="sqlite:///kaiju-tasks.db", show_default=True, help="Where to measure."
)
@click.option(
    "--tasks",
    type=click.IntRange(500, 1_000_000),
    default=20_000,
    show_default=True,
    help="No-op tasks; pipelines are half as many.",
)
@click.option("--delays", type=click.IntRange(10, 1000), default=50, show_default=True)
@click.option(
    "--future",
    type=click.IntRange(0, 5_000_000),
    default=0,
    show_default=True,
    help="Store so many tasks of another day first.",
)
@click.option("--concurrency", type=click.IntRange(1, 100_000), default=2000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Figures as JSON.")
def bench(db: str, tasks: int, delays: int, future: int, concurrency: int, as_json: bool) -> None:
    """Measure manager and executor as processes, beside the limit of their database.

    Everything happens in a temporary file, or schema, beside what --db names. The limit is the
    same work by hand: batched inserts, SKIP LOCKED acquisition and completion, on the same tables.
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
        raise Failed(f"bench could not go on: {error}") from error


@contextlib.contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP too end it with its processes and its database removed.

    Within the loop only: there Ctrl-C cancels, so that no process is lost while it starts.
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

    def say(line: str) -> None:
        if not as_json:
            click.echo(f"… {line}", err=True)

    jobs = [Job("no-op tasks", tasks, 1), Job("3-stage pipelines", tasks // 2, 3)]
    rates: list[measure.Rate] = []
    with _ending_like_ctrl_c():
        async with fresh_place(db) as place:
            if future:
                say(f"storing {future} tasks of another day")
                await place.plant_future(future)
            say("the limit: the same work by hand")
            limits = await place.limit(jobs)
            for job in jobs:
                rates += await measure.throughput(place, job, limits[job.name], concurrency, say)
            times = await measure.delays(place, delays, say)
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
