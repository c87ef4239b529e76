"""The own executor comes when its stream has work that nobody serves, and leaves when idle.

So it costs nothing while there is nothing for it: no row, no pings.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

from kaiju_tasks.api.frames import Frames
from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.inprocess import IN_PROCESS, InProcessTransport
from kaiju_tasks.manager import Manager
from kaiju_tasks.rpc import Registry
from kaiju_tasks.settings import Settings
from kaiju_tasks.system_executor.commands import SystemExecutor
from kaiju_tasks.types import MANAGER_APP

__all__ = ["system_executor"]

log = logging.getLogger(__name__)

CONCURRENCY = 64
IDLE_SECONDS = 30.0
FAULT_PAUSE_SECONDS = 1.0


@contextlib.asynccontextmanager
async def system_executor(
    manager: Manager, registry: Registry, settings: Settings
) -> AsyncIterator[None]:
    """Let a manager run its own public methods as stages; at the end running ones get
    `shutdown_grace`.

    :param manager: it runs, and goes on running until this has ended
    :param registry: its methods
    """
    frames = Frames(manager, registry, settings)
    transport = InProcessTransport(manager, frames, system=True)
    presence = Presence(manager, SystemExecutor(manager, registry, frames.limits), transport)
    serving = asyncio.create_task(presence.serve())
    try:
        with presence.on_call():
            yield
        presence.stop()
        await serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class Presence:
    """Runs an executor for as long as there is work for it."""

    def __init__(self, manager: Manager, executor: Executor, transport: InProcessTransport) -> None:
        self._manager = manager
        self._executor = executor
        self._transport = transport
        self._called = asyncio.Event()
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def on_call(self) -> Iterator[None]:
        """Come from now on when the stream has work."""
        streams = self._manager.streams
        streams.on_call[MANAGER_APP] = self._called.set
        self._manager.scheduler.look()  # there may be work from before
        try:
            yield
        finally:
            del streams.on_call[MANAGER_APP]

    def stop(self) -> None:
        """Let what runs end, and come no more."""
        self._stop.set()
        self._called.set()

    async def serve(self) -> None:
        while True:
            await self._called.wait()
            self._called.clear()
            if self._stop.is_set():
                return
            try:
                await self._work()
            except Exception:
                log.exception("the manager's own executor failed; it comes again when called")
                await asyncio.sleep(FAULT_PAUSE_SECONDS)
            self._manager.streams.credit()  # what came during the leave calls again

    async def _work(self) -> None:
        await run_executor(
            self._executor,
            [IN_PROCESS],
            executor_id=f"manager-{self._manager.id}",
            concurrency=CONCURRENCY,
            until_idle=True,
            idle_seconds=IDLE_SECONDS,
            stop=self._stop,
            shutdown_grace=self._manager.settings.shutdown_grace,
            transport=self._transport,
            restart=_stay,
            handle_signals=False,
        )


def _stay() -> None:
    """It cannot start its process anew."""
