"""Starts the manager's own executor when its stream has work, and stops it when it is idle.

While there is no work it costs nothing: it has no row and sends no pings.
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
    """Let a manager run its own public methods as stages. At the end of the block, running stages
    get `shutdown_grace` seconds to end.

    :param manager: a running manager; it must run until the end of the block
    :param registry: the public methods of the manager
    """
    frames = Frames(manager, registry, settings)
    transport = InProcessTransport(manager, frames, system=True)
    on_call = OnCall(manager, SystemExecutor(manager, registry), transport)
    serving = asyncio.create_task(on_call.serve())
    try:
        with on_call.registered():
            yield
        on_call.stop()
        await serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class OnCall:
    """Runs an executor while there is work for it."""

    def __init__(self, manager: Manager, executor: Executor, transport: InProcessTransport) -> None:
        self._manager = manager
        self._executor = executor
        self._transport = transport
        self._called = asyncio.Event()
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def registered(self) -> Iterator[None]:
        """Start the executor whenever the stream has work, until the end of the block."""
        streams = self._manager.streams
        streams.on_call[MANAGER_APP] = self._called.set
        self._manager.scheduler.look()  # there may be work already
        try:
            yield
        finally:
            del streams.on_call[MANAGER_APP]

    def stop(self) -> None:
        """Let running stages end, and do not start again."""
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
                log.exception("the manager's own executor failed: it will restart on new work")
                await asyncio.sleep(FAULT_PAUSE_SECONDS)
            self._manager.streams.credit()  # work that arrived during the stop restarts it

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
            restart=_no_restart,
            handle_signals=False,
        )


def _no_restart() -> None:
    """Do nothing: this executor must not restart the manager's process."""
