"""JSON values in templates: their types, their text, and equality."""

import json
import math
from typing import Any

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.scope import Scope

__all__ = ["INTEGERS", "equal", "is_number", "shown", "text_of", "type_name", "weight"]

INTEGERS = range(-(2**63), 2**64)


def type_name(value: Any) -> str:
    """The name of a value's JSON type, for messages."""
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
            return "a value that is not JSON"


def shown(text: str) -> str:
    """A user's text, quoted and shortened for a message."""
    return json.dumps(text if len(text) <= 80 else text[:77] + "…", ensure_ascii=False)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are not."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def weight(value: Any) -> int:
    """The work of visiting a value once: its number of items, or of characters divided by 64."""
    if isinstance(value, (list, dict)):
        return len(value)
    return len(value) // 64 if isinstance(value, str) else 0


def text_of(value: Any, scope: Scope) -> str:
    """A value as part of a text: texts unchanged, other values as compact JSON.

    :raises TemplateError: the value cannot be encoded as JSON, or is too large
    """
    if isinstance(value, str):
        return value
    scope.weigh(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TemplateError(f"This value cannot be encoded as JSON: {error}.") from error


def equal(left: Any, right: Any, scope: Scope) -> bool:
    """Whether two JSON values are equal; 1 equals 1.0, true does not equal 1.

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
