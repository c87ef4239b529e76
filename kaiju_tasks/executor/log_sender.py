"""Sends log lines to the manager in batches, one after another."""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from msgspec import Raw, Struct

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.errors import MethodNotFound, TooLarge, TooManyRequests, Unavailable
from kaiju_tasks.executor.clock import Clock, TimerHandle
from kaiju_tasks.executor.logs import ENDING_LINES, AttemptLog, Batch, Line, LogBuffer
from kaiju_tasks.executor.messages import RpcError
from kaiju_tasks.executor.session import FrameTooLarge, Lost, Session
from kaiju_tasks.executor.waits import DEFAULT_WAITS
from kaiju_tasks.protocol import LoggedLine, StageLog, WriteLogsParams

__all__ = ["LogSender"]

logger = logging.getLogger("kaiju_tasks.executor")

FIRST_SECONDS = 0.1
"""Lines that come in so short a time share a frame."""
PACE_SECONDS = 0.5
"""The time between two frames, except for the last lines of a stage."""
ENDING_MAX = 4
"""The most unanswered frames with the last lines of stages."""
DOUBT_SECONDS = 1.0
"""A frame that is unanswered for so long may have to be sent again."""
PASSING = frozenset({TooManyRequests.code, Unavailable.code})
"""The errors after which the same lines are sent again."""


class _Frame(Struct, frozen=True, eq=False):
    """An unanswered frame.

    :param doubtful_at: from when on it may have to be sent again, in seconds of the clock
    """

    batches: list[Batch]
    logs: frozenset[AttemptLog]
    doubtful_at: float


class LogSender:
    """Sends the lines of a buffer. Lines whose frame was not answered are sent again.

    The manager refuses lines that come after later ones of their attempt, and lines that it has. So
    while a frame may have to be sent again, later lines of its attempts are held back; the last
    lines of a stage, which should come before its report, are sent together with those of a frame
    that was just sent.

    :ivar on_settled: called when all lines have been sent and answered
    """

    def __init__(self, buffer: LogBuffer, clock: Clock, random: Random) -> None:
        self._buffer = buffer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._backoff = Backoff(random, most=DEFAULT_WAITS.retry)
        self._session: Session | None = None
        self._again: list[list[Batch]] = []
        self._in_flight: list[_Frame] = []
        self._timer: TimerHandle | None = None
        self._not_before = 0.0
        self.on_settled: Callable[[], None] = lambda: None
        buffer.on_add = self._added
        buffer.on_end = self._ended

    @property
    def settled(self) -> bool:
        """Whether all lines have been sent and answered."""
        return not self._in_flight and not self._again and self._buffer.empty

    def open(self, session: Session) -> None:
        """Use this session. Lines that were not acknowledged are sent first."""
        self._session = session
        self._buffer.accept()
        self._later()

    def close(self) -> None:
        """Stop sending: the session has ended."""
        self._session = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _added(self) -> None:
        if threading.get_ident() == self._thread:
            self._later()
        else:
            self._loop.call_soon_threadsafe(self._later)

    def _later(self) -> None:
        """Send when it is time, unless a frame is unanswered."""
        idle = not self._again and self._buffer.empty
        if self._session is None or self._timer is not None or self._in_flight or idle:
            return
        seconds = max(FIRST_SECONDS, self._not_before - self._clock.time())
        self._timer = self._clock.call_later(seconds, self._send_next)

    def _send_next(self) -> None:
        self._timer = None
        if not self._in_flight:
            if self._again:
                self._send(self._again.pop(0), again=True)
            else:
                self._send(self._buffer.take())

    def _ended(self, log: AttemptLog) -> None:
        """Send the last lines of an attempt before its report. They are sent later if a frame is in
        doubt, too many lines or frames are unanswered, or there is no session."""
        unanswered = self._unanswered(log)
        room = ENDING_LINES - sum(len(batch.lines) for batch in unanswered)
        while log.waiting and room > 0 and self._session is not None and not self._again:
            if len(self._in_flight) >= ENDING_MAX or self._session.lost or self._in_doubt(log):
                return
            self._send([*unanswered, *self._buffer.take_of(log, room)])
            unanswered, room = [], ENDING_LINES

    def _unanswered(self, log: AttemptLog) -> list[Batch]:
        frames = self._in_flight
        return [batch for frame in frames for batch in frame.batches if batch.log is log]

    def _in_doubt(self, log: AttemptLog) -> bool:
        now = self._clock.time()
        return any(log in frame.logs and now >= frame.doubtful_at for frame in self._in_flight)

    def _send(self, batches: list[Batch], *, again: bool = False) -> None:
        session = self._session
        if session is None or not batches:
            return
        now = self._clock.time()
        self._not_before = now + PACE_SECONDS
        params = WriteLogsParams([_log(batch, now) for batch in batches])
        doubtful_at = now if again else now + DOUBT_SECONDS
        frame = _Frame(batches, frozenset(batch.log for batch in batches), doubtful_at)
        self._in_flight.append(frame)
        answered = partial(self._answered, frame)
        try:
            session.request("manager.write_logs", params, answered, patient=True)
        except FrameTooLarge as error:
            answered(RpcError(TooLarge.code, str(error)))

    def _answered(self, frame: _Frame, answer: Raw | RpcError | Lost) -> None:
        self._in_flight.remove(frame)
        if isinstance(answer, Lost):
            self._again.append(frame.batches)
        elif not isinstance(answer, RpcError):
            self._backoff.reset()
        elif answer.code == MethodNotFound.code:
            logger.info("the manager keeps no logs of stages")
            self._again.clear()
            self._buffer.refuse()
        elif answer.code in PASSING:
            self._again.append(frame.batches)
            self._not_before = self._clock.time() + self._backoff.next()
        else:
            logger.debug("the manager refuses log lines: %s", answer.message)
        for batch in frame.batches:
            if batch.log.ended:
                self._ended(batch.log)
        self._later()
        if self.settled:
            self.on_settled()


def _log(batch: Batch, now: float) -> StageLog:
    info, lease = batch.log.info, batch.log.lease
    return StageLog(
        id=lease.id,
        job_id=lease.job_id,
        epoch=lease.epoch,
        nonce=lease.nonce,
        stage=info.stage,
        attempt=info.attempt,
        cycle=info.cycle,
        lines=[_line(line, now) for line in batch.lines],
    )


def _line(line: Line, now: float) -> LoggedLine:
    fields: Any = Raw(line.fields) if line.fields else None
    ago = round(max(0.0, now - line.at), 3)
    return LoggedLine(line.n, line.message, line.level, line.source, ago, fields)
