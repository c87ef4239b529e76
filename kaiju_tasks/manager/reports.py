"""Reports of executors: each becomes an event, each answer comes after the commit."""

from collections.abc import Sequence

from kaiju_tasks.errors import KaijuError, NotFound
from kaiju_tasks.lifecycle import (
    Event,
    ExecutorLost,
    StageExtended,
    StageFailed,
    StageFinished,
    Step,
)
from kaiju_tasks.manager.ledger import Ledger
from kaiju_tasks.manager.sessions import Session
from kaiju_tasks.protocol import Ack, AckState, Lease, Report, ReportState
from kaiju_tasks.rpc import Limits, check_raw
from kaiju_tasks.settings import Settings
from kaiju_tasks.types import ErrorType, Outcome, TaskError, TaskStatus

OK, RELEASED, STALE = Ack(AckState.OK), Ack(AckState.RELEASED), Ack(AckState.STALE)
MAX_REPORTS = 500
ENDS_STAGE = (ReportState.FINISHED, ReportState.SKIPPED)


class Reports:
    """Writes what executors report."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._max_run_bytes = settings.max_run_results_bytes
        self._limits = Limits(
            max_result_bytes=settings.max_result_bytes, max_depth=settings.max_json_depth
        )

    async def write(self, reports: Sequence[Report], session: Session | None) -> list[Ack]:
        """Advance each report's task.

        :returns: an ack for each, in order
        :raises Unavailable: the database cannot be reached; nothing is acknowledged
        """
        leases = [Lease(r.id, r.job_id, r.epoch, r.nonce) for r in reports]
        pairs = [
            (report.id, self._event(report, lease, session))
            for report, lease in zip(reports, leases, strict=True)
            if report.state is not ReportState.PROGRESS
        ]
        outcomes = iter(await self._ledger.apply_all(pairs))
        acks = [
            OK if report.state is ReportState.PROGRESS else _ack(report, lease, next(outcomes))
            for report, lease in zip(reports, leases, strict=True)
        ]
        if session is not None:
            for report, lease, ack in zip(reports, leases, acks, strict=True):
                if ack is not OK and ack.state is not AckState.OK:
                    session.drop(lease)
                elif session.alone is not None and report.state in ENDS_STAGE:
                    session.cleared(lease)
        return acks

    def _event(self, report: Report, lease: Lease, session: Session | None) -> Event:
        state = report.state
        if state is ReportState.FINISHED or state is ReportState.SKIPPED:
            return self._finished(report, lease)
        if state is ReportState.FAILED:
            return StageFailed(lease=lease, stage=report.stage, error=_error(report))
        if state is ReportState.EXTEND:
            return StageExtended(lease=lease, stage=report.stage, seconds=report.seconds)
        return ExecutorLost(
            executor_id=session.executor_id if session else "",
            epoch=report.epoch,
            nonce=report.nonce,
            counted=False,
            outcome=Outcome.RELEASED,
        )

    def _finished(self, report: Report, lease: Lease) -> Event:
        try:
            check_raw(report.result, self._limits)
        except KaijuError as exc:
            error = TaskError(ErrorType.RESULT_TOO_LARGE, str(exc), report.stage, exc.data)
            return StageFailed(lease=lease, stage=report.stage, error=error)
        return StageFinished(
            lease=lease,
            stage=report.stage,
            result=report.result,
            skipped=report.state is ReportState.SKIPPED,
            max_run_bytes=self._max_run_bytes,
        )


def _error(report: Report) -> TaskError:
    error = report.error
    if error is None:
        return TaskError(ErrorType.EXECUTION, "the executor gave no reason", report.stage)
    return TaskError(error.type, error.message, report.stage, error.data)


def _ack(report: Report, lease: Lease, outcome: Step | BaseException) -> Ack:
    """ok when the lease goes on, released when this report ended it, else stale."""
    if isinstance(outcome, NotFound):
        return STALE
    if isinstance(outcome, BaseException):
        raise outcome
    row = outcome.row
    if outcome.stale:
        return STALE
    if row.status is TaskStatus.EXECUTED and row.epoch == lease.epoch and row.nonce == lease.nonce:
        if report.state is ReportState.EXTEND and row.exec_deadline is not None:
            return Ack(AckState.OK, exec_seconds=row.exec_deadline - row.status_change)
        return OK
    return RELEASED if outcome.changed else STALE
