"""Encodes the result of a stage as JSON, or refuses it with a clear error."""

import inspect
import math
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.executor.failures import ResultTooLarge

__all__ = ["MAX_DEPTH", "Unencodable", "encode_result"]

MAX_DEPTH = 64
MIN_INT, MAX_INT = -(2**63), 2**64 - 1

_encoder = msgspec.json.Encoder()
_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19
"""Looked for among zeros: a regular expression takes 30 times as long."""


class Unencodable(Exception):
    """The result has no exact JSON form that every JSON reader accepts."""


def encode_result(value: Any, max_bytes: int) -> Raw:
    """Encode a result.

    :param value: the return value of the command
    :param max_bytes: the manager's limit for one result
    :raises ResultTooLarge: the encoded result is longer than `max_bytes`
    :raises Unencodable: the result is not JSON, has numbers that are not finite or exceed 64 bits,
        or is nested deeper than 64 levels
    """
    try:
        if isinstance(value, Raw):  # the encoder would copy it without a check
            value = msgspec.json.decode(value)
        encoded = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise Unencodable(
            f"the result ({type(value).__name__}) cannot be written as JSON: "
            f"{_not_awaited(value) or error}"
        ) from None
    if len(encoded) > max_bytes:
        raise ResultTooLarge(
            f"the result has {len(encoded):,} bytes as JSON; at most {max_bytes:,} are allowed"
        )
    # msgspec encodes NaN as null, and integers of any size: check only results with such a part.
    deep = encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH
    if deep or b"null" in encoded or _LONG_NUMBER in encoded.translate(_TO_ZEROS):
        _refuse_odd_values(msgspec.to_builtins(value, str_keys=True))
    return Raw(encoded)


def _not_awaited(value: Any) -> str:
    """Why a coroutine came back from a `def`; empty if it is none."""
    if not inspect.iscoroutine(value):
        return ""
    value.close()
    return "nobody has awaited it; what decorates an `async def` must be an `async def`, too"


def _refuse_odd_values(value: Any) -> None:
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        path, item, depth = waiting.pop()
        where = f"`{path}`" if path else "it"
        if depth >= MAX_DEPTH and isinstance(item, dict | list | tuple):
            raise Unencodable(f"the result is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, float) and not math.isfinite(item):
            raise Unencodable(f"the result is not JSON: {where} is {item}, not a finite number")
        if isinstance(item, int) and not MIN_INT <= item <= MAX_INT:
            raise Unencodable(f"the result is not JSON: {where} does not fit into 64 bits")
        waiting.extend((_join(path, key), child, depth + 1) for key, child in _children(item))


def _children(item: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(item, dict):
        return iter(item.items())
    if isinstance(item, list | tuple):
        return iter(enumerate(item))
    return iter(())


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
