"""Parameters and results of the public methods."""

from inspect import cleandoc
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from kaiju_tasks.api.filters import RUN_CHOICES, columns_of, conditions_of, sort_of
from kaiju_tasks.api.views import PARTS, TASK_FIELDS
from kaiju_tasks.described import DescribedAs
from kaiju_tasks.manager.events.event_matcher import EVENT_COLUMNS
from kaiju_tasks.store.base import (
    AUDIT_COLUMNS,
    BULK_COLUMNS,
    NOTIFICATION_COLUMNS,
    RUN_COLUMNS,
    RUN_ONLY_FILTERS,
    TASK_COLUMNS,
)
from kaiju_tasks.types import (
    AuditRecord,
    BulkCall,
    BulkState,
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
    Refusal,
    RefusalCount,
    Rev,
    StatName,
    Task,
    TaskStatus,
)

Ids = Annotated[list[Id], Meta(max_length=1000)]
Offset = Annotated[int, Meta(ge=0, le=10_000_000)]
Cursor = Annotated[str, Meta(max_length=4096)]
PageLimit = Annotated[int, Meta(ge=1, le=1000)]
MessageText = Id
AuditReason = Annotated[str, Meta(min_length=1, max_length=4096)]
BulkRate = Annotated[float, Meta(ge=0.1, le=1_000_000)]

# queries.py checks names and values, with more precise errors than a type gives.
TaskConditions = Annotated[
    dict[str, Any], DescribedAs(conditions_of("Task", TASK_COLUMNS, labelled=True))
]
RunConditions = Annotated[
    dict[str, Any], DescribedAs(conditions_of("Run", RUN_COLUMNS, RUN_CHOICES, labelled=True))
]
NotificationConditions = Annotated[
    dict[str, Any], DescribedAs(conditions_of("Notification", NOTIFICATION_COLUMNS))
]
AuditConditions = Annotated[dict[str, Any], DescribedAs(conditions_of("Audit", AUDIT_COLUMNS))]
BulkConditions = Annotated[dict[str, Any], DescribedAs(conditions_of("Bulk", BULK_COLUMNS))]
EventConditions = Annotated[
    dict[str, Any], DescribedAs(conditions_of("Event", EVENT_COLUMNS, labelled=True))
]
TaskSort = Annotated[list[Any], DescribedAs(sort_of(TASK_COLUMNS))]
RUN_SORTED = {name: RUN_COLUMNS[name] for name in RUN_COLUMNS if name not in RUN_ONLY_FILTERS}
RunSort = Annotated[list[Any], DescribedAs(sort_of(RUN_SORTED))]
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
    :param on_conflict: what to do if a task with this id exists: refuse, return it, or redefine it
    :param strict: refuse commands that no connected executor can run, instead of warning
    :param reason: why, for the audit and for `tasks.versions`, if a task is redefined
    """

    # checked by the method, so that its error is the first problem that `tasks.validate` lists
    data: Annotated[Any, DescribedAs(NewTask)]
    on_conflict: Literal["error", "ignore", "replace"] = "error"
    strict: bool = False
    reason: AuditReason | None = None


NewTasks = Annotated[list[NewTask], Meta(min_length=1, max_length=1000)]


class CreateManyParams(Struct, forbid_unknown_fields=True):
    """
    :param data: the tasks
    :param strict: as in `tasks.create`
    """

    # each is converted separately, so that an error contains the index
    data: Annotated[list[Any], Meta(min_length=1, max_length=1000), DescribedAs(NewTasks)]
    strict: bool = False


class CreatedTask(Task):
    """The created task, with warnings.

    :param created: whether this call created the task
    :param warnings: commands that no connected executor can run, and templates that no result fills
    """

    created: bool
    warnings: list[str]


class IdParams(Struct, forbid_unknown_fields=True):
    """:param id: id of the object"""

    id: Id


class OperateParams(IdParams):
    """
    :param id: id of the object
    :param reason: why, for the audit
    """

    reason: AuditReason | None = None


class IdsParams(Struct, forbid_unknown_fields=True):
    """:param ids: ids of tasks, at most 1000"""

    ids: Ids


class FewIdsParams(Struct, forbid_unknown_fields=True):
    """:param ids: ids of tasks, at most 100"""

    ids: Annotated[list[Id], Meta(max_length=100)]


class ListParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by column: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC if they have no offset
    :param sort: columns, with "-" before a column for descending order; default newest first
    :param offset: number of entries to skip
    :param cursor: cursor of the previous page, instead of `offset`
    :param limit: the most entries to list
    :param columns: fields of a task; default all fields except commands, kws and result; also the
        `method` of the current stage, and `error.type`, `error.message` and `error.stage`
    """

    conditions: TaskConditions | None = None
    sort: TaskSort | None = None
    offset: Offset = 0
    cursor: Cursor | None = None
    limit: PageLimit = 100
    columns: Annotated[list[str], DescribedAs(columns_of(TASK_FIELDS + PARTS))] | None = None


