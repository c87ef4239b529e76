"""What must hold at every commit, seen from outside: a second, much smaller model of tasks."""

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.executor import Context
from kaiju_tasks.lifecycle import Attempt, Definition, Row, Step, at_method
from kaiju_tasks.lifecycle.lineage import Chain
from kaiju_tasks.manager.executors import room
from kaiju_tasks.protocol import AckState, Lease, Report, ReportState, WriteStageResult
from kaiju_tasks.store import ExecutorRow
from kaiju_tasks.types import MESSAGE, ErrorType, ExecutorStatus, TaskEvent, TaskStatus
from tests.simulation.database import StoreLine
from tests.simulation.executor import SimExecutor
from tests.simulation.invariants import Invariant
from tests.simulation.manager import SimManager
from tests.simulation.network import Wire
from tests.simulation.trace import EPOCH, Trace

ENDED = (TaskStatus.FINISHED, TaskStatus.FAILED)
SAID = (ReportState.FINISHED, ReportState.FAILED)
SUCCESS = ("FINISHED", "SKIPPED")
STARTS_MAX = 100
"""More than the tasks of a seed need to go once around any circle of theirs."""
LOSSES_MAX = 3
ROUGHLY = 1.5
"""The sizes of assignments are estimated before they are read."""


def _left(row: Row, epoch: float) -> float:
    """What is left of the time that a task may wait or run, by a clock that began at `epoch`."""
    if row.due_at is None or row.status not in (
        TaskStatus.EXECUTED,
        TaskStatus.WAITING,
        TaskStatus.QUEUED,
    ):
        return 0.0
    return row.due_at - epoch


class _Frame(Struct):
    method: str = ""
    id: Any = None
    params: Raw = Raw(b"{}")
    result: Raw = Raw()


class _Task(Struct):
    id: str
    epoch: int
    nonce: str


class _Run(Struct):
    tasks: list[_Task]


class _Reports(Struct):
    reports: list[Report]


_frame = msgspec.json.Decoder(_Frame).decode
_reports = msgspec.json.Decoder(_Reports).decode
_run = msgspec.json.Decoder(_Run).decode
_acks = msgspec.json.Decoder(WriteStageResult).decode
_result_number = re.compile(rb'^\{"n":(\d+)').search
_error_number = re.compile(r"execution (\d+)").search


class Mail(Struct):
    """A message of a run."""

    name: str | None
    data: bytes
    consumed: bool = False


class Execution(Struct):
    """One begin of a stage's code."""

    executor: str
    task_id: str
    job_id: str
    stage: int
    epoch: int | None


