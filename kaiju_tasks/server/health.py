"""Checks whether a manager is ready to work."""

import asyncio
import logging

from kaiju_tasks.manager import Manager
from kaiju_tasks.store.base import StoreError, StoreUnavailable

__all__ = ["Readiness"]

logger = logging.getLogger(__name__)

ASK_SECONDS = 3.0
UNUSABLE = "the database cannot be used: see the log"


class Readiness:
    """Checks whether a manager is ready. The schema is checked at the start.

    All callers share one question to the database, which nobody cancels: while the database is
    silent, health checks use no more than one connection.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._question: asyncio.Task[str | None] | None = None

    async def problem(self) -> str | None:
        """The reason why the manager is not ready, or None."""
        if self._question is None or self._question.done():
            self._question = self._manager.spawn(self._ask())
        done, _ = await asyncio.wait({self._question}, timeout=ASK_SECONDS)
        if not done:
            return f"the database has not answered within {ASK_SECONDS:g} seconds"
        if self._question.cancelled():
            return "the manager is stopping"
        return self._question.result() or self._manager.heartbeat.problem()

    async def _ask(self) -> str | None:
        try:
            await self._manager.store.now()
        except StoreError as error:
            # The driver's message may contain addresses, which callers must not see.
            logger.warning("not ready: %s", error)
            return error.brief if isinstance(error, StoreUnavailable) else UNUSABLE
        except Exception:
            logger.exception("not ready")
            return UNUSABLE
        return None
