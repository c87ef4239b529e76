"""Derives the longest waits of an executor from the lease that its manager has announced."""

from msgspec import Struct

from kaiju_tasks.protocol import ConnectResult

__all__ = ["CONNECT_SECONDS_MAX", "DEFAULT_WAITS", "Waits", "waits_of"]

CONNECT_SECONDS_MAX = 10.0
TRIES = 4
"""How often an executor tries to connect or to report, at least, before its leases end."""


class Waits(Struct, frozen=True):
    """The longest waits, in seconds. The defaults apply until a manager has announced a lease.

    :param retry: between two attempts to connect, or to report
    :param connect: for the first attempt to connect; each further one may take twice as long as the
        one before, up to `CONNECT_SECONDS_MAX`, because all managers may be slow
    :param flush: when leaving, until the last reports and log lines are acknowledged
    :param leave: until the manager has answered the leave
    """

    retry: float = 5.0
    connect: float = CONNECT_SECONDS_MAX
    flush: float = 5.0
    leave: float = 2.0


DEFAULT_WAITS = Waits()


def waits_of(result: ConnectResult) -> Waits:
    """The waits of an executor that a manager has accepted. The leases of a closed connection end
    after the reconnect grace, if there is one, which may be shorter."""
    lease = closed = result.lease_seconds
    if result.reconnect_grace:
        closed = min(lease, result.reconnect_grace)
    return Waits(
        retry=min(DEFAULT_WAITS.retry, closed / TRIES),
        connect=min(DEFAULT_WAITS.connect, closed / TRIES),
        flush=min(DEFAULT_WAITS.flush, lease / 2),
        leave=min(DEFAULT_WAITS.leave, lease / 4),
    )
