"""Managers, executors and a database that faults strike, and clients that go on."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from kaiju_tasks import Client
from kaiju_tasks.errors import Unavailable
from kaiju_tasks.steady import steady_seconds
from kaiju_tasks.store.clock import STEP_SECONDS
from tests.chaos import clock
from tests.chaos.checker import Span, Stops
from tests.chaos.clock import CLOCK, WallClock
from tests.chaos.cluster import Cluster
from tests.chaos.commands import LEDGER
from tests.chaos.disk import Disk
from tests.support.processes import Processes
from tests.support.proxy import Proxy
from tests.support.wait import wait_until
from tests.system.fleet import QUICK, ExecutorProcess, Fleet, ManagerProcess

APP = "chaos"
LEASE_SECONDS = 4.0
"""With the settings QUICK."""
PATIENCE_SECONDS = 120.0
ANSWER_SECONDS = 30.0
"""Longer than any manager stands still."""

CONCURRENCY = 8
"""Of each executor."""

T = TypeVar("T")


class World:
    """Everything that a fault can strike.

    :param cluster: PostgreSQL; None for SQLite
    :param disk: has the database; None if it cannot be filled
    :param settings: of the managers
    :ivar links: the networks between executors and each manager
    :ivar killed_by: when executors were killed, by the fault and their pid
    """

    def __init__(
        self,
        folder: Path,
        cluster: Cluster | None,
        disk: Disk | None = None,
        settings: Mapping[str, Any] = QUICK,
    ) -> None:
        self.folder = folder
        self._cluster = cluster
        self.disk = disk
        self._settings = settings
        self._clock = WallClock(folder / "clock")
        self.ledger = folder / "ledger"
        self.managers: list[ManagerProcess] = []
        self.executors: list[ExecutorProcess] = []
        self.links: list[Proxy] = []
        self.clients: list[Client] = []
        self._restarting: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._replacing: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._freezing: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._killed: dict[int, float] = {}
        self.killed_by: dict[str, dict[int, float]] = defaultdict(dict)
        self._frozen: dict[int, list[Span]] = defaultdict(list)
        self._processes = Processes(folder)
        self._exit = AsyncExitStack()

    async def open(self, managers: int, executors: int) -> Self:
        """Start everything."""
        self._fleet = Fleet(self._processes, await self._database(), self.folder)
        self._exit.push_async_callback(self._fleet.close)
        self._fleet.settings = self._settings
        self._fleet.commands = "tests.chaos.commands:executor"
        self._fleet.environ = {LEDGER: str(self.ledger), CLOCK: str(self._clock.path)}
        if not self.is_postgres:
            self._fleet.program = clock.__name__
        for _ in range(managers):
            self.managers.append(await self._fleet.manager())
        for manager in self.managers:
            link = Proxy(_port(manager))
            await link.open()
            self._exit.push_async_callback(link.close)
            self.links.append(link)
        self.clients = [self._fleet.client(manager) for manager in self.managers]
        self.executors = [self._new_executor() for _ in range(executors)]
        await self.executors_back()
        return self

    async def manager_ids(self) -> set[str]:
        """The ids of the managers to which executors are connected, or were until they died."""
        found = await self.ask(lambda client: client.executors.list())
        return {one["manager_id"] for one in found}

    async def executors_back(self, left: Set[str] = frozenset()) -> None:
        """Wait until all executors may take work.

        :param left: ids of managers that are gone, to which none of them is connected then
        """

        async def active() -> bool:
            found = await self.ask(lambda client: client.executors.list())
            active = [one for one in found if one["status"] == "ACTIVE"]
            ids = {one["id"] for one in active if one["manager_id"] not in left}
            return all(executor.id in ids for executor in self.executors)

        await wait_until(active, "all executors are connected", PATIENCE_SECONDS)

    async def close(self) -> None:
        await self._exit.aclose()

    async def _database(self) -> str:
        if self._cluster is None:
            return f"sqlite:///{self.file}"
        self._exit.push_async_callback(self._cluster.close)
        await self._cluster.open()
        return self._cluster.url

    async def set_clock(self, seconds: float) -> None:
        """Set all wall clocks. Returns when a manager has noticed a large step."""
        noticed = self._steps_noticed()
        self._clock.set(seconds)
        if self._cluster is not None:
            await self._cluster.set_clock(seconds)
        if abs(seconds) > STEP_SECONDS:
            await wait_until(
                lambda: self._steps_noticed() > noticed, "a manager has noticed", PATIENCE_SECONDS
            )

    def _steps_noticed(self) -> int:
        return sum(manager.process.log.count("was set ") for manager in self.managers)

    @property
    def file(self) -> Path:
        """The database of SQLite."""
        return (self.folder if self.disk is None else self.disk.path) / "tasks.db"

    @property
    def is_postgres(self) -> bool:
        return self._cluster is not None

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "this world is on SQLite"
        return self._cluster

    # -- processes ---------------------------------------------------------------------

    def _new_executor(self) -> ExecutorProcess:
        turned = random.sample(self.links, len(self.links))
        urls = [f"http://127.0.0.1:{link.port}" for link in turned]
        return self._fleet.start_executor(*urls, concurrency=CONCURRENCY)

    async def executor_gone(self, id: str) -> None:
        """Wait until the managers know that an executor is no longer there."""

        async def gone() -> bool:
            found = await self.ask(lambda client: client.executors.get(id))
            return bool(found["status"] != "ACTIVE")

        await wait_until(gone, f"{id} is gone", PATIENCE_SECONDS)

    async def restart_manager(self, at: int, *, kill: bool) -> None:
        async with self._restarting[at], asyncio.timeout(PATIENCE_SECONDS):
            process = self.managers[at].process
            process.kill() if kill else process.terminate()
            await process.ended(PATIENCE_SECONDS)
            process.close()
            self.managers[at] = await self._start_again(self.managers[at])

    async def _start_again(self, manager: ManagerProcess) -> ManagerProcess:
        """Start a manager until it is ready, as a supervisor does: it ends if the database is away
        while it starts."""
        while True:
            started = self._fleet.start_manager(_port(manager))
            try:
                return await self._fleet.ready(started)
            except AssertionError:
                if started.process.exit_code is None:
                    raise
            await asyncio.sleep(0.2)

    async def kill_executor(self, at: int, fault: str) -> None:
        """Kill an executor, and start another one."""
        async with self._replacing[at]:
            process = self.executors[at].process
            self._killed[process.pid] = self.killed_by[fault][process.pid] = steady_seconds()
            process.kill()
            process.close()
            self.executors[at] = self._new_executor()

    async def stop_executor(self, at: int) -> None:
        """Let an executor end in good order, and start another one."""
        async with self._replacing[at]:
            process = self.executors[at].process
            process.terminate()
            await process.ended(PATIENCE_SECONDS)
            process.close()
            self.executors[at] = self._new_executor()

    async def freeze_executor(self, at: int, seconds: float) -> None:
        async with self._freezing[at]:
            process = self.executors[at].process
            begin = steady_seconds()
            process.pause()
            await asyncio.sleep(seconds)
            process.resume()
            self._frozen[process.pid].append(Span(begin, steady_seconds()))

    async def freeze_manager(self, at: int, seconds: float) -> None:
        process = self.managers[at].process
        process.pause()
        await asyncio.sleep(seconds)
        process.resume()

    @property
    def stops(self) -> Stops:
        return Stops(self._killed, self._frozen)

    @property
    def broken(self) -> list[str]:
        """Processes that ended by themselves or printed a traceback."""
        ended = [m.process for m in self.managers if m.process.exit_code is not None]
        ended += [e.process for e in self.executors if e.process.exit_code is not None]
        traced = [process for process in self._processes if "Traceback" in process.log]
        return [process.log_end for process in (*ended, *traced)]

    # -- clients -----------------------------------------------------------------------

    async def ask(self, call: Callable[[Client], Awaitable[T]]) -> T:
        """Call managers in turn until one answers. The call must be safe to repeat."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for client in random.sample(self.clients, len(self.clients)):
                    try:
                        async with asyncio.timeout(ANSWER_SECONDS):
                            return await call(client)
                    except (Unavailable, TimeoutError):
                        await asyncio.sleep(0.05)

    async def probe(self) -> float:
        """Create a task and wait until it has run.

        :returns: seconds
        """
        begun = asyncio.get_running_loop().time()
        id = f"probe-{random.getrandbits(64):x}"
        task = {"id": id, "app_name": APP, "commands": [{"method": "work"}], "priority": 1000}
        await self.ask(lambda c: c.tasks.create(task, on_conflict="ignore"))
        while (await self.ask(lambda c: c.tasks.wait(id, 5)))["status"] != "FINISHED":
            pass
        return asyncio.get_running_loop().time() - begun


def _port(manager: ManagerProcess) -> int:
    return int(manager.url.rpartition(":")[2])
