"""One transition of one task: a working copy of its row, and the verbs that change it.

Each verb has one outcome. Only verbs write `status`; handlers compose them. The order of steps is
decided in `run.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.lifecycle.definition import BrokenDefinition, Command, Definition, RunEdit
from kaiju_tasks.lifecycle.lineage import WAIT_SECONDS
from kaiju_tasks.lifecycle.schedule import next_moment
from kaiju_tasks.lifecycle.state import (
    InboxMessage,
    Row,
    TaskState,
    method_gate,
    pause_gate,
    slot_gate,
)
from kaiju_tasks.lifecycle.statuses import EXECUTED, IDLE, QUEUED, SUSPENDED, WAITING
from kaiju_tasks.lifecycle.step import Attempt, Received, Revoke, Step, Wait
from kaiju_tasks.lifecycle.versions import Author, next_version, with_run_edit
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import (
    FAILED_ATTEMPTS,
    TASKS,
    MessageReceipt,
    Outcome,
    Pause,
    Reason,
    TaskError,
    TaskStatus,
)

NULL = Raw(b"null")
SUSPECT_LOSSES = 2

IN_LINE = frozenset({QUEUED, SUSPENDED})

# What copy.copy looks up on each call; msgspec's stubs do not declare it.
_copy_row: Callable[[Row], Row] = Row.__copy__  # type: ignore[attr-defined]
_encode_error = msgspec.json.Encoder().encode


def holds(row: Row, lease: Lease) -> bool:
    """Whether a lease is the one under which a task runs now."""
    return (
        row.nonce == lease.nonce
        and row.epoch == lease.epoch
        and row.job_id == lease.job_id
        and row.id == lease.id
    )


class Move:
    """A transition in progress: read `row`, call verbs, return `step`."""

    __slots__ = (
        "definition",
        "inbox",
        "not_before",
        "now",
        "pauses",
        "results",
        "row",
        "step",
        "task",
    )

    def __init__(self, task: TaskState, now: float) -> None:
        self.row = _copy_row(task.row)
        self.definition = task.definition
        self.results = task.results
        self.inbox = task.inbox
        self.task = task
        self.pauses = task.pauses
        self.now = now
        self.not_before: float | None = None
        self.step = Step(self.row)

    # -- reading ---------------------------------------------------------------------

    @property
    def command(self) -> Command:
        return self.definition.commands[self.row.stage]

    @property
    def at_hook(self) -> bool:
        """Whether the task waits at a hook, or is held by an operator while at one."""
        row = self.row
        return row.status is WAITING or row.held == WAITING

    @property
    def pause(self) -> Pause | None:
        """The pause that holds the task before its current stage, if any."""
        if not self.pauses:
            return None
        return self.pauses.holding(self.definition, self.row.stage, self.now)

    def holds(self, lease: Lease) -> bool:
        return holds(self.row, lease)

    def exec_spent(self) -> float:
        """Seconds of execution used so far, including the current lease."""
        row = self.row
        if row.executor_id is None:
            return row.exec_used
        return row.exec_used + max(0.0, self.now - row.status_change)

    def take(
        self, definition: Definition, rev: int, changed: Iterable[str], author: Author
    ) -> None:
        """Switch to another definition, which is a new version if something has changed."""
        row, old = self.row, self.definition
        definition = next_version(definition, old, changed, author, self.now)
        if definition.version != old.version:
            self.step.superseded = old.version
        self.definition = self.step.definition = definition
        row.rev = rev
        row.app_name, row.priority = definition.app_name, definition.priority

    @property
    def next_stage(self) -> int:
        """The first stage of the open run that has not begun, if no executor has the task."""
        return self.row.stage + 1 if self.at_hook else self.row.stage

    def edit_run(self, changed: list[str]) -> None:
        """Note that the new definition changes the open run from its next stage on."""
        assert self.row.job_id is not None
        edit = RunEdit(self.row.job_id, self.definition.version, self.next_stage, changed)
        self.definition = self.step.definition = with_run_edit(self.definition, edit)

    # -- statuses ----------------------------------------------------------------------

    def stand(self, status: TaskStatus, reason: Reason | None) -> None:
        row = self.row
        if row.status is not status:
            self.arrive(status, reason)
        elif row.reason != reason:
            row.reason, row.reason_change = reason, self.now

    def arrive(self, status: TaskStatus, reason: str | None) -> None:
        """Come to a status now, also if the task had it before: at another hook, in another run."""
        row = self.row
        row.status, row.reason = status, reason
        row.status_change, row.reason_change = self.now, None
        if status is not QUEUED:
            row.gate = None

    def idle(self, next_run: float | None) -> None:
        """Wait until `next_run`, outside the stream."""
        row = self.row
        row.next_run = next_run
        row.queue_deadline = row.queue_left = None
        row.ready = 0
        reason = Reason.RETRY if row.begun else None
        self.stand(IDLE, reason if row.enabled else Reason.DISABLED)

    def queue(self) -> None:
        """Enter the executor stream. A task that was held there keeps its place in the queue."""
        row = self.row
        if row.queued_at is None or row.status not in IN_LINE:
            row.queued_at = self.now
            row.queue_left = self.definition.max_queue_time
        if row.status is not QUEUED:
            self.step.events.append("task.queued")
        self.stand(QUEUED, self._reason_in_line())

    def _reason_in_line(self) -> Reason | None:
        """Set whether the task may be acquired, and return the reason for its status."""
        row = self.row
        row.gate = None
        pause = self.pause if row.enabled else None
        if not row.enabled or pause is not None:
            self._stop_queue_clock()
            row.ready = 0
            if pause is None:
                return Reason.DISABLED
            row.gate = pause_gate(pause.id)
            return Reason.PAUSED
        self._start_queue_clock()
        suspect = row.losses >= SUSPECT_LOSSES
        row.ready = 2 if suspect else 1
        return Reason.SUSPECT if suspect else Reason.RETRY if row.error else None

    def wait_for_slot(self) -> None:
        """Wait in the stream until a slot of the concurrency key is free."""
        row = self.row
        assert self.definition.slot_key is not None
        row.ready = 0
        row.gate = slot_gate(self.definition.slot_key)
        self.stand(QUEUED, Reason.CONCURRENCY)

    def wait_for_method(self) -> None:
        """Wait in the stream for an executor that announces the method of the current stage."""
        row = self.row
        row.gate = method_gate(self.command.method, suspect=row.losses >= SUSPECT_LOSSES)
        row.ready = 0
        self.stand(QUEUED, Reason.METHOD)

    def execute(self, executor_id: str, nonce: str) -> None:
        """Lease the task to an executor."""
        row = self.row
        row.executor_id, row.nonce = executor_id, nonce
        row.epoch += 1
        row.ready = 0
        row.queue_deadline = None
        row.exec_deadline = self.now + self.definition.max_exec_timeout - row.exec_used
        self.start_stage()
        self._limit_stage()
        self.stand(EXECUTED, None)

    def start_stage(self) -> None:
        row = self.row
        row.stage_started_at = self.now
        if row.run_started_at is None:
            row.run_started_at = self.now
            self.step.events.append("task.started")

    def _limit_stage(self) -> None:
        """Begin the `max_timeout` of the running stage."""
        limit = self.command.max_timeout
        self.row.stage_deadline = None if limit is None else self.now + limit

    def wait(self, reason: Reason, deadline: float | None) -> None:
        """Wait at a hook."""
        row = self.row
        row.ready = 0
        row.wait_deadline = deadline
        row.queue_deadline = row.queue_left = None
        self.arrive(WAITING, reason)
        self.step.events.append("task.waiting")

    def hold(self, status: TaskStatus, *, by_user: bool | None = None) -> None:
        """Suspend the task; at resume it continues in `status`.

        :param by_user: whether a user suspends it; by default, if one has before this transition
        """
        row = self.row
        if by_user is None:
            by_user = self.task.row.reason == Reason.USER
        if row.status is QUEUED:
            self._stop_queue_clock()
        else:
            row.queued_at = None
        row.held = status
        row.hold_next = False
        row.ready = 0
        self.stand(SUSPENDED, Reason.USER if by_user else Reason.OPERATOR)
        self.step.events.append("task.suspended")

    def show_next_run(self) -> None:
        """Set `next_run` to the next fire, unless it gives the time when the open run continues."""
        row = self.row
        if not (row.open and IDLE in (row.status, row.held)):
            row.next_run = next_moment(row, self.definition)

    def _stop_queue_clock(self) -> None:
        row = self.row
        if row.queue_deadline is not None:
            row.queue_left = max(0.0, row.queue_deadline - self.now)
            row.queue_deadline = None

    def _start_queue_clock(self) -> None:
        row = self.row
        if row.queue_left is not None:
            row.queue_deadline = self.now + row.queue_left
            row.queue_left = None

    # -- leases --------------------------------------------------------------------------

    def unlease(self) -> None:
        """End the lease; the execution time used under it still counts."""
        row = self.row
        if row.executor_id is not None:
            row.exec_used = self.exec_spent()
            row.executor_id = row.nonce = row.stage_started_at = None
            row.exec_deadline = row.stage_deadline = None

    def revoke(self) -> None:
        """Revoke the lease after the commit, if there is one."""
        row = self.row
        if row.executor_id is not None and row.nonce is not None and row.job_id is not None:
            lease = Lease(row.id, row.job_id, row.epoch, row.nonce)
            self.step.revoke = Revoke(row.executor_id, lease)

    def interrupt(self, outcome: Outcome, error: str | None = None) -> None:
        """Stop a running or waiting stage, if there is one, and record the attempt."""
        if self.row.status is EXECUTED or self.at_hook:
            self.record(outcome, error=error, rescued=outcome is Outcome.SUSPENDED)
        self.leave_children()
        self.revoke()
        self.unlease()

    def leave_children(self) -> None:
        """If the task waits for other tasks, end that wait; the tasks that it created and that
        have not ended will be cancelled."""
        row = self.row
        if self.at_hook and row.job_id is not None and self._waits_for_tasks():
            self.step.abandon = Wait(row.job_id, row.stage)

    def _waits_for_tasks(self) -> bool:
        if isinstance(self.definition, BrokenDefinition):  # it is deleted
            return self.row.reason == Reason.TASKS
        return self.command.method == TASKS

    # -- stages --------------------------------------------------------------------------

    def stage_done(self, result: Raw, outcome: Outcome = Outcome.FINISHED) -> None:
        """Store the current stage's result and advance to the next stage."""
        row = self.row
        if row.chain is not None and self.at_hook:
            self._end_chain_after_a_wait()
        self.record(outcome, result=result)
        if self.definition.hook_results:
            self.results = {**self.results, row.stage: result}
        row.stage += 1
        row.attempt = row.losses = row.fruitless = 0
        row.result_bytes += len(result)
        row.wait_deadline = row.error = row.exit_code = None
        row.stage_started_at = self.now
        if row.executor_id is not None and row.stage < row.stages:
            self._limit_stage()
        self.step.events.append("task.stage")

    def _end_chain_after_a_wait(self) -> None:
        since = self.row.stage_started_at
        if since is not None and self.now >= since + WAIT_SECONDS:
            self.row.chain = None

    def record(
        self,
        outcome: Outcome,
        *,
        result: Raw | None = None,
        error: str | None = None,
        rescued: bool = False,
    ) -> None:
        """Append the current attempt to the history."""
        if outcome in FAILED_ATTEMPTS:
            self.step.events.append("task.attempt_failed")
        row = self.row
        row.attempt += 1
        command = self.command
        assert row.job_id is not None
        self.step.attempts.append(
            Attempt(
                row.job_id,
                row.stage,
                row.cycle,
                row.attempt,
                command.method,
                command.name,
                row.executor_id,
                row.queued_at if row.executor_id is not None else None,
                row.stage_started_at,
                self.now,
                outcome,
                rescued,
                result,
                error,
                self.definition.version,
            )
        )

    def error(self, type: str, message: str, data: Any = None) -> str:
        """The JSON of an error of the current stage."""
        row = self.row
        stage = row.stage if row.stage < row.stages else None
        return _encode_error(TaskError(type, message or type, stage, data)).decode()

    # -- messages ------------------------------------------------------------------------

    def consume(self, message: InboxMessage) -> None:
        """Make a message the result of the current stage."""
        taken = msgspec.structs.replace(message, consumed=True)
        self.inbox = tuple(taken if m is message else m for m in self.inbox)
        self.step.consumed.append(message.message_id)
        self.stage_done(message.data)

    def replay_messages(self) -> None:
        """Make the run's consumed messages available again."""
        if self.step.inbox != "clear":  # those of the run before stay dropped
            self.step.inbox = "replay"
        self.step.consumed.clear()
        self.inbox = tuple(msgspec.structs.replace(m, consumed=False) for m in self.inbox)

    def drop_messages(self) -> None:
        """Delete the messages of the run, and keep their ids."""
        if self.inbox:
            ids = [message.message_id for message in self.inbox]
            self.step.received = Received(self.row.job_id, ids)
        if self.definition.takes_messages:
            self.step.inbox = "clear"
            self.step.consumed.clear()
            self.step.message = None
            self.inbox = ()

    # -- answers ---------------------------------------------------------------------------

    def nothing(self) -> None:
        """The event has no effect: it is late, early or repeated."""
        self.step.changed = False

    def stale(self) -> None:
        self.step.changed = False
        self.step.stale = True

    def receipt(self, state: Any, message_id: str, reason: str | None = None) -> None:
        accepted = state != "rejected"
        self.step.receipt = MessageReceipt(accepted, state, message_id, reason)
