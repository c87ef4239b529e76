"""Converts between database columns and structs, for both stores."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from kaiju_tasks.errors import reason_of
from kaiju_tasks.lifecycle import (
    VERSIONS_KEPT,
    Attempt,
    Definition,
    InboxMessage,
    Row,
    RunRecord,
    Step,
    Wait,
    broken_definition,
)
from kaiju_tasks.protocol import Lease
from kaiju_tasks.store.announced import NO_COMMANDS, read_commands
from kaiju_tasks.store.base import (
    Child,
    ExecutorRow,
    FoundRun,
    Holder,
    StoredDefinition,
    StoredProgress,
)
from kaiju_tasks.store.parts import fields_of
from kaiju_tasks.times import iso_moment
from kaiju_tasks.types import (
    ENDED_WELL,
    AuditRecord,
    ErrorType,
    ExecutorStatus,
    ListedRun,
    Notification,
    Run,
    StageRecord,
    TaskError,
    TaskStatus,
)

log = logging.getLogger(__name__)

RENAMED = {"reason": "status_reason", "open": "run_open"}
"""The fields of Row whose columns have a different name."""

ROW_FIELDS = Row.__struct_fields__
ROW_COLUMNS = tuple(RENAMED.get(name, name) for name in ROW_FIELDS)
ROW_WIDTH = len(ROW_COLUMNS)
EXECUTOR_COLUMNS = tuple(name for name in ExecutorRow.__struct_fields__ if name != "running")
AUDIT_COLUMNS = AuditRecord.__struct_fields__
NOTIFICATION_COLUMNS = Notification.__struct_fields__

_STATUSES = {str(status): status for status in TaskStatus}
_encode = msgspec.json.Encoder().encode
_decode_definition = msgspec.json.Decoder(Definition).decode
NULL = Raw(b"null")
UNREADABLE_ERROR = _encode(
    TaskError(ErrorType.INTERNAL, "the stored error cannot be read", None, None)
).decode()
"""Stands for the error of a child that cannot be read. Its parent has to end nevertheless."""
MAX_LOGGED = 1000
_logged: set[str] = set()
_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_labels = msgspec.json.Decoder(dict[str, str]).decode
_app_names = msgspec.json.Decoder(list[str]).decode


def log_once(message: str, *values: object) -> None:
    """Log what cannot be read, once for each text: it is read again and again."""
    text = message % values
    if text not in _logged:
        if len(_logged) >= MAX_LOGGED:
            _logged.clear()
        _logged.add(text)
        log.error("%s", text)


def row_of(values: Sequence[Any]) -> Row:
    """:param values: in the order of ROW_COLUMNS, with booleans; further values are ignored"""
    row = Row(*values[:ROW_WIDTH])
    row.status = _STATUSES.get(row.status, row.status)  # of an unknown one, the text: `is_known`
    return row


def row_of_integers(values: Sequence[Any]) -> Row:
    """:param values: in the order of ROW_COLUMNS, with 0 and 1 for booleans"""
    row = row_of(values)
    row.enabled, row.open, row.explicit = bool(row.enabled), bool(row.open), bool(row.explicit)
    row.hold_next, row.start_next = bool(row.hold_next), bool(row.start_next)
    row.awaited = bool(row.awaited)
    return row


def progress_of(values: Sequence[Any]) -> str | None:
    """:param values: in the order of ROW_COLUMNS, and progress if it was read"""
    return values[ROW_WIDTH] if len(values) > ROW_WIDTH else None


def is_cut(found: Sequence[Sequence[Any]]) -> bool:
    """Whether rows of a page were left out, because all have too many bytes.

    :param found: rows that end with the number of rows in the page
    """
    return bool(found) and len(found) < found[0][-1]


def row_values(row: Row) -> tuple[Any, ...]:
    """The values of a row, in the order of ROW_COLUMNS."""
    return astuple(row)


def storable(text: str) -> str:
    """Replace the characters that a database cannot store: NUL and lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def storable_ids(ids: Iterable[str]) -> list[str]:
    """Sorted ids without duplicates and without ids that cannot be stored."""
    return sorted({id for id in ids if storable(id) == id})


