"""What goes wrong: processes die and freeze, networks part, the database goes away."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from tests.simulation.database import Database, StoreLine
from tests.simulation.executor import SimExecutor
from tests.simulation.manager import SimManager
from tests.simulation.network import Network
from tests.simulation.trace import Trace


class Town(Protocol):
    """Who can be hit. A dead one is replaced by its supervisor."""

    managers: list[SimManager]
    executors: list[SimExecutor]


class Chaos:
    """Hits at random until it is stopped."""

    def __init__(
        self, town: Town, network: Network, database: Database, random: Random, trace: Trace
    ) -> None:
        self._town = town
        self._network = network
        self._database = database
        self._random = random
        self._trace = trace
        kinds: list[Callable[[], None]] = [
            self._kill_manager,
            self._stop_manager,
            self._freeze_manager,
            self._kill_executor,
            self._executor_leaves,
            self._freeze_executor,
            self._executor_forgets,
            self._executor_oversleeps,
            self._cut_wire,
            self._part,
            self._cut_store,
            self._outage,
        ]
        self._kinds = [kind for kind in kinds if random.random() < 0.5]
        self._pause = random.choice([1.0, 3.0, 8.0])

    def start_weather(self) -> None:
        """Small troubles that are there all the time."""
        random, weather, faults = self._random, self._network.weather, self._database.faults
        weather.tcp = random.random() < 0.5
        weather.slow = random.choice([0.0, 0.0, 0.02])
        weather.twice = random.choice([0.0, 0.05, 0.2])
        weather.cut = random.choice([0.0, 0.0, 0.005])
        weather.narrow = random.choice([0.0, 0.0, 20_000.0])
        faults.slow = random.choice([0.0, 0.02])
        faults.conflict = random.choice([0.0, 0.0, 0.05])
        faults.refused = random.choice([0.0, 0.0, 0.01])
        faults.unknown = random.choice([0.0, 0.02, 0.1])
        faults.late = random.choice([0.0, 0.0, 0.02, 0.1])
        faults.lost_wake = random.choice([0.0, 0.0, 0.3])

    async def run(self) -> None:
        while self._kinds:
            await asyncio.sleep(self._random.expovariate(1 / self._pause))
            self._random.choice(self._kinds)()

    def end(self) -> None:
        """Everything is well from now on."""
        weather, faults = self._network.weather, self._database.faults
        weather.tcp = True
        weather.slow = weather.twice = weather.cut = weather.narrow = 0.0
        faults.slow = faults.conflict = faults.refused = faults.silent = 0.0
        faults.unknown = faults.late = faults.lost_wake = 0.0
        self._network.apart.clear()
        for manager in self._town.managers:
            manager.line.cut = False
            manager.process.go_on()
        for executor in self._town.executors:
            executor.process.go_on()
            if self._executor_forgets in self._kinds:
                executor.process.context.run(executor.forget)
            if self._executor_oversleeps in self._kinds:
                executor.oversleep()

    def _later(self, low: float, high: float, undo: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._random.uniform(low, high), undo)

    def _manager(self) -> SimManager | None:
        up = [m for m in self._town.managers if m.ready and m.process.runs]
        return self._random.choice(up) if up else None

    def _executor(self) -> SimExecutor | None:
        up = [e for e in self._town.executors if e.serves]
        return self._random.choice(up) if up else None

    def _kill_manager(self) -> None:
        if (manager := self._manager()) is not None:
            manager.kill(silent=self._random.random() < 0.3)

    def _stop_manager(self) -> None:
        if (manager := self._manager()) is not None:
            manager.stop()

    def _freeze_manager(self) -> None:
        if (manager := self._manager()) is not None:
            self._trace(manager.process.name, "is frozen")
            manager.process.stop()
            self._later(0.1, 8.0, manager.process.go_on)

    def _kill_executor(self) -> None:
        if (executor := self._executor()) is not None:
            executor.kill(silent=self._random.random() < 0.5)

    def _executor_leaves(self) -> None:
        if (executor := self._executor()) is not None:
            executor.leave()

    def _freeze_executor(self) -> None:
        if (executor := self._executor()) is not None:
            self._trace(executor.process.name, "is frozen")
            executor.process.stop()
            self._later(0.1, 10.0, executor.process.go_on)

    def _executor_forgets(self) -> None:
        if (executor := self._executor()) is not None:
            executor.process.context.run(executor.forget)

    def _executor_oversleeps(self) -> None:
        if (executor := self._executor()) is not None:
            executor.oversleep()

    def _cut_wire(self) -> None:
        if self._network.wires:
            wire = self._random.choice(self._network.wires)
            wire.cut(half_open=self._random.random() < 0.5)

    def _part(self) -> None:
        """An executor cannot reach a manager any more, or none of them."""
        executor, urls = self._executor(), [manager.url for manager in self._town.managers]
        if executor is None or not urls:
            return
        if self._random.random() < 0.5:
            urls = [self._random.choice(urls)]
        pairs = {(executor.process.name, url) for url in urls}
        self._network.apart |= pairs
        for wire in list(self._network.wires):
            if (wire.executor.name, wire.url) in pairs:
                wire.cut(half_open=True)
        self._later(0.5, 30.0, lambda: self._network.apart.difference_update(pairs))

    def _cut_store(self) -> None:
        if (manager := self._manager()) is not None:
            self._cut(manager.line, self._random.uniform(0.1, 15.0))

    def _outage(self) -> None:
        seconds = self._random.uniform(0.1, 15.0)
        for manager in self._town.managers:
            self._cut(manager.line, seconds)

    def _cut(self, line: StoreLine, seconds: float) -> None:
        self._trace(line.process.name, f"cannot reach the database for {seconds:.1f} s")
        line.cut = True

        def heal() -> None:
            line.cut = False

        asyncio.get_running_loop().call_later(seconds, heal)
