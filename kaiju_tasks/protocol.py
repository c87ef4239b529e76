"""The messages between a manager and an executor (docs/protocol.md), version 1.

JSON-RPC 2.0 over one WebSocket. The executor calls `manager.connect`, `manager.ping`,
`manager.write_stage`, `manager.write_logs`, `manager.suspend_executor`, `manager.call` and
`manager.declare`. The manager sends the notifications `executor.run`, `executor.revoke`,
`executor.drain` and `executor.resume`. New fields have defaults and unknown fields are ignored, so
that versions N and N-1 work together. Deadlines are sent as durations, because the clocks of the
two sides may differ.
"""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, field

PROTOCOL_VERSION = 1
DEFAULT_FRAME_BYTES = 8 * 1024 * 1024
"""The largest frame that every manager accepts from an executor."""

__all__ = [
    "PROTOCOL_VERSION",
    "Ack",
    "AckState",
    "Assignment",
    "CallParams",
    "CommandInfo",
    "ConnectParams",
    "ConnectResult",
    "Declaration",
    "DeclareParams",
    "DeclareResult",
    "Declared",
    "DeclaredState",
    "DrainParams",
    "Lease",
    "LoggedLine",
    "PingParams",
    "PingResult",
    "Report",
    "ReportError",
    "ReportState",
    "ResumeParams",
    "RevokeParams",
    "RunParams",
    "SegmentCommand",
    "StageLog",
    "SuspendExecutorParams",
    "WriteLogsParams",
    "WriteLogsResult",
    "WriteStageParams",
    "WriteStageResult",
    "is_work",
]


class Lease(Struct, frozen=True):
    """The token of a lease, by which an executor holds a task. All four fields must match.

    :param id: id of the task
    :param job_id: id of the run
    :param epoch: number that increases with every lease of the run
    :param nonce: random text, different for each lease
    """

    id: str
    job_id: str
    epoch: int
    nonce: str


class CommandInfo(Struct, omit_defaults=True):
    """A registered method.

    :param method: name of the method
    :param params: JSON Schema of the parameters
    :param doc: docstring of the method
    :param app_name: the stream that has the method; None for all streams of the executor
    :param result: JSON Schema of the result; {} if it is not known
    :param examples: calls as examples: objects with `params` and, if it is known, `result`
    """

    method: str
    params: dict[str, Any] = field(default_factory=dict)
    doc: str = ""
    app_name: str | None = None
    result: dict[str, Any] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)


class ConnectParams(Struct, kw_only=True, omit_defaults=True):
    """Params of `manager.connect`: the executor, its streams, its methods and the leases it holds.

    :param id: id of the executor, constant while its process lives, also when it reconnects
    :param protocol: version of the protocol that the executor speaks
    :param app_names: streams that the executor serves
    :param commands: registered methods; if empty, the executor accepts every method
    :param capacity: the most tasks that it can hold at once, 0 or more
    :param holding: leases that it still works on or has unacknowledged reports for
    :param host: name of its machine, for people, and to know its process
    :param pid: number of its process, for people. A manager on the same machine looks whether the
        process has ended when the connection closes
    :param version: version of its program, for people
    :param instance: a random text that the process keeps while it lives
    :param attempt: the number of this connect of the process, higher with each one. A connect that
        is carried out late does not replace a newer one of the same instance
    :param fill: whether the manager fills templates, decides conditions and checks parameters for
        this executor, and sends it one command at a time
    :param data: with `fill`, what templates read as `[executor.…]`
    """

    id: str
    protocol: int = PROTOCOL_VERSION
    app_names: list[str] = field(default_factory=list)
    commands: list[CommandInfo] = field(default_factory=list)
    capacity: int = 1
    holding: list[Lease] = field(default_factory=list)
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    instance: str | None = None
    attempt: int = 0
    fill: bool = False
    data: dict[str, Any] = field(default_factory=dict)


class ConnectResult(Struct, kw_only=True):
    """Result of `manager.connect`.

    :param protocol: version of the protocol that both speak
    :param manager_id: manager that answered
    :param ping_interval: seconds between pings
    :param lease_seconds: seconds without a ping after which the leases end
    :param reconnect_grace: seconds in which an executor must reconnect after its connection was
        closed; None if the manager does not send it
    :param orphan_seconds: seconds to continue while no manager answers
    :param max_frame_bytes: the maximum size of a frame from the executor; the manager closes the
        connection if it gets a larger one
    :param max_result_bytes: the maximum size of a stage's result as JSON
    :param revoked: leases of `holding` that the executor no longer holds and must stop
    :param status: ACTIVE, DRAINING or SUSPENDED
    :param fill: whether the manager fills templates, as the executor has asked
    """

    protocol: int
    manager_id: str
    ping_interval: float
    lease_seconds: float
    orphan_seconds: float
    max_result_bytes: int
    status: str
    revoked: list[Lease]
    reconnect_grace: float | None = None
    max_frame_bytes: int = DEFAULT_FRAME_BYTES
    fill: bool = False


