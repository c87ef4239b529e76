"""A manager process: the manager's own code behind a network and a database that fail."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from kaiju_tasks.api import Caller, connection_closed, method_registry
from kaiju_tasks.api.frames import Frames
from kaiju_tasks.manager import Dice, Manager
from kaiju_tasks.manager.events.hub import Subscription
from kaiju_tasks.settings import Settings
from kaiju_tasks.store import StoreUnavailable
from kaiju_tasks.types import TaskEvent
from tests.simulation.database import Database, StoreLine
from tests.simulation.loop import Process
from tests.simulation.network import Network, Wire
from tests.simulation.trace import Trace


class ManagerEnd:
    """The manager's end of a wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.caller = Caller(remote=wire.executor.name, connection=self)
        self.calls: set[asyncio.Task[None]] = set()

    def send(self, frame: bytes, taken: Callable[[], None] | None = None) -> None:
        self.wire.to_executor(frame, taken)

    def offer(self, frame: bytes) -> bool:
        self.send(frame)
        return True

    def close(self) -> None:
        self.wire.close_from_listener()


class SimManager:
    """One life of a manager; a new one comes with a new name."""

    def __init__(
        self,
        name: str,
        url: str,
        settings: Settings,
        database: Database,
        network: Network,
        random: Random,
        trace: Trace,
        on_event: Callable[["SimManager", TaskEvent], None],
    ) -> None:
        self.process = Process(name)
        self._on_event = on_event
        self.url = url
        self.settings = settings
        self.line: StoreLine = database.line(self.process)
        self.trace = trace
        self.ready = False
        self._network = network
        self._seed = random.getrandbits(64)
        self._ends: dict[Wire, ManagerEnd] = {}
        self.manager: Manager | None = None
        self.frames: Frames | None = None
        self.process.spawn(self._main())

    async def _main(self) -> None:
        line: Any = self.line
        while True:
            self.manager = Manager(line, self.settings, Dice(Random(self._seed)))
            self.manager.streams.locked_after_refusal = (
                1  # managers disturb each other all the time
            )
            try:
                await self.manager.start()
                break
            except StoreUnavailable:
                await asyncio.sleep(0.5)
        self.manager.events.subscribe(
            Subscription([], lambda event: self._on_event(self, event.event))
        )
        self.frames = Frames(self.manager, method_registry(self.manager), self.settings)
        self._network.listeners[self.url] = self
        self.ready = True
        self.trace(self.process.name, "is up")

    # -- executors --------------------------------------------------------------------------

    def accepted(self, wire: Wire) -> None:
        self._ends[wire] = ManagerEnd(wire)

    def came(self, wire: Wire, frame: bytes) -> None:
        end = self._ends.get(wire)
        if end is not None:
            task = asyncio.get_running_loop().create_task(self._answer(end, frame))
            end.calls.add(task)
            task.add_done_callback(end.calls.discard)

    async def _answer(self, end: ManagerEnd, frame: bytes) -> None:
        assert self.frames is not None
        answer = await self.frames.answer(frame, end.caller)
        if answer is not None:
            end.send(answer)

    def gone(self, wire: Wire) -> None:
        end = self._ends.pop(wire, None)
        if end is not None:
            asyncio.get_running_loop().create_task(self._close(end))

    async def _close(self, end: ManagerEnd) -> None:
        assert self.manager is not None
        calls = sorted(end.calls, key=lambda task: task.get_name())
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await connection_closed(self.manager, end.caller)

    # -- clients ----------------------------------------------------------------------------

    def asked(self, method: str, params: Any, answered: Any) -> None:
        """A client's POST has come; `answered` gets the bytes of the answer."""
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

        async def answer() -> None:
            assert self.frames is not None
            answered(await self.frames.answer(body, Caller()))

        asyncio.get_running_loop().create_task(answer())

    # -- ends -------------------------------------------------------------------------------

    def kill(self, *, silent: bool) -> None:
        """SIGKILL. The kernel closes its sockets, unless the machine is gone too."""
        self.trace(self.process.name, f"is killed silent={silent}")
        self._leave()
        self.process.kill()
        for wire in [w for w in self._network.wires if w.listener is self]:
            wire.end(None if silent else self._network.delay(), None)

    def stop(self) -> None:
        """SIGTERM."""
        self.trace(self.process.name, "is stopped")
        self.process.spawn(self._stop())

    async def _stop(self) -> None:
        assert self.manager is not None
        await self.manager.stop()
        self.trace(self.process.name, "has ended")
        self._leave()
        self.process.kill()

    def _leave(self) -> None:
        self.ready = False
        self.line.died()
        if self._network.listeners.get(self.url) is self:
            del self._network.listeners[self.url]
