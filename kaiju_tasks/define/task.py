"""The definition of a task, checked and made from a client's data."""

from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec import field as struct_field

from kaiju_tasks.define.commands import commands_problems, to_command
from kaiju_tasks.define.fields import (
    child_schedule_problems,
    field_problems,
    first_run,
    own_id_problems,
)
from kaiju_tasks.define.keys import Keys, without_keys
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import FIXED_DURING_A_RUN, Command, Definition
from kaiju_tasks.lifecycle.children import FILLED, compiled_tasks
from kaiju_tasks.rpc import convert
from kaiju_tasks.types import (
    MASKED_SECRET,
    TASKS,
    NewTask,
    TaskCommand,
    Webhook,
    as_text,
)

_encode = msgspec.json.encode

_FIELDS = frozenset(NewTask.__struct_fields__)
_OF_RUNS = (
    "commands",
    "kws",
    "max_exec_timeout",
    "max_retries",
    "restart_policy",
    "retry_delay",
    "retry_backoff",
    "retry_max_delay",
)
"""The fields that decide what a run does and how it is retried, and nothing else."""


class Defined(Struct):
    """A checked definition, and the values that change with the task.

    :param next_run: explicit time of the first run, UNIX seconds
    :param children: tasks that its stages can create, with unfilled templates, by their paths, for
        example `commands.0.params.create.1`
    """

    definition: Definition
    enabled: bool
    next_run: float | None
    children: list[tuple[str, Definition]] = struct_field(default_factory=list)


def read_new_task(data: Any, prefix: str = "data") -> NewTask:
    """Convert a client's data.

    :raises InvalidParams: a field is invalid, unknown, or set by the manager only; `field` is its
        path
    """
    return convert(data, NewTask, prefix=prefix)


def define(
    new: NewTask,
    *,
    now: float,
    new_id: str,
    default_app: str,
    user_id: str | None = None,
    prefix: str = "data",
) -> Defined:
    """Check a new task and make its definition.

    :param now: UNIX seconds; `delay` is added to it
    :param new_id: id of the task if the client gave none
    :raises InvalidParams: a field is invalid; `field` is its path
    """
    task_id, app_name = new.id or new_id, new.app_name or default_app
    commands = [to_command(command) for command in new.commands]
    for problem in field_problems(new, prefix):
        raise problem
    for problem in commands_problems(new.commands, commands, app_name, prefix):
        raise problem
    children = _children(commands, task_id, now, default_app, prefix)
    keys = Keys(task_id, app_name, new.kws, user_id, prefix)
    definition = Definition(
        id=task_id,
        app_name=app_name,
        commands=commands,
        kws=Raw(_encode(new.kws)),
        cron=new.cron,
        timezone=new.timezone,
        every=new.every,
        misfire=new.misfire,
        jitter=new.jitter,
        max_exec_timeout=new.max_exec_timeout,
        max_queue_time=new.max_queue_time,
        max_retries=new.max_retries,
        restart_policy=new.restart_policy,
        retry_delay=new.retry_delay,
        retry_backoff=new.retry_backoff,
        retry_max_delay=new.retry_max_delay,
        priority=new.priority,
        concurrency=new.concurrency,
        slot_key=keys.of_slot(new.concurrency, commands),
        unique=new.unique,
        unique_key=keys.of_unique(new.unique, commands),
        delayed=new.delay is not None,
        notify=new.notify,
        webhook=new.webhook,
        next_task=new.next_task,
        system=new.system,
        description=new.description,
        meta=Raw(_encode(new.meta)),
        group=as_text(new.group),
        group_id=as_text(new.group_id),
        labels=new.labels,
        user_id=user_id,
    )
    return Defined(definition, new.enabled, first_run(new, now), children)


