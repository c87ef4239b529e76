"""All that is malformed in a template or condition, where compiling names the first thing only."""

from collections.abc import Callable, Iterator
from typing import Any

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.condition import compile_condition
from kaiju_tasks.templates.template import RAW, compile_template

__all__ = ["condition_problems", "template_problems"]


def template_problems(value: Any, field: str) -> Iterator[TemplateError]:
    """Find what is malformed, text by text.

    :param value: as `compile_template` takes it
    :param field: where it stands
    """
    error = _error(compile_template, value, field)
    if error is None:
        return
    found = False
    for path, text in _texts(value, field):
        if (inner := _error(compile_template, text, path)) is not None:
            found = True
            yield inner
    if not found:  # too deep, for example
        yield error


def condition_problems(value: Any, field: str) -> Iterator[TemplateError]:
    """Find what is malformed, entry by entry.

    :param value: as `compile_condition` takes it
    :param field: where it stands
    """
    error = _error(compile_condition, value, field)
    if error is None:
        return
    found = False
    for path, entry in _entries(value, field):
        if (inner := _error(compile_condition, entry, path)) is not None:
            found = True
            yield inner
    if not found:  # all of its patterns are too long, for example
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
