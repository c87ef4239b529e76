"""Is the process up, can it work."""

import asyncio
import logging

from kaiju_tasks.store.base import Store, StoreError

__all__ = ["why_not_ready"]

logger = logging.getLogger(__name__)

ASK_SECONDS = 5.0


async def why_not_ready(store: Store) -> str | None:
    """Why the manager cannot work now, or None. The schema was checked when it started."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await store.now()
    except TimeoutError:
        return f"the database did not answer within {ASK_SECONDS:g} seconds"
    except StoreError as error:
        # What the driver says may tell addresses to whoever asks here.
        logger.warning("not ready: %s", error)
        return "the database cannot be reached"
    return None
