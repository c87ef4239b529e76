"""Reports that no manager has acknowledged yet."""

from collections import deque
from collections.abc import Callable, Iterable

from kaiju_tasks.protocol import Ack, Report

__all__ = ["MAX_REPORTS", "Entry", "Outbox"]

MAX_REPORTS = 500
MAX_BYTES = 1024 * 1024
ENVELOPE_BYTES = 300

OnAck = Callable[[Ack], None]


class Entry:
    """A report on its way.

    :ivar sent: it stands in a frame that was sent; its report must not change any more
    :ivar dead: nobody waits for it any more: it is not sent, its ack is nobody's
    :ivar alone: send it in a frame of its own, because a manager refused its company
    """

    __slots__ = ("alone", "dead", "on_ack", "report", "sent")

    def __init__(self, report: Report, on_ack: OnAck) -> None:
        self.report = report
        self.on_ack = on_ack
        self.sent = False
        self.dead = False
        self.alone = False

    def size(self) -> int:
        """Bytes it takes in a frame, about."""
        return ENVELOPE_BYTES + len(memoryview(self.report.result))


class Outbox:
    """A queue with a way back: what was sent and not acknowledged is sent again.

    :param on_put: called when something was put in
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
        """Reports that stand in no frame."""
        return len(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether everything was acknowledged."""
        return not self._waiting and not self._in_flight

    def take(self) -> list[Entry]:
        """The next frame's reports: at most 500 and about 1 MiB, at least one if there is one."""
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
        """Hand each entry its ack; both have the same length."""
        for entry, ack in zip(batch, acks, strict=True):
            self._in_flight -= 1
            if not entry.dead:
                entry.dead = True
                entry.on_ack(ack)

    def take_back(self, batch: list[Entry]) -> None:
        """A frame was not answered: its reports go to the front, in their order."""
        self._in_flight -= len(batch)
        self._waiting.extendleft(reversed(batch))
