"""Connects executors to a manager in the same process and event loop, without sockets."""

import asyncio
from collections.abc import Callable

from kaiju_tasks.api import Caller, connection_closed
from kaiju_tasks.api.frames import Frames
from kaiju_tasks.executor.transport import Connection, ConnectionClosed
from kaiju_tasks.manager import Manager

__all__ = ["IN_PROCESS", "InProcessTransport"]

IN_PROCESS = "inside:"
"""The URL of the manager in this process."""
OFFERED_FRAMES_MAX = 10_000


class InProcessTransport:
    """Connects executors to the manager in this process, with the same frames as over a socket.

    :param system: whether the manager's own executor connects
    """

    def __init__(self, manager: Manager, frames: Frames, *, system: bool = False) -> None:
        self._manager = manager
        self._frames = frames
        self._system = system

    async def connect(self, url: str, seconds: float) -> Connection:
        return _Pair(self._manager, self._frames, self._system)

    async def close(self) -> None: ...


class _ManagerEnd:
    """The manager's end of the connection."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[bytes, Callable[[], None] | None] | None]
        self.frames = asyncio.Queue()

    def send(self, frame: bytes, taken: Callable[[], None] | None = None) -> None:
        self.frames.put_nowait((frame, taken))

    def offer(self, frame: bytes) -> bool:
        if self.frames.qsize() >= OFFERED_FRAMES_MAX:
            return False
        self.send(frame)
        return True

    def close(self) -> None:
        self.frames.put_nowait(None)


class _Pair:
    """The executor's end of the connection."""

    def __init__(self, manager: Manager, frames: Frames, system: bool) -> None:
        self._manager = manager
        self._end = _ManagerEnd()
        self._caller = Caller(remote="inside", connection=self._end, system=system)
        self._connection = frames.connection(self._caller)
        self._calls: set[asyncio.Task[None]] = set()

    async def send(self, frame: bytes) -> None:
        call = asyncio.create_task(self._answer(frame))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def receive(self) -> bytes:
        queued = await self._end.frames.get()
        if queued is None:
            raise ConnectionClosed("closed by the manager")
        frame, taken = queued
        if taken is not None:
            taken()
        return frame

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await connection_closed(self._manager, self._caller)

    async def _answer(self, frame: bytes) -> None:
        answer = await self._connection.answer(frame)
        if answer is not None:
            self._end.send(answer)
