"""Knows which methods an executor has, by stream.

A stage goes only to an executor that has its method. An executor that announces no methods for a
stream takes every method there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.lifecycle import BrokenDefinition, Definition, method_gate

Methods = frozenset[str] | None
"""The methods that an executor has for a stream; None for all."""
ANY: Mapping[str, Methods] = {}
"""An executor that takes every method of every stream."""


class _Announced(Struct):
    method: str
    app_name: str | None = None


class _Command(Protocol):
    @property
    def method(self) -> str: ...

    @property
    def app_name(self) -> str | None: ...


C = TypeVar("C", bound=_Command)

_decode = msgspec.json.Decoder(list[_Announced]).decode


def announced(commands: Sequence[_Command], app_names: Iterable[str]) -> dict[str, Methods]:
    """The methods of an executor, by stream. A stream without methods of its own takes all."""
    return {
        app_name: frozenset(command.method for command in of_stream(commands, app_name)) or None
        for app_name in app_names
    }


def of_stream(commands: Sequence[C], app_name: str) -> list[C]:
    """Those commands that an executor has for a stream."""
    return [command for command in commands if command.app_name in (None, app_name)]


def stored(commands: Raw, app_names: Iterable[str]) -> dict[str, Methods]:
    """The methods of an executor, from its row."""
    return announced(_decode(commands), app_names)


def common(one: Mapping[str, Methods], other: Mapping[str, Methods]) -> dict[str, Methods]:
    """The methods that an executor had before as well as now."""
    return {app_name: _both(one.get(app_name), other.get(app_name)) for app_name in {*one, *other}}


def _both(one: Methods, other: Methods) -> Methods:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def lacks(methods: Methods, definition: Definition, stage: int) -> bool:
    """Whether an executor lacks the method of a stage. No method is lacking to a task that cannot
    be read: it fails when it is acquired."""
    if methods is None or isinstance(definition, BrokenDefinition):
        return False
    return definition.commands[stage].method not in methods


def gates_of(methods: Methods) -> frozenset[str] | None:
    """The gates at which tasks wait for these methods; None for all."""
    if methods is None:
        return None
    return frozenset(
        method_gate(one, suspect=suspect) for one in methods for suspect in (False, True)
    )
