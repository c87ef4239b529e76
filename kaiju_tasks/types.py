"""The types that users send and read. The names of their fields are the names in JSON.

Times are UNIX seconds with fractions; `created` is ISO-8601 in UTC. Durations are seconds.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from inspect import cleandoc
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert, field

from kaiju_tasks.described import DescribedAs
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.rights import Kind, Quotas, Scope

__all__ = [
    "BulkCall",
    "BulkState",
    "ComingFire",
    "ComingFires",
    "Command",
    "Concurrency",
    "ErrorType",
    "EventName",
    "ExecutorInfo",
    "ExecutorStatus",
    "ExitCode",
    "Explanation",
    "Family",
    "FamilyMember",
    "InboxEntry",
    "IssuedToken",
    "Limit",
    "ListedRun",
    "LogLine",
    "LogPage",
    "Mark",
    "Message",
    "MessageReceipt",
    "Misfire",
    "NewTask",
    "Notification",
    "Outcome",
    "Pause",
    "PrincipalInfo",
    "Progress",
    "Reason",
    "Refusal",
    "RefusalCount",
    "RestartPolicy",
    "Run",
    "RunList",
    "RunOutcome",
    "StageRecord",
    "StreamInfo",
    "Task",
    "TaskCommand",
    "TaskError",
    "TaskEvent",
    "TaskList",
    "TaskStatus",
    "TaskVersion",
    "Tasks",
    "Timer",
    "TokenInfo",
    "Unique",
    "Webhook",
    "WhyNot",
]


class Limit:
    """Fixed limits. Times are seconds. Not an enum, which would merge names with equal values."""

    MAX_STAGES: Final = 100
    MAX_RETRIES: Final = 10
    MIN_T: Final = 10
    DEFAULT_T: Final = 300
    MAX_T: Final = 14_400
    PING_INTERVAL: Final = 30
    SUSPEND_AFTER_PINGS: Final = 3
    MAX_WAIT: Final = 366 * 86_400

    @classmethod
    def by_name(cls) -> dict[str, int]:
        """Return all limits by name."""
        return {name: value for name, value in vars(cls).items() if name.isupper()}


class TaskStatus(StrEnum):
    """The status of a task. FINISHED and FAILED are final for the run."""

    IDLE = "IDLE"
    QUEUED = "QUEUED"
    EXECUTED = "EXECUTED"
    WAITING = "WAITING"
    SUSPENDED = "SUSPENDED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


ENDED = (TaskStatus.FINISHED, TaskStatus.FAILED)
"""The statuses of a task whose run has ended."""


class Reason(StrEnum):
    """The reason for a task's status (`status_reason`).

    A suspended task has `user` if its owner has suspended it with the token of a user, and can
    resume it, and `operator` otherwise.
    """

    RETRY = "retry"
    OPERATOR = "operator"
    CONCURRENCY = "concurrency"
    PAUSED = "paused"
    DISABLED = "disabled"
    TIMER = "timer"
    MESSAGE = "message"
    TASKS = "tasks"
    SUSPECT = "suspect"
    USER = "user"
    METHOD = "method"


class ExitCode(IntEnum):
    """The exit code of a run, as of a Unix process."""

    SUCCESS = 0
    EXECUTION_ERROR = 1
    ABORTED = 130


class RestartPolicy(StrEnum):
    """Where a retry starts: at the failed stage, with earlier results kept, or at the first."""

    CURRENT = "CURRENT"
    FIRST = "FIRST"


class Misfire(StrEnum):
    """How missed fires are handled: recorded only, one run for all, or one run each (up to 100)."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


class Outcome(StrEnum):
    """How an attempt of a stage, or a run, ended."""

    FINISHED = "FINISHED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    LOST = "LOST"
    RELEASED = "RELEASED"
    SUSPENDED = "SUSPENDED"
    CANCELLED = "CANCELLED"
    MISSED = "MISSED"


class RunOutcome(StrEnum):
    """How a run in the history ended. MISSED is a fire that was not run."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    MISSED = "MISSED"


ENDED_WELL = (Outcome.FINISHED, Outcome.SKIPPED)
"""The outcomes after which the next stage may begin."""
FAILED_ATTEMPTS = (Outcome.FAILED, Outcome.LOST)
"""The outcomes of attempts that have failed; their stage may be retried."""


class ErrorType(StrEnum):
    """`error.type` of a failed stage or run. The last seven types are never retried."""

    EXECUTION = "execution_error"
    INVALID_PARAMS = "invalid_params"
    UNKNOWN_METHOD = "unknown_method"
    TEMPLATE = "template_error"
    RESULT_TOO_LARGE = "result_too_large"
    RETRY_AFTER = "retry_after"
    STAGE_TIMEOUT = "stage_timeout"
    EXEC_TIMEOUT = "exec_timeout"
    CHILD_FAILED = "child_failed"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_MANY_TASKS = "too_many_tasks"
    ABORT = "abort"
    QUEUE_TIMEOUT = "queue_timeout"
    MESSAGE_TIMEOUT = "message_timeout"
    EXECUTOR_LOST = "executor_lost"
    CANCELLED = "cancelled"
    INTERNAL = "internal_error"


NEVER_RETRIED = frozenset({ErrorType.ABORT, ErrorType.TOO_MANY_TASKS})
"""The types of errors of a stage that its task's `max_retries` does not repeat."""


