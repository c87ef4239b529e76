"""Fills a command for an executor that leaves it to the manager. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.errors import InvalidParams, TemplateError, reason_of
from kaiju_tasks.lifecycle import Command
from kaiju_tasks.manager.executors.methods import of_stream
from kaiju_tasks.protocol import CommandInfo, ReportError, SegmentCommand
from kaiju_tasks.shapes import ANYTHING, Shape, shape
from kaiju_tasks.templates import StageData
from kaiju_tasks.types import ErrorType

MESSAGE_CHARACTERS = 2_000
LIGHT_WORK = 1_000_000
"""About 20 milliseconds: each reference takes some bytes of a template, and may visit all data."""

Filled = SegmentCommand | ReportError | None
"""A filled command, why it cannot be filled, or None if its condition does not hold."""


class Shapes:
    """The parameters of the methods that an executor has announced."""

    def __init__(self, commands: Sequence[CommandInfo]) -> None:
        self._commands = list(commands)
        self._by_stream: dict[str, dict[str, Shape]] = {}

    def of(self, app_name: str, method: str) -> Shape:
        """The parameters of a method of a stream."""
        if app_name not in self._by_stream:
            self._by_stream[app_name] = {
                command.method: shape(msgspec.json.encode(command.params))
                for command in of_stream(self._commands, app_name)
            }
        return self._by_stream[app_name].get(method, ANYTHING)


def fill(command: Command, data: StageData, shape: Shape) -> Filled:
    """Decide the condition of a command, fill its parameters, and check them."""
    try:
        if not data.holds(command.condition):
            return None
        params = data.params(command.params)
        shape.check(params)
        return SegmentCommand(
            command.method,
            params=Raw(msgspec.json.encode(params)),
            max_timeout=command.max_timeout,
            name=command.name,
        )
    except Exception as error:  # any error of a template or a type fails the stage
        return _refusal(error)


def is_light(command: Command, data_bytes: int) -> bool:
    """Whether a command is filled within a few milliseconds, whatever it says. One that reads
    nothing is light.

    :param data_bytes: the size of what its templates can read
    """
    size = len(command.params) + len(command.condition)
    return size * data_bytes <= LIGHT_WORK or not command.refs


def _refusal(error: Exception) -> ReportError:
    text = reason_of(error).encode("utf-8", "replace").decode()[:MESSAGE_CHARACTERS]
    match error:
        case TemplateError():
            return ReportError(ErrorType.TEMPLATE, text, error.data)
        case InvalidParams():
            return ReportError(ErrorType.INVALID_PARAMS, text, error.data)
    data: dict[str, Any] = {"exception": type(error).__name__}
    return ReportError(ErrorType.EXECUTION, text, data)