class ConditionsParams(Struct, forbid_unknown_fields=True):
    """:param conditions: as in `tasks.list`"""

    conditions: TaskConditions | None = None


class Count(Struct):
    """The number of objects that match."""

    count: Number


class Deleted(Struct):
    """Whether an object was deleted.

    :param deleted: false if the object does not exist
    """

    deleted: bool


class DeletedCount(Struct):
    """The number of deleted tasks.

    :param deleted: number of deleted tasks
    """

    deleted: Number


class BulkParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: conditions that select the tasks, as in `tasks.list`; at least one
    :param dry_run: change nothing; only count the tasks and return some ids
    :param rate: the most tasks per second; default as fast as the database allows
    :param reason: why, for people; it is kept with the call and in the audit
    :param bulk_id: id of the call, so that repeating it is safe; generated if absent
    :param wait: the most seconds to wait for the end before the answer
    """

    conditions: TaskConditions
    dry_run: bool = False
    rate: BulkRate | None = None
    reason: AuditReason | None = None
    bulk_id: Id | None = None
    wait: Annotated[float, Meta(ge=0, le=60)] = 20


class BulkSuspendParams(BulkParams):
    """:param wait_stage: suspend a task only after its running stage has ended"""

    wait_stage: bool = False


class BulkRestartParams(BulkParams, kw_only=True):
    """
    :param stage: index of the first stage to run, or `failed` for the stage at which the last run
        has failed
    """

    stage: Annotated[int, Meta(ge=0, lt=Limit.MAX_STAGES)] | Literal["failed"]


class BulkMessageParams(BulkParams, kw_only=True):
    """
    :param data: the message; it becomes the result of the hook's stage
    :param name: name of the message; only a hook with this name, or without a name, takes it
    :param message_id: id of the message in each task; default the id of the call
    """

    data: Raw
    name: MessageText | None = None
    message_id: MessageText | None = None


class DeleteManyParams(BulkParams, forbid_unknown_fields=True):
    """
    :param ids: ids of tasks, at most 1000, instead of `conditions`
    :param conditions: conditions that select the tasks, as in `tasks.list`, instead of `ids`
    """

    conditions: TaskConditions | None = None  # type: ignore[assignment]
    ids: Ids | None = None


class BulkResult(Struct, kw_only=True):
    """The answer of a bulk call.

    :param bulk_id: id of the call, for `bulk.get` and `bulk.stop`; null for a dry run
    :param state: whether it goes on, and how it has ended; null for a dry run
    :param matched: number of tasks that the conditions select: the sum of `done`, `refused` and
        `pending`
    :param done: number of tasks that were handled
    :param changed: number of the handled tasks that this has changed; others were already so
    :param refused: number of tasks that did not allow the operation, or no longer matched; of a dry
        run, those that would be refused now because of their status
    :param pending: number of tasks that are not yet handled, or were left when it ended; of a dry
        run, those that would be handled
    :param refusals: the refused tasks by reason and status
    :param sample: ids of the first 20 tasks
    :param errors: the first 20 refused tasks; of a dry run, those in `sample`
    """

    bulk_id: str | None
    state: BulkState | None
    matched: Number
    done: Number
    changed: Number
    refused: Number
    pending: Number
    refusals: list[RefusalCount]
    sample: list[str]
    errors: list[Refusal]


class DeletedMany(Struct, kw_only=True):
    """The outcome of deleting several tasks. Of a call by ids, it has only the first two fields.

    :param deleted: number of deleted tasks
    :param not_found: ids of tasks that do not exist, in the order of `ids`
    :param bulk_id: this and what follows: as in the answer of every bulk call
    """

    deleted: Number
    not_found: list[str]
    bulk_id: str | UnsetType | None = UNSET
    state: BulkState | UnsetType | None = UNSET
    matched: Number | UnsetType = UNSET
    done: Number | UnsetType = UNSET
    changed: Number | UnsetType = UNSET
    refused: Number | UnsetType = UNSET
    pending: Number | UnsetType = UNSET
    refusals: list[RefusalCount] | UnsetType = UNSET
    sample: list[str] | UnsetType = UNSET
    errors: list[Refusal] | UnsetType = UNSET


class BulkStopParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the bulk call
    :param reason: why, for people; it is kept in the audit
    """

    id: Id
    reason: AuditReason | None = None


class PageParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by column: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC if they have no offset
    :param offset: number of entries to skip
    :param cursor: cursor of the previous page, instead of `offset`
    :param limit: the most entries to list
    """

    conditions: dict[str, Any] | None = None
    offset: Offset = 0
    cursor: Cursor | None = None
    limit: PageLimit = 100


class NotificationListParams(PageParams):
    """:param sort: columns, with "-" before a column for descending order; default newest first"""

    conditions: NotificationConditions | None = None
    sort: NotificationSort | None = None


class RunListParams(PageParams):
    """:param sort: columns, with "-" before a column for descending order; default last ended"""

    conditions: RunConditions | None = None
    sort: RunSort | None = None


class JobParams(Struct, forbid_unknown_fields=True):
    """:param job_id: id of the run"""

    job_id: Id


class LogListParams(Struct, forbid_unknown_fields=True):
    """
    :param job_id: id of the run
    :param stage: only lines of this stage, by its index from 0
    :param attempt: only lines of attempts with this number, from 1
    :param after: the `cursor` of an earlier answer: only lines after it; or a number: only lines
        with a higher number within their attempt
    :param limit: the most lines to list
    """

    job_id: Id
    stage: Annotated[int, Meta(ge=0, lt=Limit.MAX_STAGES)] | None = None
    attempt: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    after: Cursor | Annotated[int, Meta(ge=0, le=2**53)] | None = None
    limit: PageLimit = 1000


class AuditListParams(PageParams):
    conditions: AuditConditions | None = None


class BulkListParams(PageParams):
    conditions: BulkConditions | None = None


class BulkCallPage(Struct):
    """A page of bulk calls, newest first.

    :param count: number of bulk calls that match
    :param offset: offset of the request
    :param cursor: cursor of the next page; null on the last page
    """

    data: list[BulkCall]
    count: Number
    offset: Number
    cursor: str | None


class NotificationList(Struct):
    """A page of notifications.

    :param count: number of notifications that match
    :param offset: offset of the request
    :param cursor: cursor of the next page; null on the last page
    """

    data: list[Notification]
    count: Number
    offset: Number
    cursor: str | None


class NotificationChange(Struct, forbid_unknown_fields=True):
    """The fields of a notification that can be changed.

    :param enabled: for user interfaces; false dismisses the notification
    """

    enabled: bool


class NotificationUpdateParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the notification
    :param data: the fields to change
    """

    id: Id
    data: NotificationChange


class AuditPage(Struct):
    """A page of audit records, newest first.

    :param count: number of records that match
    :param offset: offset of the request
    :param cursor: cursor of the next page; null on the last page
    """

    data: list[AuditRecord]
    count: Number
    offset: Number
    cursor: str | None


class UpdateManyParams(Struct, forbid_unknown_fields=True):
    """
    :param ids: ids of tasks, at most 1000
    :param data: the fields to change in each task, as in `tasks.create`
    :param reason: why, for the audit
    """

    ids: Ids
    data: Changes
    reason: AuditReason | None = None


class UpdateParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the task
    :param data: the fields to change, as in `tasks.create`
    :param if_rev: change nothing unless this is the `rev` of the task, so that nobody has changed
        the task since the caller read it
    :param reason: why, for the audit and for `tasks.versions`
    """

    id: Id
    data: Changes
    if_rev: Rev | None = None
    reason: AuditReason | None = None


class MessageParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the task
    :param data: the message; it becomes the result of the hook's stage
    :param name: name of the message; only a hook with this name, or without a name, takes it
    :param message_id: id of the message, unique in the task, so that repeating the call is safe;
        generated if absent
    :param job_id: send the message only to this run
    """

    id: Id
    data: Raw
    name: MessageText | None = None
    message_id: MessageText | None = None
    job_id: Id | None = None


class SuspendParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the task
    :param wait_stage: suspend the task only after its running stage has ended
    :param reason: why, for the audit
    """

    id: Id
    wait_stage: bool = False
    reason: AuditReason | None = None


class RestartFromParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the task
    :param stage: index of a stage, or its name; or `failed`, if no command has this name: the stage
        at which the last run has failed
    :param version: `rev` of the version of the definition with which to run; the default is the
        current one
    :param reason: why, for the audit and for `tasks.versions`
    """

    id: Id
    stage: Annotated[int, Meta(ge=0, le=100)] | CommandName
    version: Rev | None = None
    reason: AuditReason | None = None


class Seen(Struct, forbid_unknown_fields=True):
    """The state of a task when the caller last read it.

    :param stage: number of finished stages
    """

    status: TaskStatus
    stage: int
    status_reason: str | None = None


class WaitParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the task
    :param timeout: seconds, 0 to 60
    :param seen: {status, stage, status_reason}; the wait also ends if the task differs from this
    """

    id: Id
    timeout: Annotated[float, Meta(ge=0, le=60)] = 60.0
    seen: Seen | None = None


class SubscriptionParams(Struct, forbid_unknown_fields=True):
    """:param subscription: id of the subscription, from `events.subscribe`"""

    subscription: Id


class Subscribed(Struct):
    """A subscription.

    :param subscription: id of the subscription, which each of its notifications contains
    """

    subscription: str


class SubscribeParams(Struct, forbid_unknown_fields=True):
    """
    :param conditions: by field of an event: a value, a list of values, or {gt, ge, lt, le, like};
        times are UNIX seconds or ISO-8601, read in UTC if they have no offset
    """

    conditions: EventConditions | None = None


class RunsParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the task
    :param limit: the most runs to list, 1 to 1000; the newest are listed
    """

    id: Id
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class VersionsParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the task
    :param before: list only versions with a lower `rev`
    :param limit: the most versions to list; the newest are listed
    """

    id: Id
    before: Rev | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 100


class StagesParams(Struct, forbid_unknown_fields=True):
    """:param job_id: id of the run"""

    job_id: Id


class ValidateParams(Struct, forbid_unknown_fields=True):
    """
    :param data: a task, as in `tasks.create`
    :param strict: as in `tasks.create`
    """

    data: dict[str, Any]
    strict: bool = False


class Problem(Struct):
    """A problem of a task.

    :param field: path of the invalid field, for example `data.commands.0.name`
    :param message: what is wrong and what would be right, for people
    """

    field: str | None
    message: str


class Validation(Struct):
    """The problems and warnings that `tasks.create` would have with a task.

    :param valid: whether `tasks.create` would accept the task
    :param errors: the problems, at most 100, in the order of the task's fields
    :param warnings: the warnings, as in the result of `tasks.create`
    """

    valid: bool
    errors: list[Problem]
    warnings: list[str]


class DeleteOldParams(Struct, forbid_unknown_fields=True):
    """
    :param interval_days: the least number of days since the end of the last run
    :param reason: why, for the audit
    """

    interval_days: Annotated[float, Meta(ge=0, le=36_500)] = 7.0
    reason: AuditReason | None = None


class UpcomingParams(Struct, forbid_unknown_fields=True):
    """
    :param start: UNIX seconds or ISO-8601, read in UTC if it has no offset; default now
    :param end: the same, at most 366 days later; fires at this time are left out; default a day
        later
    :param conditions: only schedules of these tasks, as in `tasks.list`
    :param limit: the most fires to list
    """

    start: float | str | None = None
    end: float | str | None = None
    conditions: TaskConditions | None = None
    limit: PageLimit = 100


class MarkParams(Struct, forbid_unknown_fields=True):
    """
    :param label: what is noted, for people
    :param at: the time, UNIX seconds or ISO-8601, read in UTC if it has no offset; default now
    :param app_name: the stream that it concerns; default all
    """

    label: Annotated[str, Meta(min_length=1, max_length=255)]
    at: float | str | None = None
    app_name: Id | None = None


class MarkListParams(Struct, forbid_unknown_fields=True):
    """
    :param start: only marks of this time or later, UNIX seconds or ISO-8601
    :param end: only marks before this time
    :param limit: the most marks to read
    """

    start: float | str | None = None
    end: float | str | None = None
    limit: PageLimit = 100


class StatParams(Struct, forbid_unknown_fields=True):
    """
    :param names: what to read
    :param start: the first time, UNIX seconds or ISO-8601, read in UTC if it has no offset
    :param end: the time before which the last interval begins; at most an hour from now
    :param step: seconds of an interval, a multiple of 60. Multiples of 3600 read hours, which are
        kept for 90 days; all others read minutes, which are kept for 48 hours
    :param app_name: only of this stream; default all streams that the caller may see
    """

    names: Annotated[list[StatName], Meta(min_length=1, max_length=20)]
    start: float | str
    end: float | str
    step: Annotated[int, Meta(ge=60, le=7_776_000, multiple_of=60)] = 60
    app_name: Id | None = None


class PreviewParams(Struct, forbid_unknown_fields=True):
    """
    :param cron: five or six fields (seconds last), or a name such as `@daily`
    :param timezone: IANA time zone
    :param n: number of fires, 1 to 100
    :param after: UNIX seconds, or ISO-8601, read in `timezone` if it has no offset; default now
    """

    cron: Annotated[str, Meta(max_length=255)]
    timezone: Annotated[str, Meta(max_length=255)] = "UTC"
    n: Annotated[int, Meta(ge=1, le=100)] = 5
    after: float | str | None = None


class PauseParams(Struct, forbid_unknown_fields=True):
    """The tasks to hold: tasks of a stream or group, or before commands that match a glob.

    A task is held if it matches all parameters that are given. At least one of `app_name`, `group`,
    `group_id` and `method` is required.

    :param reason: the reason, for people
    :param app_name: hold tasks of this stream
    :param group: hold tasks of this group
    :param group_id: hold tasks of this `group_id`
    :param method: glob (`*`, `?`, `[…]`, case-sensitive) for the method of the next command
    :param condition: condition on `kws` and the literal `params` of that command, as in a command
    :param until: time at which the pause ends, UNIX seconds or ISO-8601
    :param cron: hold only in windows that begin at the fires of this expression
    :param duration: length of a window in seconds
    :param timezone: time zone of `cron`, and of an `until` without an offset
    :param stop_running: take running stages back too; otherwise they run to their end
    :param author: author of the pause; for a caller with a token, it is always the token's user
    :param id: id of the pause; generated if absent
    """

    reason: AuditReason
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
    """A pause, and whether it holds now.

    :param active: whether the pause holds now
    :param next_change: time at which `active` changes by itself, UNIX seconds
    :param problem: why it cannot be applied and holds nothing, for example because its time zone
        is gone; null if it can be
    """

    active: bool
    next_change: Moment | None
    problem: str | None


class Removed(Struct):
    """The pause has ended.

    :param removed: true
    """

    removed: bool


class CommandsParams(Struct, forbid_unknown_fields=True):
    """:param app_name: only methods of this stream"""

    app_name: Id | None = None


class CommandView(Struct):
    """A registered method of a stream.

    :param params: JSON Schema of the parameters
    :param doc: docstring of the command
    :param executors: number of executors that have registered it
    :param result: JSON Schema of the result; {} if it is not known
    :param examples: calls as examples: objects with `params` and, if it is known, `result`
    """

    app_name: str
    method: str
    params: Annotated[Any, DescribedAs(dict[str, Any])]
    doc: str
    executors: Number
    result: Annotated[Any, DescribedAs(dict[str, Any])]
    examples: Annotated[Any, DescribedAs(list[dict[str, Any]])]


class SystemView(Struct, kw_only=True):
    """The manager, and the numbers of its tasks and executors.

    :param manager_id: manager that answered
    :param store: kind of the store: sqlite or postgresql
    :param now: time of the store's clock
    :param up_since: time since which the manager can reach the store
    :param tasks: number of tasks by stream and status
    :param executors: number of executors by status
    :param limits: the fixed limits, and the limits that are settings
    :param insecure_host: whether other machines reach the manager and may do everything, because no
        token exists
    """

    version: str
    manager_id: str
    store: str
    now: Moment
    up_since: Moment
    tasks: dict[str, dict[str, int]]
    executors: dict[str, int]
    limits: dict[str, float]
    insecure_host: bool
