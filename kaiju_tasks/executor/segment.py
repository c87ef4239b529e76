"""One assignment at work: its stages one by one, each reported and acknowledged."""

from collections.abc import Callable

from msgspec import Raw

from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.executor.outbox import Entry, Outbox
from kaiju_tasks.executor.runtime import Runtime
from kaiju_tasks.executor.scope import Scope
from kaiju_tasks.executor.stage import NULL, Stage
from kaiju_tasks.protocol import (
    STAGE_DONE,
    Ack,
    AckState,
    Assignment,
    Lease,
    Report,
    ReportError,
    ReportState,
)

__all__ = ["Segment", "Token", "token_of"]

Token = tuple[str, str, int, str]
"""What names a lease; all four must match."""

_WHILE_RUNNING = frozenset({ReportState.PROGRESS, ReportState.EXTEND})


def token_of(lease: Lease | Assignment) -> Token:
    """The token of a lease, or of the assignment that came with it."""
    return lease.id, lease.job_id, lease.epoch, lease.nonce


def _replaceable(entry: Entry) -> bool:
    return not entry.sent and entry.report.state is ReportState.PROGRESS


class Segment:
    """Runs an assignment up to its last command, or until it is over for another reason.

    :param gone: called once, when the lease is not held any more
    """

    __slots__ = (
        "_ending",
        "_exec_seconds",
        "_gone",
        "_leaving",
        "_meanwhile",
        "_outbox",
        "_position",
        "_runtime",
        "_scope",
        "_stage",
        "assignment",
        "over",
        "token",
    )

    def __init__(
        self,
        assignment: Assignment,
        runtime: Runtime,
        outbox: Outbox,
        gone: "Callable[[Segment], None]",
    ) -> None:
        executor = runtime.executors.get(assignment.app_name)
        self.assignment = assignment
        self.token = token_of(assignment)
        self.over = False
        self._runtime = runtime
        self._outbox = outbox
        self._gone = gone
        self._scope = Scope(assignment, {} if executor is None else executor.data)
        self._exec_seconds = assignment.exec_seconds
        self._position = 0
        self._stage: Stage | None = None
        self._leaving = False
        self._ending: Entry | None = None
        self._meanwhile: list[Entry] = []

    @property
    def running(self) -> bool:
        """Whether a stage is at work, and not only a report on its way."""
        return self._stage is not None

    def lease(self) -> Lease:
        return Lease(*self.token)

    def start(self) -> None:
        """Begin with the first command."""
        assignment = self.assignment
        command = assignment.commands[self._position]
        info = StageInfo(
            task_id=assignment.id,
            job_id=assignment.job_id,
            app_name=assignment.app_name,
            method=command.method,
            stage=self._index(),
            attempt=assignment.attempt if self._position == 0 else 1,
            cycle=assignment.cycle,
            scheduled_at=assignment.scheduled_at,
        )
        self._stage = Stage(
            info, command, self._exec_seconds, self._scope, self._runtime, self._say
        )
        self._stage.start()

    def _index(self) -> int:
        return self.assignment.stage + self._position

    def _say(
        self, state: ReportState, result: Raw, error: ReportError | None, seconds: float
    ) -> None:
        if state in _WHILE_RUNNING:
            self._say_meanwhile(state, result, seconds)
            return
        self._stage = None
        self._exec_seconds -= seconds
        if state in STAGE_DONE:
            name = self.assignment.commands[self._position].name
            self._scope.add(self._index(), name, result)
        self._put(state, result, error, seconds)

    def _say_meanwhile(self, state: ReportState, result: Raw, seconds: float) -> None:
        report = self._report(state, result, None, seconds)
        self._meanwhile = [entry for entry in self._meanwhile if not entry.dead]
        last = self._meanwhile[-1] if self._meanwhile else None
        if state is ReportState.PROGRESS and last is not None and _replaceable(last):
            last.report = report
            return
        stage = self._stage

        def heard(ack: Ack) -> None:
            if ack.state is not AckState.OK:
                self.drop()
            elif state is ReportState.EXTEND and stage is not None:
                stage.extended(seconds, ack.exec_seconds)

        self._meanwhile.append(self._outbox.put(report, heard))

    def _put(
        self, state: ReportState, result: Raw, error: ReportError | None, seconds: float
    ) -> None:
        report = self._report(state, result, error, seconds)
        goes_on = state in STAGE_DONE

        def heard(ack: Ack) -> None:
            self._heard(ack, goes_on)

        self._ending = self._outbox.put(report, heard)

    def _report(
        self, state: ReportState, result: Raw, error: ReportError | None, seconds: float
    ) -> Report:
        id_, job_id, epoch, nonce = self.token
        return Report(
            id=id_,
            job_id=job_id,
            epoch=epoch,
            nonce=nonce,
            stage=self._index(),
            state=state,
            result=result,
            error=error,
            seconds=seconds,
        )

    def _heard(self, ack: Ack, goes_on: bool) -> None:
        if self.over:
            return
        self._ending = None
        last = self._position + 1 >= len(self.assignment.commands)
        if ack.state is not AckState.OK or not goes_on or last:
            self._finish()
            return
        self._position += 1
        if ack.exec_seconds is not None:
            self._exec_seconds = ack.exec_seconds
        if self._leaving:
            self._put(ReportState.RELEASED, NULL, None, 0.0)
        else:
            self.start()

    def leave(self) -> None:
        """Give the task back after the stage that runs now."""
        self._leaving = True

    def release(self) -> None:
        """Give the task back now. A stage that ended already keeps its report."""
        self._leaving = True
        if self._ending is not None:
            return
        if self._stage is not None:
            self._stage.stop()
            self._stage = None
        self._put(ReportState.RELEASED, NULL, None, 0.0)

    def drop(self) -> None:
        """Stop, and say nothing more: the lease is not ours."""
        if self.over:
            return
        if self._stage is not None:
            self._stage.stop()
            self._stage = None
        self._forget_entries()
        self._finish()

    def _forget_entries(self) -> None:
        if self._ending is not None:
            self._ending.dead = True
        for entry in self._meanwhile:
            entry.dead = True

    def _finish(self) -> None:
        self.over = True
        self._gone(self)