def redefine(
    definition: Definition, enabled: bool, changes: dict[str, Any], *, now: float, default_app: str
) -> tuple[Defined, frozenset[str]]:
    """Apply an update to a definition.

    :returns: the new definition, and the names of the fields that differ
    :raises InvalidParams: a field is invalid; `field` is its path
    """
    if changes.get("id", definition.id) != definition.id:
        raise InvalidParams("`data.id` cannot be changed", field="data.id")
    old = as_new_task(definition, enabled)
    merged = {**msgspec.to_builtins(old), **changes}
    _keep_secret(merged, definition.webhook)
    if "cron" in changes and changes["cron"] is not None and "every" not in changes:
        merged.pop("every", None)
    if "every" in changes and changes["every"] is not None and "cron" not in changes:
        merged.pop("cron", None)
    new = read_new_task(merged)
    defined = define(
        new,
        now=now,
        new_id=definition.id,
        default_app=default_app,
        user_id=definition.user_id,
    )
    if changes.get("delay") is None and changes.get("next_run") is None:
        defined.definition.delayed = definition.delayed
    return defined, succeed(defined.definition, definition)


def as_before(version: Definition) -> dict[str, Any]:
    """The update with which a run executes as it did with a version."""
    fields = {name: getattr(version, name) for name in _OF_RUNS}
    changes = msgspec.json.decode(_encode(fields))
    assert isinstance(changes, dict)
    return changes


def _keep_secret(merged: dict[str, Any], old: Webhook | None) -> None:
    """Keep the secret of a webhook if the client sends back the masked secret."""
    new = merged.get("webhook")
    if isinstance(new, dict) and new.get("secret") == MASKED_SECRET and old and old.secret:
        merged["webhook"] = {**new, "secret": old.secret}


def succeed(new: Definition, old: Definition) -> frozenset[str]:
    """Replace a definition by another, except the fields that clients cannot set.

    Filled keys are kept if nothing that they depend on differs.

    :returns: names of the fields that differ
    """
    new.created, new.user_id, new.token_id = old.created, old.user_id, old.token_id
    new.parent_id, new.root_id, new.depth = old.parent_id, old.root_id, old.depth
    new.version, new.edit, new.run_edits = old.version, old.edit, old.run_edits
    new.declared = old.declared
    changed = frozenset(
        name
        for name in Definition.__struct_fields__
        if _plain(getattr(old, name)) != _plain(getattr(new, name))
    )
    if changed & FIXED_DURING_A_RUN:
        return changed
    new.slot_key, new.unique_key = old.slot_key, old.unique_key
    return changed - {"slot_key", "unique_key", "delayed"}


def as_new_task(definition: Definition, enabled: bool) -> NewTask:
    """Return the data with which a client would create this task again."""
    values = {
        name: getattr(definition, name)
        for name in Definition.__struct_fields__
        if name in _FIELDS and name not in ("commands", "kws", "meta")
    }
    return NewTask(
        **values,
        commands=msgspec.json.decode(_encode(definition.commands), type=list[TaskCommand]),
        kws=msgspec.json.decode(definition.kws),
        meta=msgspec.json.decode(definition.meta),
        enabled=enabled,
    )


def _plain(value: Any) -> Any:
    return msgspec.json.decode(_encode(value))


# -- children ----------------------------------------------------------------------


def _children(
    commands: list[Command], task_id: str, now: float, default_app: str, prefix: str
) -> list[tuple[str, Definition]]:
    """Define the tasks that stages will create, as `tasks.create` does, with unfilled templates."""
    children: list[tuple[str, Definition]] = []
    for index, command in enumerate(commands):
        if command.method != TASKS:
            continue
        stage = f"commands.{index}"
        field = f"{prefix}.{stage}"
        hook = compiled_tasks(bytes(command.params))
        for problem in own_id_problems(task_id, hook.named, field):
            raise problem
        for place, task in hook.tasks:
            constant = {name: value for name, value in task.items() if name not in FILLED}
            where = f"{field}.{place}"
            new = read_new_task({**constant, "id": task_id}, where)
            for problem in child_schedule_problems(new, where):
                raise problem
            new = without_keys(new, where)  # which can read filled values
            made = define(new, now=now, new_id=task_id, default_app=default_app, prefix=where)
            at = f"{stage}.{place}"
            children.append((at, made.definition))
            children += [(f"{at}.{inner}", child) for inner, child in made.children]
    return children
