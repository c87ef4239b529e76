"""Hooks: what each one waits for, and what ends the wait. Hooks hold no executor."""

import re
from typing import Any

import msgspec
from msgspec import UNSET, DecodeError, Raw

from kaiju_tasks.errors import TemplateError, reason_of
from kaiju_tasks.lifecycle.children import compiled_tasks
from kaiju_tasks.lifecycle.definition import Command
from kaiju_tasks.lifecycle.move import NULL, Move
from kaiju_tasks.lifecycle.state import InboxMessage
from kaiju_tasks.lifecycle.statuses import WAITING
from kaiju_tasks.lifecycle.step import Spawn, Wait
from kaiju_tasks.templates import Template, compiled_condition, compiled_template
from kaiju_tasks.types import MESSAGE, TASKS, TIMER, Limit, Outcome, Reason

_decode = msgspec.json.decode

MAX_NAME = 255
_NAME = re.compile(rf"[^\x00-\x1f\x7f-\x9f]{{1,{MAX_NAME}}}")


def reach(move: Move, command: Command) -> bool:
    """Reach a hook.

    :returns: True if the hook has its result and the run continues; False if the task now waits
    :raises TemplateError: the parameters or the condition cannot be filled, or are invalid
    """
    if command.conditional:
        condition = compiled_condition(bytes(command.condition))
        if not condition.holds(_template_data(move) if condition.refs else {}):
            move.stage_done(NULL, Outcome.SKIPPED)
            return True
    if command.method == TASKS:
        return _reach_tasks(move, command)
    params = _filled(move, command)
    if command.method == TIMER:
        return _reach_timer(move, command, params)
    if command.method == MESSAGE:
        return _reach_message(move, command, params)
    raise TemplateError(f"{command.method} is not known to this manager", field="method")


def _reach_timer(move: Move, command: Command, params: dict[str, Any]) -> bool:
    seconds = _timer_seconds(params)
    if seconds == 0:
        move.stage_done(NULL)
        return True
    if command.max_timeout is not None:
        seconds = min(seconds, command.max_timeout)
    move.wait(Reason.TIMER, move.now + seconds)
    return False


def _timer_seconds(params: dict[str, Any]) -> float:
    seconds: Any = params.get("timer")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds <= Limit.MAX_WAIT:
        raise TemplateError(
            f"timer must be a number of seconds from 0 to {Limit.MAX_WAIT:d} (366 days)",
            field="params.timer",
        )
    return float(seconds)


def _reach_tasks(move: Move, command: Command) -> bool:
    row = move.row
    hook = compiled_tasks(bytes(command.params))
    children = hook.fill(_template_data(move) if hook.refs else {})
    if not children:
        move.stage_done(Raw(b"[]"))
        return True
    assert row.job_id is not None
    move.step.spawn = Spawn(Wait(row.job_id, row.stage), row.cycle, children)
    _park(move, command, Reason.TASKS)
    return False


def _park(move: Move, command: Command, reason: Reason) -> None:
    timeout = command.max_timeout
    move.wait(reason, None if timeout is None else move.now + timeout)


def _reach_message(move: Move, command: Command, params: dict[str, Any]) -> bool:
    if take_kept(move, _message_name(params)):
        return True
    _park(move, command, Reason.MESSAGE)
    return False


def _message_name(params: dict[str, Any]) -> str | None:
    name = params.get("name")
    if name is not None and not isinstance(name, str):
        raise TemplateError("a message's name must be text", field="params.name")
    if name is not None and not _NAME.fullmatch(name):
        raise TemplateError(
            f"a message's name must have 1 to {MAX_NAME} characters and no control characters",
            field="params.name",
        )
    return name


def take_kept(move: Move, name: str | None) -> bool:
    """Consume the oldest stored message that a hook with this name accepts, if there is one."""
    for message in move.inbox:
        if not message.consumed and name in (None, message.name):
            move.consume(message)
            return True
    return False


