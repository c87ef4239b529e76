"""Splits an answer that is sent in parts into its messages: NDJSON, or server-sent events. Pure."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Splitter", "splitter"]

NDJSON = frozenset(
    {
        "application/jsonl",
        "application/json-lines",
        "application/ndjson",
        "application/x-jsonlines",
        "application/x-ndjson",
    }
)
EVENTS = "text/event-stream"


class Splitter(Protocol):
    """Makes messages of the bytes of an answer.

    :ivar held: the bytes that are kept until their message is complete
    """

    @property
    def held(self) -> int: ...

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes and return the messages that they complete."""
        ...

    def end(self) -> Iterator[bytes]:
        """Return the last message, if the answer has ended without a line break after it."""
        ...


def splitter(content_type: str) -> Splitter | None:
    """The splitter for a content type; None if it is not one of an answer in parts."""
    if content_type in NDJSON:
        return Lines()
    return Events() if content_type == EVENTS else None


class Lines:
    """Each line is a message. Empty lines are ignored."""

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def held(self) -> int:
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[bytes]:
        # Only new bytes are searched, so that a long line that arrives in pieces stays cheap.
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = bytes(self._rest) + data[start:end]
            self._rest.clear()
            start = end + 1
            if line := _message(line):
                yield line
        self._rest += data[start:]

    def end(self) -> Iterator[bytes]:
        if line := _message(bytes(self._rest)):
            yield line
        self._rest.clear()


class Events:
    """The data of each event is a message. Comments and other fields are ignored."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0

    @property
    def held(self) -> int:
        return len(self._rest) + self._data_bytes

    def feed(self, data: bytes) -> Iterator[bytes]:
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = bytes(self._rest) + data[start:end]
            self._rest.clear()
            start = end + 1
            yield from self._line(line.removesuffix(b"\r"))
        self._rest += data[start:]

    def end(self) -> Iterator[bytes]:
        line = bytes(self._rest)
        self._rest.clear()
        yield from self._line(line)
        if line:
            yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[bytes]:
        if not line:
            if self._data:
                message = b"\n".join(self._data)
                self._data, self._data_bytes = [], 0
                yield message
            return
        name, _, value = line.partition(b":")
        if name.removeprefix(BOM_UTF8) == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(value) + 1


def _message(line: bytes) -> bytes:
    """A line without spaces, and without the mark that some libraries write at the beginning."""
    return line.strip().removeprefix(BOM_UTF8)
