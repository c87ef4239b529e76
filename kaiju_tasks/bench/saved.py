"""Saves the figures of a benchmark in a file."""

import os
import platform
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.rows import Row, add_rounds
from kaiju_tasks.errors import SettingsError
from kaiju_tasks.times import iso_moment
from kaiju_tasks.version import __version__


class Run(Struct, frozen=True, kw_only=True):
    """A run of the benchmark.

    :param measured: when its last round ended, ISO-8601 in UTC
    :param cpus: number of CPUs of the machine
    :param options: what has to be equal in two runs that are compared
    """

    version: str
    measured: str
    cpus: int
    python: str
    options: dict[str, int | str | None]
    rows: list[Row]


def new_run(options: Options, rows: list[Row]) -> Run:
    """Return a run that has ended now."""
    return Run(
        version=__version__,
        measured=iso_moment(time.time()),
        cpus=os.cpu_count() or 1,
        python=platform.python_version(),
        options=options.comparable,
        rows=rows,
    )


def read_run(path: Path, options: Options) -> Run:
    """Read a run with the same options.

    :raises SettingsError: the file cannot be read, or its options differ
    """
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Run)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path} has not been saved by `bench --save`: {error}") from error
    now = options.comparable
    differing = [
        f"{name} {run.options.get(name)}, not {value}"
        for name, value in now.items()
        if run.options.get(name) != value
    ]
    if differing:
        raise SettingsError(
            f"{path} was measured with other options, so its figures mean something else: "
            f"{', '.join(differing)}"
        )
    return run


def with_rounds_of(before: Run, run: Run) -> Run:
    """Return a run with the rounds of both."""
    return msgspec.structs.replace(run, rows=add_rounds(before.rows, run.rows))


def write_run(path: Path, run: Run) -> None:
    """Write a run to a file. An existing file is replaced."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
