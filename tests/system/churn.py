"""A fleet of which somebody dies all the time, and clients that go on all the same."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from random import Random

from kaiju_tasks import Client
from kaiju_tasks.errors import Conflict, Unavailable
from tests.system.fleet import ExecutorProcess, Fleet, Json, ManagerProcess

PAUSE_SECONDS = (0.3, 1.2)
MANAGER_SHARE = 0.4
KILL_SHARE = 0.7


class Churn:
    """Managers and executors, killed or stopped one after the other at random and started again.

    :param concurrency: of each executor
    :ivar killed_at: when executors were killed, by their pids, on the machine's monotonic clock
    """

    def __init__(self, fleet: Fleet, random: Random, concurrency: int) -> None:
        self._fleet = fleet
        self._random = random
        self._concurrency = concurrency
        self.managers: list[ManagerProcess] = []
        self.executors: list[ExecutorProcess] = []
        self.clients: list[Client] = []
        self.killed_at: dict[int, float] = {}

    @classmethod
    async def begin(
        cls, fleet: Fleet, *, managers: int, executors: int, seed: int, concurrency: int = 8
    ) -> "Churn":
        """Start everybody."""
        churn = cls(fleet, Random(seed), concurrency)
        churn.managers = [await fleet.manager() for _ in range(managers)]
        churn.executors = [churn._new_executor(at) for at in range(executors)]
        churn.clients = [fleet.client(manager) for manager in churn.managers]
        for at, executor in enumerate(churn.executors):
            await fleet.connected(churn._turned(at)[0], executor)
        return churn

    async def go_on(self, seconds: float) -> None:
        """Let somebody die again and again for some time, and until an executor was killed."""
        loop, random = asyncio.get_running_loop(), self._random
        until = loop.time() + seconds
        while loop.time() < until or not self.killed_at:
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            if random.random() < MANAGER_SHARE:
                await self.restart_manager(random.randrange(len(self.managers)))
            else:
                self.restart_executor(random.randrange(len(self.executors)))

    async def restart_manager(self, at: int) -> None:
        """Kill or stop a manager, and start it again."""
        victim = self.managers[at].process
        victim.kill() if self._random.random() < KILL_SHARE else victim.terminate()
        await victim.ended(30)
        self.managers[at] = await self._fleet.again(self.managers[at])

    def restart_executor(self, at: int) -> None:
        """Kill an executor, and start another one in its place."""
        victim = self.executors[at].process
        self.killed_at[victim.pid] = time.monotonic()
        victim.kill()
        self.executors[at] = self._new_executor(at)

    def _new_executor(self, at: int) -> ExecutorProcess:
        return self._fleet.start_executor(*self._turned(at), concurrency=self._concurrency)

    def _turned(self, by: int) -> list[ManagerProcess]:
        """The managers, another one first."""
        by %= len(self.managers)
        return self.managers[by:] + self.managers[:by]


async def fill(clients: Sequence[Client], data: Sequence[Json], seconds: float) -> None:
    """Create all tasks within some time, through whichever manager lives."""
    living = itertools.cycle(clients)
    for start in range(0, len(data), 50):
        while not await _stored(next(living), data[start : start + 50]):
            await asyncio.sleep(0.01)
        await asyncio.sleep(seconds / (len(data) / 50))


async def _stored(client: Client, data: Sequence[Json]) -> bool:
    """Whether these tasks are stored for certain."""
    try:
        await client.tasks.m_create(list(data))
    except Conflict:  # by an earlier try, whose manager died before it could say so
        return True
    except Unavailable:
        return False
    return True


async def all_ended(client: Client, count: int, seconds: float) -> None:
    """Wait until so many tasks are over."""
    async with asyncio.timeout(seconds):
        over = {"status": ["FINISHED", "FAILED"]}
        while (await client.tasks.count(over))["count"] < count:
            await asyncio.sleep(0.1)