def json_text(raw: Raw | None) -> str | None:
    return None if raw is None else bytes(raw).decode()


def json_raw(text: str | None) -> Raw | None:
    """JSON as it was stored; null if it is none, which would make a whole answer unreadable."""
    if text is None:
        return None
    raw = Raw(text.encode())
    try:
        _decode_raw(raw)
    except msgspec.DecodeError as error:
        if not _is_json(text):
            log_once("a stored value is not JSON: %s: %.200s", error, text)
            return NULL
    return raw


def _is_json(text: str) -> bool:
    """Whether text is JSON, also with lone surrogates, which msgspec refuses."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def definition_values(definition: Definition, rev: int) -> tuple[Any, ...]:
    """task_id, rev, body and the columns that queries may use."""
    d = definition
    return (
        d.id,
        rev,
        _encode(d).decode(),
        d.created,
        d.cron,
        d.every,
        d.next_task,
        d.system,
        d.notify,
        _storable(d.group),
        _storable(d.group_id),
        d.user_id,
        d.parent_id,
        _storable(d.description),
        _encode([command.method for command in d.commands]).decode(),
        _encode(d.labels).decode() if d.labels else None,
    )


def superseded_values(step: Step) -> tuple[str, int, float]:
    """task_id, version and the end of the version that a step supersedes."""
    edit = None if step.definition is None else step.definition.edit
    assert step.superseded is not None
    assert edit is not None
    return step.row.id, step.superseded, edit.at


def forgotten_values(step: Step) -> tuple[str, int]:
    """task_id, and the last version that is too old to be kept."""
    assert step.superseded is not None
    return step.row.id, step.superseded - VERSIONS_KEPT


def version_of(task_id: str, version: int, body: str) -> Definition:
    """A version of a definition. Its number is the one it was kept with."""
    definition = stored_definition(task_id, 0, body).definition
    definition.version = version
    return definition


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)


def stored_definition(task_id: str, rev: int, body: str) -> StoredDefinition:
    """Read a definition. Of one that cannot be read, the readable fields are left."""
    try:
        return StoredDefinition(rev, _decode_definition(body))
    except (msgspec.DecodeError, UnicodeError) as error:
        left = Definition(id=task_id, app_name="", commands=[], **_readable(body))
        return StoredDefinition(rev, broken_definition(left, reason_of(error)))


def _readable(body: str) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeError):
        return {}
    types = get_type_hints(Definition)
    found = {}
    for name in fields.keys() & (types.keys() - {"id", "app_name", "commands"}):
        with suppress(msgspec.DecodeError):
            found[name] = msgspec.json.decode(fields[name], type=types[name])
    return found


def delayed_ids(found: Iterable[Sequence[Any]]) -> list[str]:
    """The ids of tasks whose first run was given as a delay. The database could not read a
    definition that is not JSON, and would refuse the whole statement.

    :param found: id, rev and body of definitions
    """
    return [id for id, rev, body in found if stored_definition(id, rev, body).definition.delayed]


def attempt_values(task_id: str, attempt: Attempt) -> tuple[Any, ...]:
    """job_id, cycle, stage, failed_attempt, task_id and the other columns of table stages."""
    a = attempt
    ended_well = a.outcome in ENDED_WELL
    return (
        a.job_id,
        a.cycle,
        a.stage,
        0 if ended_well else a.attempt,
        task_id,
        a.attempt,
        a.method,
        a.name,
        a.executor_id,
        a.queued_at,
        a.started_at,
        a.ended_at,
        a.outcome,
        a.rescued,
        json_text(a.result),
        a.error,
        a.version,
    )


def run_values(run: RunRecord) -> tuple[Any, ...]:
    return astuple(run)


def run_of(values: Sequence[Any]) -> Run:
    """:param values: the fields of RunRecord, from `task_id`"""
    (task_id, job_id, status, scheduled_at, queued_at, started_at, ended_at) = values[:7]
    (exit_code, error, retries, stage, stages, executor_id, note, rev) = values[7:]
    return Run(
        task_id=task_id,
        job_id=job_id,
        status=status,
        scheduled_at=scheduled_at,
        queued_at=queued_at,
        started_at=started_at,
        ended_at=ended_at,
        exit_code=exit_code,
        error=json_raw(error),
        retries=retries,
        stage=stage,
        stages=stages,
        executor_id=executor_id,
        note=note,
        rev=rev,
    )


def labels_of(text: Any) -> dict[str, str]:
    """Read labels. Those that cannot be read are left out.

    :param text: as they are stored; None if there are none
    """
    if text is None:
        return {}
    try:
        return _decode_labels(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        log_once("stored labels cannot be read: %s: %.200s", error, text)
        return {}


def found_run_of(values: Sequence[Any]) -> FoundRun:
    """:param values: run_id and the fields of ListedRun"""
    run_id, *rest = values
    run = ListedRun(**dict(zip(ListedRun.__struct_fields__, rest, strict=True)))
    run.error, run.labels = json_raw(run.error), labels_of(run.labels)
    return FoundRun(run_id, run)


def stage_record_of(values: Sequence[Any]) -> StageRecord:
    """:param values: in the order of StageRecord"""
    record = StageRecord(**dict(zip(StageRecord.__struct_fields__, values, strict=True)))
    record.rescued = bool(record.rescued)
    record.result, record.error = json_raw(record.result), json_raw(record.error)
    return record


def message_of(values: Sequence[Any]) -> InboxMessage:
    """:param values: in the order of InboxMessage"""
    message_id, name, data, consumed, sender, at = values
    return InboxMessage(message_id, name, json_raw(data) or NULL, bool(consumed), sender, at)


def message_values(step: Step) -> tuple[Any, ...]:
    """The task's id and the values of the message of a step, in the order of InboxMessage."""
    message = step.message
    assert message is not None
    consumed = message.message_id in step.consumed
    text = json_text(message.data)
    return (
        step.row.id,
        message.message_id,
        message.name,
        text,
        consumed,
        message.sender,
        message.at,
    )