class PingParams(Struct, omit_defaults=True):
    """Params of `manager.ping`, sent every `ping_interval` seconds.

    :param id: id of the executor
    :param capacity: replaces the announced capacity
    :param holding: leases that it works on or has unacknowledged reports for; null: not stated
    """

    id: str
    capacity: int | None = None
    holding: list[Lease] | None = None


class PingResult(Struct):
    """Result of `manager.ping`.

    An error 404 means that the executor was expelled: it must drop all work and reconnect.

    :param status: ACTIVE, DRAINING or SUSPENDED
    """

    status: str


class SegmentCommand(Struct, omit_defaults=True):
    """One command of a segment.

    :param method: name of a registered method
    :param params: parameters with unfilled templates; filled ones for an executor with `fill`
    :param max_timeout: seconds that the stage may run
    :param condition: condition with unfilled templates; null for no condition
    :param name: name of the stage, for templates
    """

    method: str
    params: Raw = Raw(b"{}")
    max_timeout: float | None = None
    condition: Raw = Raw(b"null")
    name: str | None = None


class Assignment(Struct, kw_only=True, omit_defaults=True):
    """A segment of a task to run: its commands from `stage` to the next hook or the end.

    :param id: id of the task
    :param job_id: id of the run
    :param epoch: epoch of the lease
    :param nonce: nonce of the lease
    :param app_name: stream of the task
    :param commands: commands to run in order
    :param scheduled_at: time of the fire that the run belongs to, UNIX seconds
    :param retries: number of retries of this run
    :param stage: index of the first of `commands` in the task, from 0
    :param stages: number of commands of the whole task
    :param kws: arguments of the task for templates
    :param results: results of earlier stages that the templates read, by index and by name
    :param exec_seconds: seconds of execution that the run has left
    :param attempt: attempt of the first of `commands`, from 1
    :param cycle: number of retries from the first stage; part of the idempotency key
    :param exclusive: the run has a concurrency limit: if no manager can be reached, its stages
        must stop before the lease ends
    """

    id: str
    job_id: str
    epoch: int
    nonce: str
    app_name: str
    stage: int
    stages: int
    commands: list[SegmentCommand]
    exec_seconds: float
    kws: Raw = Raw(b"{}")
    results: dict[str, Raw] = field(default_factory=dict)
    scheduled_at: float | None = None
    attempt: int = 1
    retries: int = 0
    cycle: int = 0
    exclusive: bool = False


class RunParams(Struct):
    """Params of `executor.run`: tasks to start.

    :param tasks: segments, each with its own lease
    """

    tasks: list[Assignment]


class RevokeParams(Struct):
    """Params of `executor.revoke`: leases that have ended.

    :param leases: leases whose work must stop; nothing more may be reported for them
    """

    leases: list[Lease]


class DrainParams(Struct, omit_defaults=True):
    """Params of `executor.drain`: take no new tasks, and exit when the running tasks have ended.

    :param reason: reason for people
    """

    reason: str | None = None


class ResumeParams(Struct):
    """`executor.resume`: take new work again, after a drain or a suspension."""


class ReportState(StrEnum):
    """finished, skipped and failed end a stage; released gives the task back unchanged;
    progress and extend are reported while the stage runs."""

    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"
    RELEASED = "released"
    PROGRESS = "progress"
    EXTEND = "extend"


STAGE_DONE = (ReportState.FINISHED, ReportState.SKIPPED)
"""The states after which the next stage may begin."""
WHILE_RUNNING = (ReportState.PROGRESS, ReportState.EXTEND)
"""The states that a stage reports while it runs."""


_WORK = (*STAGE_DONE, ReportState.FAILED, ReportState.EXTEND)


class ReportError(Struct, omit_defaults=True):
    """Why a stage failed.

    :param type: one of the types in docs/lifecycle.md, for example `execution_error`
    :param message: message for people
    :param data: details for programs
    """

    type: str
    message: str
    data: Any = None


class Report(Struct, kw_only=True, omit_defaults=True):
    """The report of a stage, with the lease that it runs under.

    :param id: id of the task
    :param job_id: id of the run
    :param epoch: epoch of the lease
    :param nonce: nonce of the lease
    :param stage: index of the stage, from 0
    :param state: state of the stage
    :param result: for finished, the result as JSON; for progress, `{done, total, message}`
    :param error: for failed, the error
    :param seconds: how long the stage ran; for extend, the number of seconds requested
    :param waited: for released, whether the stage has not begun because no thread or process was
        free for it; then it never counts as a loss
    """

    id: str
    job_id: str
    epoch: int
    nonce: str
    stage: int
    state: ReportState
    result: Raw = Raw(b"null")
    error: ReportError | None = None
    seconds: float = 0.0
    waited: bool = False


class WriteStageParams(Struct):
    """Params of `manager.write_stage`.

    :param reports: at most 500 reports, each with its own acknowledgement
    """

    reports: list[Report]


class AckState(StrEnum):
    """ok: stored, continue with the next command; released: stored, and the lease has ended (a
    hook, a suspension, a retry, or the end of the run), drop the task; stale_lease: nothing was
    stored, stop the work; again: stored, but the answer had no room for the next filled command,
    repeat the report to get it."""

    OK = "ok"
    RELEASED = "released"
    STALE = "stale_lease"
    AGAIN = "again"


