"""The nouns: what users send and read. JSON field names are exactly these.

Times are UNIX seconds, sub-second kept; `created` is ISO-8601 UTC; durations are seconds.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from inspect import cleandoc
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert, field

from kaiju_tasks.described import DescribedAs
from kaiju_tasks.errors import InvalidParams

__all__ = [
    "Command",
    "Concurrency",
    "ErrorType",
    "EventName",
    "ExecutorInfo",
    "ExecutorStatus",
    "ExitCode",
    "Explanation",
    "Limit",
    "Message",
    "MessageReceipt",
    "Misfire",
    "NewTask",
    "Notification",
    "Outcome",
    "Pause",
    "Reason",
    "RestartPolicy",
    "Run",
    "StageRecord",
    "Task",
    "TaskCommand",
    "TaskError",
    "TaskEvent",
    "TaskList",
    "TaskStatus",
    "Tasks",
    "Timer",
    "Unique",
    "Webhook",
    "WhyNot",
]


class Limit:
    """Fixed limits. Times are seconds. An enum would merge names whose values are equal."""

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
        """Every limit under its name."""
        return {name: value for name, value in vars(cls).items() if name.isupper()}


class TaskStatus(StrEnum):
    """Where a task stands. FINISHED and FAILED are final for the run."""

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
    """Why a task stands where it stands (`status_reason`)."""

    RETRY = "retry"
    OPERATOR = "operator"
    CONCURRENCY = "concurrency"
    PAUSED = "paused"
    DISABLED = "disabled"
    TIMER = "timer"
    MESSAGE = "message"
    TASKS = "tasks"
    SUSPECT = "suspect"


class ExitCode(IntEnum):
    """Unix-style exit code of a run."""

    SUCCESS = 0
    EXECUTION_ERROR = 1
    ABORTED = 130


class RestartPolicy(StrEnum):
    """Where a retry starts: at the failed stage (earlier results kept), or anew."""

    CURRENT = "CURRENT"
    FIRST = "FIRST"


class Misfire(StrEnum):
    """What becomes of missed fires: recorded only, one make-up run, or each (at most 100)."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


class Outcome(StrEnum):
    """How one attempt of a stage, or a whole run, ended."""

    FINISHED = "FINISHED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    LOST = "LOST"
    RELEASED = "RELEASED"
    SUSPENDED = "SUSPENDED"
    CANCELLED = "CANCELLED"
    MISSED = "MISSED"


ENDED_WELL = (Outcome.FINISHED, Outcome.SKIPPED)
"""The outcomes after which the next stage may begin."""


class ErrorType(StrEnum):
    """`error.type` of a failed stage or run. The last five are never retried."""

    EXECUTION = "execution_error"
    INVALID_PARAMS = "invalid_params"
    UNKNOWN_METHOD = "unknown_method"
    TEMPLATE = "template_error"
    RESULT_TOO_LARGE = "result_too_large"
    STAGE_TIMEOUT = "stage_timeout"
    EXEC_TIMEOUT = "exec_timeout"
    CHILD_FAILED = "child_failed"
    ABORT = "abort"
    QUEUE_TIMEOUT = "queue_timeout"
    MESSAGE_TIMEOUT = "message_timeout"
    EXECUTOR_LOST = "executor_lost"
    CANCELLED = "cancelled"


_CONTROL = r"\x00-\x1f\x7f-\x9f"
_END = r"(?![\s\S])"  # `$` would let a last newline pass

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=rf"^[^{_CONTROL}]+{_END}",
        description="text of 1 to 255 characters, none of them a control character",
    ),
]
Label = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=rf"^[^{_CONTROL}]*{_END}",
        description="text of at most 255 characters, none of them a control character",
    ),
]
GroupName = Label | int
"""Text, or an integer that is kept as text."""
MethodName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=rf"^[^ {_CONTROL}]+{_END}",
        description="text of 1 to 255 characters, none of them a space or control character",
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
    """The name of a group as it is kept."""
    return str(name) if isinstance(name, int) else name


