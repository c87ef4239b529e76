"""JSON Schema in words: what a value must be, said to people."""

from collections.abc import Mapping, Sequence
from typing import Any

from kaiju_tasks.rpc.describe import kind

__all__ = ["describe", "shown"]

SAID_VALUES = 10
SAID_LENGTH = 50
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
    """Say what a value must be: "an integer, at least 1".

    :param targets: what `$ref`s point to
    """
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return ANYTHING
    if "$ref" in schema:
        return describe(targets.get(schema["$ref"]), targets, depth + 1)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            said = [describe(one, targets, depth + 1) for one in schema[word][:SAID_VALUES]]
            return " or ".join(dict.fromkeys(said))
    if "const" in schema:
        return shown(schema["const"])
    if "enum" in schema:
        return _one_of(schema["enum"])
    types = schema.get("type", ())
    nouns = [_NOUNS[name] for name in ([types] if isinstance(types, str) else types)]
    return ", ".join([" or ".join(nouns) or ANYTHING, *_limits(schema)])


def shown(value: Any) -> str:
    """A value as it was sent, or what it is when it is long."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= SAID_LENGTH else f'"{value[:SAID_LENGTH]}…"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)[:SAID_LENGTH]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return kind(value)


def _one_of(values: Sequence[Any]) -> str:
    said = [shown(value) for value in values[:SAID_VALUES]]
    if len(values) > SAID_VALUES:
        said.append("…")
    return said[0] if len(said) == 1 else f"one of {', '.join(said)}"


def _limits(schema: dict[str, Any]) -> list[str]:
    said = [f"{words} {schema[word]}" for word, words in _BOUNDS if word in schema]
    for least, most, unit in _UNITS:
        if least in schema:
            said.append(f"at least {_counted(schema[least], unit)}")
        if most in schema:
            said.append(f"at most {_counted(schema[most], unit)}")
    return said


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
