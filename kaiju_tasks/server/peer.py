"""Writes frames to a WebSocket in order, through a bounded queue."""

import asyncio
import logging
from collections import deque

from aiohttp import WSCloseCode, WSMsgType, web

__all__ = ["Peer"]

logger = logging.getLogger(__name__)

QUEUED_BYTES_MAX = 64 * 1024 * 1024
OFFERED_BYTES_MAX = 4 * 1024 * 1024
CLOSE_SECONDS = 2.0


class Peer:
    """The manager's end of a WebSocket. Sending never blocks; the connection of a client that does
    not read its frames is closed.

    :param queued_bytes_max: maximum bytes in the queue, beyond which the connection is closed
    :param offered_bytes_max: maximum bytes of offered frames in the queue
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        queued_bytes_max: int = QUEUED_BYTES_MAX,
        offered_bytes_max: int = OFFERED_BYTES_MAX,
    ) -> None:
        self._socket = socket
        self._queued_bytes_max = queued_bytes_max
        self._offered_bytes_max = offered_bytes_max
        self._frames: deque[tuple[bytes, int]] = deque()
        self._queued_bytes = 0
        self._offered_bytes = 0
        self._wake = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._writer = asyncio.create_task(self._write())

    def send(self, frame: bytes) -> None:
        """Queue a frame."""
        self._queue(frame, 0)

    def offer(self, frame: bytes) -> bool:
        """Queue a frame unless too many offered bytes wait already.

        :returns: whether the frame was queued
        """
        if self._offered_bytes + len(frame) > self._offered_bytes_max:
            return False
        self._queue(frame, len(frame))
        return True

    def _queue(self, frame: bytes, offered: int) -> None:
        """:param offered: the number of bytes that count as offered"""
        if self._closing is not None:
            return
        if self._queued_bytes + len(frame) > self._queued_bytes_max:
            logger.warning("closing the connection of a client that does not read its frames")
            self._close(WSCloseCode.TRY_AGAIN_LATER, b"too slow")
            return
        self._frames.append((frame, offered))
        self._queued_bytes += len(frame)
        self._offered_bytes += offered
        self._wake.set()

    def close(self) -> None:
        """Close the connection soon."""
        self._close(WSCloseCode.GOING_AWAY, b"closed by the manager")

    async def ended(self) -> None:
        """Release the resources of a connection that has ended."""
        self._writer.cancel()
        tasks = [self._writer] if self._closing is None else [self._writer, self._closing]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close(self, code: WSCloseCode, reason: bytes) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._shut(code, reason))

    async def _shut(self, code: WSCloseCode, reason: bytes) -> None:
        self._wake.set()
        if code == WSCloseCode.GOING_AWAY:
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
                    frame, offered = self._frames.popleft()
                    await self._socket.send_frame(frame, WSMsgType.TEXT)
                    self._queued_bytes -= len(frame)
                    self._offered_bytes -= offered
                if self._closing is None:
                    await self._wake.wait()
        except (ConnectionError, RuntimeError) as error:
            logger.debug("a client disconnected: %s", error)
