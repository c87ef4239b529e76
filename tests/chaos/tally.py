"""The sums of many runs of the chaos, which `--tally FILE` of each has added to a file.

`python -m tests.chaos.tally FILE…` prints them.
"""

import argparse
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

Seconds = Mapping[str, list[float]]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run has done, or several together.

    :param runs: number of runs
    :param minutes: of work under faults
    :param faults: number of faults that struck, by name
    :param stages: executions in the ledger
    :param violations: problems that the checker has found
    :param broken: runs that ended by an error of their own
    :param outages: the longest time that a new task took during each fault that struck alone, in
        seconds, by name
    :param recovery: the time that a new task took after each such fault
    :param elsewhere: the time from such a SIGKILL to an executor until each stage that it ran had
        begun in another one
    """

    runs: int = 1
    minutes: float = 0.0
    faults: Mapping[str, int] = {}
    tasks: int = 0
    stages: int = 0
    violations: int = 0
    broken: int = 0
    outages: Seconds = {}
    recovery: Seconds = {}
    elsewhere: Seconds = {}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file.

    :param command: with which the run was started
    """

    seed: int
    command: str
    figures: Figures


def append(path: Path, entry: Entry) -> None:
    """Add the figures of a run."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")


def read(path: Path) -> Iterator[Entry]:
    """Read the figures of all runs."""
    for line in path.read_bytes().splitlines():
        yield msgspec.json.decode(line, type=Entry)


def total(parts: Iterable[Figures]) -> Figures:
    """Add figures up."""
    found = list(parts)
    faults: Counter[str] = Counter()
    for one in found:
        faults.update(one.faults)
    return Figures(
        runs=sum(one.runs for one in found),
        minutes=sum(one.minutes for one in found),
        faults=faults,
        tasks=sum(one.tasks for one in found),
        stages=sum(one.stages for one in found),
        violations=sum(one.violations for one in found),
        broken=sum(one.broken for one in found),
        outages=_joined(one.outages for one in found),
        recovery=_joined(one.recovery for one in found),
        elsewhere=_joined(one.elsewhere for one in found),
    )


def _joined(parts: Iterable[Seconds]) -> Seconds:
    joined: dict[str, list[float]] = defaultdict(list)
    for part in parts:
        for name, seconds in part.items():
            joined[name] += seconds
    return joined


def quantile(values: Iterable[float], part: float) -> float:
    """The smallest value that so many of all do not exceed; NaN without values.

    :param part: 0 to 1
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)] if ordered else math.nan


def table(figures: Figures) -> Iterator[str]:
    """The figures, for people."""
    yield (
        f"{figures.runs} runs, {figures.minutes:.0f} minutes, {figures.tasks:,} tasks, "
        f"{figures.stages:,} stages, {sum(figures.faults.values()):,} faults, "
        f"{figures.violations} violations, {figures.broken} runs broken"
    )
    yield f"{'':30}{'tasks during the fault':>24}{'task after it':>24}{'a stage elsewhere':>32}"
    columns = 2 * f"{'p50 s':>8}{'p99 s':>8}{'max s':>8}" + f"{'stages':>8}"
    yield f"{'fault':24}{'times':>6}{columns}{'p50 s':>8}{'p99 s':>8}{'max s':>8}"
    for name, count in sorted(figures.faults.items()):
        line = f"{name:24}{count:6}"
        for seconds in (figures.outages, figures.recovery):
            line += _columns(seconds.get(name, []))
        if name in figures.elsewhere:
            moved = figures.elsewhere[name]
            line += f"{len(moved):8}{_columns(moved)}"
        yield line.rstrip()


def _columns(seconds: list[float]) -> str:
    if not seconds:
        return f"{'':24}"
    return "".join(f"{quantile(seconds, part):8.2f}" for part in (0.5, 0.99, 1.0))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.tally", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    files = parser.parse_args().files
    found = total(entry.figures for file in files for entry in read(file))
    print("\n".join(table(found)))
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
