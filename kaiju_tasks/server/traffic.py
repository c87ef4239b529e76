"""Bounds what all clients together occupy of this process, so that one leaves room for others.

A client is a principal or, without tokens, a connection, and a remote address for its sockets.
"""

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from kaiju_tasks.errors import TooManyRequests
from kaiju_tasks.rpc import Share
from kaiju_tasks.server.arrivals import Arrivals
from kaiju_tasks.server.closings import Closings
from kaiju_tasks.server.pace import Pace
from kaiju_tasks.server.peer import Backlog

__all__ = ["LARGE_ANSWER_BYTES", "Answers", "SocketCount", "Traffic"]

MIB = 1024 * 1024
REQUESTS_BYTES = 64 * MIB
REQUESTS_BYTES_EACH = 16 * MIB
"""The bytes of requests that are being answered, for all clients and for each."""
REPORTS_BYTES = 64 * MIB
REPORTS_BYTES_EACH = 16 * MIB
"""The same for the frames of executors, for all connections and for each, or more if one frame may
be larger. What others send leaves these bytes alone."""
ARRIVED_BYTES = 64 * MIB
"""What has arrived of requests and frames that are not being answered yet."""
FRAMES = 4
"""The number of frames of the largest size that fit in any case."""
REQUEST_BYTES_MIN = 8 * 1024
"""What a request occupies in any case: this bounds their number, too."""
LARGE_ANSWER_BYTES = 256 * 1024
ANSWERS_BYTES = 96 * MIB
ANSWERS_BYTES_EACH = 40 * MIB
"""The bytes of large answers to POSTs that are being sent, for all clients and for each."""
RETRY_SECONDS = 1
SOCKETS = 4_000
SOCKETS_EACH = 3_000
"""A principal can be that of all executors."""


class SocketCount:
    """The open WebSockets of each client."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def opened(self, client: str) -> Iterator[None]:
        """Count a socket for the duration of the block.

        :raises TooManyRequests: there are too many
        """
        if self._open[client] >= SOCKETS_EACH or self._open.total() >= SOCKETS:
            raise TooManyRequests(
                f"a manager has at most {SOCKETS} WebSockets, and {SOCKETS_EACH} of one client",
                limit=SOCKETS_EACH,
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


class Answers:
    """The large answers to POSTs that clients have not read yet."""

    def __init__(self) -> None:
        self._unread: Counter[str] = Counter()

    def add(self, client: str, response: web.Response, size: int) -> None:
        """Count a large answer as long as it exists.

        :raises TooManyRequests: too many bytes are unread
        """
        own, all_ = self._unread[client] + size, self._unread.total() + size
        if own > ANSWERS_BYTES_EACH or all_ > ANSWERS_BYTES:
            raise TooManyRequests(
                "too many large answers have not been read yet: read them, and ask again",
                retry_after=RETRY_SECONDS,
            )
        self._unread[client] += size
        weakref.finalize(response, self._read, client, size)

    def _read(self, client: str, size: int) -> None:
        self._unread[client] -= size
        if not self._unread[client]:
            del self._unread[client]


class Traffic:
    """What clients occupy.

    :param largest: the maximum size of a frame of an executor
    :ivar arrivals: the bytes of requests that are not being answered yet
    :ivar closings: closes connections over which too much has arrived
    :ivar requests: the bytes of requests that are being answered
    :ivar reports: the bytes of frames of executors that are being answered
    :ivar answers: answers to POSTs that were not read yet
    :ivar pace: makes clients rest that use much of the event loop without an effect
    :ivar sockets: the open WebSockets
    :ivar backlog: what waits to be sent to them
    """

    def __init__(self, largest: int) -> None:
        self.arrivals = Arrivals(max(ARRIVED_BYTES, FRAMES * largest))
        self.closings = Closings()
        self.reports = Share(
            max(REPORTS_BYTES, FRAMES * largest),
            max(REPORTS_BYTES_EACH, largest),
            REQUEST_BYTES_MIN,
        )
        self.requests = Share(REQUESTS_BYTES, REQUESTS_BYTES_EACH, REQUEST_BYTES_MIN)
        self.answers = Answers()
        self.pace = Pace()
        self.sockets = SocketCount()
        self.backlog = Backlog()
