"""Descriptions of JSON Schemas for error messages: what a value must be."""

from collections.abc import Mapping, Sequence
from typing import Any

from kaiju_tasks.rpc.describe import kind

__all__ = ["describe", "shown"]

SHOWN_VALUES = 10
SHOWN_LENGTH = 50
MAX_DEPTH = 4
ANYTHING = "any JSON value"

_NOUNS = {
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_UNITS = (
    ("minLength", "maxLength", "character"),
    ("minItems", "maxItems", "item"),
    ("minProperties", "maxProperties", "member"),
)
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "less than"),
    ("multipleOf", "a multiple of"),
)


def describe(schema: Any, targets: Mapping[str, Any], depth: int = 0) -> str:
    """Describe the values of a schema, for example "an integer, at least 1".

    :param targets: targets of `$ref`
    """
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return ANYTHING
    if "$ref" in schema:
        return describe(targets.get(schema["$ref"]), targets, depth + 1)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            parts = [describe(one, targets, depth + 1) for one in schema[word][:SHOWN_VALUES]]
            return " or ".join(dict.fromkeys(parts))
    if "const" in schema:
        return shown(schema["const"])
    if "enum" in schema:
        return _one_of(schema["enum"])
    types = schema.get("type", ())
    nouns = [_NOUNS[name] for name in ([types] if isinstance(types, str) else types)]
    return ", ".join([" or ".join(nouns) or ANYTHING, *_limits(schema)])


def shown(value: Any) -> str:
    """Return a value as JSON, or its kind if it is long."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= SHOWN_LENGTH else f'"{value[:SHOWN_LENGTH]}…"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)[:SHOWN_LENGTH]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return kind(value)


def _one_of(values: Sequence[Any]) -> str:
    parts = [shown(value) for value in values[:SHOWN_VALUES]]
    if len(values) > SHOWN_VALUES:
        parts.append("…")
    return parts[0] if len(parts) == 1 else f"one of {', '.join(parts)}"


def _limits(schema: dict[str, Any]) -> list[str]:
    parts = [f"{words} {schema[word]}" for word, words in _BOUNDS if word in schema]
    for least, most, unit in _UNITS:
        if least in schema:
            parts.append(f"at least {_counted(schema[least], unit)}")
        if most in schema:
            parts.append(f"at most {_counted(schema[most], unit)}")
    return parts


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
