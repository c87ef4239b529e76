"""Sends queued reports to the manager in batches, and handles their acknowledgements."""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

import msgspec
from msgspec import Raw

from kaiju_tasks.backoff import Backoff
from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.messages import RpcError, decode_write_stage
from kaiju_tasks.executor.outbox import Entry, Outbox
from kaiju_tasks.executor.session import FrameTooLarge, Lost, Session
from kaiju_tasks.executor.transport import ConnectionClosed
from kaiju_tasks.executor.waits import DEFAULT_WAITS
from kaiju_tasks.protocol import (
    WHILE_RUNNING,
    Ack,
    AckState,
    ReportError,
    ReportState,
    WriteStageParams,
    is_work,
)
from kaiju_tasks.types import ErrorType

__all__ = ["ReportSender"]

MAX_IN_FLIGHT = 4
PIPELINED_REPORTS = 100
"""A second frame is sent before the first is answered only if this many reports wait."""

NOT_FOUND, TOO_LARGE, PARSE_ERROR = 404, 413, -32700
UNSTORABLE = "the error of the stage cannot be stored"
REFUSALS = frozenset({PARSE_ERROR, -32600, -32602, TOO_LARGE})


class ReportSender:
    """Sends the reports of the outbox to the manager.

    :param on_expelled: called when the manager does not know this executor any more
    :param on_work: called when the manager has acknowledged work
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        random: Random,
        on_expelled: Callable[[], None],
        on_work: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._on_expelled = on_expelled
        self._on_work = on_work
        self._backoff = Backoff(random, most=DEFAULT_WAITS.retry)
        self._session: Session | None = None
        self._in_flight = 0
        self._lone = False
        self._due = False
        self._paused = False
        outbox.on_put = self.flush_soon

    def open(self, session: Session) -> None:
        """Use this session. Reports that were not acknowledged are sent first."""
        self._session = session
        self.flush_soon()

    def longest_pause(self, seconds: float) -> None:
        """Repeat a refused report at the latest after this time."""
        self._backoff.most = seconds

    def close(self) -> None:
        """Stop sending: the session has ended."""
        self._session = None

    def flush_soon(self) -> None:
        """Send in the next iteration of the event loop, so that simultaneous reports share a
        frame."""
        if not self._due and self._can_send():
            self._due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        while (session := self._session) is not None and self._can_send():
            batch = self._outbox.take()
            if not batch:
                return
            self._in_flight += 1
            self._lone = batch[0].alone
            params = WriteStageParams([entry.report for entry in batch])
            try:
                session.request("manager.write_stage", params, partial(self._answered, batch))
            except FrameTooLarge as error:
                self._answered(batch, RpcError(TOO_LARGE, str(error)))
            except Exception as error:  # any fault of a report, such as a lone surrogate
                self._answered(batch, RpcError(PARSE_ERROR, f"it cannot be sent: {error}"))

    def _can_send(self) -> bool:
        if self._paused or self._session is None or self._session.lost:
            return False
        if self._lone or self._outbox.alone:  # an error without an id has to be about this one
            return self._in_flight == 0
        pipelined = self._outbox.waiting >= PIPELINED_REPORTS and self._in_flight < MAX_IN_FLIGHT
        return self._in_flight == 0 or pipelined

    def _answered(self, batch: list[Entry], answer: Raw | RpcError | Lost) -> None:
        self._in_flight -= 1
        self._lone = False
        if isinstance(answer, Lost) and not answer.frame_refused:
            self._outbox.take_back(batch)
        elif isinstance(answer, Lost):
            self._refused(batch, RpcError(TOO_LARGE, "it closed the connection because of it"))
        elif isinstance(answer, RpcError):
            self._refused(batch, answer)
        else:
            acks = self._acks(batch, answer)
            if any(is_work(entry.report, ack) for entry, ack in zip(batch, acks, strict=True)):
                self._on_work()
            self._outbox.acknowledged(batch, acks)
            self._backoff.reset()
        self.flush_soon()

    def _acks(self, batch: list[Entry], answer: Raw) -> list[Ack]:
        try:
            acks = decode_write_stage(answer).acks
        except msgspec.DecodeError:
            self._outbox.take_back(batch)
            raise
        if len(acks) != len(batch):
            self._outbox.take_back(batch)
            raise ConnectionClosed(f"the manager sent {len(acks)} acks for {len(batch)} reports")
        return acks

    def _refused(self, batch: list[Entry], error: RpcError) -> None:
        if error.code == NOT_FOUND:
            self._outbox.take_back(batch)
            self._on_expelled()
            return
        if error.code in REFUSALS:
            self._isolate(batch, error)
        else:
            self._pause()
        self._outbox.take_back(batch)

    def _pause(self) -> None:
        self._paused = True
        self._clock.call_later(self._backoff.next(), self._resume)

    def _resume(self) -> None:
        self._paused = False
        self.flush_soon()

    def _isolate(self, batch: list[Entry], error: RpcError) -> None:
        # One invalid report must not block the others. Each is sent alone; a report that is
        # refused alone becomes a failure of its stage, and is dropped if that is refused too.
        if not batch[0].alone:
            for entry in batch:
                entry.alone = True
            return
        entry = batch[0]
        report = entry.report
        if report.state in WHILE_RUNNING:
            entry.dead = True
        elif report.error is not None and report.error.message == UNSTORABLE:
            entry.dead = True
            entry.on_ack(Ack(AckState.STALE))
        else:
            kind = ErrorType.RESULT_TOO_LARGE if error.code == TOO_LARGE else ErrorType.EXECUTION
            text = f"the manager refused the report of the stage: {error.message:.1000}"
            if report.state is ReportState.FAILED:
                text = UNSTORABLE
            entry.report = msgspec.structs.replace(
                report,
                state=ReportState.FAILED,
                result=Raw(b"null"),
                error=ReportError(kind, text),
            )
