"""The public methods that the manager's own executor runs as stages."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Command, Definition
from kaiju_tasks.rpc import Method, Registry, problems
from kaiju_tasks.rpc.plain import Plain
from kaiju_tasks.shapes.nearest import did_you_mean
from kaiju_tasks.templates import compile_template
from kaiju_tasks.types import MANAGER_APP

NOT_FOR_STAGES = ("manager.", "rpc.", "events.", "tokens.", "principals.")
"""Results of stages are kept, and those of `tokens.create` and `tokens.rotate` are secrets."""
WAITING = "tasks.wait"
"""Methods that wait would occupy the executor; hooks wait without an executor."""


class StageMethods:
    """The methods of the stream `manager`.

    :param registry: all public methods; it can be filled later
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def names(self) -> list[str]:
        return [
            method.name
            for method in self._registry
            if not method.name.startswith(NOT_FOR_STAGES) and method.name != WAITING
        ]

    def check(self, definition: Definition, prefix: str = "data") -> None:
        """Check the commands of a task of this stream, except values of templates.

        :raises InvalidParams: a method does not exist, or a parameter is invalid
        """
        if definition.app_name == MANAGER_APP:
            for index, command in enumerate(definition.commands):
                field = f"{prefix}.commands.{index}"
                for problem in self.problems(MANAGER_APP, command, field):
                    raise problem

    def problems(self, app_name: str, command: Command, field: str) -> Iterator[InvalidParams]:
        """Return the problem of a command, if its stream is `manager`.

        :param field: path of the command
        """
        if app_name != MANAGER_APP or command.is_hook:
            return
        names = self.names()
        if command.method not in names:
            yield _unknown(command.method, names, field)
        else:
            method = self._registry.find(command.method)
            yield from _params_problems(method, command, f"{field}.params")


def _unknown(method: str, names: list[str], field: str) -> InvalidParams:
    hint = did_you_mean(method, tuple(names))
    if method == WAITING:
        hint = "use a hook, which waits without holding an executor"
    return InvalidParams(
        f"`{field}.method`: {method!r:.100} is not a method that {MANAGER_APP!r} runs; {hint}",
        field=f"{field}.method",
    )


def _params_problems(method: Method, command: Command, field: str) -> Iterator[InvalidParams]:
    params: dict[str, Any] = msgspec.json.decode(command.params)
    templates = {
        name for name, value in params.items() if not compile_template(value, field=field).constant
    }
    yield from problems(params, _with_open(method.params, templates), field)


def _with_open(type_: type[Struct], names: set[str]) -> type[Struct]:
    """Return a struct whose fields of these names accept any value: templates fill them later."""
    plain: type[Struct] = Plain().of(type_)
    if not names:
        return plain
    fields: list[tuple[str, Any, Any]] = [
        (field.name, Any if field.name in names else field.type, _default(field))
        for field in msgspec.structs.fields(plain)
    ]
    return msgspec.defstruct(type_.__name__, fields, kw_only=True, forbid_unknown_fields=True)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.required:
        return msgspec.NODEFAULT
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.field(default=field.default)