_CONTROL = r"\x00-\x1f\x7f-\x9f"
_END = r"(?![\s\S])"  # `$` would accept a newline at the end

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=rf"^[^{_CONTROL}]+{_END}",
        description="text of 1 to 255 characters without control characters",
    ),
]
Label = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=rf"^[^{_CONTROL}]*{_END}",
        description="text of at most 255 characters without control characters",
    ),
]
LabelKey = Annotated[
    str,
    Meta(
        pattern=rf"^[a-z0-9][a-z0-9_.-]{{0,62}}{_END}",
        description="1 to 63 characters: lower-case letters, digits, _ . and -; the first is a "
        "letter or a digit",
    ),
]
LABELS_MAX = 16
Labels = Annotated[dict[LabelKey, Label], Meta(max_length=LABELS_MAX)]
GroupName = Label | int
"""Text, or an integer that is kept as text."""
MethodName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=rf"^[^ {_CONTROL}]+{_END}",
        description="text of 1 to 255 characters without spaces or control characters",
    ),
]
CommandName = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=rf"^[a-z_][a-z0-9_]*{_END}",
        description="a name of lower-case letters, digits and _, not beginning with a digit",
    ),
]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2048,
        pattern=rf"^https?://[^\s]+{_END}",
        description="a URL of at most 2048 characters that begins with http:// or https://",
    ),
]


def as_text(name: str | int | None) -> str | None:
    """Return the name of a group as it is stored."""
    return str(name) if isinstance(name, int) else name


Seconds = Annotated[float, Meta(ge=0, le=Limit.MAX_WAIT)]
Moment = Annotated[float, Meta(description="UNIX seconds with fractions")]
Number = Annotated[int, Meta(ge=0)]
Rev = Annotated[int, Meta(ge=1, lt=2**31 - 1)]
IsoTime = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Question = dict[str, Any] | list[Any]
"""A condition on data (docs/templates.md): an object, or a list of them."""


MANAGER_APP = "manager"
"""The stream of the manager's own executor. No other executor can serve it."""


