"""Columns as PostgreSQL's array literals.

asyncpg looks at each element of an array twice to find nested ones, which costs more than all
else that is done to a row. As text, a column of 500 costs a few microseconds.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def array_literal(values: Sequence[Any]) -> str:
    """An array of texts, numbers, booleans and nulls, to be cast: `$1::text::float8[]`.

    JSON and array literals agree but for the brackets and what stands behind a backslash.
    """
    text = _encode(values).decode()
    if "\\" in text:
        return "{" + ",".join(map(_element, values)) + "}"
    return "{" + text[1:-1] + "}"


def _element(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array_literals(rows: Iterable[tuple[Any, ...]], width: int) -> list[str]:
    """Rows turned to columns; `width` empty ones when there are no rows."""
    return [array_literal(column) for column in zip(*rows, strict=True)] or ["{}"] * width


def columns_of(rows: Iterable[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    """The same as sequences, where the planner should see how many there are."""
    return list(zip(*rows, strict=True)) or [()] * width
