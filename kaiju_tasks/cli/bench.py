"""`kaiju-tasks bench`"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from kaiju_tasks.cli.fail import USAGE, Failed, when_interrupted
from kaiju_tasks.cli.streams import OutputFailed
from kaiju_tasks.errors import KaijuError, SettingsError

if TYPE_CHECKING:
    from kaiju_tasks.bench.options import Options
    from kaiju_tasks.bench.rows import Row

__all__ = ["bench"]

STOPPED = "Benchmark stopped. Its processes have ended and its temporary database was removed."
PARTS = (
    "create",
    "delays",
    "crowds",
    "throughput",
    "space",
    "clients",
    "payload",
    "stages",
    "concurrency",
    "executors",
    "managers",
    "backlog",
    "history",
    "future",
)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Measure throughput and delays on this machine.")
@click.option(
    "--db", default="sqlite:///kaiju-tasks.db", show_default=True, help="The database to measure."
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice([*PARTS, "all"]),
    help="What to measure. Can be repeated. Default: create, delays, crowds and throughput; "
    "with --plot, all.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="How often everything is measured. The figures are medians.",
)
@click.option(
    "--tasks",
    type=click.IntRange(100, 1_000_000),
    default=20_000,
    show_default=True,
    help="The number of no-op tasks in a measurement of throughput.",
)
@click.option(
    "--samples",
    type=click.IntRange(10, 10_000),
    default=200,
    show_default=True,
    help="The number of samples of each delay.",
)
@click.option(
    "--stored",
    type=click.IntRange(100, 10_000_000),
    default=100_000,
    show_default=True,
    help="The largest number of stored tasks in the parts backlog, history and future.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100_000),
    help="The number of tasks that the executors hold at once. Default: that of `executor`.",
)
@click.option(
    "--save",
    type=FILE,
    help="Save the figures in this file. If it exists, the rounds are added to it.",
)
@click.option("--against", type=FILE, help="Compare with this file, which --save has written.")
@click.option(
    "--plot", type=click.Path(file_okay=False, path_type=Path), help="Write SVG files here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def bench(
    db: str,
    parts: tuple[str, ...],
    rounds: int,
    tasks: int,
    samples: int,
    stored: int,
    concurrency: int | None,
    save: Path | None,
    against: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure a manager and an executor, and compare them with the limit of their database.

    The benchmark creates temporary files or schemas next to the database of --db and leaves that
    database unchanged. The limit is the same work as plain SQL on the same tables: batched inserts,
    acquisition with SKIP LOCKED, and completion.

    Executors run with their default settings, unless --concurrency is given.

    With --against, a row has changed if all rounds of one run are above all rounds of the other,
    and the medians differ by 5 % or more. Both runs need 4 rounds.
    """
    from kaiju_tasks.bench.options import Options
    from kaiju_tasks.bench.parts import chosen_parts
    from kaiju_tasks.store.base import StoreError

    options = Options(
        db=db,
        tasks=tasks,
        samples=samples,
        stored=stored,
        concurrency=concurrency,
        say=lambda line: None if as_json else click.echo(f"… {line}", err=True),
    )
    try:
        chosen = chosen_parts(parts, options, everything=plot is not None)
        with when_interrupted(STOPPED):
            _measure_and_show(options, chosen, rounds, save, against, plot, as_json)
    except SettingsError as error:
        raise Failed(str(error), USAGE, error) from error
    except OutputFailed:
        raise
    except (KaijuError, StoreError, OSError) as error:
        raise Failed(f"The benchmark failed: {error}") from error


def _measure_and_show(
    options: "Options",
    parts: Sequence[str],
    rounds: int,
    save: Path | None,
    against: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    from kaiju_tasks.bench import saved
    from kaiju_tasks.bench.compare import compare
    from kaiju_tasks.bench.pictures import write_pictures
    from kaiju_tasks.cli import bench_tables as tables

    known = saved.read_run(save, options) if save is not None and save.exists() else None
    before = saved.read_run(against, options) if against is not None else None
    run = saved.new_run(options, asyncio.run(_measure(options, parts, rounds)))
    if known is not None:
        run = saved.with_rounds_of(known, run)
    if save is not None:
        saved.write_run(save, run)
    changes = compare(before.rows, run.rows) if before is not None else None
    pictures = write_pictures(plot, run.rows) if plot is not None else []
    if as_json:
        click.echo(msgspec.json.encode(tables.as_data(run, changes)))
        return
    lines = tables.figures(run.rows) if changes is None else tables.changes(changes)
    click.echo("\n".join(lines))
    for path in pictures:
        click.echo(f"… wrote {path}", err=True)


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


async def _measure(options: "Options", parts: Sequence[str], rounds: int) -> "list[Row]":
    from kaiju_tasks.bench.run import run

    with _ending_like_ctrl_c():
        return await run(options, parts, rounds)
