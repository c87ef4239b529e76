"""Encodes columns as array literals of PostgreSQL.

asyncpg inspects each element of an array twice to find nested arrays, which costs more than all
other processing of a row. As text, a column of 500 values costs a few microseconds.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

LARGE = 250
"""Characters of a text, on average. At 1,000, PostgreSQL takes twice as long for literals."""
_encode = msgspec.json.Encoder().encode


def array_literal(values: Sequence[Any]) -> str:
    """Encode text, numbers, booleans and nulls as an array, to be cast: `$1::text::float8[]`.

    JSON and array literals differ only in the brackets and in the escapes after a backslash.
    """
    text = _encode(values).decode()
    if "\\" in text:
        return "{" + ",".join(map(_element, values)) + "}"
    return "{" + text[1:-1] + "}"


def _element(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_large(texts: Sequence[str | None]) -> bool:
    """Whether the texts of a column are so large that they are better sent as they are."""
    return sum(map(len, filter(None, texts))) > LARGE * len(texts)


def array_literals(rows: Iterable[tuple[Any, ...]], width: int) -> list[str]:
    """Transpose rows to columns. Without rows there are `width` empty columns."""
    return [array_literal(column) for column in zip(*rows, strict=True)] or ["{}"] * width


def columns_of(rows: Iterable[tuple[Any, ...]], kinds: str) -> list[Sequence[Any]]:
    """Transpose rows to columns. Columns of texts are sequences, whose length the planner can see.

    The others are array literals: of arrays of numbers, asyncpg asks the server for their type, in
    a query that takes 10 ms on each new connection.

    :param kinds: a letter for each column: `t` for texts, `n` for numbers and booleans
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(kinds)
    pairs = zip(columns, kinds, strict=True)
    return [column if kind == "t" else array_literal(column) for column, kind in pairs]
