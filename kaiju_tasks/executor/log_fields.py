"""Makes JSON of what a command logs, whatever it is: a log line never fails its stage."""

import math
from typing import Any

import msgspec

__all__ = ["plain_fields", "plain_text"]

DEPTH_MAX = 16
MIN_INT, MAX_INT = -(2**63), 2**64 - 1


def plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as JSON values that every reader accepts. What is no JSON becomes its `repr`."""
    try:
        built = msgspec.to_builtins(fields, str_keys=True, enc_hook=_text_of)
        return {plain_text(str(key)): _plain(value, 1) for key, value in built.items()}
    except Exception as error:  # any fault of an object of the command
        return {"left_out": f"the fields cannot be written as JSON: {type(error).__name__}"}


def plain_text(text: str) -> str:
    """A text without lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict | list | tuple) and depth >= DEPTH_MAX:
        return "…"
    if isinstance(value, dict):
        return {plain_text(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
        return _text_of(value)
    return value
