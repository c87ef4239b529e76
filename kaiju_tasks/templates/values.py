"""JSON values as templates see them: their types, their text, when two are equal."""

import json
import math
from typing import Any

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.scope import Scope

__all__ = ["INTEGERS", "equal", "is_number", "shown", "text_of", "type_name", "weight"]

INTEGERS = range(-(2**63), 2**64)


def type_name(value: Any) -> str:
    """The name of a value's JSON type, for people."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "no JSON value"


def shown(text: str) -> str:
    """A piece of somebody's text, quoted and shortened for a message."""
    return json.dumps(text if len(text) <= 80 else text[:77] + "…", ensure_ascii=False)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are none."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def weight(value: Any) -> int:
    """The work of touching a value once: its items, or its characters by 64."""
    if isinstance(value, (list, dict)):
        return len(value)
    return len(value) // 64 if isinstance(value, str) else 0


def text_of(value: Any, scope: Scope) -> str:
    """A value as it stands inside a text: texts as they are, others as compact JSON.

    :raises TemplateError: it cannot be written as JSON, or is too large
    """
    if isinstance(value, str):
        return value
    scope.weigh(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TemplateError(f"This value cannot be written as text: {error}.") from error


def equal(left: Any, right: Any, scope: Scope) -> bool:
    """Whether two JSON values are the same; 1 is 1.0, true is not 1.

    :raises TemplateError: the comparison takes too much work
    """
    pairs = [(left, right)]
    while pairs:
        a, b = pairs.pop()
        scope.work(1 + weight(a))
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs.extend((value, b[key]) for key, value in a.items())
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif (
            isinstance(a, (dict, list))
            or isinstance(b, (dict, list))
            or isinstance(a, bool) is not isinstance(b, bool)
            or a != b
        ):
            return False
    return True
