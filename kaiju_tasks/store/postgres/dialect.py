"""Defines the SQL dialect of PostgreSQL."""

from typing import Any

from kaiju_tasks.store.postgres.arrays import array_literal

_TYPES = {str: "text", int: "bigint", float: "float8", bool: "bool"}


class PostgresDialect:
    reads_index_alone = True
    join_in_order = "JOIN"
    failed_method: str | None = "t.failed_method"

    def placeholder(self, number: int, kind: type) -> str:
        return f"${number}::{_TYPES[kind]}"

    def differs(self, left: str, right: str) -> str:
        return f"{left} IS DISTINCT FROM {right}"

    def one_of(self, column: str, number: int, kind: type) -> str:
        text = "" if kind is str else "::text"
        return f"{column} = ANY (${number}{text}::{_TYPES[kind]}[])"

    def pack(self, values: list[Any], kind: type) -> Any:
        return values if kind is str else array_literal(values)

    def bytes_of(self, column: str) -> str:
        return f"coalesce(octet_length({column}), 0)"

    def item_of(self, column: str, index: str) -> str:
        # texts without escapes stand between quotes, which is found faster than JSON is read
        escaped = f"strpos({column}, '\\') > 0"
        read = f"{column}::json ->> {index}"
        cut = f"nullif(split_part({column}, '\"', 2 * {index} + 2), '')"
        return f'((CASE WHEN {escaped} THEN {read} ELSE {cut} END) COLLATE "C")'

    def label(self, key: str) -> str:
        return f"((d.labels ->> '{key}') COLLATE \"C\")"

    def label_is(self, key: str, value: str) -> str:
        return f"d.labels @> jsonb_build_object('{key}', {value})"

    def seconds_of(self, column: str) -> str:
        return f"extract(epoch FROM {column}::timestamptz)"

    def error_type(self, column: str) -> str:
        return f'(split_part(substr({column}, 10), \'"\', 1) COLLATE "C")'