def received_values(step: Step, now: float) -> list[tuple[Any, ...]]:
    """task_id, message_id, job_id and time, for each id of a message that a step keeps."""
    received = step.received
    if received is None:
        return []
    return [(step.row.id, one, received.job_id, now) for one in received.message_ids]


def place_values(row: Row, limit: int) -> tuple[Any, ...]:
    """app_name, priority, queued_at, id and limit, and the gate of a task at a gate."""
    place = (row.app_name, row.priority, row.queued_at, row.id, limit)
    return place if row.gate is None else (*place, row.gate)


def progress_values(progress: StoredProgress) -> tuple[Any, ...]:
    """task_id, job_id, epoch, stage and body."""
    lease = progress.lease
    return (lease.id, lease.job_id, lease.epoch, progress.stage, progress.body)


def child_values(parent_id: str, wait: Wait, child: Child) -> tuple[Any, ...]:
    """parent_job, stage, position, cycle, parent_id and the other fields of Child."""
    position, cycle, *rest = astuple(child)
    return (wait.job_id, wait.stage, position, cycle, parent_id, *rest)


def child_of(values: Sequence[Any]) -> Child:
    """:param values: in the order of Child"""
    child = Child(*values)
    child.made = bool(child.made)
    if child.error is not None and not fields_of(child.error):
        log_once("the error of the task %s cannot be read: %.200s", child.child_id, child.error)
        child.error = UNREADABLE_ERROR
    return child


def run_end_values(step: Step) -> tuple[Any, ...]:
    """The end of a run: child_id, status, exit_code, error, job_id, job_cycle and stages.

    :param step: a step with a `run_end`
    """
    run_end = step.run_end
    assert run_end is not None
    return (step.row.id, *astuple(run_end))


def executor_values(executor: ExecutorRow) -> tuple[Any, ...]:
    """The values of an executor, in the order of EXECUTOR_COLUMNS."""
    values = dict(zip(ExecutorRow.__struct_fields__, astuple(executor), strict=True))
    values["app_names"] = msgspec.json.encode(executor.app_names).decode()
    values["commands"] = json_text(executor.commands)
    return tuple(values[name] for name in EXECUTOR_COLUMNS)


