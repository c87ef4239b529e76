"""What a manager and an executor say to each other (docs/protocol.md), version 1.

JSON-RPC 2.0 over one WebSocket. The executor calls `manager.connect`, `manager.ping`,
`manager.write_stage`, `manager.suspend_executor`; the manager notifies `executor.run`,
`executor.revoke`, `executor.drain`. New fields have defaults, unknown ones are ignored,
so that N and N-1 work together. No field is a moment of either clock: times are spans.
"""

from enum import StrEnum
from typing import Any

from msgspec import Raw, Struct, field

PROTOCOL_VERSION = 1

__all__ = [
    "PROTOCOL_VERSION",
    "Ack",
    "AckState",
    "Assignment",
    "CommandInfo",
    "ConnectParams",
    "ConnectResult",
    "DrainParams",
    "Lease",
    "PingParams",
    "PingResult",
    "Report",
    "ReportError",
    "ReportState",
    "RevokeParams",
    "RunParams",
    "SegmentCommand",
    "SuspendExecutorParams",
    "WriteStageParams",
    "WriteStageResult",
]


class Lease(Struct, frozen=True):
    """The token under which an executor holds a task. All four must match.

    :param id: of the task
    :param job_id: of the run
    :param epoch: rises with every lease of the run
    :param nonce: random, for each lease
    """

    id: str
    job_id: str
    epoch: int
    nonce: str


class CommandInfo(Struct, omit_defaults=True):
    """A registered method: its JSON Schema for params, and its docstring.

    :param method: its name
    :param params: JSON Schema of the parameters
    :param doc: docstring
    :param app_name: the one stream that has it; None is all streams of the executor
    """

    method: str
    params: dict[str, Any] = field(default_factory=dict)
    doc: str = ""
    app_name: str | None = None


class ConnectParams(Struct, kw_only=True, omit_defaults=True):
    """`manager.connect`: who I am, what I can do and what I still hold.

    :param id: stable for the life of the process, over reconnects to any manager
    :param protocol: version that the executor speaks
    :param app_names: the streams it serves
    :param commands: its registered methods; none: it takes any
    :param capacity: tasks it may hold at once, from 0
    :param holding: leases it still works on or has unacknowledged reports for
    :param host: for people: the machine it runs on
    :param pid: for people: its process
    :param version: for people: of its program
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


class ConnectResult(Struct, kw_only=True):
    """Answer to `manager.connect`.

    :param protocol: version that both speak
    :param manager_id: the manager that answered
    :param ping_interval: seconds between pings
    :param lease_seconds: silence after which the leases end
    :param orphan_seconds: how long to go on when no manager can be reached
    :param max_result_bytes: of a stage's result as JSON
    :param revoked: those of `holding` that are not its own any more: stop them
    :param status: ACTIVE, DRAINING or SUSPENDED
    """

    protocol: int
    manager_id: str
    ping_interval: float
    lease_seconds: float
    orphan_seconds: float
    max_result_bytes: int
    status: str
    revoked: list[Lease]


class PingParams(Struct, omit_defaults=True):
    """`manager.ping`, every `ping_interval` seconds.

    :param id: of the executor
    :param capacity: replaces the announced one
    """

    id: str
    capacity: int | None = None


class PingResult(Struct):
    """Answer to a ping. A 404 error instead means: expelled, drop all work and reconnect.

    :param status: ACTIVE, DRAINING or SUSPENDED
    """

    status: str


class SegmentCommand(Struct, omit_defaults=True):
    """One command of a segment.

    :param method: registered method
    :param params: unfilled template
    :param max_timeout: seconds that the stage may run
    :param condition: unfilled; null: none
    :param name: of the stage, for templates
    """

    method: str
    params: Raw = Raw(b"{}")
    max_timeout: float | None = None
    condition: Raw = Raw(b"null")
    name: str | None = None


class Assignment(Struct, kw_only=True, omit_defaults=True):
    """A task to run: its commands from `stage` up to the next hook or the end.

    :param id: of the task
    :param job_id: of the run
    :param epoch: of the lease
    :param nonce: of the lease
    :param app_name: the stream it came from
    :param commands: to run one after the other
    :param scheduled_at: the fire that the run belongs to, UNIX seconds
    :param retries: of this run
    :param stage: index of the first of `commands` within the task, from 0
    :param stages: commands the whole task has
    :param kws: the task's extra template arguments
    :param results: results of earlier stages that the templates read, by index and by name
    :param exec_seconds: seconds of execution this run has left
    :param attempt: of the first of `commands`, from 1
    :param cycle: rises with every retry from the first stage; part of the idempotency key
    :param exclusive: the run counts against a concurrency limit: cut off from every manager,
        its stages stop before the lease ends
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
    """`executor.run`: start these.

    :param tasks: each under its own lease
    """

    tasks: list[Assignment]


class RevokeParams(Struct):
    """`executor.revoke`: stop these, report nothing more of them.

    :param leases: those that are over
    """

    leases: list[Lease]


class DrainParams(Struct, omit_defaults=True):
    """`executor.drain`: take no new work; end when what runs has ended.

    :param reason: for people
    """

    reason: str | None = None


class ReportState(StrEnum):
    """finished, skipped, failed end a stage; released gives the task back unharmed;
    progress and extend are said while the stage runs."""

    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"
    RELEASED = "released"
    PROGRESS = "progress"
    EXTEND = "extend"


STAGE_DONE = (ReportState.FINISHED, ReportState.SKIPPED)
"""The states after which the next stage may begin."""


class ReportError(Struct, omit_defaults=True):
    """Why a stage failed.

    :param type: one of those in docs/lifecycle.md, such as `execution_error`
    :param message: a sentence
    :param data: details for programs
    """

    type: str
    message: str
    data: Any = None


class Report(Struct, kw_only=True, omit_defaults=True):
    """What became of a stage, under a lease.

    :param id: of the task
    :param job_id: of the run
    :param epoch: of the lease
    :param nonce: of the lease
    :param stage: index of the stage, from 0
    :param state: what became of it
    :param result: for finished: the JSON value; for progress: `{done, total, message}`
    :param error: for failed
    :param seconds: how long the stage ran; for extend: how many seconds more it asks for
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


class WriteStageParams(Struct):
    """`manager.write_stage`.

    :param reports: at most 500, each answered on its own
    """

    reports: list[Report]


class AckState(StrEnum):
    """ok: stored, go on with the next command; released: stored, the lease is over (a hook,
    a hold, a retry, or the end): drop the task; stale_lease: nothing changed, stop that work."""

    OK = "ok"
    RELEASED = "released"
    STALE = "stale_lease"


class Ack(Struct, omit_defaults=True):
    """Answer to one report, sent after the commit.

    :param state: what became of the report
    :param exec_seconds: seconds of execution that are left, after extend
    """

    state: AckState
    exec_seconds: float | None = None


class WriteStageResult(Struct):
    """Answer to `manager.write_stage`.

    :param acks: one for each report, in order
    """

    acks: list[Ack]


class SuspendExecutorParams(Struct, omit_defaults=True):
    """`manager.suspend_executor`: I leave; what I hold goes back to its stream.

    :param id: of the executor
    :param reason: for people
    """

    id: str
    reason: str | None = None
