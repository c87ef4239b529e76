"""The commands of a task, checked: templates, conditions, and the params of hooks."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from msgspec import Raw

from kaiju_tasks.define.webhook import DELIVER
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Command
from kaiju_tasks.lifecycle.children import compiled_tasks
from kaiju_tasks.rpc import convert
from kaiju_tasks.templates import (
    OWN_ROOTS,
    compile_condition,
    compile_template,
    compiled_condition,
    compiled_template,
)
from kaiju_tasks.types import HOOKS, MANAGER_APP, MESSAGE, TASKS, TIMER, Id, Limit, TaskCommand

MESSAGE_PARAMS = frozenset({"name", "default"})
MessageName = Id
_encode = msgspec.json.encode

_HOOK_LIKE = re.compile(r"_[A-Z]+_")


def check_commands(commands: list[TaskCommand], prefix: str) -> list[Command]:
    names: set[str] = set()
    made: list[Command] = []
    for index, command in enumerate(commands):
        field = f"{prefix}.commands.{index}"
        if command.name is not None:
            if command.name in OWN_ROOTS:
                raise InvalidParams(
                    f"`{field}.name`: {command.name!r} means something else in templates",
                    field=f"{field}.name",
                )
            if command.name in names:
                raise InvalidParams(
                    f"`{field}.name` {command.name!r} is used twice", field=f"{field}.name"
                )
            names.add(command.name)
        made.append(_command(command, field))
    return made


def refuse_internal(app_name: str, commands: list[Command], prefix: str) -> None:
    for index, command in enumerate(commands):
        if app_name == MANAGER_APP and command.method == DELIVER:
            field = f"{prefix}.commands.{index}.method"
            raise InvalidParams(
                f"`{field}`: {DELIVER} is what the manager does for `webhook`", field=field
            )


def _command(command: TaskCommand, field: str) -> Command:
    params = Raw(_encode(command.params or {}))
    condition = Raw(_encode(command.condition))
    _check_templates(command, params, condition, field)
    if _HOOK_LIKE.fullmatch(command.method) and command.method not in HOOKS:
        raise InvalidParams(
            f"`{field}.method` {command.method!r:.50} is no hook; there are "
            f"{', '.join(sorted(HOOKS))}",
            field=f"{field}.method",
        )
    if command.method == TIMER:
        _check_timer(command, field)
    elif command.method == MESSAGE:
        _check_message(command, field)
    elif command.method not in HOOKS and (command.max_timeout or 0) > Limit.MAX_T:
        raise InvalidParams(
            f"`{field}.max_timeout` of a command must be at most {Limit.MAX_T:d} seconds",
            field=f"{field}.max_timeout",
        )
    return Command(command.method, params, command.max_timeout, condition, command.name)


def _check_templates(command: TaskCommand, params: Raw, condition: Raw, field: str) -> None:
    """Compile through the cache; only for the error, once more with the field's name."""
    if command.method == TASKS:
        with _inside(field):
            compiled_tasks(bytes(params))
    try:
        if command.method != TASKS:
            compiled_template(bytes(params))
        if command.condition is not None:
            compiled_condition(bytes(condition))
    except InvalidParams:
        if command.method != TASKS:
            compile_template(command.params or {}, field=f"{field}.params")
        compile_condition(command.condition, field=f"{field}.condition")
        raise


@contextmanager
def _inside(field: str) -> Iterator[None]:
    """What is wrong inside is named from the task on."""
    try:
        yield
    except InvalidParams as exc:
        inner = exc.field or "params"
        message = str(exc).replace(f"`{inner}`", f"`{field}.{inner}`")
        raise InvalidParams(message, **{**exc.data, "field": f"{field}.{inner}"}) from None


def _check_timer(command: TaskCommand, field: str) -> None:
    params = command.params or {}
    if set(params) != {"timer"}:
        raise InvalidParams(
            f'`{field}.params` of {TIMER} must be just {{"timer": seconds}}',
            field=f"{field}.params",
        )
    if command.max_timeout is not None:
        raise InvalidParams(
            f"`{field}.max_timeout`: a timer takes none, its wait is `params.timer`",
            field=f"{field}.max_timeout",
        )
    timer = params["timer"]
    if isinstance(timer, str):
        if compile_template(timer).constant:
            raise _timer_error(field)
        return
    number = isinstance(timer, int | float) and not isinstance(timer, bool)
    if not number or not math.isfinite(timer) or not 0 <= timer <= Limit.MAX_WAIT:
        raise _timer_error(field)


def _timer_error(field: str) -> InvalidParams:
    return InvalidParams(
        f"`{field}.params.timer` must be seconds between 0 and {Limit.MAX_WAIT:d}, "
        "or a template that gives them",
        field=f"{field}.params.timer",
    )


def _check_message(command: TaskCommand, field: str) -> None:
    params = command.params or {}
    unknown = sorted(set(params) - MESSAGE_PARAMS)
    if unknown:
        raise InvalidParams(
            f"`{field}.params.{unknown[0]}` is unknown: {MESSAGE} takes `name` and `default`",
            field=f"{field}.params.{unknown[0]}",
        )
    name = params.get("name")
    if name is None or (isinstance(name, str) and not compile_template(name).constant):
        return
    convert(name, MessageName, prefix=f"{field}.params.name")  # else no message could ever have it
