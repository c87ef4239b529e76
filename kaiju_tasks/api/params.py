"""Parameters and results of the public methods."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from kaiju_tasks.types import (
    AuditRecord,
    CommandName,
    GroupName,
    Id,
    Label,
    Limit,
    NewTask,
    Notification,
    Pause,
    Task,
    TaskStatus,
)

Ids = Annotated[list[Id], Meta(max_length=1000)]
Conditions = dict[str, Any] | None
Offset = Annotated[int, Meta(ge=0, le=10_000_000)]
Cursor = Annotated[str, Meta(max_length=4096)]
PageLimit = Annotated[int, Meta(ge=1, le=1000)]
MessageText = Id


class CreateParams(Struct, forbid_unknown_fields=True):
    """
    :param on_conflict: when the id is taken: refuse, return that task, or redefine it
    :param strict: refuse what no connected executor can run, instead of warning of it
    """

    data: NewTask
    on_conflict: Literal["error", "ignore", "replace"] = "error"
    strict: bool = False


NEW_TASKS = {"type": "array", "items": {"$ref": "#/components/schemas/NewTask"}}


class CreateManyParams(Struct, forbid_unknown_fields=True):
    """:param strict: as in `tasks.create`"""

    # Any, and each converted on its own: so an error tells the index
    data: Annotated[list[Any], Meta(min_length=1, max_length=1000, extra_json_schema=NEW_TASKS)]
    strict: bool = False


class CreatedTask(Task):
    """The task; `created` is true when this call made it."""

    warnings: list[str]


class IdParams(Struct, forbid_unknown_fields=True):
    id: Id


class IdsParams(Struct, forbid_unknown_fields=True):
    ids: Ids


class ListParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by column: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC where it has no offset
    :param sort: columns, "-" before one for descending; default newest first
    :param cursor: from the answer before; instead of `offset`
    :param columns: fields of a task; without it all but commands, kws, result
    """

    conditions: Conditions = None
    sort: list[Any] | None = None
    offset: Offset = 0
    cursor: Cursor | None = None
    limit: PageLimit = 100
    columns: list[str] | None = None


class ConditionsParams(Struct, forbid_unknown_fields=True):
    """:param conditions: as in `tasks.list`"""

    conditions: Conditions = None


class Count(Struct):
    count: int


class Deleted(Struct):
    deleted: bool


class DeletedCount(Struct):
    deleted: int


class BulkParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: which tasks, as in `tasks.list`; at least one
    :param dry_run: change nothing, only count the tasks and show a few
    :param rate: tasks per second at most; without it as fast as the database takes them
    """

    conditions: dict[str, Any]
    dry_run: bool = False
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


class BulkSuspendParams(BulkParams):
    """
    :param conditions: which tasks, as in `tasks.list`; at least one
    :param dry_run: change nothing, only count the tasks and show a few
    :param rate: tasks per second at most; without it as fast as the database takes them
    :param wait_stage: let running stages end first
    """

    wait_stage: bool = False


class Refusal(Struct):
    """Why a task was left as it was. `status`: null where it is not known, or the task is gone."""

    id: str
    status: str | None
    message: str


class BulkResult(Struct, kw_only=True):
    """What a bulk operation did.

    :param matched: tasks that the conditions select: those below together
    :param done: tasks it was applied to
    :param refused: tasks that did not allow it, or no longer matched when their turn came
    :param pending: tasks whose turn is still to come: the manager goes on with them
    :param sample: ids of the first 20
    :param errors: the first 20 of the refused
    """

    matched: int
    done: int = 0
    refused: int = 0
    pending: int = 0
    sample: list[str]
    errors: list[Refusal]


class PageParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by column: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC where it has no offset
    :param cursor: from the answer before; instead of `offset`
    """

    conditions: Conditions = None
    offset: Offset = 0
    cursor: Cursor | None = None
    limit: PageLimit = 100


class NotificationListParams(PageParams):
    """
    :param conditions: by column: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC where it has no offset
    :param cursor: from the answer before; instead of `offset`
    :param sort: columns, "-" before one for descending; default newest first
    """

    sort: list[Any] | None = None


class NotificationList(Struct):
    """A page of notifications. `count` is how many match."""

    data: list[Notification]
    count: int
    offset: int
    cursor: str | None


class NotificationChange(Struct, forbid_unknown_fields=True):
    """What may be changed of a notification."""

    enabled: bool


class NotificationUpdateParams(Struct, forbid_unknown_fields=True):
    id: Id
    data: NotificationChange


class AuditList(Struct):
    """A page of audit records, the newest first. `count` is how many match."""

    data: list[AuditRecord]
    count: int
    offset: int
    cursor: str | None


class UpdateManyParams(Struct, forbid_unknown_fields=True):
    """:param data: the fields to change, the same in each task, as in `tasks.create`"""

    ids: Ids
    data: dict[str, Any]


