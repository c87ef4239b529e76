"""Runs a manager and its executors in one process and event loop, without sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Self

import msgspec

from kaiju_tasks.api import Caller, method_registry
from kaiju_tasks.api.frames import Frames
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.executor.process import DEFAULT_THREADS, run_executor
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.inprocess import IN_PROCESS, InProcessTransport
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.events.event_matcher import EVENT_COLUMNS
from kaiju_tasks.manager.events.hub import Subscription
from kaiju_tasks.rpc import Registry, encode_request
from kaiju_tasks.rpc.messages import remote_error
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store
from kaiju_tasks.store.open import make_store
from kaiju_tasks.system_executor import system_executor
from kaiju_tasks.types import TaskEvent

__all__ = ["Embedded", "EventStream", "embedded", "link_executors"]

MEMORY = "sqlite://:memory:"


class EventStream:
    """Events in their order. Each event is read once."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[TaskEvent] = asyncio.Queue()
        self.put = self._events.put_nowait

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskEvent:
        return await self._events.get()

    def read(self) -> list[TaskEvent]:
        """The events that have arrived and were not read yet."""
        return [self._events.get_nowait() for _ in range(self._events.qsize())]


class Embedded:
    """Calls the manager in this process as a client does. Data passes through JSON, and errors are
    raised as exceptions.

    :ivar manager: the manager
    """

    def __init__(self, manager: Manager, registry: Registry, settings: Settings) -> None:
        self.manager = manager
        self.frames = Frames(manager, registry, settings)
        self._caller = Caller(remote="inside")

    @contextlib.contextmanager
    def events(self, conditions: dict[str, Any] | None = None) -> Iterator[EventStream]:
        """Receive events until the end of the block: `async for event in events`.

        :param conditions: conditions by event field, in the format of `tasks.list`
        :raises InvalidParams: a condition is not valid; `field` names it
        """
        stream = EventStream()
        checked = read_conditions(conditions, EVENT_COLUMNS)
        subscription = Subscription(checked, lambda encoded: stream.put(encoded.event))
        self.manager.events.subscribe(subscription)
        try:
            yield stream
        finally:
            self.manager.events.unsubscribe(subscription)

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call a method of the manager.

        :param method: the full name, such as `tasks.create`
        :returns: the result as plain JSON data
        :raises KaijuError: the error with which the manager answers
        """
        answer = await self.frames.answer(encode_request(1, method, params), self._caller)
        assert answer is not None  # a request with an id always has a response
        response = msgspec.json.decode(answer)
        if "error" in response:
            raise remote_error(**response["error"])
        return response["result"]


@contextlib.asynccontextmanager
async def embedded(
    settings: Settings, clock: Callable[[], float] | None = None
) -> AsyncIterator[Embedded]:
    """Run a manager and its own executor until the end of the block.

    :param settings: the settings; `db` names the database
    :param clock: the source of the time in UNIX seconds, for SQLite only
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
    registry = method_registry(manager)
    async with manager.running(), system_executor(manager, registry, settings):
        yield Embedded(manager, registry, settings)


@contextlib.asynccontextmanager
async def link_executors(
    inside: Embedded,
    executors: Sequence[Executor],
    *,
    concurrency: int | None = None,
    threads: int = DEFAULT_THREADS,
    grace: float = 1.0,
    kill_grace: float = 5.0,
) -> AsyncIterator[None]:
    """Run executors in the manager's process until the end of the block, which begins when they
    are connected.

    :param executors: at least one executor
    :param concurrency: maximum number of tasks held at once, from 1; None for the default of
        `run_executor`
    :param threads: maximum number of `def` and process commands that run at once, from 1
    :param grace: seconds that running stages get at the end of the block
    :param kill_grace: seconds that a stopped stage gets before its thread is left behind
    """
    transport = InProcessTransport(inside.manager, inside.frames)

    async def run(restart: Callable[[], None]) -> int:
        return await run_executor(
            executors,
            [IN_PROCESS],
            concurrency=concurrency,
            threads=threads,
            transport=transport,
            shutdown_grace=grace,
            kill_grace=kill_grace,
            restart=restart,
            handle_signals=False,
        )

    running = asyncio.create_task(_run_again(run))
    try:
        await _connected(inside.manager, executors[0].app_name, running)
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _connected(manager: Manager, app_name: str, running: "asyncio.Task[int]") -> None:
    while not manager.sessions.serving(app_name):
        if running.done():
            running.result()
            raise RuntimeError("the executors ended before they connected")
        await asyncio.sleep(0.001)


async def _run_again(run: Callable[[Callable[[], None]], Awaitable[int]]) -> int:
    """Run executors again when they ask for a restart, as their process cannot be restarted. A
    stuck thread remains."""
    restart = asyncio.Event()
    code = await run(restart.set)
    while restart.is_set():
        restart.clear()
        code = await run(restart.set)
    return code