class Oracle:
    """Watches commits, frames and executions, and says what is wrong.

    :ivar rows: every task as it was last committed
    :ivar results: committed results by (job_id, cycle), then stage
    :ivar children: ids of tasks that stages created
    :ivar spoilt: tasks whose definition was made unreadable
    :ivar dead: names of executors that were killed
    :ivar dated: tasks whose next fire was a first run at a date when the clock was set
    """

    def __init__(self, trace: Trace, lease_seconds: float) -> None:
        self._trace = trace
        self._lease_seconds = lease_seconds
        self.now = 0.0
        self.epoch = EPOCH
        self.jumped = (0.0, 0.0)
        self.jumped_over: set[str] = set()
        self.dated: set[str] = set()
        self.spoilt: set[str] = set()
        self.rows: dict[str, Row] = {}
        self.definitions: dict[str, Definition] = {}
        self.results: dict[tuple[str, int], dict[int, bytes]] = {}
        self.owner: dict[str, str] = {}
        self.closed: set[str] = set()
        self.heard: set[tuple[str, str]] = set()
        self.mail: dict[str, dict[str, Mail]] = {}
        self.stored_messages: set[tuple[str, str]] = set()
        self.received: dict[str, set[str]] = {}
        self.decided: set[tuple[str, float]] = set()
        self.deleted: set[str] = set()
        self.children: list[str] = []
        self.executions: list[Execution] = []
        self.stored: set[int] = set()
        self.tokens: set[tuple[str, int, str]] = set()
        self.sent: set[tuple[str, str | None]] = set()
        self.begun: set[tuple[str, str, str, int, int]] = set()
        self.lost: set[tuple[str, int, str]] = set()
        self.dead: set[str] = set()
        self.connected_to: dict[tuple[str, str], str] = {}
        self.session: dict[str, str] = {}
        self.attempt: dict[str, int] = {}
        self.stats: dict[str, int] = {}

    def count(self, what: str) -> None:
        self.stats[what] = self.stats.get(what, 0) + 1

    def _wrong(self, invariant: Invariant, task_id: str, text: str) -> None:
        self._trace.violated(invariant, f"task {task_id}: {text}")

    # -- executors --------------------------------------------------------------------------

    def began(self, executor: SimExecutor, ctx: Context) -> int:
        """A stage's code begins: at most once under one lease."""
        name, n = executor.process.name, len(self.executions)
        assert executor.runner is not None
        leases = [
            lease
            for segment in executor.runner._segments.values()
            if (lease := segment.lease()).id == ctx.task_id and lease.job_id == ctx.job_id
        ]
        epoch = leases[0].epoch if leases else None
        self.executions.append(Execution(name, ctx.task_id, ctx.job_id, ctx.stage, epoch))
        self._trace(name, f"runs {ctx.task_id}/{ctx.stage} {ctx.method} n={n}")
        self.count("execution")
        if ctx.method not in executor.announced:
            self._wrong(
                Invariant.BEGUN_WHERE_ANNOUNCED,
                ctx.task_id,
                f"stage {ctx.stage} begins, but {name} does not announce {ctx.method}",
            )
        for lease in leases:
            if (lease.id, lease.epoch, lease.nonce) in self.lost:
                self._wrong(
                    Invariant.BEGUN_IN_TIME,
                    ctx.task_id,
                    f"stage {ctx.stage} begins although {name} was expelled",
                )
            key = (name, lease.job_id, lease.nonce, lease.epoch, ctx.stage)
            if key in self.begun:
                self._wrong(
                    Invariant.BEGUN_ONCE,
                    ctx.task_id,
                    f"stage {ctx.stage} begins twice under one lease",
                )
            self.begun.add(key)
        return n

    def asked(self, wire: Wire, frame: bytes) -> None:
        message = _frame(frame)
        if message.method == "manager.write_stage":
            wire.open_reports[message.id] = _reports(message.params).reports

    def answered(self, wire: Wire, frame: bytes) -> None:
        """A manager acknowledges: then it must be in the database already."""
        message = _frame(frame)
        if message.method == "executor.run":
            self.sent |= {(task.id, task.nonce) for task in _run(message.params).tasks}
        reports = None if message.method else wire.open_reports.get(message.id)
        if reports is None or not bytes(message.result):
            return
        for report, ack in zip(reports, _acks(message.result).acks, strict=True):
            self.count(f"ack {ack.state}")
            n = _number(report)
            if report.id in self.spoilt:
                continue  # its task may have failed in place of the report
            if ack.state is not AckState.STALE and n is not None and n not in self.stored:
                self._wrong(
                    Invariant.ACK_AFTER_COMMIT,
                    report.id,
                    f"stage {report.stage} execution {n}: {ack.state} before its commit",
                )

    def waits(self, wire: Wire, frame: bytes) -> None:
        """A manager sends assignments, which wait in its socket beside earlier ones."""
        if wire.untaken > max(ROUGHLY * room.UNTAKEN_BYTES, len(frame)):
            self._wrong(
                Invariant.CREDIT_IN_BYTES,
                wire.executor.name,
                f"{wire.untaken} bytes of assignments wait in the socket",
            )
        for task in _run(_frame(frame).params).tasks:
            row = self.rows.get(task.id)
            if row is not None and row.epoch < task.epoch:
                self._wrong(
                    Invariant.SENT_AFTER_COMMIT,
                    task.id,
                    f"epoch {task.epoch} is sent, and epoch {row.epoch} is committed",
                )
            elif row is None and task.id not in self.deleted:
                self._wrong(Invariant.SENT_AFTER_COMMIT, task.id, "it is sent and does not exist")

    # -- commits ----------------------------------------------------------------------------

    def committed(self, line: StoreLine, steps: list[Step], executors: list[ExecutorRow]) -> None:
        who = line.process.name
        for executor in executors:
            self.connected_to.setdefault((executor.id, executor.session), who)
            self.session[executor.id] = executor.session
            self._newest(executor)
            self._trace(who, f"executor {executor.id} is {executor.status}")
            if executor.status is ExecutorStatus.LOST:
                self._lost(line, executor)
        expelled = {one.id for one in executors if one.status is ExecutorStatus.LOST}
        for step in steps:
            row = step.row
            self._trace(who, _describe(step))
            before = self.rows.get(row.id)
            if before is not None and before.executor_id in expelled:
                self.lost.add((row.id, before.epoch, before.nonce or ""))
            self._step(step, before)
            self._leased_here(who, row, self.rows.get(row.id))
            if step.deleted:
                self._forget(row.id)
            else:
                self.rows[row.id] = row
                if step.definition is not None:
                    self.definitions[row.id] = step.definition
                    if step.definition.parent_id is not None and row.id not in self.children:
                        self.children.append(row.id)
                self._standing(step)
        self._next_tasks(steps)

    def _newest(self, executor: ExecutorRow) -> None:
        before = self.attempt.get(executor.id, 0)
        self.attempt[executor.id] = executor.attempt
        if executor.attempt < before:
            self._trace.violated(
                Invariant.NEWEST_CONNECT_COUNTS,
                f"connect {executor.attempt} of {executor.id} replaces {before}",
            )

    def _lost(self, line: StoreLine, executor: ExecutorRow) -> None:
        self.count("expelled")
        since = self.now - line.failed_at
        closed_at = line.saw_close.get((executor.id, executor.session), float("-inf"))
        if since < self._lease_seconds and closed_at < line.failed_at:
            self._trace.violated(
                Invariant.SIGHT_BEFORE_JUDGEMENT,
                f"executor {executor.id} is expelled by {line.process.name} only {since:.2f} s "
                "after it lost its database",
            )
        if executor.lease_until > self.epoch + self.now:
            self._trace.violated(
                Invariant.LEASES_ARE_KEPT,
                f"executor {executor.id} is expelled before its lease ends",
            )

    def _forget(self, task_id: str) -> None:
        self.deleted.add(task_id)
        self.rows.pop(task_id, None)
        self.mail.pop(task_id, None)
        self.received.pop(task_id, None)
        for job_id in [job for job, owner in self.owner.items() if owner == task_id]:
            del self.owner[job_id]
            for key in [key for key in self.results if key[0] == job_id]:
                del self.results[key]

    def _step(self, step: Step, before: Row | None) -> None:
        row = step.row
        task_id = row.id
        if before is not None and not step.deleted and row.version != before.version + 1:
            self._wrong(
                Invariant.VERSIONS_RISE,
                task_id,
                f"version goes from {before.version} to {row.version}",
            )
        if row.job_id is not None:
            self.owner[row.job_id] = task_id
        self._leases(row, before)
        if (copy := step.copy_results) is not None:
            kept = self.results.get((copy.from_job, copy.from_cycle), {})
            self.results[copy.to_job, 0] = {s: r for s, r in kept.items() if s < copy.stages}
        for attempt in step.attempts:
            self._attempt(task_id, attempt, before)
            self._timeout(attempt, before)
        self._runs(step, before)
        self._messages(step)

    def _leased_here(self, who: str, row: Row, before: Row | None) -> None:
        """Only the manager to which an executor has connected last may lease to it."""
        executor_id = row.executor_id
        if executor_id is None or (before is not None and before.epoch == row.epoch):
            return
        manager = self.connected_to.get((executor_id, self.session.get(executor_id, "")))
        if manager != who:
            self._wrong(
                Invariant.LEASED_WHERE_CONNECTED,
                row.id,
                f"{who} leases it to {executor_id}, which is at {manager}",
            )

    def _leases(self, row: Row, before: Row | None) -> None:
        epoch = 0 if before is None else before.epoch
        if row.executor_id is None:
            if row.epoch != epoch:
                self._wrong(Invariant.EPOCHS_RISE, row.id, "the epoch changes without a lease")
            return
        if before is not None and (before.executor_id, before.nonce) == (
            row.executor_id,
            row.nonce,
        ):
            return
        if row.epoch != epoch + 1:
            self._wrong(
                Invariant.EPOCHS_RISE, row.id, f"a new lease has epoch {row.epoch} after {epoch}"
            )
        token = (row.id, row.epoch, row.nonce or "")
        if token in self.tokens and row.id not in self.deleted:
            self._wrong(Invariant.EPOCHS_RISE, row.id, "a lease's token is given twice")
        self.tokens.add(token)
        self.count("lease")

    def _attempt(self, task_id: str, attempt: Attempt, before: Row | None) -> None:
        key = (attempt.job_id, attempt.cycle)
        n = None if attempt.executor_id is None else _number_of(attempt)
        if n is not None:
            self._from_holder(task_id, attempt, n, before)
        if attempt.outcome in SUCCESS:
            done = self.results.setdefault(key, {})
            if attempt.stage in done:
                self._wrong(
                    Invariant.ONE_RESULT, task_id, f"stage {attempt.stage} of {key} has two results"
                )
            assert attempt.result is not None
            done[attempt.stage] = bytes(attempt.result)
        if attempt.rescued:
            self.count("rescued")

    def _timeout(self, attempt: Attempt, before: Row | None) -> None:
        if before is None or before.nonce is None:  # it has waited at a hook
            return
        error = msgspec.json.decode(attempt.error) if attempt.error is not None else {}
        late = error.get("type") == ErrorType.EXEC_TIMEOUT  # not one of a child
        if before.executor_id in self.dead:  # it never compared its leases with the manager
            return
        if late and (before.id, before.nonce) not in self.sent:
            self._wrong(
                Invariant.SENT_BEFORE_TIMEOUT,
                before.id,
                f"the lease with epoch {before.epoch} of {before.executor_id} was never sent",
            )

    def _from_holder(self, task_id: str, attempt: Attempt, n: int, before: Row | None) -> None:
        """What is stored was said by the executor that held the lease, of that very stage."""
        ran = self.executions[n]
        self.stored.add(n)
        said = (ran.executor, ran.epoch, ran.task_id, ran.job_id, ran.stage)
        held = (before.executor_id, before.epoch) if before is not None else (None, None)
        if said != (*held, task_id, attempt.job_id, attempt.stage):
            self._wrong(
                Invariant.HOLDER_REPORTS,
                task_id,
                f"stage {attempt.stage} takes the report of execution {n} {said}, "
                f"but {held} holds the lease",
            )

    def _runs(self, step: Step, before: Row | None) -> None:
        row = step.row
        ended = {run.job_id for run in step.runs if run.job_id is not None}
        for run in step.runs:
            self.count(f"run {run.status}")
            if run.job_id is None:
                if run.note is None or not run.note.startswith("skipped"):
                    self._decide(row.id, run.scheduled_at)
            elif run.job_id in self.closed:
                self._wrong(Invariant.RUNS_END_ONCE, row.id, f"run {run.job_id} ends twice")
            else:
                self.closed.add(run.job_id)
        if before is not None and before.begun and not step.deleted:
            over = not row.open or row.job_id != before.job_id
            if over and before.job_id not in ended:
                self._wrong(
                    Invariant.RUNS_END_ONCE, row.id, f"run {before.job_id} is over without a record"
                )
        if row.open and row.job_id in self.closed and not step.deleted:
            self._wrong(Invariant.RUNS_END_ONCE, row.id, f"run {row.job_id} is open again")
        if row.open and (before is None or before.job_id != row.job_id):
            self._decide(row.id, row.scheduled_at)

    def published(self, manager: SimManager, event: TaskEvent) -> None:
        """A subscriber hears of something: it is committed, and heard once."""
        elsewhere = manager.manager is not None and event.manager_id != manager.manager.id
        self.count("event of another manager" if elsewhere else "event")
        if event.event in ("task.finished", "task.failed"):
            if event.job_id not in self.closed:
                self._wrong(
                    Invariant.EVENTS_AFTER_COMMIT,
                    event.id,
                    f"{event.event} of {event.job_id} is published before its commit",
                )
            heard = (manager.process.name, event.job_id or "")
            if heard in self.heard:
                self._wrong(
                    Invariant.EVENTS_ONCE, event.id, f"the end of {event.job_id} is published twice"
                )
            self.heard.add(heard)

    def stepped(self, step: float, rows: list[Row]) -> None:
        """The database's clock was set: times that count from a moment have moved with it."""
        old = self.epoch + self.now
        self.jumped = (old, old + step) if step > 0 else (0.0, 0.0)
        self.jumped_over = set()
        self.dated = {row.id for row in rows if self._is_dated(row)}
        self.epoch += step
        self.count("step")
        for row in rows:
            before = self.rows[row.id]
            left, had = _left(row, self.epoch), _left(before, self.epoch - step)
            if abs(left - had) > 0.001:
                self._wrong(Invariant.SPANS_ARE_KEPT, row.id, f"{had} s became {left} s")
            self.rows[row.id] = row

    def _is_dated(self, row: Row) -> bool:
        """Whether its next fire is a first run at a date, which does not move with the clock."""
        definition = self.definitions[row.id]
        return row.explicit and not definition.delayed and definition.scheduled

    def _jump(self, task_id: str, scheduled_at: float) -> None:
        since, until = self.jumped
        definition = self.definitions.get(task_id)
        if definition is None or not since < scheduled_at < until:
            return
        if definition.cron is None and task_id not in self.dated:
            return
        if task_id in self.jumped_over:
            self._wrong(
                Invariant.JUMPED_FIRES_ARE_ONE,
                task_id,
                f"the fire of {scheduled_at} is not the only one between {since} and {until}",
            )
        self.jumped_over.add(task_id)

    def _decide(self, task_id: str, scheduled_at: float | None) -> None:
        if scheduled_at is None:
            return
        self._jump(task_id, scheduled_at)
        if (task_id, scheduled_at) in self.decided:
            self._wrong(
                Invariant.FIRES_ONCE, task_id, f"the fire of {scheduled_at} is decided twice"
            )
        self.decided.add((task_id, scheduled_at))

    def _messages(self, step: Step) -> None:
        task_id = step.row.id
        box = self.mail.setdefault(task_id, {})
        if step.inbox == "clear":
            box.clear()
        elif step.inbox == "replay":
            for mail in box.values():
                mail.consumed = False
        if (message := step.message) is not None:
            if message.message_id in box:
                self._wrong(
                    Invariant.MESSAGES_ONCE,
                    task_id,
                    f"message {message.message_id} is stored twice",
                )
            box[message.message_id] = Mail(message.name, bytes(message.data))
        if step.receipt is not None and step.receipt.accepted:
            self._receive(task_id, step.receipt.message_id)
        for message_id in step.consumed:
            self._consume(task_id, message_id, box)

    def _receive(self, task_id: str, message_id: str) -> None:
        """A task receives a message once, in whichever run."""
        self.stored_messages.add((task_id, message_id))
        received = self.received.setdefault(task_id, set())
        if message_id in received:
            self._wrong(Invariant.MESSAGES_ONCE, task_id, f"message {message_id} is received twice")
        received.add(message_id)

    def _consume(self, task_id: str, message_id: str, box: dict[str, Mail]) -> None:
        mail = box.get(message_id)
        if mail is None or mail.consumed:
            self._wrong(
                Invariant.MESSAGES_ONCE,
                task_id,
                f"message {message_id} is consumed twice, or from nowhere",
            )
        else:
            mail.consumed = True
            self.count("message consumed")

    # -- where tasks stand ---------------------------------------------------------------------

    def _standing(self, step: Step) -> None:
        row, definition = step.row, self.definitions[step.row.id]
        if row.job_id is not None:
            done = self.results.get((row.job_id, row.cycle), {})
            if set(done) != set(range(row.stage)):
                self._wrong(
                    Invariant.STAGE_AFTER_RESULTS,
                    row.id,
                    f"at stage {row.stage} with results of {sorted(done)}",
                )
        if row.retries > definition.max_retries:
            self._wrong(
                Invariant.BOUNDED_TRIES,
                row.id,
                f"{row.retries} retries of {definition.max_retries}",
            )
        if row.losses > LOSSES_MAX:
            self._wrong(Invariant.BOUNDED_TRIES, row.id, f"{row.losses} losses of a stage")
        if row.status is TaskStatus.FINISHED and (
            row.stage != row.stages or row.error is not None or row.exit_code != 0
        ):
            self._wrong(
                Invariant.ENDS_ARE_WHOLE, row.id, "FINISHED with an error, or before its last stage"
            )
        starts = 0 if row.chain is None else msgspec.json.decode(row.chain, type=Chain).starts
        if starts > STARTS_MAX:
            self._wrong(Invariant.CIRCLES_END, row.id, f"{starts} starts without a wait")
        if row.status in ENDED and row.open:
            self._wrong(Invariant.ENDS_ARE_WHOLE, row.id, f"{row.status} and its run is open")
        if row.status is TaskStatus.WAITING:
            self._waiting(row, definition)
        if at_method(row):
            self.count("waits for a method")

    def _waiting(self, row: Row, definition: Definition) -> None:
        command = definition.commands[row.stage]
        if command.method != MESSAGE:
            return
        name = msgspec.json.decode(command.params).get("name")
        for message_id, mail in self.mail.get(row.id, {}).items():
            if not mail.consumed and name in (None, mail.name):
                self._wrong(
                    Invariant.NO_WAIT_BESIDE_A_MESSAGE,
                    row.id,
                    f"waits although message {message_id} is there",
                )

    def _next_tasks(self, steps: list[Step]) -> None:
        for index, step in enumerate(steps):
            target = step.start_next
            if target is None or target not in self.rows or target in self.spoilt:
                continue
            self.count("next task")
            later = [s for s in steps[index + 1 :] if s.row.id == target]
            if not any(_started(s) for s in later):
                self._wrong(
                    Invariant.NEXT_TASKS_START, step.row.id, f"finished without starting {target}"
                )

    # -- the end -------------------------------------------------------------------------------

    def compare(self, table: dict[tuple[str, int, int], bytes]) -> None:
        """Every committed result is in the database as it was, and nothing else is."""
        mine = {
            (job_id, cycle, stage): result
            for (job_id, cycle), done in self.results.items()
            for stage, result in done.items()
        }
        for key in sorted(mine.keys() | table.keys()):
            if mine.get(key) != table.get(key):
                self._trace.violated(
                    Invariant.RESULTS_ARE_STORED,
                    f"result {key} is {table.get(key)!r}, was committed as {mine.get(key)!r}",
                )


