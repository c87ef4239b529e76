"""Tasks and runs as the API returns them."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from kaiju_tasks.lifecycle import Command, Definition, InboxMessage, Row, edits_note
from kaiju_tasks.store.base import TaskView
from kaiju_tasks.store.columns import json_raw, log_once
from kaiju_tasks.store.parts import error_part, fields_of, method_of
from kaiju_tasks.times import seconds_of
from kaiju_tasks.types import (
    MASKED_SECRET,
    InboxEntry,
    Notification,
    Progress,
    Run,
    StageRecord,
    Task,
    TaskDefinition,
    TaskVersion,
    Webhook,
)

_decode_progress = msgspec.json.Decoder(Progress).decode
EMPTY, NO_RESULTS = Raw(b"{}"), Raw(b"[]")
LEFT_OUT_OF_LISTS = frozenset({"commands", "kws", "result", "progress"})
TASK_FIELDS = Task.__struct_fields__
LIST_FIELDS = tuple(name for name in TASK_FIELDS if name not in LEFT_OUT_OF_LISTS)
PARTS = ("method", "error.type", "error.message", "error.stage")
"""What a list can show beside the fields of a task."""


def task_view(view: TaskView, *, commands: bool = True, data: bool = True) -> Task:
    """Return a task with every field.

    :param commands: False if the commands are not needed
    :param data: whether to show kws, params, results and `meta`; otherwise they are empty
    """
    row, definition = view.row, view.definition
    return Task(
        id=row.id,
        app_name=row.app_name,
        commands=[_command(command, data) for command in definition.commands] if commands else [],
        kws=definition.kws if data else EMPTY,
        enabled=row.enabled,
        cron=definition.cron,
        timezone=definition.timezone,
        every=definition.every,
        misfire=definition.misfire,
        jitter=definition.jitter,
        next_run=row.next_run,
        max_exec_timeout=definition.max_exec_timeout,
        max_queue_time=definition.max_queue_time,
        max_retries=definition.max_retries,
        restart_policy=definition.restart_policy,
        retry_delay=definition.retry_delay,
        retry_backoff=definition.retry_backoff,
        retry_max_delay=definition.retry_max_delay,
        priority=row.priority,
        concurrency=definition.concurrency,
        unique=definition.unique,
        notify=definition.notify,
        webhook=_masked(definition.webhook) if data else None,
        next_task=definition.next_task,
        system=definition.system,
        description=definition.description,
        meta=definition.meta if data else EMPTY,
        group=definition.group,
        group_id=definition.group_id,
        labels=definition.labels,
        status=row.status,
        status_reason=row.reason,
        result=(view.results or []) if data else [],
        stage=row.stage,
        stages=row.stages,
        queued_at=row.queued_at,
        exec_deadline=row.exec_deadline,
        wait_deadline=row.wait_deadline,
        status_change=row.status_change,
        since=row.since,
        user_id=definition.user_id,
        executor_id=row.executor_id,
        job_id=row.job_id,
        scheduled_at=row.scheduled_at,
        retries=row.retries,
        created=definition.created,
        exit_code=row.exit_code,
        error=_error(row.error, data),
        parent_id=definition.parent_id,
        rev=definition.version,
        progress=_progress(view.progress, data),
    )


def version_view(row: Row, definition: Definition, *, data: bool = True) -> TaskVersion:
    """Return a version of the definition of a task.

    :param data: as in `task_view`
    """
    row = replace(row, app_name=definition.app_name, priority=definition.priority)
    task, edit = task_view(TaskView(row, definition), data=data), definition.edit
    return TaskVersion(
        rev=definition.version,
        at=seconds_of(definition.created) if edit is None else edit.at,
        user_id=definition.user_id if edit is None else edit.user_id,
        changed=[] if edit is None else edit.changed,
        reason=None if edit is None else edit.reason,
        definition={name: getattr(task, name) for name in TaskDefinition.__struct_fields__},
    )


def task_columns(view: TaskView, columns: tuple[str, ...], *, data: bool = True) -> dict[str, Any]:
    """Return some fields of a task."""
    task = task_view(view, commands="commands" in columns, data=data)
    return {
        name: _part(view, name, data) if name in PARTS else getattr(task, name) for name in columns
    }


def column_value(view: TaskView, column: str) -> Any:
    """The value of a column that a list is sorted by."""
    return _part(view, column) if column in PARTS else getattr(task_view(view), column)


def _part(view: TaskView, name: str, data: bool = True) -> Any:
    if name == "method":
        return method_of(view.row, view.definition)
    error = view.row.error if data else brief_error(view.row.error)
    return error_part(error, name.removeprefix("error."))


def open_run(row: Row, definition: Definition) -> Run | None:
    """Return the open run, if one has begun."""
    if not row.begun:
        return None
    return Run(
        task_id=row.id,
        job_id=row.job_id,
        status=row.status,
        scheduled_at=row.scheduled_at,
        queued_at=row.run_queued_at,
        started_at=row.run_started_at,
        ended_at=None,
        exit_code=None,
        error=json_raw(row.error),
        retries=row.retries,
        stage=row.stage,
        stages=row.stages,
        executor_id=row.executor_id,
        note=edits_note(definition, row.job_id),
        rev=definition.version,
    )


def inbox_entry(message: InboxMessage, *, data: bool = True) -> InboxEntry:
    """Return a message.

    :param data: whether to show its name and data; otherwise they are null
    """
    return InboxEntry(
        message_id=message.message_id,
        name=message.name if data else None,
        data=message.data if data else None,
        state="consumed" if message.consumed else "buffered",
        sender=message.sender,
        at=message.at,
    )


def _progress(text: str | None, data: bool) -> Progress | None:
    if text is None:
        return None
    try:
        progress = _decode_progress(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        log_once("stored progress cannot be read: %s: %.200s", error, text)
        return None
    if not data:
        progress.message = None
    return progress


def _masked(webhook: Webhook | None) -> Webhook | None:
    if webhook is None or webhook.secret is None:
        return webhook
    return Webhook(webhook.url, MASKED_SECRET)


def _error(text: str | None, data: bool) -> Any:
    return json_raw(text if data else brief_error(text))


def brief_error(text: str | None) -> str | None:
    """The JSON of an error with its type and stage only. The rest can contain data of the task."""
    if text is None:
        return None
    error = fields_of(text)
    kind = error.get("type")
    brief = {"type": kind, "message": kind, "stage": error.get("stage"), "data": None}
    return msgspec.json.encode(brief).decode()


def hide_data(records: Iterable[Run | StageRecord | Notification]) -> None:
    """Remove what is confidential from records that were read from the store."""
    for record in records:
        if record.error is not None:
            text = bytes(record.error).decode()
            record.error = json_raw(brief_error(text))
        match record:
            case StageRecord():
                record.result = None
            case Notification():
                record.kws, record.result = EMPTY, NO_RESULTS


def _command(command: Command, data: bool = True) -> dict[str, Any]:
    """Return the data as a client sends it, without the fields that it left out."""
    params: Any = command.params if data else {}
    sent: dict[str, Any] = {"method": command.method, "params": params}
    if command.max_timeout is not None:
        sent["max_timeout"] = command.max_timeout
    if command.conditional and data:
        sent["condition"] = command.condition
    if command.name is not None:
        sent["name"] = command.name
    return sent
