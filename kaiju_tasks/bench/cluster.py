"""Runs managers on an empty database, and their executors, for one measurement."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

from kaiju_tasks.bench import processes
from kaiju_tasks.bench.cpu import Meter
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.place import Place, fresh_place
from kaiju_tasks.bench.rows import Figure
from kaiju_tasks.bench.stored import Kind
from kaiju_tasks.client import Client
from kaiju_tasks.errors import Unavailable

APP = "bench"
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 600.0


class Cluster:
    """Managers on one database.

    :param place: the database
    :param managers: their processes
    :param client: a client of the first one
    """

    def __init__(self, place: Place, managers: Sequence[processes.Process], client: Client) -> None:
        self.place = place
        self.managers = managers
        self.client = client
        self.executors: list[processes.Process] = []

    @property
    def url(self) -> str:
        return self.managers[0].url

    async def meter(self) -> Meter:
        """Measure the CPU time of all processes from now on."""
        groups = {
            "manager": [one.pid for one in self.managers],
            "executor": [one.pid for one in self.executors],
            "database": await self.place.server_pids(),
        }
        return Meter({name: pids for name, pids in groups.items() if pids})

    @contextlib.asynccontextmanager
    async def with_executors(
        self, count: int = 1, concurrency: int | None = None
    ) -> AsyncIterator[None]:
        """Run executors until the end of the block, in turn on each manager.

        :param concurrency: None for the default of the command
        """
        async with contextlib.AsyncExitStack() as stack:
            for index in range(count):
                url = self.managers[index % len(self.managers)].url
                executor = processes.executor(url, concurrency)
                self.executors.append(await stack.enter_async_context(executor))
            await self._connected(count)
            yield
        self.executors.clear()

    async def _connected(self, count: int) -> None:
        async def connected() -> bool:
            executors = await self.client.call("executors.list")
            return sum(APP in one["app_names"] for one in executors) == count

        until = time.monotonic() + processes.READY_SECONDS
        while not await connected():
            if time.monotonic() > until:
                raise Unavailable("the executors did not connect")
            await asyncio.sleep(POLL_SECONDS)

    async def ended(self, task_id: str) -> None:
        """Wait until a task has finished.

        :raises Unavailable: it has not, within `PATIENCE_SECONDS`
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            task = await self.client.call("tasks.wait", id=task_id, timeout=60)
            if task["status"] == "FINISHED":
                return
            if task["status"] == "FAILED" or time.monotonic() > until:
                raise Unavailable(
                    f"the task {task_id} is {task['status']} after {PATIENCE_SECONDS:g} seconds: "
                    f"{task['error']}"
                )


@contextlib.asynccontextmanager
async def cluster(
    options: Options, managers: int = 1, kind: Kind = "backlog", stored: int = 0
) -> AsyncIterator[Cluster]:
    """Start managers on a database of its own, which is removed at the end of the block.

    :param kind: of the tasks that are stored before
    :param stored: number of these tasks
    """
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(fresh_place(options.db))
        if stored:
            await place.store(kind, stored)
        await place.note_others()
        running = [
            await stack.enter_async_context(processes.manager(place.url)) for _ in range(managers)
        ]
        client = await stack.enter_async_context(Client(running[0].url))
        yield Cluster(place, running, client)


def cpu_figures(
    part: str, what: str, meter: Meter, tasks: int, at: int | None = None
) -> list[Figure]:
    """Return the CPU time of each group of processes for one task, of a meter that has stopped."""
    return [
        Figure(part, f"{what}: {name}", "CPU µs", seconds / tasks * 1e6, at)
        for name, seconds in meter.used.items()
    ]
