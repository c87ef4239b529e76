"""Parameters and results of the public methods."""

from inspect import cleandoc
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct

from kaiju_tasks.api.filters import columns_of, conditions_of, sort_of
from kaiju_tasks.api.views import TASK_FIELDS
from kaiju_tasks.described import DescribedAs
from kaiju_tasks.manager.events.event_matcher import EVENT_COLUMNS
from kaiju_tasks.store.base import AUDIT_COLUMNS, NOTIFICATION_COLUMNS, TASK_COLUMNS
from kaiju_tasks.types import (
    AuditRecord,
    CommandName,
    GroupName,
    Id,
    Label,
    Limit,
    Moment,
    NewTask,
    Notification,
    Number,
    Pause,
    Question,
    Task,
    TaskStatus,
)

Ids = Annotated[list[Id], Meta(max_length=1000)]
Offset = Annotated[int, Meta(ge=0, le=10_000_000)]
Cursor = Annotated[str, Meta(max_length=4096)]
PageLimit = Annotated[int, Meta(ge=1, le=1000)]
MessageText = Id

# Checked by name and value in queries.py, which says more than a type could.
TaskConditions = Annotated[dict[str, Any], DescribedAs(conditions_of("Task", TASK_COLUMNS))]
NotificationConditions = Annotated[
    dict[str, Any], DescribedAs(conditions_of("Notification", NOTIFICATION_COLUMNS))
]
AuditConditions = Annotated[dict[str, Any], DescribedAs(conditions_of("Audit", AUDIT_COLUMNS))]
EventConditions = Annotated[dict[str, Any], DescribedAs(conditions_of("Event", EVENT_COLUMNS))]
TaskSort = Annotated[list[Any], DescribedAs(sort_of(TASK_COLUMNS))]
NotificationSort = Annotated[list[Any], DescribedAs(sort_of(NOTIFICATION_COLUMNS))]

TaskChanges: Any = msgspec.defstruct(
    "TaskChanges",
    [(one.name, one.type, UNSET) for one in msgspec.structs.fields(NewTask)],
    namespace={"__doc__": f"The fields to change.\n\n{cleandoc(NewTask.__doc__ or '')}"},
    kw_only=True,
    forbid_unknown_fields=True,
)
Changes = Annotated[dict[str, Any], DescribedAs(TaskChanges)]


class CreateParams(Struct, forbid_unknown_fields=True):
    """
    :param data: the task
    :param on_conflict: when the id is taken: refuse, return that task, or redefine it
    :param strict: refuse what no connected executor can run, instead of warning of it
    """

    # checked by the method, so that the error is the first of those that `tasks.validate` lists
    data: Annotated[Any, DescribedAs(NewTask)]
    on_conflict: Literal["error", "ignore", "replace"] = "error"
    strict: bool = False


NewTasks = Annotated[list[NewTask], Meta(min_length=1, max_length=1000)]


class CreateManyParams(Struct, forbid_unknown_fields=True):
    """
    :param data: the tasks
    :param strict: as in `tasks.create`
    """

    # each converted on its own, so that an error names the index
    data: Annotated[list[Any], Meta(min_length=1, max_length=1000), DescribedAs(NewTasks)]
    strict: bool = False


class CreatedTask(Task):
    """The task, and what is to be known before it runs.

    :param created: this call made it
    :param warnings: what no connected executor can run, or no result will fill; sentences
    """

    created: bool
    warnings: list[str]


class IdParams(Struct, forbid_unknown_fields=True):
    """:param id: its id"""

    id: Id


class IdsParams(Struct, forbid_unknown_fields=True):
    """:param ids: at most 1000"""

    ids: Ids


class ListParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by column: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC where it has no offset
    :param sort: columns, "-" before one for descending; default newest first
    :param offset: how many to leave out
    :param cursor: from the answer before; instead of `offset`
    :param limit: how many to list at most
    :param columns: fields of a task; without it all but commands, kws, result
    """

    conditions: TaskConditions | None = None
    sort: TaskSort | None = None
    offset: Offset = 0
    cursor: Cursor | None = None
    limit: PageLimit = 100
    columns: Annotated[list[str], DescribedAs(columns_of(TASK_FIELDS))] | None = None


class ConditionsParams(Struct, forbid_unknown_fields=True):
    """:param conditions: as in `tasks.list`"""

    conditions: TaskConditions | None = None


class Count(Struct):
    """How many there are."""

    count: Number


class Deleted(Struct):
    """Whether something was deleted.

    :param deleted: false when there was none
    """

    deleted: bool


class DeletedCount(Struct):
    """How many were deleted.

    :param deleted: unknown ones do not count
    """

    deleted: Number


class BulkParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: which tasks, as in `tasks.list`; at least one
    :param dry_run: change nothing, only count the tasks and show a few
    :param rate: tasks per second at most; without it as fast as the database takes them
    """

    conditions: TaskConditions
    dry_run: bool = False
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


class BulkSuspendParams(BulkParams):
    """:param wait_stage: let running stages end first"""

    wait_stage: bool = False


class Refusal(Struct):
    """Why a task was left as it was.

    :param id: of the task
    :param status: of the task; null where it is not known, or the task is gone
    :param message: a sentence
    """

    id: str
    status: Annotated[str | None, DescribedAs(TaskStatus | None)]
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

    matched: Number
    done: Number = 0
    refused: Number = 0
    pending: Number = 0
    sample: list[str]
    errors: list[Refusal]


class PageParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by column: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC where it has no offset
    :param offset: how many to leave out
    :param cursor: from the answer before; instead of `offset`
    :param limit: how many to list at most
    """

    conditions: dict[str, Any] | None = None
    offset: Offset = 0
    cursor: Cursor | None = None
    limit: PageLimit = 100


class NotificationListParams(PageParams):
    """:param sort: columns, "-" before one for descending; default newest first"""

    conditions: NotificationConditions | None = None
    sort: NotificationSort | None = None


class AuditListParams(PageParams):
    conditions: AuditConditions | None = None


class NotificationList(Struct):
    """A page of notifications.

    :param count: how many match
    :param offset: as it was asked for
    :param cursor: asks for the next page; null on the last
    """

    data: list[Notification]
    count: Number
    offset: Number
    cursor: str | None


class NotificationChange(Struct, forbid_unknown_fields=True):
    """What may be changed of a notification.

    :param enabled: for a user interface: false dismisses it
    """

    enabled: bool


class NotificationUpdateParams(Struct, forbid_unknown_fields=True):
    """
    :param id: of the notification
    :param data: what to change
    """

    id: Id
    data: NotificationChange


class AuditPage(Struct):
    """A page of audit records, the newest first.

    :param count: how many match
    :param offset: as it was asked for
    :param cursor: asks for the next page; null on the last
    """

    data: list[AuditRecord]
    count: Number
    offset: Number
    cursor: str | None


class UpdateManyParams(Struct, forbid_unknown_fields=True):
    """
    :param ids: at most 1000
    :param data: the fields to change, the same in each task, as in `tasks.create`
    """

    ids: Ids
    data: Changes


class UpdateParams(Struct, forbid_unknown_fields=True):
    """
    :param id: of the task
    :param data: the fields to change, as in `tasks.create`
    """

    id: Id
    data: Changes


class MessageParams(Struct, forbid_unknown_fields=True):
    """
    :param id: of the task
    :param data: becomes the result of the hook's stage
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
    """
    :param id: of the task
    :param wait_stage: let the running stage end first
    """

    id: Id
    wait_stage: bool = False


class RestartFromParams(Struct, forbid_unknown_fields=True):
    """
    :param id: of the task
    :param stage: index of a stage, or its name
    """

    id: Id
    stage: Annotated[int, Meta(ge=0, le=100)] | CommandName


class Seen(Struct, forbid_unknown_fields=True):
    """Where a task stood when the caller last saw it.

    :param stage: finished stages
    """

    status: TaskStatus
    stage: int
    status_reason: str | None = None


class WaitParams(Struct, forbid_unknown_fields=True):
    """
    :param id: of the task
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
    """A subscription has begun.

    :param subscription: names it in each of its notifications
    """

    subscription: str


class SubscribeParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by field of an event: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC where it has no offset
    """

    conditions: EventConditions | None = None


class RunsParams(Struct, forbid_unknown_fields=True):
    """
    :param id: of the task
    :param limit: the newest so many, 1 to 1000
    """

    id: Id
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class StagesParams(Struct, forbid_unknown_fields=True):
    """:param job_id: of the run"""

    job_id: Id


class ValidateParams(Struct, forbid_unknown_fields=True):
    """
    :param data: a task, as in `tasks.create`
    :param strict: as in `tasks.create`
    """

    data: dict[str, Any]
    strict: bool = False


class Problem(Struct):
    """What is wrong with a task.

    :param field: path of what is wrong: `data.commands.0.name`
    :param message: a sentence: what would be right
    """

    field: str | None
    message: str


class Validation(Struct):
    """What `tasks.create` would say of a task.

    :param valid: `tasks.create` would take it
    :param errors: what is wrong, at most 100, in the order of the task
    :param warnings: as in the answer of `tasks.create`
    """

    valid: bool
    errors: list[Problem]
    warnings: list[str]


class DeleteOldParams(Struct, forbid_unknown_fields=True):
    """:param interval_days: days since the end of the last run"""

    interval_days: Annotated[float, Meta(ge=0, le=36_500)] = 7.0


class PreviewParams(Struct, forbid_unknown_fields=True):
    """
    :param cron: five or six fields (seconds last), or `@daily` and the like
    :param timezone: IANA name
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
    :param app_name: the stream to hold
    :param group: hold tasks of this group
    :param group_id: hold tasks of this `group_id`
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
    condition: Question | None = None
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
    next_change: Moment | None


class Removed(Struct):
    """The pause has ended.

    :param removed: true
    """

    removed: bool


class CommandsParams(Struct, forbid_unknown_fields=True):
    """:param app_name: only this stream"""

    app_name: Id | None = None


class CommandView(Struct):
    """A registered method of a stream.

    :param params: JSON Schema of the parameters
    :param doc: the command's docstring
    :param executors: how many have registered it
    """

    app_name: str
    method: str
    params: Annotated[Any, DescribedAs(dict[str, Any])]
    doc: str
    executors: Number


class SystemView(Struct, kw_only=True):
    """What runs here, and what it keeps.

    :param manager_id: the manager that answered
    :param store: its kind: sqlite or postgresql
    :param now: the store's clock
    :param up_since: since when the manager has reached the store
    :param tasks: number of tasks by stream and status
    :param executors: number of executors by status
    :param limits: fixed limits, and those that are settings
    """

    version: str
    manager_id: str
    store: str
    now: Moment
    up_since: Moment
    tasks: dict[str, dict[str, int]]
    executors: dict[str, int]
    limits: dict[str, float]
