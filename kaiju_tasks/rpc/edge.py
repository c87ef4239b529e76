"""The check of data from outside: it is decoded completely and checked once, here.

The result is plain JSON data that all later readers accept: valid UTF-8, nested no deeper than the
limit, without numbers that a 64-bit integer or a double cannot hold.
"""

import re
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.errors import InvalidParams, ParseError, TooLarge

__all__ = ["INTEGER_MAX", "INTEGER_MIN", "Limits", "check_raw", "check_text", "decode", "nesting"]

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1

# The most characters of an unknown name that an error repeats.
NAME_LENGTH_MAX = 100

# The path from the outermost value to an inner value: (path of the parent, key or index).
_Path = tuple[Any, str | int] | None

_BOM = b"\xef\xbb\xbf"
_ONE_BRACKET = bytes.maketrans(b"[{]}", b"(())")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_OPENING = ord("(")
# Data is rarely deeper. The rest after these passes is counted byte by byte, which is slow.
_LEAF_PASSES = 16
_DIGITS = bytes.maketrans(b"123456789[]{}: \t\r\n", b"000000000,,,,,,,,,")
_LONG_INTEGER = b"," + b"0" * 19
_HARD_NUMBERS_MAX = 5_000
_HARD_NUMBER_BYTES = len("1e300,")
_HARD_NUMBER = re.compile(rb"[0-9.][eE][-+]?(?:[2-9][0-9]{2}|[0-9]{4})")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')


class Limits(Struct, frozen=True):
    """The limits on one message.

    :param max_body_bytes: the maximum size of a request or a batch
    :param max_result_bytes: the maximum size of a value that stays bytes, such as a stage's result
    :param max_batch: the most calls in a batch
    :param max_depth: the maximum nesting of arrays and objects, including the outermost
    :param max_answer_bytes: the maximum size of an answer, to a batch too
    """

    max_body_bytes: int = 1_048_576
    max_result_bytes: int = 1_048_576
    max_batch: int = 100
    max_depth: int = 64
    max_answer_bytes: int = 18 * 1_048_576


def decode(body: bytes, limits: Limits) -> Any:
    """Decode JSON from outside into plain data.

    :param body: JSON text in UTF-8
    :returns: None, bool, int, float, str, list or dict; of duplicate keys, the last one is kept
    :raises ParseError: the text is not JSON, or contains NaN, a lone surrogate or invalid UTF-8
    :raises TooLarge: the text exceeds the limit on size or depth
    :raises InvalidParams: a number is out of range; `field` is its path, if it is known
    """
    check_text(body, limits.max_body_bytes)
    return _load(body, limits.max_depth)


def check_raw(raw: bytes | Raw, limits: Limits) -> None:
    """Check a value that stays bytes, with the checks of `decode`.

    :param raw: JSON text of at most `max_result_bytes`
    :raises ParseError, TooLarge, InvalidParams: as in `decode`
    """
    text = raw if isinstance(raw, bytes) else bytes(raw)
    check_text(text, limits.max_result_bytes)
    _load(text, limits.max_depth)


def check_text(body: bytes, max_bytes: int) -> None:
    """Check size and encoding.

    :param max_bytes: the maximum size
    :raises TooLarge: the text is larger
    :raises ParseError: the text is not UTF-8
    """
    if len(body) > max_bytes:
        raise TooLarge(
            f"the JSON text must be at most {max_bytes} bytes, not {len(body)}", limit=max_bytes
        )
    if body.isascii():
        return
    if body.startswith(_BOM):
        raise ParseError("JSON must be UTF-8 without a byte order mark")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise ParseError(f"JSON must be UTF-8; the byte at {error.start} is not") from None


def nesting(body: bytes) -> int:
    """Return the nesting depth of arrays and objects, without recursion.

    :param body: JSON text; for invalid JSON, the depth is at least the depth that a parser reaches
        before it fails
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = body.translate(_ONE_BRACKET, _NO_BRACKET).replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[::2])
    for removed in range(_LEAF_PASSES):
        without_leaves = brackets.replace(b"()", b"")
        if len(without_leaves) == len(brackets):
            return removed + _highest(brackets)
        brackets = without_leaves
    return _LEAF_PASSES + _highest(brackets)


def _highest(brackets: bytes) -> int:
    return max(accumulate(1 if bracket == _OPENING else -1 for bracket in brackets), default=0)


def number_out_of_range(path: str | None) -> InvalidParams:
    """Return the error for a number that is out of range.

    :param path: path of the number; None if it is unknown
    """
    what = f"`{path}`" if path else "a number"
    return InvalidParams(
        f"{what} is out of range: integers must be from -2**63 to 2**64-1, other numbers at most "
        "1.8e308",
        field=path or None,
        limit="-2**63..2**64-1",
    )


def _load(body: bytes, max_depth: int) -> Any:
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > max_depth and nesting(body) > max_depth:
        raise TooLarge(
            f"arrays and objects must be nested at most {max_depth} levels deep",
            limit=max_depth,
        )
    if len(body) > _HARD_NUMBERS_MAX * _HARD_NUMBER_BYTES:
        _check_hard_numbers(body)
    try:
        value = msgspec.json.decode(body)
    except msgspec.ValidationError:
        raise number_out_of_range(None) from None
    except msgspec.DecodeError as error:
        raise ParseError(_not_json(body, str(error))) from None
    if _LONG_INTEGER in b"," + body.translate(_DIGITS, b"-"):
        _check_integers(value)
    return value


def _check_hard_numbers(body: bytes) -> None:
    """Refuse a text with so many numbers beyond 1e200 or below 1e-200 that reading them takes
    long: each takes 30 microseconds, a thousand times as long as others."""
    if len(_HARD_NUMBER.findall(body)) <= _HARD_NUMBERS_MAX:
        return
    if len(_HARD_NUMBER.findall(_STRING.sub(b"", body))) > _HARD_NUMBERS_MAX:
        raise TooLarge(
            f"a message may have at most {_HARD_NUMBERS_MAX} numbers beyond 1e200 or below 1e-200",
            limit=_HARD_NUMBERS_MAX,
        )


def _not_json(body: bytes, message: str) -> str:
    if not body.strip():
        return "expected JSON, but the text is empty"
    reason = message.removeprefix("JSON is malformed: ")
    if "surrogate" in reason or rb"\ud" in body.lower():
        reason += "; a surrogate (\\ud800 to \\udfff) must be part of a pair"
    return f"this is not JSON: {reason}"


def _check_integers(value: Any) -> None:
    left: list[tuple[_Path, Any]] = [(None, value)]
    while left:
        path, item = left.pop()
        if type(item) is int and not INTEGER_MIN <= item <= INTEGER_MAX:
            raise number_out_of_range(_dotted(path))
        if isinstance(item, dict):
            left.extend(((path, key), held) for key, held in item.items())
        elif isinstance(item, list):
            left.extend(((path, i), held) for i, held in enumerate(item))


def _dotted(path: _Path) -> str:
    segments: list[str] = []
    while path is not None:
        path, segment = path
        segments.append(str(segment)[:NAME_LENGTH_MAX])
    return ".".join(reversed(segments))
