"""Lets managers and executors work for hours, and checks that nothing grows.

`python -m tests.chaos.soak --hours 8`. Meanwhile connections to the database break, and one
executor is replaced again and again. The other processes live from the beginning to the end.
"""

import argparse
import asyncio
import csv
import itertools
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

from kaiju_tasks import Client
from kaiju_tasks.errors import Conflict
from tests.chaos.cluster import DATABASE, Cluster
from tests.chaos.faults import faults_of
from tests.chaos.run import Chaos, recorded
from tests.chaos.samples import Sample, Verdict, judge, of_postgres, of_process, of_sqlite
from tests.chaos.workload import MANY_STAGES, Json
from tests.chaos.world import APP, World

FIRST_TASKS = 120_000
"""They fill the caches of managers, which hold 20,000 definitions each: that is no growth. Only the
manager that deletes a task forgets its definition."""
BATCH = 100
TASKS = 2000
OPEN = 200
SAMPLES = 60
"""So many samples are taken in all, but not more often than after each round."""
GENTLE = [
    "backend_terminated",
    "backends_terminated",
    "commit_cut_after",
    "commit_cut_before",
    "connection_cut",
    "connection_silent",
    "executor_frozen",
    "link_cut",
    "link_silent",
    "manager_frozen",
    "wire_cut",
]
"""They end no process whose memory is sampled."""
KEPT = frozenset({"audit", "executors", "families", "notifications", "stats"})
"""Tables whose rows are kept for a day or longer: they grow with what was done, until then."""
COLUMNS = ("manager-1 MiB", "manager-1 files", "executor-2 MiB", "executor-2 files")


class Soak:
    """A world that works, and its samples.

    :param rate: how many faults begin in a second
    """

    def __init__(self, world: World, seed: int, rate: float) -> None:
        self._world = world
        self._rate = rate
        self._random = Random(seed)
        possible = faults_of(world).keys()
        gentle = [name for name in GENTLE if name in possible]
        self.chaos = Chaos(world, seed, gentle, MANY_STAGES)
        self.samples: list[Sample] = []

    @property
    def problems(self) -> list[str]:
        return self.chaos.problems

    async def fill_caches(self) -> None:
        """Create many tasks such as those of the work, which do not run, and delete them."""
        shapes = itertools.cycle(MANY_STAGES)
        for start in range(0, FIRST_TASKS, BATCH):
            made = [
                {
                    "id": f"first-{number}",
                    "app_name": APP,
                    "enabled": False,
                    **next(shapes)(self._random),
                }
                for number in range(start, start + BATCH)
            ]
            await self._world.ask(partial(_create, tasks=made))
            await self._world.ask(partial(_delete, ids=[task["id"] for task in made]))

    async def run(self, seconds: float) -> None:
        """Work for some time, and sample."""
        begun = time.monotonic()
        print(f"{'minutes':>8}{'stages':>9}{'faults':>8}{'rows':>8}{'MiB':>8}", end="")
        print("".join(f"{name:>18}" for name in COLUMNS), flush=True)
        while (passed := time.monotonic() - begun) < seconds and not self.problems:
            await self.chaos.round(TASKS, OPEN, self._rate)
            if self._random.random() < 0.5:
                await self._world.kill_executor(0, "executor_killed")
            else:
                await self._world.stop_executor(0)
            if passed >= len(self.samples) * seconds / SAMPLES:
                self.samples.append(await self._sample())
                self._print(passed)

    async def _sample(self) -> Sample:
        world = self._world
        found: dict[str, float] = {}
        for number, manager in enumerate(world.managers, 1):
            found |= of_process(f"manager-{number}", manager.process.pid)
        for number, executor in enumerate(world.executors[1:], 2):
            found |= of_process(f"executor-{number}", executor.process.pid)
        if world.is_postgres:
            return found | await of_postgres(world.cluster.primary.dsn(DATABASE))
        return found | of_sqlite(world.file)

    def _print(self, seconds: float) -> None:
        sample = self.samples[-1]
        rows = sum(value for name, value in sample.items() if name.endswith(" rows"))
        size = sum(value for name, value in sample.items() if name.endswith("-MiB"))
        done = self.chaos
        struck = done.strikes.struck.total()
        print(
            f"{seconds / 60:8.1f}{done.stages:9}{struck:8}{rows:8.0f}{size:8.1f}"
            + "".join(f"{sample[name]:18.1f}" for name in COLUMNS),
            flush=True,
        )


async def _create(client: Client, tasks: list[Json]) -> None:
    with suppress(Conflict):  # an earlier try has created them
        await client.tasks.m_create(tasks)


async def _delete(client: Client, ids: list[str]) -> None:
    await client.tasks.m_delete(ids)


def print_verdicts(verdicts: list[Verdict]) -> bool:
    """Print what grew by more than a tenth of what is allowed.

    :returns: whether all is level
    """
    grown = [v for v in verdicts if v.growth > v.allowed / 10]
    if grown:
        print(f"{'after the warm-up':28}{'first':>10}{'last':>10}{'growth':>10}{'allowed':>10}")
    for verdict in sorted(grown, key=lambda v: v.growth / v.allowed, reverse=True):
        is_kept = verdict.name.split()[0] in KEPT
        note = "is kept" if is_kept else "" if verdict.is_level else "GROWS"
        figures = (verdict.first, verdict.last, verdict.growth, verdict.allowed)
        print(f"{verdict.name:28}" + "".join(f"{f:10.1f}" for f in figures), note)
    grows = [v for v in verdicts if not v.is_level and v.name.split()[0] not in KEPT]
    print(f"{len(verdicts)} values, {len(grows)} of them grow")
    return not grows


def write(samples: list[Sample], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(samples[0]))
        writer.writeheader()
        writer.writerows(samples)


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="kaiju-soak-") as folder:
        cluster = Cluster() if options.db == "postgres" else None
        world = World(Path(folder), cluster)
        soak = Soak(world, options.seed, options.rate)
        try:
            await world.open(managers=2 if cluster else 1, executors=options.executors)
            await soak.fill_caches()
            with recorded(soak.chaos, options.seed, options.tally):
                await soak.run(options.hours * 3600)
        finally:
            await world.close()
    if options.csv is not None:
        write(soak.samples, options.csv)
    for problem in soak.problems[:20]:
        print(f"VIOLATION {problem}"[:4000])
    is_level = print_verdicts(judge(soak.samples))
    return 0 if is_level and not soak.problems else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--db", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--executors", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1.0, help="faults that begin in a second")
    parser.add_argument("--tally", type=Path, help="add the figures of the chaos to this file")
    parser.add_argument("--csv", type=Path, help="write all samples to this file")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