def go_back(move: Move) -> bool:
    """Return to a hook after a hold. True: a message that arrived meanwhile ends the wait."""
    if move.command.method == TIMER:
        move.stand(WAITING, Reason.TIMER)
        return False
    if move.command.method == TASKS:
        move.stand(WAITING, Reason.TASKS)
        move.step.signal = True
        return False
    move.stand(WAITING, Reason.MESSAGE)
    return take_kept(move, waiting_name(move))


def waiting_name(move: Move) -> str | None:
    """The message name that the current Message hook waits for; None accepts any message."""
    return _message_name(_filled(move, move.command))


def offer(move: Move, message: InboxMessage) -> bool:
    """Deliver a new message to the waiting hook, if the hook accepts it."""
    at_message = move.row.status is WAITING and move.command.method == MESSAGE
    if not at_message or waiting_name(move) not in (None, message.name):
        return False
    move.consume(message)
    return True


def time_is_up(move: Move) -> bool:
    """Handle the deadline of a wait. True: the hook has a result and the run continues.

    :raises TemplateError: the parameters cannot be filled
    """
    command = move.command
    if command.method == TIMER and command.max_timeout is None:
        move.stage_done(NULL)
        return True
    if command.method == TASKS:
        return _children_late(move, command)
    params = _filled(move, command)
    if command.method == TIMER and _timer_seconds(params) <= (command.max_timeout or 0.0):
        move.stage_done(NULL)
        return True
    if "default" not in params:
        return False
    move.stage_done(Raw(msgspec.json.encode(params["default"])))
    return True


def _children_late(move: Move, command: Command) -> bool:
    hook = compiled_tasks(bytes(command.params))
    default = hook.default(_template_data(move) if hook.refs else {})
    if default is UNSET:
        return False
    move.leave_children()
    move.stage_done(Raw(msgspec.json.encode(default)))
    return True


def can_be_taken(move: Move, message: InboxMessage) -> bool:
    """Whether a Message stage remains for a message, once the earlier messages are consumed.

    A name that is a template may be filled to any name.
    """
    row = move.row
    first = row.stage if row.open else 0
    offered = [m for m in move.inbox if not m.consumed]
    offered.append(message)
    for stage, command in enumerate(move.definition.commands[first:], first):
        if command.method != MESSAGE:
            continue
        params = compiled_template(bytes(command.params))
        if stage == row.stage and move.at_hook:
            name = waiting_name(move)
        elif params.constant:
            name = _constant_name(params)
        else:
            return True
        taken = next((m for m in offered if name in (None, m.name)), None)
        if taken is message:
            return True
        if taken is not None:
            offered.remove(taken)
    return False


def _constant_name(params: Template) -> str | None:
    filled = params.fill({})
    name = filled.get("name") if isinstance(filled, dict) else None
    return name if isinstance(name, str) else None


def _filled(move: Move, command: Command) -> dict[str, Any]:
    params = compiled_template(bytes(command.params))
    filled = params.fill(_template_data(move) if params.refs else {})
    if not isinstance(filled, dict):
        raise TemplateError(f"the parameters of {command.method} must be an object", field="params")
    return filled


def _result(stage: int, result: Raw) -> Any:
    """:raises TemplateError: the result was damaged in the database"""
    try:
        return _decode(result)
    except DecodeError as error:
        raise TemplateError(
            f"the stored result of stage {stage} cannot be read: {reason_of(error)}",
            path=str(stage),
        ) from error


def _template_data(move: Move) -> dict[str, Any]:
    row, definition = move.row, move.definition
    data: dict[str, Any] = {}
    for stage, result in move.results.items():
        if stage < row.stage:
            data[str(stage)] = value = _result(stage, result)
            name = definition.commands[stage].name
            if name is not None:
                data[name] = value
    data["id"] = row.id
    data["job_id"] = row.job_id
    data["kws"] = _decode(definition.kws)
    data["scheduled_at"] = row.scheduled_at
    return data
