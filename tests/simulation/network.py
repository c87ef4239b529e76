"""The network: frames late, twice, out of order; connections cut at one end before the other."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from kaiju_tasks.executor.transport import ConnectionClosed
from kaiju_tasks.protocol import Report
from tests.simulation.loop import Process, SimLoop
from tests.simulation.trace import Trace, span


class Weather:
    """What the network does to frames and connections.

    :ivar tcp: frames keep their order and come once, as on a real socket
    :ivar slow: chance that a frame takes up to two seconds
    :ivar narrow: bytes that a manager's socket takes in a second; 0 for any number
    """

    def __init__(self) -> None:
        self.tcp = True
        self.narrow = 0.0
        self.slow = self.twice = self.cut = 0.0


class Listener(Protocol):
    """Who accepts connections: a manager."""

    process: Process

    def accepted(self, wire: "Wire") -> None: ...

    def came(self, wire: "Wire", frame: bytes) -> None: ...

    def gone(self, wire: "Wire") -> None: ...


class Network:
    """Everything between executors, managers and clients.

    :ivar listeners: managers that can be connected to, by URL
    """

    def __init__(self, loop: SimLoop, random: Random, trace: Trace) -> None:
        self.loop = loop
        self.random = random
        self.trace = trace
        self.weather = Weather()
        self.listeners: dict[str, Listener] = {}
        self.apart: set[tuple[str, str]] = set()
        self.wires: list[Wire] = []
        self.asked: Callable[[Wire, bytes], None] = lambda wire, frame: None
        self.answered: Callable[[Wire, bytes], None] = lambda wire, frame: None
        self.waits: Callable[[Wire, bytes], None] = lambda wire, frame: None

    def delay(self) -> float:
        slow = self.weather.slow and self.random.random() < self.weather.slow
        return span(self.random, 0.0003, 2.0 if slow else 0.02)

    def parted(self, a: str, b: str) -> bool:
        return (a, b) in self.apart

    def forget(self, wire: "Wire") -> None:
        if wire in self.wires:
            self.wires.remove(wire)


class Wire:
    """One connection. Each direction is open until it is cut; each end learns of it later,
    or never, and then has only its pings to find out.

    :ivar down_at: since when no frame gets through; what came before waits in the socket, even of a
        process that is stopped
    :ivar untaken: bytes of assignments that wait in the manager's socket
    :ivar open_reports: what the executor has reported, by request id
    """

    def __init__(self, network: Network, executor: Process, listener: Listener, url: str) -> None:
        self.network = network
        self.executor = executor
        self.listener = listener
        self.url = url
        self.down_at = float("inf")
        self.told_executor = False
        self.told_listener = False
        self.open_reports: dict[int, list[Report]] = {}
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._last = [0.0, 0.0]
        self._taken_at = 0.0
        self.untaken = 0

    @property
    def up(self) -> bool:
        return self.network.loop.now < self.down_at

    # -- the executor's end -----------------------------------------------------------------

    async def send(self, frame: bytes) -> None:
        if self.told_executor:
            raise ConnectionClosed("broken")
        self.network.asked(self, frame)
        self._carry(0, self.listener.process, self._to_listener, frame)

    async def receive(self) -> bytes:
        frame = await self._inbox.get()
        if frame is None:
            raise ConnectionClosed("broken")
        return frame

    async def close(self) -> None:
        self.told_executor = True
        self.end(to_executor=None, to_listener=self.network.delay())

    # -- the manager's end ------------------------------------------------------------------

    def to_executor(self, frame: bytes, taken: Callable[[], None] | None) -> None:
        if not self.told_listener:
            self.network.answered(self, frame)
            self._carry(1, self.executor, self._to_executor, frame, self._take(frame, taken))

    def _take(self, frame: bytes, taken: Callable[[], None] | None) -> float:
        """Let the socket take a frame when it has taken those before.

        :returns: the seconds until then
        """
        network, narrow = self.network, self.network.weather.narrow
        now = network.loop.now
        if narrow:
            self._taken_at = max(now, self._taken_at) + len(frame) / narrow
        seconds = max(0.0, self._taken_at - now)
        if taken is not None:
            self.untaken += len(frame)
            network.waits(self, frame)
            if seconds:
                self.listener.process.call_later(seconds, self._taken, len(frame), taken)
            else:
                self._taken(len(frame), taken)
        return seconds

    def _taken(self, size: int, taken: Callable[[], None]) -> None:
        if self.up:
            self.untaken -= size
            taken()

    def close_from_listener(self) -> None:
        self.end(to_executor=self.network.delay(), to_listener=0.0)

    # -- in between -------------------------------------------------------------------------

    def cut(self, *, half_open: bool) -> None:
        """Nothing gets through any more.

        :param half_open: one end or both never hear of it
        """
        random = self.network.random
        self.network.trace(self.executor.name, f"cut from {self.url} half_open={half_open}")
        ends = [span(random, 0.001, 1.0), span(random, 0.001, 1.0)]
        silent = random.choice([(0,), (1,), (0, 1)]) if half_open else ()
        self.end(*(None if end in silent else ends[end] for end in (0, 1)))

    def end(self, to_executor: float | None, to_listener: float | None) -> None:
        self.down_at = min(self.down_at, self.network.loop.now)
        self.network.forget(self)
        if to_executor is not None:
            self.executor.call_later(to_executor, self._tell_executor)
        if to_listener is not None:
            self.listener.process.call_later(to_listener, self._tell_listener)

    def _tell_executor(self) -> None:
        if not self.told_executor:
            self.told_executor = True
            self._inbox.put_nowait(None)

    def _tell_listener(self) -> None:
        if not self.told_listener:
            self.told_listener = True
            self.listener.gone(self)

    def _carry(
        self,
        direction: int,
        to: Process,
        deliver: Callable[[bytes, float], None],
        frame: bytes,
        after: float = 0.0,
    ) -> None:
        network, weather = self.network, self.network.weather
        if weather.cut and network.random.random() < weather.cut:
            self.cut(half_open=network.random.random() < 0.3)
        if not self.up:
            return
        twice = weather.twice and network.random.random() < weather.twice
        for _ in range(2 if twice else 1):
            at = network.loop.now + after + network.delay()
            if weather.tcp:
                at = self._last[direction] = max(at, self._last[direction] + 1e-6)
            to.call_later(at - network.loop.now, deliver, frame, at)

    def _to_listener(self, frame: bytes, came_at: float) -> None:
        if came_at < self.down_at and not self.told_listener:
            self.listener.came(self, frame)

    def _to_executor(self, frame: bytes, came_at: float) -> None:
        if came_at < self.down_at and not self.told_executor:
            self._inbox.put_nowait(frame)


class SimTransport:
    """An executor's way to the managers."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process

    async def connect(self, url: str, seconds: float) -> Wire:
        network = self._network
        await asyncio.sleep(network.delay())
        listener = network.listeners.get(url)
        if listener is None or not listener.process.alive:
            raise ConnectionClosed("refused")
        if network.parted(self._process.name, url) or not listener.process.runs:
            await asyncio.sleep(min(2.0, seconds))
            raise ConnectionClosed("no answer")
        wire = Wire(network, self._process, listener, url)
        network.wires.append(wire)
        listener.process.call_later(0.0, listener.accepted, wire)
        return wire

    async def close(self) -> None:
        return None