def _started(step: Step) -> bool:
    row = step.row
    skipped = any((run.note or "").startswith("skipped") for run in step.runs)
    return (
        skipped or row.start_next or row.run_queued_at is not None or (row.open and not row.enabled)
    )


def _number(report: Report) -> int | None:
    if report.state not in SAID:
        return None
    error = None if report.error is None else report.error.message
    return _find_number(bytes(report.result), error)


def _number_of(attempt: Attempt) -> int | None:
    return _find_number(bytes(attempt.result or b""), attempt.error)


def _find_number(result: bytes, error: str | None) -> int | None:
    found = _result_number(result) or (_error_number(error) if error else None)
    return None if found is None else int(found.group(1))


def _describe(step: Step) -> str:
    row = step.row
    if step.deleted:
        return f"{row.id} deleted"
    held = f" by {row.executor_id} epoch {row.epoch}" if row.executor_id else ""
    reason = f" ({row.reason})" if row.reason else ""
    error = f" {row.error}" if row.error else ""
    job = (row.job_id or "-")[:6]
    return (
        f"{row.id} {row.status}{reason} stage {row.stage}/{row.stages} job {job} "
        f"v{row.version}{held}{error[:160]}"
    )


def lease_of(row: Row) -> Lease:
    """The lease a row is held under."""
    return Lease(row.id, row.job_id or "", row.epoch, row.nonce or "")
