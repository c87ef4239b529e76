"""Defines the SQL dialect of SQLite."""

import json
from typing import Any


class SqliteDialect:
    reads_index_alone = False
    join_in_order = "CROSS JOIN"
    failed_method: str | None = None

    def placeholder(self, number: int, kind: type) -> str:
        return f"?{number}"

    def differs(self, left: str, right: str) -> str:
        return f"{left} IS NOT {right}"

    def one_of(self, column: str, number: int, kind: type) -> str:
        return f"{column} IN (SELECT value FROM json_each(?{number}))"

    def pack(self, values: list[Any], kind: type) -> Any:
        return json.dumps(values)

    def bytes_of(self, column: str) -> str:
        return f"coalesce(length(CAST({column} AS BLOB)), 0)"

    def item_of(self, column: str, index: str) -> str:
        return f"json_extract({column}, '$[' || {index} || ']')"

    def label(self, key: str) -> str:
        return f"json_extract(d.labels, '$.\"{key}\"')"

    def label_is(self, key: str, value: str) -> str:
        return f"(d.labels IS NOT NULL AND {self.label(key)} = {value})"

    def seconds_of(self, column: str) -> str:
        return f"((julianday({column}) - 2440587.5) * 86400.0)"

    def error_type(self, column: str) -> str:
        return f"substr({column}, 10, instr(substr({column}, 10), '\"') - 1)"
