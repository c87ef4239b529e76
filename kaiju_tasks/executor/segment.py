"""Runs one assignment: its stages one after another, each reported and acknowledged."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Raw

from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.executor.outbox import Entry, Outbox
from kaiju_tasks.executor.places import PLACE_SECONDS
from kaiju_tasks.executor.runtime import Runtime
from kaiju_tasks.executor.stage import NULL, Stage
from kaiju_tasks.protocol import (
    STAGE_DONE,
    WHILE_RUNNING,
    Ack,
    AckState,
    Assignment,
    Lease,
    Report,
    ReportError,
    ReportState,
)
from kaiju_tasks.templates import StageData

__all__ = ["Segment", "Token", "token_of"]

Token = tuple[str, str, int, str]
"""The id, job id, epoch and nonce of a lease. All four must match."""


def token_of(lease: Lease | Assignment) -> Token:
    """The token of a lease or an assignment."""
    return lease.id, lease.job_id, lease.epoch, lease.nonce


def _replaceable(entry: Entry) -> bool:
    return not entry.sent and entry.report.state is ReportState.PROGRESS


class Segment:
    """Runs an assignment until its last command, a failure, a release or a revocation.

    :param gone: called once, when the lease is no longer held
    """

    __slots__ = (
        "_data",
        "_ending",
        "_exec_seconds",
        "_gone",
        "_held",
        "_interim",
        "_leaving",
        "_outbox",
        "_position",
        "_runtime",
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
        self._data = StageData(
            assignment.id,
            assignment.job_id,
            assignment.kws,
            assignment.scheduled_at,
            assignment.results,
            {} if executor is None else executor.data,
        )
        self._exec_seconds = assignment.exec_seconds
        self._position = 0
        self._stage: Stage | None = None
        self._leaving = False
        self._held = False
        self._ending: Entry | None = None
        self._interim: list[Entry] = []

    @property
    def running(self) -> bool:
        """Whether a stage runs, rather than only a report waits for its ack."""
        return self._stage is not None

    @property
    def needs_place(self) -> bool:
        """Whether the current command runs in a thread or a process."""
        assignment = self.assignment
        method = assignment.commands[self._position].method
        return self._runtime.needs_place(assignment.app_name, method)

    def seconds_left(self, task: "asyncio.Task[object]") -> float | None:
        """The seconds that are left to the current stage, if its command runs in this task."""
        stage = self._stage
        return stage.seconds_left() if stage is not None and stage.runs_in(task) else None

    def lease(self) -> Lease:
        return Lease(*self.token)

    def start(self) -> None:
        """Start the command at the current position, as soon as the lease is known to stand."""
        self._held = True
        self._runtime.gate.when_open(self._begin)

    def _begin(self) -> None:
        if not self._held:  # released or dropped meanwhile
            return
        if not self.needs_place:
            self._begin_stage()
            return
        self._runtime.places.wait(self._begin_in_place)
        if self._held:
            over = partial(self._place_not_found, self._position)
            self._runtime.clock.call_later(PLACE_SECONDS, over)

    def _begin_in_place(self) -> bool:
        if self._held:
            self._begin_stage(self._runtime.places.leave)
            return True
        return False

    def _place_not_found(self, position: int) -> None:
        if self._held and self._position == position:
            self._runtime.found_no_place()
            self.release(waited=True)

    def _begin_stage(self, leave_place: Callable[[], None] | None = None) -> None:
        self._held = False
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
            info,
            command,
            self._exec_seconds,
            self._data,
            self._runtime,
            self._on_report,
            leave_place,
            self._call_manager,
            lease=self.lease(),
        )
        self._stage.start()

    def _index(self) -> int:
        return self.assignment.stage + self._position

    async def _call_manager(self, stage: int, method: str, params: dict[str, Any]) -> Any:
        return await self._runtime.calls.call(self.lease(), stage, method, params)

    def _on_report(
        self, state: ReportState, result: Raw, error: ReportError | None, seconds: float
    ) -> None:
        if state in WHILE_RUNNING:
            self._put_interim(state, result, seconds)
            return
        self._stage = None
        self._exec_seconds -= seconds
        if state in STAGE_DONE:
            name = self.assignment.commands[self._position].name
            self._data.add(self._index(), name, result)
        self._put(state, result, error, seconds, waited=state is ReportState.RELEASED)

    def _put_interim(self, state: ReportState, result: Raw, seconds: float) -> None:
        report = self._report(state, result, None, seconds)
        self._interim = [entry for entry in self._interim if not entry.dead]
        last = self._interim[-1] if self._interim else None
        if state is ReportState.PROGRESS and last is not None and _replaceable(last):
            last.report = report
            return
        stage = self._stage

        def on_ack(ack: Ack) -> None:
            if ack.state is not AckState.OK:
                self.drop()
            elif state is ReportState.EXTEND and stage is not None:
                stage.extended(seconds, ack.exec_seconds)

        self._interim.append(self._outbox.put(report, on_ack))

    def _put(
        self,
        state: ReportState,
        result: Raw,
        error: ReportError | None,
        seconds: float,
        *,
        waited: bool = False,
    ) -> None:
        report = self._report(state, result, error, seconds)
        report.waited = waited
        continues = state in STAGE_DONE

        def on_ack(ack: Ack) -> None:
            self._acknowledged(ack, continues)

        self._ending = self._outbox.put(report, on_ack)

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

    def _acknowledged(self, ack: Ack, continues: bool) -> None:
        if self.over:
            return
        self._ending = None
        last = self._position + 1 >= len(self.assignment.commands)
        if ack.state is not AckState.OK or not continues or last:
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
        """Release the task after the current stage, or now if no stage has begun."""
        if self._held:
            self.release()
        self._leaving = True

    def release(self, *, waited: bool = False) -> None:
        """Release the task now. The report of a stage that has already ended is still sent.

        :param waited: because the stage has waited in vain for a place
        """
        self._leaving = True
        if self._ending is not None:
            return
        self._stop()
        self._put(ReportState.RELEASED, NULL, None, 0.0, waited=waited)

    def drop(self) -> None:
        """Stop without further reports: the lease has ended."""
        if self.over:
            return
        self._stop()
        self._forget_entries()
        self._finish()

    def _stop(self) -> None:
        self._held = False
        if self._stage is not None:
            self._stage.end_lease()
            self._stage = None

    def _forget_entries(self) -> None:
        if self._ending is not None:
            self._ending.dead = True
        for entry in self._interim:
            entry.dead = True

    def _finish(self) -> None:
        self.over = True
        self._gone(self)
