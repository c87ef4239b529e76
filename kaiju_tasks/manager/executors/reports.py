"""Applies the reports of executors to tasks, and acknowledges them after the commit."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kaiju_tasks.errors import KaijuError, TooLarge, Unavailable
from kaiju_tasks.lifecycle import (
    Event,
    StageExtended,
    StageFailed,
    StageFinished,
    Step,
    given_back,
)
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.store_clock import StoreClock
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.protocol import (
    STAGE_DONE,
    Ack,
    AckState,
    Lease,
    Report,
    ReportState,
    is_work,
)
from kaiju_tasks.rpc import Limits, check_raw
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import StoreError
from kaiju_tasks.types import ErrorType, TaskError, TaskStatus

OK, RELEASED, STALE = Ack(AckState.OK), Ack(AckState.RELEASED), Ack(AckState.STALE)
GOES_ON = (AckState.OK, AckState.AGAIN)
"""The states after which the lease still stands."""
MAX_REPORTS = 500
MAX_ERROR_TEXT = 10_000
MAX_ERROR_TYPE = 255
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""The characters that JSON escapes. Types of errors do not contain them: the stores compare types
as they stand in the JSON of an error."""


class Reports:
    """Writes the reports of executors.

    :param on_progress: called with each progress report, its session and the time (UNIX seconds)
    :param on_work: called with the id of an executor that has worked on its tasks
    """

    def __init__(
        self,
        committer: Committer,
        settings: Settings,
        clock: StoreClock,
        on_progress: Callable[[Report, Session, float], None],
        on_work: Callable[[str], None],
    ) -> None:
        self._on_progress = on_progress
        self._on_work = on_work
        self._committer = committer
        self._clock = clock
        self._max_run_bytes = settings.max_run_results_bytes
        self._limits = Limits(
            max_result_bytes=settings.max_result_bytes, max_depth=settings.max_json_depth
        )

    async def write(self, reports: Sequence[Report], session: Session | None) -> list[Ack]:
        """Advance the task of each report.

        :returns: one ack for each report, in order
        :raises Unavailable: the database cannot be reached; no report is acknowledged
        """
        leases = [Lease(r.id, r.job_id, r.epoch, r.nonce) for r in reports]
        pairs = [
            (report.id, self._event(report, lease, session))
            for report, lease in zip(reports, leases, strict=True)
            if report.state is not ReportState.PROGRESS
        ]
        if session is not None and len(pairs) < len(reports):
            self._progressed(reports, leases, session)
        outcomes = await self._committer.apply_all(pairs)
        steps = iter(outcomes)
        acks = [
            OK if report.state is ReportState.PROGRESS else self._ack(report, lease, next(steps))
            for report, lease in zip(reports, leases, strict=True)
        ]
        if session is not None:
            if session.filler is not None:
                acks = await session.filler.follow(reports, acks, outcomes)
            if any(is_work(report, ack) for report, ack in zip(reports, acks, strict=True)):
                self._on_work(session.executor_id)
            for report, lease, ack in zip(reports, leases, acks, strict=True):
                if ack is not OK and ack.state not in GOES_ON:
                    session.drop(lease)
                else:
                    _end_suspicion(session, report, lease)
        return acks

    async def apply(
        self, reports: Sequence[Report], session: Session
    ) -> list[tuple[Ack, Step | BaseException]]:
        """Write reports that the manager makes on behalf of an executor.

        :returns: the acknowledgement of each report, and the step or the error, in order
        :raises Unavailable: the database cannot be reached
        """
        leases = [Lease(r.id, r.job_id, r.epoch, r.nonce) for r in reports]
        outcomes = await self._committer.apply_all(
            [
                (report.id, self._event(report, lease, session))
                for report, lease in zip(reports, leases, strict=True)
            ]
        )
        applied = []
        for report, lease, outcome in zip(reports, leases, outcomes, strict=True):
            ack = self._ack(report, lease, outcome)
            if ack.state in GOES_ON:
                _end_suspicion(session, report, lease)
            applied.append((ack, outcome))
        return applied

    def _progressed(
        self, reports: Sequence[Report], leases: Sequence[Lease], session: Session
    ) -> None:
        """Forward progress reports whose lease belongs to the session."""
        for report, lease in zip(reports, leases, strict=True):
            if report.state is ReportState.PROGRESS and session.has(lease):
                self._on_progress(report, session, self._clock.now())

    def _event(self, report: Report, lease: Lease, session: Session | None) -> Event:
        state = report.state
        if state in STAGE_DONE:
            return self._finished(report, lease, session)
        if state is ReportState.FAILED:
            return StageFailed(lease=lease, stage=report.stage, error=self._error(report))
        if state is ReportState.EXTEND:
            return StageExtended(lease=lease, stage=report.stage, seconds=report.seconds)
        executor_id = session.executor_id if session else ""
        return given_back(
            executor_id, epoch=report.epoch, nonce=report.nonce, fruitless=not report.waited
        )

    def _finished(self, report: Report, lease: Lease, session: Session | None) -> Event:
        try:
            check_raw(report.result, self._limits)
        except KaijuError as exc:
            large = isinstance(exc, TooLarge)
            kind = ErrorType.RESULT_TOO_LARGE if large else ErrorType.EXECUTION
            error = TaskError(kind, f"the result is invalid: {exc}", report.stage, exc.data)
            return StageFailed(lease=lease, stage=report.stage, error=error)
        return StageFinished(
            lease=lease,
            stage=report.stage,
            result=report.result,
            skipped=report.state is ReportState.SKIPPED,
            max_run_bytes=self._max_run_bytes,
            methods=None if session is None else session.methods_of(lease),
        )

    def _error(self, report: Report) -> TaskError:
        error = report.error
        if error is None:
            message = "the executor reported a failure without details"
            return TaskError(ErrorType.EXECUTION, message, report.stage)
        text = error.message
        if len(text) > MAX_ERROR_TEXT:
            text = f"{text[:MAX_ERROR_TEXT]}…"
        kind = _ESCAPED.sub("_", error.type[:MAX_ERROR_TYPE])
        return TaskError(kind, text, report.stage, self._storable(error.data))

    def _storable(self, data: Any) -> Any:
        """The data of an error or, if it exceeds the limits, the reason why it is left out."""
        try:
            check_raw(msgspec.json.encode(data), self._limits)
        except KaijuError as exc:
            return {"left_out": str(exc)}
        except (OverflowError, RecursionError):
            return {"left_out": "the data cannot be written as JSON"}
        return data

    def _ack(self, report: Report, lease: Lease, outcome: Step | BaseException) -> Ack:
        """ok if the lease continues, released if this report ended it, otherwise stale."""
        if isinstance(outcome, Unavailable | StoreError):
            raise outcome
        if isinstance(outcome, BaseException):  # a retry of the report would fail as well
            return STALE
        row = outcome.row
        if outcome.stale:
            return STALE
        lease_continues = row.epoch == lease.epoch and row.nonce == lease.nonce
        if row.status is TaskStatus.EXECUTED and lease_continues:
            if report.state is ReportState.EXTEND and row.exec_deadline is not None:
                return Ack(AckState.OK, max(0.0, row.exec_deadline - self._clock.now()))
            return OK
        return RELEASED if outcome.changed else STALE


def _end_suspicion(session: Session, report: Report, lease: Lease) -> None:
    """Let other tasks run beside a task that was suspect, if its stage has succeeded."""
    if session.alone is not None and report.state in STAGE_DONE:
        session.cleared(lease)