Seconds = Annotated[float, Meta(ge=0, le=Limit.MAX_WAIT)]
Moment = Annotated[float, Meta(description="UNIX seconds, sub-second kept")]
Number = Annotated[int, Meta(ge=0)]
IsoTime = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Question = dict[str, Any] | list[Any]
"""A condition on data (docs/templates.md): an object, or a list of them."""


MANAGER_APP = "manager"
"""The stream of the manager's own executor, which no other one serves."""


class TaskCommand(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One stage: an RPC call, or a hook.

    :param method: registered method name; `_TIMER_`, `_MESSAGE_`, `_TASKS_` are hooks
    :param params: named parameters; strings are templates (docs/templates.md); null is {}
    :param max_timeout: seconds the stage may run (a hook: wait), more than 0;
        at most 14,400 for a command and 366 days for a hook
    :param condition: skips the stage (its result is null) unless it holds
    :param name: `[a-z_][a-z0-9_]*`, unique in the task; later templates may read the result by it
    :param id: of a JSON-RPC request that is used as a command; it is dropped
    :param jsonrpc: as `id`
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

    :param method: registered method name
    :param params: named parameters; strings are templates (docs/templates.md)
    :param max_timeout: seconds the stage may run, more than 0, at most 14,400
    :param condition: skips the stage (its result is null) unless it holds
    :param stage: the stage's name, by which later templates may read its result
    :raises InvalidParams: `field` names the wrong argument
    """
    method = _checked("method", method, MethodName)
    if params is not None and not isinstance(params, Mapping):
        raise InvalidParams("`params` must be a dict of named parameters", field="params")
    most = Limit.MAX_WAIT if method in HOOKS else Limit.MAX_T
    return _command(method, dict(params or {}), max_timeout, condition, stage, most=most)


def Timer(
    timer: float | str,
    *,
    condition: dict[str, Any] | list[Any] | None = None,
    stage: str | None = None,
    name: str | None = None,
) -> TaskCommand:
    """Park the task for some time, holding no executor.

    :param timer: seconds, 0 to 366 days, fractions allowed; or a template that gives them
    :param condition: as in `Command`
    :param stage: as in `Command`
    :param name: older spelling of `stage`
    :raises InvalidParams: `field` names the wrong argument
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
    """Park the task until a message comes; its data is the stage's result.

    :param name: take only messages of this name; None takes the oldest unconsumed one
    :param max_timeout: seconds to wait, more than 0, at most 366 days; None waits for ever
    :param default: the result when the time is over; without it the run is aborted
    :param condition: as in `Command`
    :param stage: as in `Command`; it is not the message's name
    :raises InvalidParams: `field` names the wrong argument
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
    """Create or name other tasks and wait until they end, holding no executor.

    Exactly one of `create`, `ids`, `foreach` is given.

    :param create: the tasks to create, 1 to 5,000
    :param ids: the ids of tasks that exist, 1 to 5,000, or a template that gives them
    :param foreach: a list, or a template that gives one
    :param task: the task to create for each item of `foreach`
    :param mode: wait for all of them (default), or until any has finished
    :param on_error: fail with the first that fails (default), or list failures and go on
    :param default: the result when the time is over; without it the run is aborted
    :param max_timeout: seconds to wait, more than 0, at most 366 days; None waits for ever
    :param condition: as in `Command`
    :param stage: as in `Command`
    :param name: older spelling of `stage`
    :raises InvalidParams: `field` names the wrong argument
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
            '`condition` must be a dict or list, as {"0.value": {"gt": 5}}', field="condition"
        )
    if stage is not None:
        _checked("stage", stage, CommandName)
    return TaskCommand(method, params, max_timeout, condition, stage)


