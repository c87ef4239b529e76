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
EXECUTOR = "executor"
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
        self._ids: list[str] = []

    @property
    def url(self) -> str:
        return self.managers[0].url

    async def start_meter(self) -> Meter:
        """Measure the CPU time of all processes from now on."""
        return Meter(await self._processes())

    async def stop_meter(self, meter: Meter) -> None:
        """Measure it no more."""
        meter.stop(await self._processes())

    async def _processes(self) -> dict[str, list[int]]:
        return {
            "manager": [one.pid for one in self.managers],
            EXECUTOR: [one.pid for one in self.executors],
            "database": await self.place.server_pids(),
        }

    @contextlib.asynccontextmanager
    async def with_executors(
        self, count: int = 1, concurrency: int | None = None, *, drained: bool = False
    ) -> AsyncIterator[None]:
        """Run executors until the end of the block, in turn on each manager.

        :param concurrency: None for the default of the command
        :param drained: whether they get no tasks until `resume`
        """
        async with contextlib.AsyncExitStack() as stack:
            for index in range(count):
                url = self.managers[index % len(self.managers)].url
                executor = processes.executor(url, concurrency)
                self.executors.append(await stack.enter_async_context(executor))
            self._ids = await self._connected(count)
            for id in self._ids if drained else ():
                await self.client.call("executors.drain", id=id)
            yield
        self.executors.clear()

    async def resume(self) -> None:
        """Give tasks to all executors."""
        await asyncio.gather(*(self.client.call("executors.resume", id=id) for id in self._ids))

    async def _connected(self, count: int) -> list[str]:
        until = time.monotonic() + processes.READY_SECONDS
        while True:
            executors = await self.client.call("executors.list")
            ids = [one["id"] for one in executors if APP in one["app_names"]]
            if len(ids) == count:
                return ids
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
    part: str, what: str, meter: Meter, tasks: int, at: int | None = None, *, without: str = ""
) -> list[Figure]:
    """Return the CPU time of each group of processes for one task, of a meter that has stopped.

    :param without: a group that had nothing to do
    """
    return [
        Figure(part, f"{what}: {name}", "CPU µs", seconds / tasks * 1e6, at)
        for name, seconds in meter.used.items()
        if name != without
    ]
