"""Finds all errors in a template or condition; compiling reports only the first one."""

from collections.abc import Callable, Iterator
from typing import Any

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.condition import compile_condition
from kaiju_tasks.templates.template import RAW, compile_template

__all__ = ["condition_problems", "template_problems"]


def template_problems(value: Any, field: str) -> Iterator[TemplateError]:
    """Find the errors in a template, text by text.

    :param value: as `compile_template` takes it
    :param field: the path of the value, a prefix of the paths in errors
    """
    return _problems(compile_template, value, field, _texts(value, field))


def condition_problems(value: Any, field: str) -> Iterator[TemplateError]:
    """Find the errors in a condition, entry by entry.

    :param value: as `compile_condition` takes it
    :param field: the path of the value, a prefix of the paths in errors
    """
    return _problems(compile_condition, value, field, _entries(value, field))


def _problems(
    compiled: Callable[..., object], value: Any, field: str, parts: Iterator[tuple[str, Any]]
) -> Iterator[TemplateError]:
    """Yield the errors of the parts, or the one of the whole value if no part has one."""
    error = _error(compiled, value, field)
    if error is None:
        return
    found = False
    for path, part in parts:
        if (inner := _error(compiled, part, path)) is not None:
            found = True
            yield inner
    if not found:  # the value is nested too deep or its patterns are too long, for example
        yield error


def _error(compiled: Callable[..., object], value: Any, field: str) -> TemplateError | None:
    try:
        compiled(value, field=field)
    except TemplateError as error:
        return error
    return None


def _texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    left = [(field, value)]
    while left:
        path, item = left.pop()
        if isinstance(item, str):
            yield path, item
        elif isinstance(item, dict) and not (len(item) == 1 and RAW in item):
            left.extend((f"{path}.{key}", held) for key, held in reversed(item.items()))
        elif isinstance(item, list):
            left.extend((f"{path}.{i}", held) for i, held in reversed(list(enumerate(item))))


def _entries(value: Any, field: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((field, {key: item}) for key, item in value.items())
    elif isinstance(value, list):
        yield from ((f"{field}.{index}", item) for index, item in enumerate(value))