class Ack(Struct, omit_defaults=True):
    """The acknowledgement of one report, sent after the commit.

    :param state: how the report was handled
    :param exec_seconds: for extend, and beside `command`, the seconds of execution that are left
    :param stage: index of the stage of `command`
    :param command: the next command, filled, for an executor with `fill` whose lease continues
    """

    state: AckState
    exec_seconds: float | None = None
    stage: int | None = None
    command: SegmentCommand | None = None


def is_work(report: Report, ack: Ack) -> bool:
    """Whether a report shows that an executor works: it has run a stage, or asks for more time."""
    return report.state in _WORK and ack.state is not AckState.STALE


class WriteStageResult(Struct):
    """Result of `manager.write_stage`.

    :param acks: one acknowledgement for each report, in the same order
    """

    acks: list[Ack]


class LoggedLine(Struct, omit_defaults=True):
    """A line that a stage has logged or printed.

    :param n: number of the line within the attempt, from 1; each later line has a higher number,
        and the numbers of lines that the executor has dropped are left out
    :param message: the text; the manager cuts it after 8,192 characters
    :param level: `debug`, `info`, `warning` or `error`
    :param source: `log` for what the command has logged, `output` for what it has printed
    :param ago: how many seconds before this frame the line was written
    :param fields: structured details
    """

    n: int
    message: str
    level: str = "info"
    source: str = "log"
    ago: float = 0.0
    fields: dict[str, Any] | None = None


class StageLog(Struct, kw_only=True, omit_defaults=True):
    """Lines of one attempt of a stage, with the lease that it runs or has run under.

    :param id: id of the task
    :param job_id: id of the run
    :param epoch: epoch of the lease
    :param nonce: nonce of the lease
    :param stage: index of the stage, from 0
    :param attempt: `attempt` of the assignment for its first command, 1 for the others
    :param cycle: `cycle` of the assignment
    :param lines: the lines, in order
    """

    id: str
    job_id: str
    epoch: int
    nonce: str
    stage: int
    lines: list[LoggedLine]
    attempt: int = 1
    cycle: int = 0


class WriteLogsParams(Struct):
    """Params of `manager.write_logs`.

    :param logs: at most 500 attempts, with at most 5,000 lines together
    """

    logs: list[StageLog]


class WriteLogsResult(Struct):
    """Result of `manager.write_logs`, sent after the commit.

    :param lines: number of lines that were stored. The others were stored before, or belong to
        nothing that the executor holds or has just held
    """

    lines: int


class SuspendExecutorParams(Struct, omit_defaults=True):
    """Params of `manager.suspend_executor`: the executor leaves, and its tasks return to their
    streams.

    :param id: id of the executor
    :param reason: reason for people
    """

    id: str
    reason: str | None = None


class CallParams(Struct, kw_only=True, omit_defaults=True):
    """Params of `manager.call`: a running stage calls a public method of the manager, with the
    rights of its task. The result is that of the method.

    :param id: id of the task
    :param job_id: id of the run
    :param epoch: epoch of the lease
    :param nonce: nonce of the lease
    :param stage: index of the stage, from 0
    :param call_id: a text that no other call of the stage has, 1 to 100 characters. A repetition of
        the same call has the same
    :param method: name of the method, `tasks.…`
    :param params: its params
    :param again: whether this call was sent before, without an answer
    """

    id: str
    job_id: str
    epoch: int
    nonce: str
    stage: int
    call_id: Annotated[str, Meta(min_length=1, max_length=100)]
    method: str
    params: dict[str, Any] = field(default_factory=dict)
    again: bool = False


class Declaration(Struct, omit_defaults=True):
    """A schedule that an executor declares.

    :param task: a scheduled task, as `tasks.create` takes it, with an id
    :param version: version of the application that declares it. A newer one replaces an older one
    """

    task: dict[str, Any]
    version: Annotated[str, Meta(max_length=255)] = ""


class DeclareParams(Struct):
    """Params of `manager.declare`: the schedules of an executor must exist as it declares them.

    :param schedules: at most 100
    """

    schedules: Annotated[list[Declaration], Meta(max_length=100)]


class DeclaredState(StrEnum):
    """created, replaced: the task is now as it was declared; unchanged: it was before. older: one
    with a newer version stays; differs: it was changed, or declared otherwise with the same
    version, and stays; busy: it changes only when its open run has ended, or its owner creates
    tasks too fast; refused: it cannot be declared."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    OLDER = "older"
    DIFFERS = "differs"
    BUSY = "busy"
    REFUSED = "refused"


class Declared(Struct, omit_defaults=True):
    """The outcome of a declaration.

    :param state: what has become of it
    :param message: reason for people, unless it is as it was declared
    """

    state: DeclaredState
    message: str = ""


class DeclareResult(Struct):
    """Result of `manager.declare`.

    :param schedules: the outcome of each declaration, in the same order
    """

    schedules: list[Declared]
