"""A short run of the chaos; `make chaos` makes long ones, on either store."""

from pathlib import Path

from tests.chaos.cluster import Cluster
from tests.chaos.run import Chaos
from tests.chaos.world import World

TASKS = 120
SEED = 4
QUICKLY_HEALED = [
    "backends_terminated",
    "commit_cut_after",
    "commit_cut_before",
    "executor_killed",
    "manager_killed",
    "wire_cut",
]


async def test_nothing_is_lost_and_nothing_runs_twice(tmp_path: Path) -> None:
    world = World(tmp_path, Cluster())
    chaos = Chaos(world, SEED, QUICKLY_HEALED)
    try:
        await world.open(managers=2, executors=2)
        # A round may be over after one fault.
        while chaos.strikes.struck.total() < 2 and not chaos.problems:
            await chaos.round(TASKS, most_open=60)
    finally:
        await world.close()
    assert not chaos.problems
    assert chaos.tasks >= TASKS
