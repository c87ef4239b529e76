"""Records that this manager is up, and knows whether it can write to the database."""

import asyncio

from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.store.base import Store, TransactionConflict


class Heartbeat:
    """Writes to the database at regular intervals that this manager is up.

    A database on a full disk, or one that has become read-only, can still be read. Only a write
    shows that the manager can work.

    :param lease_seconds: a longer time without a successful write is a problem
    """

    def __init__(self, store: Store, manager_id: str, uptime: Uptime, lease_seconds: float) -> None:
        self._store = store
        self._manager_id = manager_id
        self._uptime = uptime
        self._lease_seconds = lease_seconds
        self._clock = asyncio.get_running_loop().time
        self._failed = False
        self._written_at = self._clock()

    async def beat(self) -> None:
        """Record that this manager is up.

        :raises StoreError: the database cannot be written
        """
        try:
            up_since = await self._store.manager_seen(self._manager_id, self._lease_seconds)
        except TransactionConflict:
            raise  # the database accepts writes, and the next one may succeed
        except Exception:
            self._failed = True
            raise
        self._uptime.up_since = up_since
        self._failed = False
        self._written_at = self._clock()

    def problem(self) -> str | None:
        """Why the manager cannot write to the database, or None if it can."""
        if self._failed:
            return "the manager cannot write to the database: see its log"
        silent = self._clock() - self._written_at
        if silent > self._lease_seconds:
            return f"the manager has not written to the database for {silent:.0f} seconds"
        return None
