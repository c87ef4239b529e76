"""Keeps what stages log and print until it is sent: a bounded number of bytes."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.executor.log_fields import plain_fields, plain_text
from kaiju_tasks.protocol import Lease

__all__ = ["AttemptLog", "Batch", "Line", "LogBuffer"]

HALF_BYTES = 128 * 1024
"""The manager keeps so much of the beginning and of the end of an attempt."""
BUFFER_BYTES = 8 * 1024 * 1024
"""What the attempts of a process keep together."""
BATCH_BYTES = 128 * 1024
BATCH_LINES = 2_000
BATCH_LOGS = 500
ENDING_LINES = 5_000
"""The most lines of a frame, which the last lines of an attempt may fill."""
LINE_BYTES = 16
"""What each line counts beside its text."""
MESSAGE_MAX = 8_000
FIELDS_BYTES_MAX = 8_000
LEVELS = frozenset({"debug", "info", "warning", "error"})

_encode = msgspec.json.Encoder().encode


class Line(Struct, frozen=True):
    """A line.

    :param n: its number within the attempt, from 1
    :param at: when it was written, in seconds of the clock
    :param fields: as JSON, or empty
    """

    n: int
    at: float
    level: str
    source: str
    message: str
    fields: bytes

    @property
    def size(self) -> int:
        return LINE_BYTES + len(self.message.encode()) + len(self.fields)


class AttemptLog:
    """The lines of one attempt that are still to be sent: the first ones, and the last.

    :param lease: the lease that the attempt runs under
    :ivar ended: whether the attempt has ended
    """

    __slots__ = (
        "_buffer",
        "ended",
        "first",
        "head_left",
        "info",
        "last",
        "last_bytes",
        "lease",
        "n",
    )

    def __init__(self, buffer: "LogBuffer", info: StageInfo, lease: Lease) -> None:
        self._buffer = buffer
        self.info = info
        self.lease = lease
        self.n = 0
        self.ended = False
        self.head_left = HALF_BYTES
        self.first: deque[Line] = deque()
        self.last: deque[Line] = deque()
        self.last_bytes = 0

    def add(self, level: str, message: str, fields: dict[str, Any], source: str = "log") -> None:
        """Add a line, from any thread. A long one is split."""
        self._buffer.add(self, level, message, fields, source)

    def end(self) -> None:
        """The attempt ends: its lines should be sent before its report."""
        self.ended = True
        if self.first or self.last:
            self._buffer.on_end(self)

    @property
    def waiting(self) -> int:
        """The number of lines that are still to be sent."""
        return len(self.first) + len(self.last)


class Batch(Struct, frozen=True):
    """Lines of an attempt that are sent together."""

    log: AttemptLog
    lines: list[Line]


class LogBuffer:
    """The lines of all attempts that are still to be sent. It is thread-safe.

    Lines beyond the bounds are dropped. Their numbers stay free, by which readers see how many are
    missing.

    :param now: seconds of the clock, from any thread
    :ivar on_add: called, by any thread, when there is something to send again
    :ivar on_end: called when an attempt ends that has lines to send
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._waiting: dict[AttemptLog, None] = {}
        self._bytes = 0
        self._accepts = True
        self._announced = False
        self.on_add: Callable[[], None] = lambda: None
        self.on_end: Callable[[AttemptLog], None] = lambda log: None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self._waiting

    def add(
        self, log: AttemptLog, level: str, message: str, fields: dict[str, Any], source: str
    ) -> None:
        """See `AttemptLog.add`."""
        if not self._accepts:
            return
        texts = _split(plain_text(str(message)))
        details = _fields(fields)
        level = level if level in LEVELS else "info"
        with self._lock:
            at = self._now()
            for text in texts:
                log.n += 1
                self._put(log, Line(log.n, at, level, source, text, details))
                details = b""
            announced, self._announced = self._announced, True
        if not announced:
            self.on_add()

    def _put(self, log: AttemptLog, line: Line) -> None:
        size = line.size
        if size <= log.head_left:
            log.head_left -= size
            log.first.append(line)
        else:
            log.head_left = 0
            log.last.append(line)
            log.last_bytes += size
        self._bytes += size
        self._waiting[log] = None
        while log.last_bytes > HALF_BYTES and len(log.last) > 1:
            self._pop(log, log.last)
        while self._bytes > BUFFER_BYTES and log.waiting:
            self._pop(log, log.last if log.last else log.first)
        if not log.waiting:
            del self._waiting[log]

    def _pop(self, log: AttemptLog, lines: "deque[Line]") -> Line:
        line = lines.popleft()
        self._bytes -= line.size
        if lines is log.last:
            log.last_bytes -= line.size
        return line

    def take(self) -> list[Batch]:
        """Take the lines of the next frame, those of the oldest attempts first."""
        batches: list[Batch] = []
        with self._lock:
            size, count = 0, 0
            for log in list(self._waiting)[:BATCH_LOGS]:
                batch = Batch(log, [])
                for line in self._taken(log):
                    batch.lines.append(line)
                    size, count = size + line.size, count + 1
                    if size >= BATCH_BYTES or count >= BATCH_LINES:
                        break
                batches.append(batch)
                if size >= BATCH_BYTES or count >= BATCH_LINES:
                    break
            self._announced = bool(self._waiting)
        return batches

    def take_of(self, log: AttemptLog, most: int) -> list[Batch]:
        """Take the first lines of an attempt that has ended.

        :param most: the most lines to take, at least 1
        """
        with self._lock:
            lines = []
            for line in self._taken(log):
                lines.append(line)
                if len(lines) >= most:
                    break
            self._announced = bool(self._waiting)
        return [Batch(log, lines)] if lines else []

    def _taken(self, log: AttemptLog) -> Iterator[Line]:
        """Take the lines of an attempt one by one, in order."""
        while log.waiting:
            line = self._pop(log, log.first if log.first else log.last)
            if not log.waiting:
                del self._waiting[log]
            yield line

    def refuse(self) -> None:
        """Forget all lines, and take none: the manager does not keep logs."""
        with self._lock:
            self._accepts = False
            for log in self._waiting:
                log.first.clear()
                log.last.clear()
                log.last_bytes = 0
            self._waiting.clear()
            self._bytes = 0
            self._announced = False

    def accept(self) -> None:
        """Take lines: another manager may keep logs."""
        self._accepts = True


def _split(text: str) -> list[str]:
    if len(text) <= MESSAGE_MAX:
        return [text]
    return [text[at : at + MESSAGE_MAX] for at in range(0, len(text), MESSAGE_MAX)]


def _fields(fields: dict[str, Any]) -> bytes:
    if not fields:
        return b""
    encoded = _encode(plain_fields(fields))
    if len(encoded) > FIELDS_BYTES_MAX:
        return _encode({"left_out": f"the fields have {len(encoded)} bytes"})
    return encoded
