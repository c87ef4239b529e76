"""Writes frames to a WebSocket in order, through a bounded queue."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from aiohttp import WSCloseCode, WSMsgType, web

__all__ = ["Peer"]

logger = logging.getLogger(__name__)

QUEUED_BYTES_MAX = 64 * 1024 * 1024
OFFERED_BYTES_MAX = 4 * 1024 * 1024
TOKEN_ENDED = 4401
"""The close code: the token of the client is no longer valid."""
BACKLOG_BYTES_MAX = 128 * 1024 * 1024
CLOSE_SECONDS = 2.0
STALLED_SECONDS = 10.0


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Frame:
    """A queued frame.

    :param offered: whether its bytes count as offered
    :param taken: called when it was written to the socket
    """

    __slots__ = ("data", "offered_size", "size", "taken")

    def __init__(
        self, data: bytes, *, offered: bool = False, taken: Callable[[], None] | None = None
    ) -> None:
        self.data = data
        self.size = len(data)
        self.offered_size = self.size if offered else 0
        self.taken = taken


class Backlog:
    """The bytes that wait in the queues of all peers.

    If they are too many, the client that has read the least is closed: whose queue is the longest.

    :param limit: the most bytes in all queues together
    """

    def __init__(self, limit: int = BACKLOG_BYTES_MAX) -> None:
        self._limit = limit
        self._peers: set[Peer] = set()
        self.bytes = 0

    def grew(self, peer: "Peer", size: int) -> None:
        """Count bytes that were queued."""
        self._peers.add(peer)
        self.bytes += size
        while self.bytes > self._limit:
            max(self._peers, key=lambda one: one.queued_bytes).give_up()

    def shrank(self, size: int) -> None:
        """Count bytes that were sent."""
        self.bytes -= size

    def ended(self, peer: "Peer") -> None:
        """Forget a peer and what waits in its queue."""
        if peer in self._peers:
            self._peers.discard(peer)
            self.bytes -= peer.queued_bytes


class Peer:
    """The manager's end of a WebSocket. Sending never blocks; the connection of a client that does
    not read its frames is closed. A client that reads slowly may have more frames in the queue.

    :param unsent: the number of bytes in the buffer of the socket
    :param queued_bytes_max: maximum bytes in the queue of a client that has read nothing for
        STALLED_SECONDS; twice as many for one that reads
    :param offered_bytes_max: maximum bytes of offered frames in the queue
    :param backlog: the queues of all peers
    :ivar queued_bytes: the bytes in the queue
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        unsent: Callable[[], int] = lambda: 0,
        queued_bytes_max: int = QUEUED_BYTES_MAX,
        offered_bytes_max: int = OFFERED_BYTES_MAX,
        backlog: Backlog | None = None,
    ) -> None:
        self._backlog = backlog or Backlog()
        self._socket = socket
        self._unsent = unsent
        self._queued_bytes_max = queued_bytes_max
        self._offered_bytes_max = offered_bytes_max
        self._frames: deque[_Frame] = deque()
        self._sent = 0
        self._read_so_far: tuple[int, int] | None = None
        self._read_at = 0.0
        self.queued_bytes = 0
        self._offered_bytes = 0
        self._dropped = False
        self._wake = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._writer = asyncio.create_task(self._write())

    def send(self, frame: bytes, taken: Callable[[], None] | None = None) -> None:
        """Queue a frame.

        :param taken: called when the frame was written to the socket
        """
        self._queue(_Frame(frame, taken=taken))

    def offer(self, frame: bytes) -> bool:
        """Queue a frame unless too many offered bytes wait already.

        :returns: whether the frame was queued
        """
        if self._offered_bytes + len(frame) > self._offered_bytes_max:
            return False
        self._queue(_Frame(frame, offered=True))
        return True

    def _queue(self, frame: "_Frame") -> None:
        if self._closing is not None or self._dropped:
            return
        if self._is_too_slow(self.queued_bytes + frame.size):
            self.give_up()
            return
        self._frames.append(frame)
        self.queued_bytes += frame.size
        self._offered_bytes += frame.offered_size
        self._wake.set()
        self._backlog.grew(self, frame.size)

    def give_up(self) -> None:
        """Close the connection of a client that does not read its frames, and drop these."""
        logger.warning("closing the connection of a client that does not read its frames")
        self._drop()
        self._close(WSCloseCode.TRY_AGAIN_LATER, b"too slow")

    def _drop(self) -> None:
        self._dropped = True
        self._backlog.ended(self)
        self._frames.clear()
        self.queued_bytes = self._offered_bytes = 0

    def _is_too_slow(self, queued_bytes: int) -> bool:
        if queued_bytes <= self._queued_bytes_max:
            return False
        now, so_far = _now(), (self._sent, self._unsent())
        if so_far != self._read_so_far:
            self._read_so_far, self._read_at = so_far, now
        stalled = now - self._read_at >= STALLED_SECONDS
        return stalled or queued_bytes > 2 * self._queued_bytes_max

    @property
    def closed(self) -> bool:
        """Whether nothing more is sent."""
        return self._closing is not None

    def close(self) -> None:
        """Close the connection soon."""
        self._close(WSCloseCode.GOING_AWAY, b"closed by the manager")

    def close_without_token(self) -> None:
        """Close the connection soon: the token of the client is no longer valid."""
        self._close(TOKEN_ENDED, b"the token is no longer valid")

    async def ended(self) -> None:
        """Release the resources of a connection that has ended. What is sent to it afterwards is
        dropped."""
        self._writer.cancel()
        self._drop()
        tasks = [self._writer] if self._closing is None else [self._writer, self._closing]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close(self, code: int, reason: bytes) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._shut(code, reason))

    async def _shut(self, code: int, reason: bytes) -> None:
        self._wake.set()
        if code in (WSCloseCode.GOING_AWAY, TOKEN_ENDED):
            await asyncio.wait({self._writer}, timeout=CLOSE_SECONDS)
        self._writer.cancel()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code=code, message=reason)
        except TimeoutError:
            logger.debug("a client did not complete the close handshake in time")

    async def _write(self) -> None:
        try:
            while self._closing is None or self._frames:
                self._wake.clear()
                while self._frames:
                    frame = self._frames.popleft()
                    await self._socket.send_frame(frame.data, WSMsgType.TEXT)
                    if self._dropped:
                        return
                    self._sent += 1
                    self.queued_bytes -= frame.size
                    self._backlog.shrank(frame.size)
                    self._offered_bytes -= frame.offered_size
                    if frame.taken is not None:
                        frame.taken()
                if self._closing is None:
                    await self._wake.wait()
        except (ConnectionError, RuntimeError) as error:
            logger.debug("a client disconnected: %s", error)
