"""Runs background work in a loop that retries after failures."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kaiju_tasks.errors import Unavailable, reason_of
from kaiju_tasks.store.base import StoreError

log = logging.getLogger(__name__)


class Loop:
    """Repeatedly waits for work and does it, in its own asyncio task.

    Failed work is retried after a pause, without waiting for new work. A database outage is
    logged as a warning, any other error with its traceback.

    :param name: the name of the work in log lines, as a noun
    :param wait: returns when there is work
    :param work: does the work
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
        """Cancel the loop, if it was started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._until_done(self._wait)
            await self._until_done(self._work)

    async def _until_done(self, step: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await step()
                return
            except (Unavailable, StoreError) as exc:
                self._on_outage()
                reason = reason_of(exc)
                log.warning("%s failed, will retry in %g s: %s", self._name, self._pause, reason)
            except Exception:
                log.exception("%s failed, will retry in %g s", self._name, self._pause)
            await asyncio.sleep(self._pause)
