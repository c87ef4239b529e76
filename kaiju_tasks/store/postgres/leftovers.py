"""Ends processes of the server that hold locks for a client that has left or stands still.

PostgreSQL ends a transaction whose next statement does not arrive
(`idle_in_transaction_session_timeout`), but not one whose client has only prepared its statement
and does not send the parameters: that process waits for ever, and keeps its locks. Most statements
skip locked rows, so nobody may notice.
"""

import logging
from collections.abc import Callable

from kaiju_tasks.store.base import StoreError, StoreUnavailable
from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.connection import Connection

log = logging.getLogger(__name__)

_END = """
SELECT application_name,
    CASE WHEN wait_event = 'ClientRead' THEN pg_terminate_backend(pid) ELSE false END
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
AND state <> 'idle' AND (
    application_name = ANY ($1::text[])
    OR starts_with(application_name, $2::text) AND state = 'active' AND wait_event = 'ClientRead'
    AND state_change < pg_catalog.clock_timestamp() - make_interval(secs => $3)
)
"""
"""A process that works on a statement, or waits for a standby to confirm a commit, is not ended.
Every role may end processes of its own."""


class Leftovers:
    """The connections of a store that were left, whose processes may still hold locks.

    :param ours: the beginning of the `application_name` of the connections of all stores
    :param time: seconds of a clock that nobody sets
    """

    def __init__(self, ours: str, bounds: Bounds, time: Callable[[], float]) -> None:
        self._ours = ours
        self._bounds = bounds
        self._time = time
        self._names: set[str] = set()
        self._looked_at = time()
        self._refused = False

    @property
    def due(self) -> bool:
        """Whether to call `end`: a connection was left, or a minute has passed."""
        overdue = self._time() - self._looked_at > self._bounds.statement_seconds
        return bool(self._names) or overdue

    def add(self, name: str) -> None:
        """A connection was left. Its process is looked at until it is gone."""
        self._names.add(name)

    async def end(self, connection: Connection) -> None:
        """End the processes of connections that were left as soon as they wait for their client,
        and those of any store whose client has not sent the rest of its statement for
        `idle_seconds`, as that of a manager that stands still.

        :raises StoreUnavailable: the database does not answer
        """
        names = self._names.copy()
        self._looked_at = self._time()
        try:
            found = await connection.fetch(
                _END, sorted(names), f"{self._ours} ", self._bounds.idle_seconds
            )
        except StoreUnavailable:
            raise
        except StoreError as error:  # where pg_terminate_backend was revoked
            self._names -= names
            self._log_refusal(error)
            return
        self._names -= names - {name for name, _ in found}
        if ended := sorted(name for name, is_ended in found if is_ended):
            log.warning(
                "ended %d processes of the database that waited for a client that has left or "
                "stands still: %s",
                len(ended),
                ", ".join(ended),
            )

    def _log_refusal(self, error: StoreError) -> None:
        if not self._refused:
            self._refused = True
            log.warning("cannot end processes of the database whose client has left: %s", error)
