"""Runs the chaos and prints what it found: `python -m tests.chaos --minutes 10`."""

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.cluster import Cluster
from tests.chaos.disk import Disk
from tests.chaos.faults import FAULTS, faults_of
from tests.chaos.run import Chaos
from tests.chaos.world import World

PART = 4000
"""So many characters at each end of a problem are printed: the log of a process is long."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--db", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--round", type=int, default=1000, help="tasks in a round")
    parser.add_argument("--open", type=int, default=200, help="tasks at a time")
    parser.add_argument("--faults", nargs="*", choices=sorted(FAULTS), help="default: all")
    return asyncio.run(run(parser.parse_args()))


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="kaiju-chaos-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        if (disk := Disk.mounted(folder)) is not None:
            stack.callback(disk.close)
        where = None if disk is None else disk.path
        cluster = Cluster(where) if options.db == "postgres" else None
        world = World(folder, cluster, disk)
        chaos = Chaos(world, options.seed, options.faults)
        until = time.monotonic() + options.minutes * 60
        print(f"seed {options.seed}, {options.db}", flush=True)
        left_out = FAULTS.keys() - faults_of(world).keys() if cluster else set()
        if left_out:
            print(f"not possible here: {', '.join(sorted(left_out))}")
        try:
            await world.open(managers=3 if cluster else 1, executors=3)
            while time.monotonic() < until and not chaos.problems:
                await chaos.round(options.round, options.open)
                print(
                    f"{chaos.tasks} tasks, {chaos.stages} stages, "
                    f"{chaos.struck.total()} faults, {len(chaos.problems)} violations",
                    flush=True,
                )
        finally:
            await world.close()
    print_recovery(chaos)
    for problem in chaos.problems[:20]:
        middle = " […] " if len(problem) > 2 * PART else ""
        print(f"VIOLATION {problem[:PART]}{middle}{problem[PART:][-PART:]}")
    return 1 if chaos.problems else 0


def print_recovery(chaos: Chaos) -> None:
    """Print for each fault how long a new task took until it had run: the slowest of those that
    were created during the fault, and the first one after it."""
    print(f"{'':30}{'tasks during the fault':>24}{'task after it':>24}")
    print(f"{'fault':24}{'times':>6}" + 2 * f"{'p50 s':>8}{'p95 s':>8}{'max s':>8}")
    for name, count in sorted(chaos.struck.items()):
        figures = [*quantiles(chaos.outages[name]), *quantiles(chaos.recovery[name])]
        print(f"{name:24}{count:6}" + "".join(f"{seconds:8.2f}" for seconds in figures))


def quantiles(values: list[float]) -> tuple[float, float, float]:
    """The median, the 95th percentile and the maximum; NaN without values."""
    ordered = sorted(values) or [float("nan")]
    p50, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95))
    return p50, p95, ordered[-1]


if __name__ == "__main__":
    sys.exit(main())
