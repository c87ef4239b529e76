"""A manager and its executors in one process and loop, without sockets."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Self

import msgspec

from kaiju_tasks.api import Caller, connection_closed, method_registry
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.executor.transport import Connection, ConnectionClosed
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.events import Subscription
from kaiju_tasks.manager.matching import EVENT_COLUMNS
from kaiju_tasks.rpc import Registry, encode_request
from kaiju_tasks.rpc.messages import remote_error
from kaiju_tasks.server.frames import Frames
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store
from kaiju_tasks.store.open import make_store
from kaiju_tasks.types import TaskEvent

__all__ = ["Embedded", "Happened", "embedded", "link_executors"]

MEMORY = "sqlite://:memory:"
URL = "inside:"
OFFERED_FRAMES_MAX = 10_000


class Happened:
    """Events in their order; each is read once."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[TaskEvent] = asyncio.Queue()
        self.put = self._events.put_nowait

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskEvent:
        return await self._events.get()

    def read(self) -> list[TaskEvent]:
        """What has happened by now."""
        return [self._events.get_nowait() for _ in range(self._events.qsize())]


class Embedded:
    """Calls the manager of this process as a client does: data through JSON, errors as classes.

    :ivar manager: the manager itself
    """

    def __init__(self, manager: Manager, registry: Registry, settings: Settings) -> None:
        self.manager = manager
        self.frames = Frames(manager, registry, settings)
        self._caller = Caller(remote="inside")

    @contextlib.contextmanager
    def events(self, conditions: dict[str, Any] | None = None) -> Iterator[Happened]:
        """Be told what happens, until the end of the block: `async for event in events`.

        :param conditions: by field of an event, as in `tasks.list`
        :raises InvalidParams: names the wrong one
        """
        happened = Happened()
        read = read_conditions(conditions, EVENT_COLUMNS)
        subscription = Subscription(read, lambda told: happened.put(told.event))
        self.manager.events.subscribe(subscription)
        try:
            yield happened
        finally:
            self.manager.events.unsubscribe(subscription)

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method.

        :param method: its full name, as `tasks.create`
        :returns: its result, as plain data
        :raises KaijuError: as the manager answers
        """
        answer = await self.frames.answer(encode_request(1, method, params), self._caller)
        assert answer is not None  # a request with an id is always answered
        read = msgspec.json.decode(answer)
        if "error" in read:
            raise remote_error(**read["error"])
        return read["result"]


@contextlib.asynccontextmanager
async def embedded(
    settings: Settings, clock: Callable[[], float] = time.time
) -> AsyncIterator[Embedded]:
    """Run a manager.

    :param settings: `db` says where the tasks are
    :param clock: UNIX seconds; for SQLite only
    :raises StoreError: the database cannot be used
    """
    store = make_store(settings.db, clock=clock, connections=settings.db_connections)
    await store.open()
    try:
        async with _manager(store, settings) as inside:
            yield inside
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _manager(store: Store, settings: Settings) -> AsyncIterator[Embedded]:
    manager = Manager(store, settings)
    async with manager.running():
        yield Embedded(manager, method_registry(manager), settings)


@contextlib.asynccontextmanager
async def link_executors(
    inside: Embedded, executors: Sequence[Executor], *, concurrency: int = 32, grace: float = 1.0
) -> AsyncIterator[None]:
    """Run executors beside the manager. Returns when they are connected.

    :param executors: at least one
    :param concurrency: tasks held at once, from 1
    :param grace: seconds that running stages get at the end
    """
    transport = InsideTransport(inside)
    running = asyncio.create_task(
        run_executor(
            executors,
            [URL],
            concurrency=concurrency,
            transport=transport,
            shutdown_grace=grace,
            restart=_stay,
            handle_signals=False,
        )
    )
    try:
        await _connected(inside.manager, running)
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _connected(manager: Manager, running: "asyncio.Task[int]") -> None:
    while not len(manager.sessions):
        if running.done():
            running.result()
            raise RuntimeError("the executors ended before they were connected")
        await asyncio.sleep(0.001)


def _stay() -> None:
    """An embedded executor cannot start its process anew: a stuck thread is left to itself."""


class InsideTransport:
    """Connects executors to the manager of this process."""

    def __init__(self, inside: Embedded) -> None:
        self._inside = inside

    async def connect(self, url: str) -> Connection:
        return _Pair(self._inside)

    async def close(self) -> None: ...


class _ManagerEnd:
    """What the manager holds of the connection."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, frame: bytes) -> None:
        self.frames.put_nowait(frame)

    def offer(self, frame: bytes) -> bool:
        if self.frames.qsize() >= OFFERED_FRAMES_MAX:
            return False
        self.send(frame)
        return True

    def close(self) -> None:
        self.frames.put_nowait(None)


class _Pair:
    """What the executor holds of the connection."""

    def __init__(self, inside: Embedded) -> None:
        self._inside = inside
        self._end = _ManagerEnd()
        self._caller = Caller(remote="inside", connection=self._end)
        self._talk = inside.frames.talk(self._caller)
        self._calls: set[asyncio.Task[None]] = set()

    async def send(self, frame: bytes) -> None:
        call = asyncio.create_task(self._answer(frame))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def receive(self) -> bytes:
        frame = await self._end.frames.get()
        if frame is None:
            raise ConnectionClosed("closed by the manager")
        return frame

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await connection_closed(self._inside.manager, self._caller)

    async def _answer(self, frame: bytes) -> None:
        answer = await self._talk.answer(frame)
        if answer is not None:
            self._end.send(answer)
