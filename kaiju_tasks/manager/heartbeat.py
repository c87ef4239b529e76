"""Records that this manager is up, and knows whether it can write to the database."""

import asyncio

from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store, StoreUnavailable, TransactionConflict

SLOW_SECONDS = 5.0
"""A write that takes longer is a problem."""


class Heartbeat:
    """Writes to the database at regular intervals that this manager is up.

    A database on a full disk, or one that has become read-only, can still be read. Only a write
    shows that the manager can work.

    A lease without a successful write is a problem.
    """

    def __init__(self, store: Store, manager_id: str, uptime: Uptime, settings: Settings) -> None:
        self._store = store
        self._manager_id = manager_id
        self._uptime = uptime
        self._lease_seconds = settings.lease_seconds
        self._grace = settings.misfire_grace
        # A manager that was killed was last seen up to one interval before.
        self._silent = max(settings.lease_seconds, self._grace + settings.ping_interval)
        self._clock = asyncio.get_running_loop().time
        self._failure: str | None = None
        self._began_at: float | None = None
        self._written_at = self._clock()

    async def beat(self) -> None:
        """Record that this manager is up.

        :raises StoreError: the database cannot be written
        """
        self._began_at = self._clock()
        try:
            presence = await self._store.manager_seen(
                self._manager_id, self._lease_seconds, self._grace, self._silent
            )
        except TransactionConflict:
            raise  # the database accepts writes, and the next one may succeed
        except Exception as exc:
            self._failure = exc.brief if isinstance(exc, StoreUnavailable) else "see its log"
            raise
        finally:
            self._began_at = None
        self._uptime.presence = presence
        self._failure = None
        self._written_at = self._clock()

    async def beat_after_silence(self, now: float) -> None:
        """Record that this manager is up, if it has not done so for a lease.

        :param now: the store's clock
        """
        if abs(now - self._uptime.presence.now) > self._lease_seconds:
            await self.beat()

    def problem(self) -> str | None:
        """Why the manager cannot write to the database, or None if it can."""
        if self._failure is not None:
            return f"the manager cannot write to the database: {self._failure}"
        now = self._clock()
        if self._began_at is not None and now - self._began_at > SLOW_SECONDS:
            return f"the database has not answered a write for {now - self._began_at:.0f} seconds"
        silent = now - self._written_at
        if silent > self._lease_seconds:
            return f"the manager has not written to the database for {silent:.0f} seconds"
        return None