class TaskCommand(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One stage: a method call, or a hook.

    :param method: name of a registered method; `_TIMER_`, `_MESSAGE_` and `_TASKS_` are hooks
    :param params: named parameters; strings are templates (docs/templates.md); null means {}
    :param max_timeout: seconds that the stage may run, or that a hook may wait, more than 0;
        at most 14,400 for a command and 366 days for a hook
    :param condition: the stage is skipped with the result null unless this condition holds
    :param name: `[a-z_][a-z0-9_]*`, unique in the task; later templates can read the result by it
    :param id: accepted so that a JSON-RPC request can be used as a command; not stored
    :param jsonrpc: accepted as `id` is; not stored
    """

    method: MethodName
    params: dict[str, Any] | None = field(default_factory=dict)
    max_timeout: Annotated[float, Meta(gt=0, le=Limit.MAX_WAIT)] | None = None
    condition: Question | None = None
    name: CommandName | None = None
    id: str | int | float | None = None
    jsonrpc: str | None = None


TIMER = "_TIMER_"
MESSAGE = "_MESSAGE_"
TASKS = "_TASKS_"
HOOKS = frozenset({TIMER, MESSAGE, TASKS})


def Command(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    max_timeout: float | None = None,
    condition: dict[str, Any] | list[Any] | None = None,
    stage: str | None = None,
) -> TaskCommand:
    """Call a method of an executor.

    :param method: name of a registered method
    :param params: named parameters; strings are templates (docs/templates.md)
    :param max_timeout: seconds that the stage may run, more than 0 and at most 14,400
    :param condition: the stage is skipped with the result null unless this condition holds
    :param stage: the stage's name; later templates can read its result by it
    :raises InvalidParams: an argument is invalid; `field` is its name
    """
    method = _checked("method", method, MethodName)
    if params is not None and not isinstance(params, Mapping):
        raise InvalidParams(
            "`params` must be a dict from names of parameters to values", field="params"
        )
    most = Limit.MAX_WAIT if method in HOOKS else Limit.MAX_T
    return _command(method, dict(params or {}), max_timeout, condition, stage, most=most)


def Timer(
    timer: float | str,
    *,
    condition: dict[str, Any] | list[Any] | None = None,
    stage: str | None = None,
    name: str | None = None,
) -> TaskCommand:
    """Wait for some time, without holding an executor.

    :param timer: seconds, 0 to 366 days, with fractions; or a template that results in a number
    :param condition: as in `Command`
    :param stage: as in `Command`
    :param name: older name of `stage`
    :raises InvalidParams: an argument is invalid; `field` is its name
    """
    if not _is_template(timer):
        timer = _checked("timer", timer, _TimerSeconds)
    return _command(TIMER, {"timer": timer}, None, condition, _one_name(stage, name))


def Message(
    name: str | None = None,
    max_timeout: float | None = None,
    *,
    default: Any = UNSET,
    condition: dict[str, Any] | list[Any] | None = None,
    stage: str | None = None,
) -> TaskCommand:
    """Wait for a message, without holding an executor. Its data is the stage's result.

    :param name: accept only messages of this name; None accepts the oldest unconsumed message
    :param max_timeout: seconds to wait, more than 0 and at most 366 days; None waits forever
    :param default: the result at the timeout; without a default, the run is aborted
    :param condition: as in `Command`
    :param stage: as in `Command`; not the name of the message
    :raises InvalidParams: an argument is invalid; `field` is its name
    """
    params: dict[str, Any] = {} if name is None else {"name": _checked("name", name, Id)}
    if default is not UNSET:
        params["default"] = default
    return _command(MESSAGE, params, max_timeout, condition, stage)


def Tasks(
    *,
    create: Sequence["NewTask | Mapping[str, Any]"] | UnsetType = UNSET,
    ids: Sequence[str] | str | UnsetType = UNSET,
    foreach: Any = UNSET,
    task: "NewTask | Mapping[str, Any] | UnsetType" = UNSET,
    mode: Literal["all", "any"] | UnsetType = UNSET,
    on_error: Literal["fail", "continue"] | UnsetType = UNSET,
    default: Any = UNSET,
    max_timeout: float | None = None,
    condition: dict[str, Any] | list[Any] | None = None,
    stage: str | None = None,
    name: str | None = None,
) -> TaskCommand:
    """Create tasks, or name existing ones, and wait until they end, without holding an executor.

    Give exactly one of `create`, `ids` and `foreach`.

    :param create: the tasks to create, 1 to 5,000
    :param ids: ids of existing tasks, 1 to 5,000, or a template that results in a list of ids
    :param foreach: a list, or a template that results in a list
    :param task: the task to create for each item of `foreach`
    :param mode: wait for all tasks (the default), or until any task has finished
    :param on_error: fail when the first task fails (the default), or list failures and continue
    :param default: the result at the timeout; without a default, the run is aborted
    :param max_timeout: seconds to wait, more than 0 and at most 366 days; None waits forever
    :param condition: as in `Command`
    :param stage: as in `Command`
    :param name: older name of `stage`
    :raises InvalidParams: an argument is invalid; `field` is its name
    """
    sources = {"create": create, "ids": ids, "foreach": foreach}
    others = {"task": task, "mode": mode, "on_error": on_error, "default": default}
    params = {key: value for key, value in (sources | others).items() if value is not UNSET}
    _check_tasks(params)
    return _command(TASKS, params, max_timeout, condition, _one_name(stage, name))


def _command(
    method: str,
    params: dict[str, Any],
    max_timeout: float | None,
    condition: dict[str, Any] | list[Any] | None,
    stage: str | None,
    *,
    most: int = Limit.MAX_WAIT,
) -> TaskCommand:
    if max_timeout is not None:
        _checked("max_timeout", max_timeout, _most_seconds(most))
    if condition is not None and not isinstance(condition, dict | list):
        raise InvalidParams(
            '`condition` must be a dict or list, for example {"0.value": {"gt": 5}}',
            field="condition",
        )
    if stage is not None:
        _checked("stage", stage, CommandName)
    return TaskCommand(method, params, max_timeout, condition, stage)


def _one_name(stage: str | None, name: str | None) -> str | None:
    if name is None:
        return stage
    if stage is not None:
        raise InvalidParams(
            "`name` is the older name of `stage`: give only one of them", field="name"
        )
    checked: str = _checked("name", name, CommandName)
    return checked


_TimerSeconds = Annotated[
    Seconds, Meta(description=f"a number of seconds from 0 to {Limit.MAX_WAIT:d}, or a template")
]


def _most_seconds(most: int) -> Any:
    wanted = f"a number of seconds, more than 0 and at most {most:d}"
    return Annotated[float, Meta(gt=0, le=int(most), description=wanted)]


def _checked(name: str, value: Any, type_: Any) -> Any:
    try:
        return convert(value, type_)
    except ValidationError:
        wanted = type_.__metadata__[-1].description
        raise InvalidParams(f"`{name}` must be {wanted}, not {value!r:.100}", field=name) from None


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and "[" in value


def _check_tasks(params: dict[str, Any]) -> None:
    sources = [name for name in ("create", "ids", "foreach") if name in params]
    if len(sources) != 1:
        raise InvalidParams("give exactly one of `create`, `ids` and `foreach`", field="create")
    if ("foreach" in params) != ("task" in params):
        raise InvalidParams(
            "`foreach` and `task` must be given together: the items, and the task for each item",
            field="task",
        )
    for name, wanted in (("mode", ("all", "any")), ("on_error", ("fail", "continue"))):
        if name in params and params[name] not in wanted:
            raise InvalidParams(f"`{name}` must be {wanted[0]!r} or {wanted[1]!r}", field=name)
    if "create" in params:
        for index, task in enumerate(_listed("create", params["create"])):
            _check_task(f"create.{index}", task)
    if "task" in params:
        _check_task("task", params["task"])
    if "ids" in params and not _is_template(params["ids"]):
        for index, id in enumerate(_listed("ids", params["ids"])):
            _checked(f"ids.{index}", id, Id)


def _listed(name: str, value: Any) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InvalidParams(f"`{name}` must be a non-empty list", field=name)
    return value


def _check_task(name: str, task: Any) -> None:
    if not isinstance(task, NewTask | Mapping):
        raise InvalidParams(f"`{name}` must be a NewTask, or a dict of its fields", field=name)


class Concurrency(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A limit for the runs with a key that are EXECUTED at the same time.

    :param key: a template over `kws`, `app_name` and `id`, filled when the task is created; or
        `task` for the same stream and methods, or `arguments` for the same commands and `kws` too
    :param limit: the most runs at the same time, 1 to 100,000
    :param on_full: whether further runs wait in order or are dropped
    """

    key: Annotated[str, Meta(min_length=1, max_length=255)]
    limit: Annotated[int, Meta(ge=1, le=100_000)]
    on_full: Literal["wait", "drop"] = "wait"


class Unique(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A key with at most one open run.

    :param key: a template; or `task` for the same stream and methods, or `arguments` for the same
        commands and `kws` too
    :param scope: the runs that hold the key: all open runs, or only runs that have not begun
    :param on_conflict: return the existing task, or an error with its id, always or only if the
        commands or `kws` differ
    """

    key: Annotated[str, Meta(min_length=1, max_length=255)]
    scope: Literal["active", "queued"] = "active"
    on_conflict: Literal["reuse", "error", "error_if_different"] = "reuse"


class Pause(Struct, kw_only=True):
    """A pause holds queued tasks of a stream or group, or before commands that match a glob.

    A task is held if it matches all fields that are not null.

    :param app_name: holds tasks of this stream
    :param group: holds tasks of this group
    :param group_id: holds tasks of this `group_id`
    :param reason: the reason, for people
    :param author: the user who added the pause
    :param timezone: time zone of `cron`
    :param duration: length of a window in seconds
    :param method: glob (`*`, `?`, `[…]`, case-sensitive) for the method of the next command
    :param condition: condition on `kws` and the literal `params` of that command
        (docs/templates.md)
    :param until: time at which the pause ends
    :param cron: the pause holds only in windows that begin at the fires of this expression
    :param stop_running: running stages were taken back too when the pause began
    :param owner: holds tasks of this principal, which is disabled; such a pause ends when the
        principal is enabled again
    """

    id: str
    app_name: str | None = None
    group: str | None = None
    group_id: str | None = None
    method: str | None = None
    condition: Annotated[Any, DescribedAs(Question | None)] = None
    reason: str
    author: str | None = None
    created: IsoTime
    until: Moment | None = None
    cron: str | None = None
    duration: float | None = None
    timezone: str | None = None
    stop_running: bool = False
    owner: str | None = None


MASKED_SECRET = "***"
"""The text that is shown instead of a secret."""


class Webhook(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A URL that is called on every final outcome.

    :param url: an http or https URL
    :param secret: key of the HMAC-SHA256 signature: `whsec_` and base64, or any text, used as
        UTF-8. The secret is never shown again
    """

    url: Url
    secret: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class NewTask(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The fields that a client can set in `tasks.create`.

    :param id: id of the task; generated if absent
    :param app_name: the stream of the executors that run the task
    :param commands: the stages, in order
    :param kws: arguments for templates
    :param enabled: if false, nothing new is started
    :param cron: five or six fields (seconds last), or a name such as `@daily`; not with `every`
    :param timezone: IANA time zone of `cron` and of times without an offset; default UTC
    :param every: seconds between fires, counted from the first fire; not with `cron`
    :param misfire: how missed fires are handled
    :param jitter: the most seconds by which fires are delayed; the delay is the same for every
        fire of a task
    :param next_run: time of the first run, UNIX seconds or ISO-8601; not with `delay`
    :param delay: seconds from now until the first run
    :param max_exec_timeout: seconds that a run may execute in total; waiting does not count
    :param max_queue_time: seconds that a task may be QUEUED
    :param max_retries: the most retries of a failed run
    :param restart_policy: where a retry starts
    :param retry_delay: seconds before the first retry; 0 means 1 if `retry_backoff` is above 1
    :param retry_backoff: factor by which the delay grows with each retry
    :param retry_max_delay: the longest delay in seconds
    :param priority: tasks with a higher priority run first within a stream
    :param concurrency: limits the runs of a key that execute at the same time
    :param unique: creating a task finds the open task with the same key
    :param notify: write a notification on every final outcome
    :param webhook: URL that is called on every final outcome
    :param next_task: id of a task that is started when this task has finished
    :param system: `tasks.delete_old_tasks` never deletes the task
    :param description: description for people
    :param meta: data for people and programs; kaiju_tasks does not read it
    :param group: value for filters; an integer is stored as text
    :param group_id: value for filters; an integer is stored as text
    :param labels: up to 16 values for filters, by key; tasks that this one creates inherit them
    """

    READ_ONLY: ClassVar[frozenset[str]] = frozenset(
        {
            "status",
            "status_reason",
            "result",
            "stage",
            "stages",
            "queued_at",
            "exec_deadline",
            "wait_deadline",
            "status_change",
            "since",
            "user_id",
            "executor_id",
            "job_id",
            "scheduled_at",
            "retries",
            "created",
            "exit_code",
            "error",
            "parent_id",
            "progress",
            "rev",
        }
    )

    id: Id | None = None
    app_name: Id | None = None
    commands: Annotated[list[TaskCommand], Meta(min_length=1, max_length=Limit.MAX_STAGES)]
    kws: dict[str, Any] = field(default_factory=dict)
    enabled: bool = True
    cron: Label | None = None
    timezone: Label | None = None
    every: Annotated[float, Meta(ge=0.1, le=Limit.MAX_WAIT)] | None = None
    misfire: Misfire = Misfire.SKIP
    jitter: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    next_run: float | str | None = None
    delay: Seconds | None = None
    max_exec_timeout: Annotated[float, Meta(ge=Limit.MIN_T, le=Limit.MAX_T)] = float(
        Limit.DEFAULT_T
    )
    max_queue_time: Annotated[float, Meta(gt=0, le=Limit.MAX_WAIT)] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=Limit.MAX_RETRIES)] = 0
    restart_policy: RestartPolicy = RestartPolicy.CURRENT
    retry_delay: Seconds = 0.0
    retry_backoff: Annotated[float, Meta(ge=1, le=1000)] = 1.0
    retry_max_delay: Seconds | None = None
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    concurrency: Concurrency | None = None
    unique: Unique | None = None
    notify: bool = False
    webhook: Webhook | None = None
    next_task: Id | None = None
    system: bool = False
    description: Annotated[str, Meta(max_length=65_536)] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    group: GroupName | None = None
    group_id: GroupName | None = None
    labels: Labels = field(default_factory=dict)


class TaskError(Struct):
    """Why a stage or a run failed.

    :param type: one of `ErrorType`; for `execution_error`, `data` has the exception's name
    :param message: message for people
    :param stage: index of the failed stage, from 0; null before the first stage
    :param data: details for programs
    """

    type: str
    message: str
    stage: int | None = None
    data: Any = None


class Progress(Struct):
    """The progress that a running stage has reported.

    :param done: number of completed units
    :param total: total number of units; null if it is unknown
    :param message: message for people; null for those who may not see the data of tasks
    :param at: time of the report
    """

    done: float
    total: float | None
    message: str | None
    at: Moment


class Task(Struct, kw_only=True):
    """A task. Every field is present.

    `tasks.create` describes the fields that a client sets.

    :param next_run: time of the next fire, or of the next run
    :param webhook: the webhook, with its secret masked
    :param status_reason: the reason for the status
    :param result: results of the finished stages, by index
    :param stage: number of finished stages
    :param stages: number of commands
    :param queued_at: time at which the task entered its stream
    :param exec_deadline: time at which the run exceeds its execution time
    :param wait_deadline: time at which the wait of a hook ends
    :param status_change: time at which the task came to its status, or to the hook where it waits
    :param since: time since which the task stands where it stands: its status, `status_reason`,
        hook and running stage have not changed since then
    :param user_id: owner of the task; null if no tokens are configured
    :param executor_id: executor that runs the task
    :param job_id: id of the run
    :param scheduled_at: time of the fire that the run belongs to
    :param retries: number of retries of this run
    :param created: time of creation, ISO-8601 in UTC
    :param exit_code: exit code of the last run that ended; null during a run
    :param error: why the run, or its last attempt, failed
    :param parent_id: task whose stage created this task
    :param rev: number of the version of the definition, from 1; each change increases it
    :param progress: progress of the running stage, about a second old; null if it has reported none
    """

    id: str
    app_name: str
    commands: Annotated[Any, DescribedAs(list[TaskCommand])]
    kws: Annotated[Any, DescribedAs(dict[str, Any])]
    enabled: bool
    cron: str | None
    timezone: str | None
    every: float | None
    misfire: Annotated[str, DescribedAs(Misfire)]
    jitter: float
    next_run: Moment | None
    max_exec_timeout: float
    max_queue_time: float | None
    max_retries: int
    restart_policy: Annotated[str, DescribedAs(RestartPolicy)]
    retry_delay: float
    retry_backoff: float
    retry_max_delay: float | None
    priority: int
    concurrency: Annotated[Any, DescribedAs(Concurrency | None)]
    unique: Annotated[Any, DescribedAs(Unique | None)]
    notify: bool
    webhook: Annotated[Any, DescribedAs(Webhook | None)]
    next_task: str | None
    system: bool
    description: str | None
    meta: Annotated[Any, DescribedAs(dict[str, Any])]
    group: str | None
    group_id: str | None
    labels: dict[str, str]
    status: TaskStatus
    status_reason: Annotated[str | None, DescribedAs(Reason | None)]
    result: Annotated[Any, DescribedAs(list[Any])]
    stage: Number
    stages: Number
    queued_at: Moment | None
    exec_deadline: Moment | None
    wait_deadline: Moment | None
    status_change: Moment
    since: Moment
    user_id: str | None
    executor_id: str | None
    job_id: str | None
    scheduled_at: Moment | None
    retries: Number
    created: Annotated[Any, DescribedAs(IsoTime)]
    exit_code: Annotated[int | None, DescribedAs(ExitCode | None)]
    error: Annotated[Any, DescribedAs(TaskError | None)]
    parent_id: str | None
    rev: Rev
    progress: Progress | None


ListedTask: Any = msgspec.defstruct(
    "ListedTask",
    [
        *((one.name, one.type, UNSET) for one in msgspec.structs.fields(Task)),
        ("method", str | None, UNSET),
        ("error_type", str | None, UNSET),
        ("error_message", str | None, UNSET),
        ("error_stage", Number | None, UNSET),
    ],
    namespace={
        "__doc__": f"Some fields of a task.\n\n{cleandoc(Task.__doc__ or '')}\n"
        ":param method: method of the current stage; null if all have finished"
    },
    rename={
        name: name.replace("_", ".") for name in ("error_type", "error_message", "error_stage")
    },
    kw_only=True,
)
"""A task of a page, with only the requested fields."""


class TaskList(Struct):
    """A page of tasks.

    :param count: number of tasks that match, at most 10,000
    :param offset: offset of the request
    :param cursor: cursor of the next page; null on the last page
    :param count_more: true if more than 10,000 tasks match
    """

    data: Annotated[list[Any], DescribedAs(list[ListedTask])]
    count: Number
    offset: Number
    cursor: str | None
    count_more: bool | UnsetType = UNSET


class MessageReceipt(Struct):
    """The receipt for a message.

    :param state: delivered (a waiting hook took the message), buffered (kept for a later hook),
        duplicate (this or an earlier run has received a message with this `message_id`), or
        rejected (`reason` gives the cause)
    :param message_id: id of the message, as sent or generated
    """

    accepted: bool
    state: Literal["delivered", "buffered", "duplicate", "rejected"]
    message_id: str
    reason: str | None = None


class InboxEntry(Struct):
    """A message that the open or the next run has received.

    :param name: the name that it was sent with
    :param data: its data
    :param state: whether a hook has consumed it, or it is kept for one
    :param sender: user who sent it; null if no tokens are configured
    :param at: time at which it arrived
    """

    message_id: str
    name: str | None
    data: Any
    state: Literal["buffered", "consumed"]
    sender: str | None
    at: Moment | None


TaskDefinition: Any = msgspec.defstruct(
    "TaskDefinition",
    [
        (one.name, one.type)
        for one in msgspec.structs.fields(Task)
        if one.name in NewTask.__struct_fields__ and one.name not in ("id", "enabled", "next_run")
    ],
    namespace={"__doc__": "What a client has set, as `tasks.create` describes it."},
    kw_only=True,
)


class TaskVersion(Struct):
    """A version of the definition of a task.

    :param rev: its number, from 1
    :param at: time at which it was made; of the first version, the time of creation; null if it is
        unknown
    :param user_id: user who made it; null if no tokens were configured
    :param changed: names of the fields that differ from the version before it; empty for the first
    :param reason: why, as the caller of `tasks.update` has put it
    :param definition: what a client has set
    """

    rev: Rev
    at: Moment | None
    user_id: str | None
    changed: list[str]
    reason: str | None
    definition: Annotated[Any, DescribedAs(TaskDefinition)]


class FamilyMember(Struct):
    """A task of a family.

    :param parent_id: task whose stage created this task
    :param depth: number of creations between the first task of the list and this one
    :param stage: number of finished stages
    :param next_task: id of a task that is started when this task has finished
    """

    id: str
    parent_id: str | None
    depth: Number
    app_name: str
    status: TaskStatus
    status_reason: Annotated[str | None, DescribedAs(Reason | None)]
    stage: Number
    stages: Number
    exit_code: Annotated[int | None, DescribedAs(ExitCode | None)]
    since: Moment
    next_task: str | None


class Family(Struct):
    """A task, those by whom it was created, and those that all of these have created.

    :param data: parents before the tasks that they created, level by level
    :param more: whether there are more than 1,000 tasks
    """

    data: list[FamilyMember]
    more: bool


class WhyNot(Struct):
    """One reason why a task is not running now, or what it does instead.

    :param code: code for programs (docs/explain.md lists the codes)
    :param message: message for people
    :param data: details by name, which depend on `code`
    """

    code: str
    message: str
    data: dict[str, Any]


class Explanation(Struct):
    """Why a task is not running now. The most important reason comes first.

    :param running: whether an executor works on the task
    :param message: message for people
    :param now: time of the explanation
    :param since: time since which the task stands where it stands
    """

    id: str
    status: TaskStatus
    running: bool
    message: str
    reasons: list[WhyNot]
    now: Moment
    since: Moment


RunStatus: Any = Literal.__getitem__(
    tuple(dict.fromkeys(one.value for one in (*TaskStatus, *Outcome)))
)


class Run(Struct, kw_only=True):
    """One run of a task, open or ended.

    :param job_id: id of the run; null for a missed fire
    :param status: the task's status for an open run, the outcome for an ended run, or MISSED for a
        fire that was not run
    :param scheduled_at: time of the fire that the run belongs to
    :param note: additional information about the run
    :param rev: version of the task's definition with which it ended; of an open run, the current
        one; null if it is unknown
    """

    task_id: str
    job_id: str | None
    status: Annotated[str, DescribedAs(RunStatus)]
    scheduled_at: Moment | None
    queued_at: Moment | None
    started_at: Moment | None
    ended_at: Moment | None
    exit_code: Annotated[int | None, DescribedAs(ExitCode | None)]
    error: Annotated[Any, DescribedAs(TaskError | None)]
    retries: Number
    stage: Number
    stages: Number
    executor_id: str | None
    note: str | None = None
    rev: Rev | None = None


class ListedRun(Run, kw_only=True):
    """A run in a list of runs of all tasks.

    :param app_name: stream of the task
    :param group: group of the task
    :param group_id: `group_id` of the task
    :param parent_id: task whose stage created the task
    :param labels: `labels` of the task
    """

    app_name: str
    group: str | None
    group_id: str | None
    parent_id: str | None
    labels: dict[str, str] = field(default_factory=dict)


class RunList(Struct):
    """A page of ended runs and missed fires.

    :param count: number of runs that match, at most 10,000
    :param offset: offset of the request
    :param cursor: cursor of the next page; null on the last page
    :param count_more: true if more than 10,000 runs match
    """

    data: list[ListedRun]
    count: Number
    offset: Number
    cursor: str | None
    count_more: bool | UnsetType = UNSET


class StageRecord(Struct, kw_only=True):
    """One attempt of one stage of a run.

    :param stage: index of the stage, from 0
    :param name: name of the command
    :param attempt: number of the attempt within the stage, from 1; with the restart policy FIRST,
        each retry is a new `cycle` and begins at 1
    :param cycle: number of retries from the first stage, from 0
    :param rescued: the executor was lost or gave the attempt back, and the task was queued again
    :param result: result of the stage, if it finished
    :param error: why the attempt failed
    :param rev: version of the task's definition with which it ended; null if it is unknown
    """

    job_id: str
    stage: Number
    cycle: Number
    attempt: Annotated[int, Meta(ge=1)]
    method: str
    name: str | None
    executor_id: str | None
    queued_at: Moment | None
    started_at: Moment | None
    ended_at: Moment | None
    outcome: Annotated[str, DescribedAs(Outcome)]
    rescued: bool
    result: Any
    error: Annotated[Any, DescribedAs(TaskError | None)]
    rev: Rev | None = None


class LogLine(Struct, kw_only=True):
    """A line that an attempt of a stage has logged or printed.

    :param n: number of the line within the attempt, from 1
    :param at: time at which it was written
    :param level: `debug`, `info`, `warning` or `error`
    :param source: `log` for what the command has logged, `output` for what it has printed
    :param message: its text; null for a caller who does not see the data of tasks
    :param fields: structured details; null for such a caller, too
    :param stage: index of the stage, from 0
    :param attempt: number of the attempt, from 1
    :param cycle: number of retries from the first stage, from 0
    :param left_out: number of lines just before this one that were not kept
    """

    n: Annotated[int, Meta(ge=1)]
    at: Moment
    level: Literal["debug", "info", "warning", "error"]
    source: Literal["log", "output"]
    message: str | None
    fields: Annotated[Any, DescribedAs(dict[str, Any] | None)]
    stage: Number
    attempt: Annotated[int, Meta(ge=1)]
    cycle: Number
    left_out: Number = 0


class LogPage(Struct):
    """The log lines of a run, in the order of its attempts and of their lines.

    :param cursor: the place after the last line, as `after` of the next call; null if nothing was
        read
    """

    data: list[LogLine]
    cursor: str | None


class Notification(Struct, kw_only=True):
    """A notification, written in the transaction that ends a run of a task with `notify`.

    :param message: message for people
    :param kws: `kws` of the task
    :param enabled: for user interfaces; false if the notification was dismissed
    :param user_id: owner of the task
    :param status: how the run ended
    :param result: results of the finished stages, by index
    :param error: why the run failed
    :param labels: `labels` of the task
    """

    id: str
    message: str
    kws: Annotated[Any, DescribedAs(dict[str, Any])]
    created: IsoTime
    enabled: bool
    user_id: str | None
    task_id: str
    job_id: str | None
    status: Annotated[str, DescribedAs(TaskStatus)]
    result: Annotated[Any, DescribedAs(list[Any])]
    exit_code: Annotated[int | None, DescribedAs(ExitCode | None)]
    error: Annotated[Any, DescribedAs(TaskError | None)]
    labels: dict[str, str] = field(default_factory=dict)


class AuditRecord(Struct, kw_only=True):
    """The record of an operator's action.

    :param at: time of the transaction of the action; set by the store
    :param user_id: user who called the method; None if no tokens are configured
    :param remote: address that the call came from
    :param action: name of the method, for example `tasks.reset`
    :param target: id of the task or executor; None for an action on many
    :param data: details of the call, by name
    """

    id: str
    at: Moment = 0.0
    user_id: str | None
    remote: str | None
    action: str
    target: str | None
    data: Annotated[Any, DescribedAs(dict[str, Any])]


class BulkState(StrEnum):
    """The state of a bulk call. FINISHED: all tasks that matched were handled. STOPPED: somebody
    has stopped it. FAILED: it could not go on."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


class Refusal(Struct):
    """Why a task was not changed.

    :param id: id of the task
    :param status: status of the task; null if it is unknown, or if the task was deleted
    :param message: message for people
    :param reason: `status` if the status of the task does not allow it, `changed` if the task no
        longer matches, `rejected` for a message that the run does not take; otherwise the type of
        the error
    """

    id: str
    status: Annotated[str | None, DescribedAs(TaskStatus | None)]
    message: str
    reason: str = "status"


class RefusalCount(Struct):
    """How many tasks were refused for one reason.

    :param reason: as in the refusal of a task
    :param status: status of the tasks; null as in the refusal of a task
    :param count: number of tasks
    :param message: message for people, of one of the tasks
    """

    reason: str
    status: Annotated[str | None, DescribedAs(TaskStatus | None)]
    count: Number
    message: str


class BulkCall(Struct, kw_only=True):
    """A bulk call: one action for all tasks that match.

    :param id: id of the call, `bulk_id` in its answer
    :param method: its full name, for example `tasks.m_reset`
    :param conditions: which tasks; in lists, long conditions are shown by their columns only
    :param args: other parameters, without the data of a message
    :param rate: the most tasks per second; null for no limit
    :param user_id: user who called; null if no tokens are configured
    :param state: whether it goes on, and how it has ended
    :param started: time of the call
    :param ended: time at which it ended; null while it goes on
    :param manager_id: manager that goes on with it, or that ended it
    :param matched: number of tasks that the conditions select: the sum of `done`, `refused` and
        `pending`
    :param done: number of tasks that were handled
    :param changed: number of the handled tasks that this has changed; others were already so
    :param refused: number of tasks that did not allow the operation, or no longer matched
    :param pending: number of tasks that are not yet handled, or were left when it ended
    :param refusals: the refused tasks by reason and status
    :param error: why it has failed
    :param stopped_by: user who has stopped it
    :param sample: ids of the first 20 handled tasks; not in lists
    :param errors: the first 20 refused tasks; not in lists
    """

    id: str
    method: str
    conditions: Annotated[Any, DescribedAs(dict[str, Any])]
    args: Annotated[Any, DescribedAs(dict[str, Any])]
    rate: float | None
    reason: str | None
    user_id: str | None
    state: BulkState
    started: Moment
    ended: Moment | None
    manager_id: str
    matched: Number
    done: Number
    changed: Number
    refused: Number
    pending: Number
    refusals: list[RefusalCount]
    error: str | None
    stopped_by: str | None
    sample: list[str] | UnsetType = UNSET
    errors: list[Refusal] | UnsetType = UNSET


class EventName(StrEnum):
    """The names of events (docs/events.md)."""

    QUEUED = "task.queued"
    STARTED = "task.started"
    PROGRESS = "task.progress"
    STAGE = "task.stage"
    ATTEMPT_FAILED = "task.attempt_failed"
    LOG = "task.log"
    WAITING = "task.waiting"
    SUSPENDED = "task.suspended"
    FINISHED = "task.finished"
    FAILED = "task.failed"


class TaskEvent(Struct):
    """An event of a task. Events are hints; the task itself has the valid state.

    :param event: one of `EventName`
    :param status: status of the task after the event
    :param stage: number of finished stages; for task.progress and task.log, index of the stage
    :param retries: number of retries of the run; null for task.progress and task.log
    :param executor_id: executor that ran the stage of the event
    :param time: time of the event, on the store's clock
    :param manager_id: manager that wrote the event
    :param data: task.progress: {done, total, message}; task.stage: {stage, name, method,
        outcome}; task.attempt_failed: the same, and {attempt, type, message}: its number, and the
        error; task.log: {stage, attempt, cycle, n, at, level, source, message}, the last line of
        those that were written; task.failed: {type, message, stage} of the error; otherwise null
    :param labels: `labels` of the task
    """

    event: str
    id: str
    job_id: str | None
    app_name: str
    status: str
    status_reason: str | None
    stage: int
    stages: int
    retries: int | None
    exit_code: int | None
    executor_id: str | None
    priority: int
    parent_id: str | None
    group: str | None
    group_id: str | None
    user_id: str | None
    time: float
    manager_id: str
    data: Any = None
    labels: dict[str, str] = field(default_factory=dict)


class ExecutorStatus(StrEnum):
    """ACTIVE takes tasks; DRAINING takes no new tasks; SUSPENDED was suspended by an operator;
    LOST missed its pings; GONE left by itself."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    SUSPENDED = "SUSPENDED"
    LOST = "LOST"
    GONE = "GONE"


class ExecutorInfo(Struct, kw_only=True):
    """An executor.

    :param id: id of the executor, constant while its process lives
    :param app_names: streams that it serves
    :param capacity: the most tasks that it can hold at once
    :param running: number of tasks that it holds
    :param lease_until: time at which its leases end, unless it pings
    :param manager_id: manager that it is connected to
    """

    id: str
    app_names: list[str]
    status: ExecutorStatus
    capacity: Number
    running: Number
    host: str | None
    pid: int | None
    version: str | None
    connected_at: Moment
    last_ping: Moment
    lease_until: Moment
    manager_id: str | None


class ComingFire(Struct):
    """A fire of a schedule that is to come.

    :param id: id of the task
    :param at: time at which it is due
    :param status: status of the task now; during a hold or an open run, a fire is missed
    """

    id: str
    at: Moment
    app_name: str
    status: TaskStatus
    cron: str | None
    every: float | None
    timezone: str | None
    description: str | None


class ComingFires(Struct):
    """The fires of a time, in their order.

    :param more: whether there are more fires, or more scheduled tasks, than were read
    """

    data: list[ComingFire]
    more: bool


class Mark(Struct):
    """A note on the time line, such as a deploy.

    :param at: the time that it marks
    :param app_name: the stream that it concerns; null for all
    :param user_id: user who added it; null if no tokens are configured
    """

    id: str
    at: Moment
    label: str
    app_name: str | None
    user_id: str | None


class StatName(StrEnum):
    """What is counted by minute. Those that end in `seconds` are durations."""

    RUNS_STARTED = "runs.started"
    RUNS_FINISHED = "runs.finished"
    RUNS_FAILED = "runs.failed"
    RUNS_CANCELLED = "runs.cancelled"
    RUNS_RETRIED = "runs.retried"
    STAGES_FINISHED = "stages.finished"
    STAGES_FAILED = "stages.failed"
    STAGES_LOST = "stages.lost"
    FIRES_MISSED = "fires.missed"
    QUEUE_SECONDS = "runs.queue_seconds"
    RUN_SECONDS = "runs.run_seconds"
    STAGE_SECONDS = "stages.seconds"


class StatPoint(Struct, omit_defaults=True):
    """One interval of a series. Only durations have a mean and percentiles, where `count` is not 0.

    :param at: start of the interval
    :param count: how often it happened
    :param mean: mean duration in seconds
    :param p50: half of the durations are not longer, in seconds; percentiles are estimates from
        buckets, each of which ends at 1.4 times the end of the one before
    :param p95: 95 % of the durations are not longer
    :param p99: 99 % of the durations are not longer
    """

    at: Moment
    count: Number
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class StatSeries(Struct):
    """What was counted under one name.

    :param points: one for each interval, in order
    """

    name: StatName
    points: list[StatPoint]


class Stats(Struct):
    """Series over the same intervals.

    :param start: start of the first interval
    :param end: end of the last interval
    :param step: seconds of each interval
    """

    start: Moment
    end: Moment
    step: Number
    data: list[StatSeries]


class StreamInfo(Struct, kw_only=True):
    """A stream: the tasks in it and the executors that serve it.

    :param ready: number of tasks that wait for an executor
    :param oldest_ready: time since which the first of them is queued
    :param suspect: number of suspect tasks among those that wait for an executor
    :param running: number of tasks that executors hold
    :param waiting: number of tasks that wait at a hook
    :param held: number of tasks that are held, by reason: `operator`, `paused`, `concurrency`,
        `disabled`, `method` or another `status_reason`
    :param executors: number of executors that take tasks of the stream
    :param capacity: the most tasks that they can hold, those of other streams included
    :param free: how many more tasks they can take
    :param wait_p50: seconds for which half of the last runs waited for an executor, at most; null
        without runs
    :param wait_p95: the same for 95 % of them
    :param runs: number of these runs: those of the last hour, at most 5,000 of all streams
        together; if no run of a stream is among these, all that began in the last hour, whose waits
        are then estimated from the statistics
    """

    app_name: str
    ready: Number
    oldest_ready: Moment | None
    suspect: Number
    running: Number
    waiting: Number
    held: dict[str, Number]
    executors: Number
    capacity: Number
    free: Number
    wait_p50: float | None
    wait_p95: float | None
    runs: Number


class PrincipalInfo(Struct, kw_only=True):
    """A person or a program that may use the manager.

    :param id: its name, which owns tasks and is in the audit
    :param kind: what it may do; it never changes
    :param scope: what all its tokens are limited to
    :param created_by: principal that created it; null if it was created in the database
    :param disabled_at: since when its tokens are refused; null if they are not
    :param quotas: those that differ from the settings
    """

    id: str
    kind: Kind
    scope: Scope
    created: Moment
    created_by: str | None
    disabled_at: Moment | None
    quotas: Quotas


class TokenInfo(Struct, kw_only=True):
    """A token without its secret.

    :param principal: name of the principal that it belongs to
    :param scope: what it is limited to, in addition to the scope of its principal
    :param note: what it is for, for people
    :param created_by: principal that created it; null if it was created in the database
    :param revoked_at: since when it is refused; null if it was not revoked
    :param successor: id of the token that replaces it
    :param last_used: time of its last use, to within a minute
    :param last_remote: address that it was last used from
    """

    id: str
    principal: str
    kind: Kind
    scope: Scope
    note: str | None
    created: Moment
    created_by: str | None
    expires_at: Moment
    revoked_at: Moment | None
    successor: str | None
    last_used: Moment | None = None
    last_remote: str | None = None


class IssuedToken(TokenInfo, kw_only=True):
    """A new token.

    :param token: the token itself, which is shown only this once
    """

    token: str
