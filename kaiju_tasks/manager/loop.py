"""The loop of a duty: it waits, does its work, and survives faults."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.store.base import StoreError

log = logging.getLogger(__name__)


class Loop:
    """Waits for work and does it, again and again, in a task of its own.

    Work that fails is repeated after a pause, without waiting for more: an outage of the
    database is logged as a warning, any other fault with its traceback.

    :param name: of the duty, for the log
    :param wait: returns when there is work
    :param work: does it
    :param retry_seconds: the pause after a failure
    :param on_outage: called when the database cannot be reached
    """

    def __init__(
        self,
        name: str,
        *,
        wait: Callable[[], Awaitable[object]],
        work: Callable[[], Awaitable[object]],
        retry_seconds: float,
        on_outage: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._wait = wait
        self._work = work
        self._pause = retry_seconds
        self._on_outage = on_outage
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel the loop, wherever it is; one that never started is left alone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wait()
            await self._until_done()

    async def _until_done(self) -> None:
        while True:
            try:
                await self._work()
                return
            except (Unavailable, StoreError) as exc:
                self._on_outage()
                log.warning("%s failed, will retry in %g s: %s", self._name, self._pause, exc)
            except Exception:
                log.exception("%s failed, will retry in %g s", self._name, self._pause)
            await asyncio.sleep(self._pause)
