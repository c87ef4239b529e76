"""Closes connections over which too much has arrived, a few of one client at a time.

A connection that is closed can be opened again at once, which costs this process a handshake and
what comes over it until it is closed again. So the first few connections of a client are closed at
once, and further ones stay open, unread and without memory of this process, until it is their turn.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

__all__ = ["Closings"]

INTERVAL_SECONDS = 0.2
"""The time between two connections of one client that are closed."""
AT_ONCE = 10
"""How many connections of a client that had none to close are closed at once."""
HELD_SECONDS_MAX = 60.0
HELD_MAX = 2_000
"""How many connections of all clients are held open. Then the first ones are closed early."""
TLS_WEIGHT = 10
"""For how many a connection with TLS counts: asyncio has a buffer of 256 KiB for each."""
RECEIVE_BYTES = 4 * 1024
"""What the operating system keeps of a connection that is not read."""


class Turns:
    """When the connections of clients are closed. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def next(self, client: str, now: float) -> float:
        """The seconds from now until the next connection of a client is closed, at least 0."""
        turn = max(self._next.get(client, 0.0), now - (AT_ONCE - 1) * INTERVAL_SECONDS)
        turn = min(turn, now + HELD_SECONDS_MAX)
        self._forget(now)
        self._next[client] = turn + INTERVAL_SECONDS
        return max(0.0, turn - now)

    def _forget(self, now: float) -> None:
        """Forget clients whose next connections are all closed at once."""
        past = now - AT_ONCE * INTERVAL_SECONDS
        if any(turn <= past for turn in self._next.values()):
            self._next = {client: turn for client, turn in self._next.items() if turn > past}


class Closings:
    """The connections that are to be closed.

    :ivar held: how many are open
    """

    def __init__(self) -> None:
        self._turns = Turns()
        self._open: OrderedDict[asyncio.Transport, tuple[asyncio.TimerHandle, int]] = OrderedDict()
        self._weight = 0

    @property
    def held(self) -> int:
        return len(self._open)

    def close(self, request: web.Request, client: str) -> None:
        """Close the connection of a request, at once or later, and read nothing of it until then.

        :param client: whose connections are closed a few at a time
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            return
        loop = asyncio.get_running_loop()
        seconds = self._turns.next(client, loop.time())
        if seconds <= 0.0:
            transport.abort()
            return
        transport.pause_reading()
        # What calls this may be the parser of the connection, which is to be freed.
        loop.call_soon(self._hold, request.protocol, transport, seconds)

    def close_all(self) -> None:
        """Close all connections that are held open."""
        while self._open:
            self._close(next(iter(self._open)))

    def _hold(self, handler: RequestHandler, transport: asyncio.Transport, seconds: float) -> None:
        if transport.is_closing():
            return
        transport.pause_reading()
        transport.set_protocol(_Unread(lambda: self._close(transport)))
        handler.transport = None  # or the next line would close it
        handler.connection_lost(None)
        handler._message_tail = b""
        if (connection := transport.get_extra_info("socket")) is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        weight = 1 if transport.get_extra_info("sslcontext") is None else TLS_WEIGHT
        while self._open and self._weight + weight > HELD_MAX:
            self._close(next(iter(self._open)))
        timer = asyncio.get_running_loop().call_later(seconds, self._close, transport)
        self._open[transport] = (timer, weight)
        self._weight += weight

    def _close(self, transport: asyncio.Transport) -> None:
        if transport in self._open:
            timer, weight = self._open.pop(transport)
            self._weight -= weight
            timer.cancel()
            transport.abort()


class _Unread(asyncio.Protocol):
    """The protocol of a connection that is held open.

    :param lost: called when the connection has ended
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()
