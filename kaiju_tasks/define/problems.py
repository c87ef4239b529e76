"""All problems of a task that a client sends, in the order of its fields.

The checks are the same as those of `define`, which stops at the first problem. Here, a field of
the wrong type is left out, and all other fields are checked.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from kaiju_tasks.define.commands import command_problems, to_command
from kaiju_tasks.define.fields import FIELD_CHECKS, child_schedule_problems, own_id_problems
from kaiju_tasks.define.keys import Keys, key_problems
from kaiju_tasks.define.raised import raised
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Command
from kaiju_tasks.lifecycle.children import FILLED, created_tasks
from kaiju_tasks.rpc import problems
from kaiju_tasks.rpc.convert import missing_field, unknown_field
from kaiju_tasks.types import TASKS, Concurrency, NewTask, TaskCommand, Unique

__all__ = ["PROBLEMS_MAX", "Surroundings", "task_problems"]

PROBLEMS_MAX = 100
"""The most problems that are reported for one task."""

CommandCheck = Callable[[str, Command, str], Iterator[InvalidParams]]
_FIELDS = {field.encode_name: field for field in msgspec.structs.fields(NewTask)}
_COMMAND_FIELDS = {field.encode_name: field for field in msgspec.structs.fields(TaskCommand)}
_KEYED = ("concurrency", "unique")


class Surroundings(Struct, frozen=True):
    """The context of the checks of a task.

    :param new_id: id of the task if the client gave none
    :param also: additional check of a command: called with its stream, the command and its path
    """

    new_id: str
    default_app: str
    user_id: str | None
    also: CommandCheck


def task_problems(
    data: Any,
    around: Surroundings,
    *,
    prefix: str = "data",
    known: Mapping[str, InvalidParams] | None = None,
) -> Iterator[InvalidParams]:
    """Find the problems of a task.

    :param data: the task, as in `tasks.create`
    :param prefix: path of the task
    :param known: problems of its fields that were found elsewhere, by field
    """
    # Closed here: the garbage collector sometimes fails to close generators that wait for others.
    with closing(_Looking(data, around, prefix, known or {}).problems()) as found:
        yield from islice(found, PROBLEMS_MAX)


class _Looking:
    """One task that is checked.

    :param child: a stage will create the task, so that the values of its templates are unknown
    """

    def __init__(
        self,
        data: Any,
        around: Surroundings,
        prefix: str,
        known: Mapping[str, InvalidParams],
        *,
        child: bool = False,
    ) -> None:
        self._data = data
        self._around = around
        self._prefix = prefix
        self._known = known
        self._child = child
        self._new = _sound_task(data) if isinstance(data, Mapping) else NewTask(commands=[])
        self._id = self._new.id or around.new_id
        self._app_name = self._new.app_name or around.default_app

    def problems(self) -> Generator[InvalidParams, None, None]:
        if not isinstance(self._data, Mapping):
            yield from problems(self._data, NewTask, self._prefix)
            return
        for name, value in self._data.items():
            if name not in _FIELDS:
                yield unknown_field(name, NewTask, self._prefix)
            elif name == "commands":
                yield from self._commands(value)
            else:
                yield from self._field(name, value)
        if "commands" not in self._data:
            yield missing_field("commands", NewTask, self._prefix)

    def _field(self, name: str, value: Any) -> Iterator[InvalidParams]:
        field = f"{self._prefix}.{name}"
        wrong = problems(value, _FIELDS[name].type, field)
        if (first := next(wrong, None)) is not None:
            yield first
            yield from wrong
            return
        if name in FIELD_CHECKS and value is not None:
            yield from FIELD_CHECKS[name](self._new, self._prefix)
        if name in _KEYED:
            yield from self._key(name, field)
        if self._child:
            yield from (one for one in self._schedule() if one.field == field)
        if name in self._known:
            yield self._known[name]

    def _schedule(self) -> Iterator[InvalidParams]:
        return child_schedule_problems(self._new, self._prefix)

    def _key(self, name: str, field: str) -> Iterator[InvalidParams]:
        keyed: Concurrency | Unique | None = getattr(self._new, name)
        if self._child or ("kws" in self._data and not _fits(self._data["kws"], "kws")):
            yield from key_problems(keyed, field)
            return
        keys = Keys(self._id, self._app_name, self._new.kws, self._around.user_id, self._prefix)
        commands = [to_command(command) for command in self._new.commands]
        if isinstance(keyed, Unique):
            yield from raised(keys.of_unique, keyed, commands)
        else:
            yield from raised(keys.of_slot, keyed, commands)

    # -- commands ------------------------------------------------------------------------

    def _commands(self, value: Any) -> Iterator[InvalidParams]:
        field = f"{self._prefix}.commands"
        if not isinstance(value, list):
            yield from problems(value, _FIELDS["commands"].type, field)
            return
        yield from (
            one
            for one in islice(problems(value, _FIELDS["commands"].type, field), 1)
            if one.field == field
        )
        names: set[str] = set()
        for index, item in enumerate(value):
            found = self._command(item, self._new.commands[index], names, f"{field}.{index}")
            yield from _in_order(islice(found, PROBLEMS_MAX), item, f"{field}.{index}")

    def _command(
        self, item: Any, command: TaskCommand, names: set[str], field: str
    ) -> Iterator[InvalidParams]:
        by_type = list(islice(problems(item, TaskCommand, field), PROBLEMS_MAX))
        yield from by_type
        if not isinstance(item, Mapping):
            return
        wrong = tuple(one.field or "" for one in by_type)
        made = to_command(command)
        called = (f"{field}.method", f"{field}.params")
        clean = not any(place.startswith(called) for place in wrong)
        for one in command_problems(command, made, self._app_name, names, field):
            if not _inside_any(one.field or "", wrong):
                clean = clean and not (one.field or "").startswith(called)
                yield one
        if command.method == TASKS:
            yield from self._children(command.params or {}, field)
        elif clean:
            yield from self._around.also(self._app_name, made, field)

    def _children(self, params: dict[str, Any], field: str) -> Iterator[InvalidParams]:
        ids = params.get("ids")
        yield from own_id_problems(self._id, ids if isinstance(ids, list) else (), field)
        for place, task in created_tasks(params):
            constant = {name: value for name, value in task.items() if name not in FILLED}
            around = msgspec.structs.replace(self._around, new_id=self._id)
            child = _Looking(constant, around, f"{field}.{place}", {}, child=True)
            yield from child.problems()


# -- what is right --------------------------------------------------------------------------


def _sound_task(data: Mapping[str, Any]) -> NewTask:
    """Return the fields whose types are valid."""
    values = {
        name: msgspec.convert(data[name], field.type)
        for name, field in _FIELDS.items()
        if name in data and name != "commands" and _fits(data[name], name)
    }
    commands = data.get("commands")
    items = commands if isinstance(commands, list) else []
    return NewTask(**values, commands=[_sound_command(item) for item in items])


def _sound_command(item: Any) -> TaskCommand:
    """:returns: the valid fields of the command; an invalid method is empty"""
    values: dict[str, Any] = {"method": ""}
    for name, field in _COMMAND_FIELDS.items():
        if isinstance(item, Mapping) and name in item and _converts(item[name], field.type):
            values[name] = item[name]
    return TaskCommand(**values)


def _fits(value: Any, name: str) -> bool:
    return _converts(value, _FIELDS[name].type)


def _converts(value: Any, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return False
    return True


# -- order ----------------------------------------------------------------------------------


def _in_order(found: Iterator[InvalidParams], item: Any, field: str) -> list[InvalidParams]:
    """Return the order of problems by their fields in a command; missing fields come last."""
    return sorted(found, key=lambda one: _place(item, (one.field or "").removeprefix(field)))


def _place(value: Any, path: str) -> tuple[int, ...]:
    places = []
    for segment in path.split(".")[1:]:
        if isinstance(value, Mapping):
            names = list(value)
            places.append(names.index(segment) if segment in value else len(names))
            value = value.get(segment)
        elif isinstance(value, list) and segment.isdecimal():
            places.append(int(segment))
            value = value[int(segment)] if int(segment) < len(value) else None
        else:
            break
    return tuple(places)


def _inside_any(field: str, places: tuple[str, ...]) -> bool:
    return any(field == place or field.startswith(f"{place}.") for place in places)
