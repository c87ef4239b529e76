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
from tests.chaos.run import Chaos, recorded
from tests.chaos.workload import MANY_STAGES, SLOW_STAGES
from tests.chaos.world import World
from tests.system.fleet import QUICK

PART = 4000
"""So many characters at each end of a problem are printed: the log of a process is long."""
ALONE_EVERY = 6
"""In one of so many rounds faults strike alone."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--db", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--round", type=int, default=2000, help="tasks in a round")
    parser.add_argument("--open", type=int, default=300, help="tasks at a time")
    parser.add_argument("--executors", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2.0, help="faults that begin in a second")
    parser.add_argument("--alone", action="store_true", help="one fault after another, each timed")
    parser.add_argument("--defaults", action="store_true", help="managers with default settings")
    parser.add_argument("--faults", nargs="*", choices=sorted(FAULTS), help="default: all")
    parser.add_argument("--tally", type=Path, help="add the figures to this file")
    return asyncio.run(run(parser.parse_args()))


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="kaiju-chaos-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        if (disk := Disk.mounted(folder)) is not None:
            stack.callback(disk.close)
        where = None if disk is None else disk.path
        cluster = Cluster(where) if options.db == "postgres" else None
        world = World(folder, cluster, disk, {} if options.defaults else QUICK)
        shapes = SLOW_STAGES if options.alone else MANY_STAGES
        chaos = Chaos(world, options.seed, options.faults, shapes)
        print(f"seed {options.seed}, {options.db}", flush=True)
        left_out = FAULTS.keys() - faults_of(world).keys() if cluster else set()
        if left_out:
            print(f"not possible here: {', '.join(sorted(left_out))}")
        try:
            await world.open(managers=3 if cluster else 1, executors=options.executors)
            with recorded(chaos, options.seed, options.tally):
                await work(chaos, options)
        finally:
            await world.close()
    for problem in chaos.problems[:20]:
        middle = " […] " if len(problem) > 2 * PART else ""
        print(f"VIOLATION {problem[:PART]}{middle}{problem[PART:][-PART:]}")
    return 1 if chaos.problems else 0


async def work(chaos: Chaos, options: argparse.Namespace) -> None:
    """Run rounds until the time is over, and print what they did."""
    begun = time.monotonic()
    rounds = 0
    while time.monotonic() - begun < options.minutes * 60 and not chaos.problems:
        alone = options.alone or rounds % ALONE_EVERY == ALONE_EVERY - 1
        await chaos.round(options.round, options.open, None if alone else options.rate)
        rounds += 1
        print(
            f"{time.monotonic() - begun:6.0f} s: {chaos.tasks} tasks, {chaos.stages} stages, "
            f"{chaos.strikes.struck.total()} faults, {chaos.strikes.missed.total()} missed, "
            f"{len(chaos.problems)} violations",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
