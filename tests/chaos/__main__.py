"""Runs the chaos and prints what it found: `python -m tests.chaos --minutes 10`."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.run import Chaos
from tests.chaos.world import DATABASE, World
from tests.support.postgres import PostgresServer


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
    server = PostgresServer(settings=DATABASE) if options.db == "postgres" else None
    with tempfile.TemporaryDirectory(prefix="kaiju-chaos-") as folder:
        world = World(Path(folder), server)
        chaos = Chaos(world, options.seed, options.faults)
        until = time.monotonic() + options.minutes * 60
        print(f"seed {options.seed}, {options.db}", flush=True)
        try:
            await world.open(managers=3 if server else 1, executors=3)
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
        print(f"VIOLATION {problem}"[:4000])
    return 1 if chaos.problems else 0


def print_recovery(chaos: Chaos) -> None:
    """Print for each fault how long it took until a new task had run."""
    print(f"{'fault':24}{'times':>6}{'p50 s':>8}{'p95 s':>8}{'max s':>8}")
    for name, count in sorted(chaos.struck.items()):
        seconds = sorted(chaos.recovery[name]) or [float("nan")]
        p50, p95 = (seconds[min(len(seconds) - 1, int(len(seconds) * q))] for q in (0.5, 0.95))
        print(f"{name:24}{count:6}{p50:8.2f}{p95:8.2f}{seconds[-1]:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
