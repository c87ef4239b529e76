"""Checks whether a manager is ready to work."""

import asyncio
import logging

from kaiju_tasks.manager import Manager
from kaiju_tasks.store.base import StoreError

__all__ = ["why_not_ready"]

logger = logging.getLogger(__name__)

ASK_SECONDS = 5.0


async def why_not_ready(manager: Manager) -> str | None:
    """The reason why the manager is not ready, or None. The schema is checked at the start."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await manager.store.now()
    except TimeoutError:
        return f"the database did not answer within {ASK_SECONDS:g} seconds"
    except StoreError as error:
        # The driver's message may contain addresses, which callers must not see.
        logger.warning("not ready: %s", error)
        return "the database cannot be reached"
    return manager.heartbeat.problem()