class UpdateParams(Struct, forbid_unknown_fields=True):
    """:param data: the fields to change, as in `tasks.create`"""

    id: Id
    data: dict[str, Any]


class MessageParams(Struct, forbid_unknown_fields=True):
    """
    :param name: for the hook of this name
    :param message_id: unique in the run: a repeat is harmless; made up when absent
    :param job_id: only for this run
    """

    id: Id
    data: Raw
    name: MessageText | None = None
    message_id: MessageText | None = None
    job_id: Id | None = None


class SuspendParams(Struct, forbid_unknown_fields=True):
    """:param wait_stage: let the running stage end first"""

    id: Id
    wait_stage: bool = False


class RestartFromParams(Struct, forbid_unknown_fields=True):
    """:param stage: index of a stage, or its name"""

    id: Id
    stage: Annotated[int, Meta(ge=0, le=100)] | CommandName


class Seen(Struct, forbid_unknown_fields=True):
    """Where a task stood when the caller last saw it."""

    status: TaskStatus
    stage: int
    status_reason: str | None = None


class WaitParams(Struct, forbid_unknown_fields=True):
    """
    :param timeout: seconds, 0 to 60
    :param seen: {status, stage, status_reason}: the wait is over, too, when the task stands
        elsewhere
    """

    id: Id
    timeout: Annotated[float, Meta(ge=0, le=60)] = 60.0
    seen: Seen | None = None


class SubscriptionParams(Struct, forbid_unknown_fields=True):
    """:param subscription: as `events.subscribe` returned it"""

    subscription: Id


class Subscribed(Struct):
    """:param subscription: names the subscription in each of its notifications"""

    subscription: str


class SubscribeParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by field of an event: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC where it has no offset
    """

    conditions: Conditions = None


class RunsParams(Struct, forbid_unknown_fields=True):
    """:param limit: the newest so many, 1 to 1000"""

    id: Id
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class StagesParams(Struct, forbid_unknown_fields=True):
    job_id: Id


class ValidateParams(Struct, forbid_unknown_fields=True):
    """:param strict: as in `tasks.create`"""

    data: dict[str, Any]
    strict: bool = False


class Problem(Struct):
    field: str | None
    message: str


class Validation(Struct):
    valid: bool
    errors: list[Problem]
    warnings: list[str]


class DeleteOldParams(Struct, forbid_unknown_fields=True):
    """:param interval_days: days since the end of the last run"""

    interval_days: Annotated[float, Meta(ge=0, le=36_500)] = 7.0


class PreviewParams(Struct, forbid_unknown_fields=True):
    """
    :param n: how many fires, 1 to 1000
    :param after: UNIX seconds, or ISO-8601, read in `timezone` where it has no offset; default now
    """

    cron: Annotated[str, Meta(max_length=255)]
    timezone: Annotated[str, Meta(max_length=255)] = "UTC"
    n: Annotated[int, Meta(ge=1, le=1000)] = 5
    after: float | str | None = None


class PauseParams(Struct, forbid_unknown_fields=True):
    """What to hold: tasks of a stream, a group, or before commands that a glob names; what is not
    given is not asked, and at least one of `app_name`, `group`, `group_id`, `method` is.

    :param reason: for people
    :param method: glob (`*`, `?`, `[…]`, case-sensitive) of the next command's method
    :param condition: of `kws` and of that command's literal `params`, as of a command
    :param until: when the pause is over for good, UNIX time or ISO-8601
    :param cron: hold only in windows that begin at these moments
    :param duration: seconds that a window lasts
    :param timezone: of `cron`, and of an `until` without an offset
    :param stop_running: take running stages back too; otherwise they end
    :param author: who wants it; a caller with a token is its own author
    :param id: made up when absent
    """

    reason: Annotated[str, Meta(min_length=1, max_length=4096)]
    app_name: Id | None = None
    group: GroupName | None = None
    group_id: GroupName | None = None
    method: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    condition: dict[str, Any] | list[Any] | None = None
    until: float | str | None = None
    cron: Label | None = None
    duration: Annotated[float, Meta(gt=0, le=Limit.MAX_WAIT)] | None = None
    timezone: Label | None = None
    stop_running: bool = False
    author: Label | None = None
    id: Id | None = None


class PauseView(Pause):
    """A pause as users read it.

    :param active: it holds at this moment
    :param next_change: when this changes by itself, UNIX seconds
    """

    active: bool
    next_change: float | None


class Removed(Struct):
    removed: bool


class CommandsParams(Struct, forbid_unknown_fields=True):
    app_name: Id | None = None


class CommandView(Struct):
    """A registered method of a stream. `params` is a JSON Schema."""

    app_name: str
    method: str
    params: Any
    doc: str
    executors: int


class SystemInfo(Struct, kw_only=True):
    """
    :param now: the store's clock
    :param tasks: number of tasks by stream and status
    """

    version: str
    manager_id: str
    store: str
    now: float
    up_since: float
    tasks: dict[str, dict[str, int]]
    executors: dict[str, int]
    limits: dict[str, float]
