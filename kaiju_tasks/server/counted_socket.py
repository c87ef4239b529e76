"""A WebSocket that counts the bytes of messages as they arrive."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

__all__ = ["CountedSocket", "Payloads", "early_bytes"]

CONTROL = 0x08
"""The bit of the opcodes of control frames, which are not part of messages."""
MASKED = 0x80
LENGTH = 0x7F
LONG_LENGTHS = {126: 2, 127: 8}
"""The bytes of the length that follow the first two of a header, by the short length."""
MASK_BYTES = 4


class Payloads:
    """Counts the bytes of messages in the stream of a WebSocket (RFC 6455, section 5.2)."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._control = False

    def count(self, data: bytes) -> int:
        """The bytes of messages in the next piece of the stream, which can end anywhere."""
        found, at, end = 0, 0, len(data)
        while at < end:
            if self._left:
                size = min(self._left, end - at)
                self._left -= size
                at += size
                if not self._control:
                    found += size
            else:
                at += self._take_header(data, at)
        return found

    def _take_header(self, data: bytes, at: int) -> int:
        """Take bytes of a header. Returns their number."""
        header = self._header
        before = len(header)
        header += data[at : at + _missing(header)]
        if not _missing(header):
            long = LONG_LENGTHS.get(header[1] & LENGTH, 0)
            self._left = int.from_bytes(header[2 : 2 + long]) if long else header[1] & LENGTH
            self._control = bool(header[0] & CONTROL)
            taken = len(header) - before
            header.clear()
            return taken
        return len(header) - before


def _missing(header: bytearray) -> int:
    """The bytes that a header lacks, as far as is known."""
    if len(header) < 2:
        return 2 - len(header)
    mask = MASK_BYTES if header[1] & MASKED else 0
    return 2 + LONG_LENGTHS.get(header[1] & LENGTH, 0) + mask - len(header)


def early_bytes(request: web.Request) -> int:
    """The bytes that have come after a request to open a WebSocket, before it is open."""
    return len(request.protocol._message_tail)


class CountedSocket(web.WebSocketResponse):
    """A WebSocket whose messages are counted before they are complete.

    :param arrived: called with the number of bytes of messages that have come
    """

    def __init__(self, arrived: Callable[[int], None], **options: Any) -> None:
        super().__init__(**options)
        self._arrived = arrived
        self._counted: _CountedParser | None = None

    def _post_start(self, request: Any, protocol: Any, writer: Any) -> None:
        # aiohttp offers no other place where the pieces of a message can be seen.
        connection = request.protocol
        early = bytes(connection._message_tail)
        super()._post_start(request, protocol, writer)
        counted = _CountedParser(connection._payload_parser, self._arrived)
        connection._payload_parser = self._counted = counted
        counted.count(early)

    def free(self) -> None:
        """Free what has arrived over a connection that was aborted. It would be kept by a timer of
        aiohttp for its heartbeat, and then until cycles are looked for."""
        self._cancel_heartbeat()
        self._reader = None
        if self._counted is not None:
            self._counted.free()
        if hasattr(self, "_parser"):
            self._parser = None


class _CountedParser:
    """Counts what it passes to a parser."""

    def __init__(self, parser: Any, arrived: Callable[[int], None]) -> None:
        self._parser = parser
        self._payloads = Payloads()
        self._arrived = arrived

    def count(self, data: bytes) -> None:
        if size := self._payloads.count(data):
            self._arrived(size)

    def free(self) -> None:
        self._parser = None

    def feed_data(self, data: bytes) -> Any:
        if self._parser is None:
            return True, b""
        outcome = self._parser.feed_data(data)
        self.count(data)
        return outcome

    def feed_eof(self) -> None:
        if self._parser is not None:
            self._parser.feed_eof()
