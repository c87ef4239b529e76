"""Bounds the bytes that have arrived and are not being answered yet: of requests that are not
complete, and of those that wait until there is room to answer them.

The bytes of a request that is complete do not say how fast the rest of another one comes. So
nothing is reserved for what a client announces, and if too much has arrived, connections are
closed: those that keep bytes here without progress, of the client with most of them. If that client
only sends faster than it is answered, the connection that brings more is closed, before what has
come over the others has been read for nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

__all__ = ["Arrival", "Arrivals"]

logger = logging.getLogger(__name__)

STALLED_SECONDS = 2.0
"""The time without progress after which a connection is closed before others."""
SMALL_BYTES = 64 * 1024
"""What brings no more than this is not closed before larger ones."""
LOG_SECONDS = 10.0


def _now() -> float:
    return asyncio.get_running_loop().time()


class Arrival:
    """What has arrived over one connection.

    :param client: whose bytes are counted together
    :param give_up: closes the connection
    :ivar bytes: the bytes that have arrived and are not being answered
    :ivar progress_at: when the first of them came, or the last ones left (seconds of the loop)
    """

    __slots__ = ("_arrivals", "bytes", "client", "give_up", "progress_at")

    def __init__(self, arrivals: "Arrivals", client: str, give_up: Callable[[], None]) -> None:
        self._arrivals = arrivals
        self.client = client
        self.give_up = give_up
        self.bytes = 0
        self.progress_at = 0.0

    def grew(self, size: int) -> None:
        """Count bytes that have arrived, until it has ended."""
        if self.give_up is not _nothing:
            self._arrivals.grew(self, size)

    def shrank(self, size: int) -> None:
        """Discount bytes of requests that are being answered."""
        self._arrivals.shrank(self, size)

    def ended(self) -> None:
        """Discount all bytes for ever: the request is complete, or the connection has ended."""
        self._arrivals.shrank(self, self.bytes)
        self.give_up = _nothing  # or it would keep the connection, until cycles are looked for


class Arrivals:
    """What has arrived over all connections.

    :param limit: the most bytes
    :ivar bytes: the bytes that have arrived and are not being answered
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Arrival] = set()
        self._logged_at = float("-inf")
        self.bytes = 0

    def begin(self, client: str, give_up: Callable[[], None]) -> Arrival:
        """Begin to count the bytes of a connection; see `Arrival`."""
        return Arrival(self, client, give_up)

    def grew(self, arrival: Arrival, size: int) -> None:
        """Count bytes, and close connections while they are too many."""
        if not size:
            return
        if not arrival.bytes:
            arrival.progress_at = _now()
            self._open.add(arrival)
        arrival.bytes += size
        self.bytes += size
        while self.bytes > self._limit:
            self._give_up(self._victim(arrival))

    def shrank(self, arrival: Arrival, size: int) -> None:
        """Discount bytes."""
        size = min(size, arrival.bytes)  # it was given up meanwhile
        arrival.bytes -= size
        self.bytes -= size
        if arrival.bytes:
            arrival.progress_at = _now()
        else:
            self._open.discard(arrival)

    def _victim(self, grown: Arrival) -> Arrival:
        """The connection to close.

        :param grown: over which bytes have just come
        """
        kept: Counter[str] = Counter()
        for arrival in self._open:
            kept[arrival.client] += arrival.bytes
        [(client, _)] = kept.most_common(1)
        own = [arrival for arrival in self._open if arrival.client == client]
        oldest = min(own, key=lambda one: one.progress_at)
        if _now() - oldest.progress_at >= STALLED_SECONDS:
            return oldest
        if grown.client == client and grown.bytes > SMALL_BYTES:
            return grown
        return max(own, key=lambda one: one.bytes)

    def _give_up(self, arrival: Arrival) -> None:
        if _now() - self._logged_at >= LOG_SECONDS:
            self._logged_at = _now()
            logger.warning(
                "closing connections of %s: more than %d MiB of requests have arrived that are "
                "not complete or wait for others",
                arrival.client or "a client",
                self._limit // (1024 * 1024),
            )
        give_up = arrival.give_up
        arrival.ended()
        give_up()


def _nothing() -> None:
    return None
