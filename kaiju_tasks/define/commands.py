"""Checks of a task's commands: templates, conditions, and the params of hooks."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.define.webhook import DELIVER
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Command
from kaiju_tasks.lifecycle.children import children_problems, compiled_tasks
from kaiju_tasks.rpc import problems
from kaiju_tasks.templates import (
    OWN_ROOTS,
    compile_template,
    compiled_condition,
    compiled_template,
    condition_problems,
    template_problems,
)
from kaiju_tasks.types import HOOKS, MANAGER_APP, MESSAGE, TASKS, TIMER, Id, Limit, TaskCommand

MESSAGE_PARAMS = frozenset({"name", "default"})
MessageName = Id
_encode = msgspec.json.encode

_HOOK_LIKE = re.compile(r"_[A-Z]+_")


def to_command(command: TaskCommand) -> Command:
    """Return a command as it is stored, unchecked."""
    params, condition = Raw(_encode(command.params or {})), Raw(_encode(command.condition))
    return Command(command.method, params, command.max_timeout, condition, command.name)


def commands_problems(
    commands: Sequence[TaskCommand], made: Sequence[Command], app_name: str, prefix: str
) -> Iterator[InvalidParams]:
    """Check commands.

    :param made: the same commands as they are stored
    """
    names: set[str] = set()
    for index, (command, kept) in enumerate(zip(commands, made, strict=True)):
        yield from command_problems(command, kept, app_name, names, f"{prefix}.commands.{index}")


def command_problems(
    command: TaskCommand, made: Command, app_name: str, names: set[str], field: str
) -> Iterator[InvalidParams]:
    """Check one command.

    :param names: names of the earlier commands; the command's name is added
    """
    yield from _name_problems(command.name, names, field)
    yield from _params_problems(command, made, field)
    yield from _condition_problems(command, made, field)
    if _HOOK_LIKE.fullmatch(command.method) and command.method not in HOOKS:
        yield InvalidParams(
            f"`{field}.method` {command.method!r:.50} is not a hook; hooks are "
            f"{', '.join(sorted(HOOKS))}",
            field=f"{field}.method",
        )
    if command.method not in HOOKS and (command.max_timeout or 0) > Limit.MAX_T:
        yield InvalidParams(
            f"`{field}.max_timeout` of a command must be at most {Limit.MAX_T:d} seconds",
            field=f"{field}.max_timeout",
        )
    if app_name == MANAGER_APP and command.method == DELIVER:
        yield InvalidParams(
            f"`{field}.method`: {DELIVER} is reserved for the manager; use `webhook`",
            field=f"{field}.method",
        )


def _name_problems(name: str | None, names: set[str], field: str) -> Iterator[InvalidParams]:
    if name in OWN_ROOTS:
        yield InvalidParams(
            f"`{field}.name`: {name!r} is reserved in templates", field=f"{field}.name"
        )
    elif name in names:
        yield InvalidParams(f"`{field}.name` {name!r} is used twice", field=f"{field}.name")
    elif name is not None:
        names.add(name)


def _params_problems(command: TaskCommand, made: Command, field: str) -> Iterator[InvalidParams]:
    """Compile through the cache; after an error, compile again to get the path of its field."""
    params = command.params or {}
    if command.method == TASKS:
        try:
            compiled_tasks(bytes(made.params))
        except InvalidParams:
            for problem in children_problems(params):
                yield _inside(problem, field)
        return
    try:
        compiled_template(bytes(made.params))
    except InvalidParams:
        yield from template_problems(params, f"{field}.params")
        return
    if command.method == TIMER:
        yield from _timer_problems(command, params, field)
    elif command.method == MESSAGE:
        yield from _message_problems(params, field)


def _condition_problems(command: TaskCommand, made: Command, field: str) -> Iterator[InvalidParams]:
    if command.condition is None:
        return
    try:
        compiled_condition(bytes(made.condition))
    except InvalidParams:
        yield from condition_problems(command.condition, f"{field}.condition")


def _inside(problem: InvalidParams, field: str) -> InvalidParams:
    """Prefix the field of errors inside the block with the path of the command."""
    inner = problem.field or "params"
    message = str(problem).replace(f"`{inner}`", f"`{field}.{inner}`")
    return InvalidParams(message, **{**problem.data, "field": f"{field}.{inner}"})


def _timer_problems(
    command: TaskCommand, params: dict[str, Any], field: str
) -> Iterator[InvalidParams]:
    if command.max_timeout is not None:
        yield InvalidParams(
            f"`{field}.max_timeout`: a timer must not have one; set `params.timer`",
            field=f"{field}.max_timeout",
        )
    if set(params) != {"timer"}:
        yield InvalidParams(
            f'`{field}.params` of {TIMER} must be {{"timer": seconds}}',
            field=f"{field}.params",
        )
    elif not _is_wait(params["timer"]):
        yield InvalidParams(
            f"`{field}.params.timer` must be seconds between 0 and {Limit.MAX_WAIT:d}, "
            "or a template that results in a number",
            field=f"{field}.params.timer",
        )


def _is_wait(timer: Any) -> bool:
    if isinstance(timer, str):
        return not compile_template(timer).constant
    number = isinstance(timer, int | float) and not isinstance(timer, bool)
    return number and math.isfinite(timer) and 0 <= timer <= Limit.MAX_WAIT


def _message_problems(params: dict[str, Any], field: str) -> Iterator[InvalidParams]:
    for unknown in sorted(set(params) - MESSAGE_PARAMS):
        yield InvalidParams(
            f"`{field}.params.{unknown}` is unknown: {MESSAGE} takes `name` and `default`",
            field=f"{field}.params.{unknown}",
        )
    name = params.get("name")
    if name is None or (isinstance(name, str) and not compile_template(name).constant):
        return
    yield from problems(name, MessageName, f"{field}.params.name")  # no message can have this name
