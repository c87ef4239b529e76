"""A manager with the sample executor, in a thread of the test's process.

It answers while the test blocks its own loop, and starts in a fiftieth of the time of a process.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future

from aiohttp import web

from kaiju_tasks import samples
from kaiju_tasks.api import method_registry
from kaiju_tasks.embedded import MEMORY, Embedded, link_executors
from kaiju_tasks.http_runner import Runner
from kaiju_tasks.manager import Manager
from kaiju_tasks.rpc import Registry
from kaiju_tasks.server import create_app
from kaiju_tasks.server.logs import connection_logger
from kaiju_tasks.server.tls import tls_of
from kaiju_tasks.settings import Settings, load_settings
from kaiju_tasks.store.open import make_store
from kaiju_tasks.system_executor import system_executor

Ready = Future[tuple[str, Callable[[], object]]]
"""The URL of a manager, and the function that stops it."""


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Serve a manager until the end of the block.

    :returns: its URL
    :raises AssertionError: a traceback was logged meanwhile
    """
    ready: Ready = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(ready)), name="served")
    with _no_traceback():
        thread.start()
        url, stop = ready.result()
        try:
            yield url
        finally:
            stop()
            thread.join()


@contextlib.asynccontextmanager
async def listening(manager: Manager, registry: Registry, settings: Settings) -> AsyncIterator[int]:
    """Listen for a manager.

    :returns: the port
    """
    runner = Runner(create_app(manager, registry, settings), 0.2, connection_logger())
    await runner.setup()
    try:
        context = tls_of(settings)
        await web.TCPSite(runner, settings.host, 0, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _serve(ready: Ready) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        async with _manager() as url:
            ready.set_result((url, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()
    except Exception as error:
        if ready.done():
            raise
        ready.set_exception(error)


@contextlib.asynccontextmanager
async def _manager() -> AsyncIterator[str]:
    settings = load_settings(environ={})
    store = make_store(MEMORY)
    await store.open()
    manager = Manager(store, settings)
    registry = method_registry(manager)
    async with (
        manager.running(),
        listening(manager, registry, settings) as port,
        system_executor(manager, registry, settings),
        link_executors(Embedded(manager, registry, settings), [samples.executor], grace=0.0),
    ):
        yield f"http://127.0.0.1:{port}"
    await store.close()


@contextlib.contextmanager
def _no_traceback() -> Iterator[None]:
    handler = _Tracebacks()
    logger = logging.getLogger("kaiju_tasks")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert not handler.messages, handler.messages


class _Tracebacks(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.messages.append(f"{record.getMessage()}: {record.exc_info[1]!r}")
