"""Bounds what all clients together occupy of this process, so that one leaves room for others.

A client is a principal or, without tokens, a connection, and a remote address for its sockets.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from kaiju_tasks.errors import TooManyRequests
from kaiju_tasks.server.arrivals import Arrivals
from kaiju_tasks.server.peer import Backlog

__all__ = ["Share", "SocketCount", "Traffic"]

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
SOCKETS = 4_000
SOCKETS_EACH = 3_000
"""A principal can be that of all executors."""


class Share:
    """A number of bytes that clients share. Those that wait for some take turns.

    A client that has some takes more only if as many are left as it has then. So a few clients
    cannot take all, and one that has none finds some, however many others do not give theirs back.

    :param total: for all clients
    :param each: for each client; more is counted as this
    """

    def __init__(self, total: int, each: int) -> None:
        self._left = total
        self._each = each
        self._used: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}

    async def take(self, client: str, size: int) -> int:
        """Take bytes when they are free.

        :returns: the number to give back
        """
        if taken := self.take_now(client, size):
            return taken
        size = self._counted(size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append((turn, size))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give(client, size)
            raise
        return size

    def take_now(self, client: str, size: int) -> int:
        """Take bytes if they are free.

        :returns: the number to give back; 0 if they are not free
        """
        size = self._counted(size)
        if self._waiting or size > self._left or self._exceeds(client, size):
            return 0
        self._count(client, size)
        return size

    def give(self, client: str, size: int) -> None:
        """Give bytes back."""
        self._left += size
        if left := self._used[client] - size:
            self._used[client] = left
        else:
            del self._used[client]
        if self._waiting:
            self._serve()

    def _counted(self, size: int) -> int:
        return min(max(size, REQUEST_BYTES_MIN), self._each)

    def _exceeds(self, client: str, size: int) -> bool:
        used = self._used.get(client, 0)
        return used > 0 and used + size > min(self._each, self._left)

    def _count(self, client: str, size: int) -> None:
        self._left -= size
        self._used[client] = self._used.get(client, 0) + size

    def _serve(self) -> None:
        """Serve waiting clients in turn. One that has its maximum lets others pass."""
        passed = 0
        while passed < len(self._waiting):
            client = next(iter(self._waiting))
            queue = self._waiting.pop(client)
            while queue and queue[0][0].cancelled():
                queue.popleft()
            if not queue:
                continue
            turn, size = queue[0]
            exceeds = self._exceeds(client, size)
            if not exceeds and size > self._left:
                self._waiting = {client: queue, **self._waiting}  # it remains the next
                return
            if not exceeds:
                queue.popleft()
                self._count(client, size)
                turn.set_result(None)
            if queue:
                self._waiting[client] = queue
            passed = passed + 1 if exceeds else 0


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


class Traffic:
    """What clients occupy.

    :param largest: the maximum size of a frame of an executor
    :ivar arrivals: the bytes of requests that are not being answered yet
    :ivar requests: the bytes of requests that are being answered
    :ivar reports: the bytes of frames of executors that are being answered
    :ivar sockets: the open WebSockets
    :ivar backlog: what waits to be sent to them
    """

    def __init__(self, largest: int) -> None:
        self.arrivals = Arrivals(max(ARRIVED_BYTES, FRAMES * largest))
        self.reports = Share(max(REPORTS_BYTES, FRAMES * largest), max(REPORTS_BYTES_EACH, largest))
        self.requests = Share(REQUESTS_BYTES, REQUESTS_BYTES_EACH)
        self.sockets = SocketCount()
        self.backlog = Backlog()