def executor_of(values: Sequence[Any], running: int = 0) -> ExecutorRow:
    """:param values: in the order of EXECUTOR_COLUMNS"""
    fields = dict(zip(EXECUTOR_COLUMNS, values, strict=False))
    try:
        fields["app_names"] = _app_names(fields["app_names"])
    except msgspec.DecodeError as error:
        log_once("the streams of executor %s cannot be read: %s", fields["id"], error)
        fields["app_names"] = []
    fields["status"] = executor_status(fields["id"], fields["status"])
    fields["commands"] = _commands(fields["id"], fields["commands"])
    return ExecutorRow(**fields, running=running)


def _commands(executor_id: str, text: str) -> Raw:
    """An executor whose commands cannot be read is shown as one that announces none."""
    try:
        read_commands(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        log_once("the commands of executor %s cannot be read: %s", executor_id, error)
        return NO_COMMANDS
    return Raw(text.encode())


def executor_status(executor_id: str, status: str) -> ExecutorStatus:
    """An executor whose status is unknown counts as lost: it has to connect again."""
    try:
        return ExecutorStatus(status)
    except ValueError:
        log_once("the status of executor %s is unknown: %.100r", executor_id, status)
        return ExecutorStatus.LOST


def notification_values(
    step: Step, definition: Definition, results: Mapping[int, str]
) -> tuple[Any, ...]:
    """The values of a notification, in the order of Notification. Its id is the `job_id` of the
    run, so that a run has at most one notification.

    :param results: the results of the run as JSON, by stage
    """
    draft = step.notification
    assert draft is not None
    readable = (json_text(json_raw(results.get(stage))) for stage in range(step.row.stage))
    listed = ",".join(one or "null" for one in readable)
    return (
        draft.job_id,
        draft.message,
        json_text(definition.kws),
        iso_moment(draft.created),
        True,
        definition.user_id,
        draft.task_id,
        draft.job_id,
        str(draft.status),
        f"[{listed}]",
        draft.exit_code,
        draft.error,
        _encode(definition.labels).decode() if definition.labels else None,
    )


def holders_of(found: Iterable[Sequence[Any]]) -> dict[str, Holder]:
    """:param found: for each lease id, session and status of its executor, and the values of the
    lease; of an executor without leases, these are null
    """
    holders: dict[str, Holder] = {}
    for executor_id, session, status, *lease in found:
        holder = holders.get(executor_id)
        if holder is None:
            holder = holders[executor_id] = Holder(
                session, executor_status(executor_id, status), set()
            )
        if lease[0] is not None:
            holder.leases.add(Lease(*lease))
    return holders


def notification_of(values: Sequence[Any]) -> Notification:
    """:param values: in the order of Notification"""
    fields = dict(zip(NOTIFICATION_COLUMNS, values, strict=True))
    fields["enabled"] = bool(fields["enabled"])
    for name in ("kws", "result", "error"):
        fields[name] = json_raw(fields[name])
    fields["labels"] = labels_of(fields["labels"])
    return Notification(**fields)


def audit_values(record: AuditRecord, now: float) -> tuple[Any, ...]:
    """The values of an audit record, in the order of AuditRecord."""
    r = record
    user_id, remote, target = (_storable(text) for text in (r.user_id, r.remote, r.target))
    return (r.id, now, user_id, remote, r.action, target, msgspec.json.encode(r.data).decode())


def audit_of(values: Sequence[Any]) -> AuditRecord:
    """:param values: in the order of AuditRecord"""
    fields = dict(zip(AUDIT_COLUMNS, values, strict=True))
    fields["data"] = json_raw(fields["data"])
    return AuditRecord(**fields)


def results_of(row: Row, found: Mapping[int, str]) -> list[Raw]:
    """The results of a row, in order of the stages; null for a missing result."""
    return [json_raw(found.get(stage)) or NULL for stage in range(row.stage)]
