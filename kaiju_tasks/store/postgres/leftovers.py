"""Ends processes of the server that hold locks for a client that has left or stands still.

PostgreSQL ends a transaction whose next statement does not arrive
(`idle_in_transaction_session_timeout`), but not one whose client has only prepared its statement
and does not send the parameters: that process waits for ever, and keeps its locks.
"""

import logging
from collections.abc import Iterable

from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.connection import Connection

log = logging.getLogger(__name__)

_END = """
SELECT application_name, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
AND wait_event = 'ClientRead' AND state <> 'idle' AND (
    application_name = ANY ($1::text[])
    OR application_name LIKE $2::text AND state = 'active'
    AND state_change < clock_timestamp() - make_interval(secs => $3)
)
"""
"""A process that works on a statement, or waits for a standby to confirm a commit, is not ended."""


class Leftovers:
    """The connections of a store that were left, whose processes may still hold locks.

    :param ours: the beginning of the `application_name` of the connections of all stores
    """

    def __init__(self, ours: str, bounds: Bounds) -> None:
        self._ours = ours
        self._bounds = bounds
        self._names: set[str] = set()

    @property
    def exist(self) -> bool:
        return bool(self._names)

    def add(self, names: Iterable[str]) -> None:
        self._names.update(names)

    async def end(self, connection: Connection) -> None:
        """End the processes of connections that were left, and those of any store whose client has
        not sent the rest of its statement for `idle_seconds`, as that of a manager that stands
        still.

        :raises StoreError: they could not be ended
        """
        names = self._names.copy()
        found = await connection.fetch(
            _END, sorted(names), f"{self._ours} %", self._bounds.idle_seconds
        )
        self._names -= names
        if found:
            log.warning(
                "ended %d processes of the database that waited for a client that has left or "
                "stands still: %s",
                len(found),
                ", ".join(sorted(name for name, _ in found)),
            )
