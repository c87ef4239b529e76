"""Defines how long a store waits for PostgreSQL."""

from msgspec import Struct


class Bounds(Struct, frozen=True):
    """The longest waits, in seconds.

    :param connect_seconds: until a connection is open
    :param free_seconds: until one of the connections is free
    :param doubt_seconds: a statement that runs longer is looked up in `pg_stat_activity`; beside a
        connection that is not open after this time, another one is opened
    :param look_seconds: between two looks at the running statements
    :param probe_seconds: for an answer to a statement that takes no time
    :param statement_seconds: until PostgreSQL cancels a statement
    :param lock_seconds: until PostgreSQL ends the wait for a lock
    :param idle_seconds: until PostgreSQL ends a transaction whose next statement does not arrive.
        The locks of a transaction whose connection was left are held until then.
    :param close_seconds: until connections that are closed are cut
    :param kept_seconds: an unused connection is closed after this time
    """

    connect_seconds: float = 10.0
    free_seconds: float = 20.0
    doubt_seconds: float = 4.0
    look_seconds: float = 1.0
    probe_seconds: float = 5.0
    statement_seconds: float = 60.0
    lock_seconds: float = 15.0
    idle_seconds: float = 10.0
    close_seconds: float = 5.0
    kept_seconds: float = 300.0

    @property
    def answer_seconds(self) -> float:
        """The time after which no statement can still run."""
        return self.statement_seconds + self.probe_seconds


DEFAULT_BOUNDS = Bounds()
