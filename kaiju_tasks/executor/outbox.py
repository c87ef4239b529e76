"""Queues reports until a manager has acknowledged them."""

from collections import deque
from collections.abc import Callable, Iterable

from kaiju_tasks.protocol import Ack, Report

__all__ = ["MAX_REPORTS", "Entry", "Outbox"]

MAX_REPORTS = 500
MAX_BYTES = 1024 * 1024
ENVELOPE_BYTES = 300

OnAck = Callable[[Ack], None]


class Entry:
    """A report in the outbox.

    :ivar sent: whether it is part of a frame that was sent; then it must not change any more
    :ivar dead: whether it is no longer needed; then it is not sent, and its ack is ignored
    :ivar alone: whether to send it in a separate frame, because a manager refused a frame with it
    """

    __slots__ = ("alone", "dead", "on_ack", "report", "sent")

    def __init__(self, report: Report, on_ack: OnAck) -> None:
        self.report = report
        self.on_ack = on_ack
        self.sent = False
        self.dead = False
        self.alone = False

    def size(self) -> int:
        """The approximate size in a frame, in bytes."""
        return ENVELOPE_BYTES + len(memoryview(self.report.result))


class Outbox:
    """A queue of reports. Reports that were sent but not acknowledged are sent again.

    :param on_put: called when a report was added
    """

    def __init__(self, on_put: Callable[[], None] = lambda: None) -> None:
        self.on_put = on_put
        self._waiting: deque[Entry] = deque()
        self._in_flight = 0

    def put(self, report: Report, on_ack: OnAck) -> Entry:
        """Queue a report; `on_ack` is called once with its acknowledgement."""
        entry = Entry(report, on_ack)
        self._waiting.append(entry)
        self.on_put()
        return entry

    @property
    def waiting(self) -> int:
        """The number of reports that are not in flight."""
        return len(self._waiting)

    @property
    def alone(self) -> bool:
        """Whether the next report has a frame of its own, because one with it was refused."""
        return bool(self._waiting) and self._waiting[0].alone

    @property
    def empty(self) -> bool:
        """Whether every report was acknowledged."""
        return not self._waiting and not self._in_flight

    def take(self) -> list[Entry]:
        """Take the reports of the next frame: at most 500, and about 1 MiB."""
        batch: list[Entry] = []
        size = 0
        while self._waiting and len(batch) < MAX_REPORTS:
            entry = self._waiting[0]
            if entry.dead:
                self._waiting.popleft()
                continue
            size += entry.size()
            if batch and (size > MAX_BYTES or entry.alone or batch[0].alone):
                break
            entry.sent = True
            batch.append(self._waiting.popleft())
        self._in_flight += len(batch)
        return batch

    def acknowledged(self, batch: Iterable[Entry], acks: Iterable[Ack]) -> None:
        """Pass each entry its ack. Both must have the same length."""
        for entry, ack in zip(batch, acks, strict=True):
            self._in_flight -= 1
            if not entry.dead:
                entry.dead = True
                entry.on_ack(ack)

    def take_back(self, batch: list[Entry]) -> None:
        """Put the reports of an unanswered frame back to the front, in their order."""
        self._in_flight -= len(batch)
        self._waiting.extendleft(reversed(batch))