def _one_name(stage: str | None, name: str | None) -> str | None:
    if name is None:
        return stage
    if stage is not None:
        raise InvalidParams("`name` is an older spelling of `stage`: give one", field="name")
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
        raise InvalidParams(f"`{name}` must be {wanted}; not {value!r:.100}", field=name) from None


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and "[" in value


def _check_tasks(params: dict[str, Any]) -> None:
    sources = [name for name in ("create", "ids", "foreach") if name in params]
    if len(sources) != 1:
        raise InvalidParams("give exactly one of `create`, `ids`, `foreach`", field="create")
    if ("foreach" in params) != ("task" in params):
        raise InvalidParams(
            "`foreach` and `task` go together: the items, and the task for each", field="task"
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
        raise InvalidParams(f"`{name}` must be a list that is not empty", field=name)
    return value


def _check_task(name: str, task: Any) -> None:
    if not isinstance(task, NewTask | Mapping):
        raise InvalidParams(f"`{name}` must be a NewTask, or a dict of its fields", field=name)


class Concurrency(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """At most `limit` runs with this key are EXECUTED at once.

    :param key: a template over `kws`, `app_name` and `id`, filled when the task is created; or
        `task` (same stream and methods), `arguments` (same commands and `kws` as well)
    :param limit: runs at once, 1 to 100,000
    :param on_full: the others wait in order, or are dropped
    """

    key: Annotated[str, Meta(min_length=1, max_length=255)]
    limit: Annotated[int, Meta(ge=1, le=100_000)]
    on_full: Literal["wait", "drop"] = "wait"


class Unique(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One open run for a key.

    :param key: a template; or `task` (same stream and methods), `arguments` (same commands and
        `kws` as well)
    :param scope: which runs hold the key: all that are open, or only those not begun
    :param on_conflict: answer with the task that is there, or with an error that names it
    """

    key: Annotated[str, Meta(min_length=1, max_length=255)]
    scope: Literal["active", "queued"] = "active"
    on_conflict: Literal["reuse", "error"] = "reuse"


class Pause(Struct, kw_only=True):
    """Holds what stands in its stream: a stream, a group, or the commands a glob names.

    What is null is not asked.

    :param app_name: the stream that it holds
    :param group: holds tasks of this group
    :param group_id: holds tasks of this `group_id`
    :param reason: for people
    :param author: who added it
    :param timezone: of `cron`
    :param duration: seconds that a window lasts
    :param method: glob (`*`, `?`, `[…]`, case-sensitive) that the next command's method must match
    :param condition: of `kws` and of the literal `params` of that command (docs/templates.md)
    :param until: when the pause is over for good
    :param cron: it holds only in windows that begin at these moments
    :param stop_running: running stages were taken back too when it began
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


MASKED_SECRET = "***"
"""What is shown in the place of a secret."""


class Webhook(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A URL called on every final outcome.

    :param url: http or https
    :param secret: key of the HMAC-SHA256 signature header; `whsec_` and base64, else taken as
        UTF-8. It is never shown again
    """

    url: Url
    secret: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class NewTask(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a client may set in `tasks.create`.

    :param id: your own; made up when absent
    :param app_name: the executor stream
    :param commands: the stages, in order
    :param kws: arguments for templates
    :param enabled: false: nothing new is started
    :param cron: five or six fields (seconds last), or `@daily` and the like; not with `every`
    :param timezone: IANA name, of `cron` and of times without an offset; default UTC
    :param every: seconds between fires, counted from the first; not with `cron`
    :param misfire: what becomes of fires that were missed
    :param jitter: seconds at most by which a fire is put off, the same for each fire of a task
    :param next_run: the first run, UNIX seconds or ISO-8601; not with `delay`
    :param delay: the first run, seconds from now
    :param max_exec_timeout: seconds that a run may execute in all; waiting does not count
    :param max_queue_time: seconds that a task may stand QUEUED
    :param max_retries: how often a failed run is tried again
    :param restart_policy: where a retry starts
    :param retry_delay: seconds before the first retry; 0 with a `retry_backoff` above 1 is 1 second
    :param retry_backoff: the delay grows by this factor with each retry
    :param retry_max_delay: seconds that a delay may grow to
    :param priority: higher ones come first within a stream
    :param concurrency: how many runs of a key may execute at once
    :param unique: create finds the open task of the same key
    :param notify: write a notification on every final outcome
    :param webhook: a URL to call on every final outcome
    :param next_task: id of the task to start when this one has finished
    :param system: never deleted by `tasks.delete_old_tasks`
    :param description: for people
    :param meta: for people and programs; kaiju_tasks does not read it
    :param group: a filter; an integer is kept as text
    :param group_id: a filter; an integer is kept as text
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
            "user_id",
            "executor_id",
            "job_id",
            "scheduled_at",
            "retries",
            "created",
            "exit_code",
            "error",
            "parent_id",
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


class TaskError(Struct):
    """Why a stage or a run failed.

    :param type: one of `ErrorType`, or the exception's name for `execution_error` in `data`
    :param message: a sentence
    :param stage: index of the failed stage, from 0; null before the first
    :param data: details for programs
    """

    type: str
    message: str
    stage: int | None = None
    data: Any = None


class Task(Struct, kw_only=True):
    """A task as users read it; every field is present.

    What a client sets is explained with `tasks.create`.

    :param next_run: the next fire, or the moment of a run to come
    :param webhook: its secret is masked
    :param status_reason: why the task stands where it stands
    :param result: results of the finished stages, by index
    :param stage: finished stages
    :param stages: commands of the task
    :param queued_at: when it came into its stream
    :param exec_deadline: when the run will have executed too long
    :param wait_deadline: when the wait of a hook ends
    :param status_change: when `status` last changed
    :param user_id: the owner; null while no tokens are configured
    :param executor_id: who runs it
    :param job_id: names the run
    :param scheduled_at: the fire that the run belongs to
    :param retries: of this run
    :param created: when it was created, ISO-8601 UTC
    :param exit_code: of the last run that ended; null during a run
    :param error: why the run, or its last attempt, failed
    :param parent_id: the task whose stage created it
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
    status: TaskStatus
    status_reason: Annotated[str | None, DescribedAs(Reason | None)]
    result: Annotated[Any, DescribedAs(list[Any])]
    stage: Number
    stages: Number
    queued_at: Moment | None
    exec_deadline: Moment | None
    wait_deadline: Moment | None
    status_change: Moment
    user_id: str | None
    executor_id: str | None
    job_id: str | None
    scheduled_at: Moment | None
    retries: Number
    created: Annotated[Any, DescribedAs(IsoTime)]
    exit_code: Annotated[int | None, DescribedAs(ExitCode | None)]
    error: Annotated[Any, DescribedAs(TaskError | None)]
    parent_id: str | None


ListedTask: Any = msgspec.defstruct(
    "ListedTask",
    [(one.name, one.type, UNSET) for one in msgspec.structs.fields(Task)],
    namespace={"__doc__": f"Some fields of a task.\n\n{cleandoc(Task.__doc__ or '')}"},
    kw_only=True,
)
"""A task of a page: only the fields that were asked for."""


class TaskList(Struct):
    """A page of tasks.

    :param count: how many match, exact to 10,000
    :param offset: as it was asked for
    :param cursor: asks for the next page; null on the last
    :param count_more: true when more than 10,000 match
    """

    data: Annotated[list[Any], DescribedAs(list[ListedTask])]
    count: Number
    offset: Number
    cursor: str | None
    count_more: bool | UnsetType = UNSET


class MessageReceipt(Struct):
    """What became of a message.

    :param state: delivered (a waiting hook took it), buffered (kept for a later hook),
        duplicate (this `message_id` came before), rejected (`reason` says why)
    :param message_id: as it was sent, or the one that was made up
    """

    accepted: bool
    state: Literal["delivered", "buffered", "duplicate", "rejected"]
    message_id: str
    reason: str | None = None


class WhyNot(Struct):
    """One reason why a task is not running now, or what it does instead.

    :param code: one word, for programs (docs/explain.md lists them)
    :param message: a sentence
    :param data: details, by name; which ones depends on `code`
    """

    code: str
    message: str
    data: dict[str, Any]


class Explanation(Struct):
    """Why a task is not running now, the most telling reason first.

    :param running: an executor works on it
    :param message: a sentence
    :param now: the moment this was true
    """

    id: str
    status: TaskStatus
    running: bool
    message: str
    reasons: list[WhyNot]
    now: Moment


RunStatus: Any = Literal.__getitem__(
    tuple(dict.fromkeys(one.value for one in (*TaskStatus, *Outcome)))
)


class Run(Struct, kw_only=True):
    """One run of a task, open or ended.

    :param job_id: names the run; null for a missed fire
    :param status: of an open run the task's status, else the outcome; MISSED is a fire that was
        not run
    :param scheduled_at: the fire that it belongs to
    :param note: what else is to be known of it
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


class StageRecord(Struct, kw_only=True):
    """One attempt of one stage of a run.

    :param stage: index of the stage, from 0
    :param name: the command's
    :param attempt: from 1, counted within the stage (under FIRST each retry counts anew
        in its `cycle`)
    :param cycle: 0, and one more for each retry from the first stage
    :param rescued: the attempt's executor was lost or gave it back, and it was queued again
    :param result: of the stage, where it finished
    :param error: why the attempt failed
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


class Notification(Struct, kw_only=True):
    """Written in the transaction that ends a run of a task with `notify`.

    :param message: a sentence
    :param kws: of the task
    :param enabled: for a user interface: false once it is dismissed
    :param user_id: owner of the task
    :param status: how the run ended
    :param result: results of the finished stages, by index
    :param error: why the run failed
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


class AuditRecord(Struct, kw_only=True):
    """Who did which operator action when, from where.

    :param at: moment of the transaction that did it; set by the store
    :param user_id: None while no tokens are configured
    :param remote: address it was called from
    :param action: the method: `tasks.reset`
    :param target: id of the task or executor; None where it was about many
    :param data: details of the call, by name
    """

    id: str
    at: Moment = 0.0
    user_id: str | None
    remote: str | None
    action: str
    target: str | None
    data: Annotated[Any, DescribedAs(dict[str, Any])]


class EventName(StrEnum):
    """What events tell (docs/events.md)."""

    QUEUED = "task.queued"
    STARTED = "task.started"
    PROGRESS = "task.progress"
    STAGE = "task.stage"
    WAITING = "task.waiting"
    SUSPENDED = "task.suspended"
    FINISHED = "task.finished"
    FAILED = "task.failed"


class TaskEvent(Struct):
    """Something that happened to a task. A hint: the task's row is the truth.

    :param event: one of `EventName`
    :param status: the task's, as this event left it
    :param stage: finished stages; for task.progress the index of the running one
    :param retries: null for task.progress
    :param executor_id: who ran what this tells of
    :param time: when it happened, on the store's clock
    :param manager_id: the manager that wrote it
    :param data: task.progress: {done, total, message}; task.stage: {stage, name, method,
        outcome}; task.failed: {type, message, stage} of the error; else null
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


class ExecutorStatus(StrEnum):
    """ACTIVE takes work; DRAINING takes no new work; SUSPENDED is an operator's refusal;
    LOST missed its pings; GONE left by itself."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    SUSPENDED = "SUSPENDED"
    LOST = "LOST"
    GONE = "GONE"


class ExecutorInfo(Struct, kw_only=True):
    """An executor as users read it.

    :param id: stable for the life of its process
    :param app_names: the streams that it serves
    :param capacity: tasks that it may hold at once
    :param running: tasks that it holds
    :param lease_until: when its leases end unless it pings
    :param manager_id: the manager that it is connected to
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
