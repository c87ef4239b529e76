"""What PostgreSQL means to do with a statement of the store."""

from typing import Any

import msgspec

from kaiju_tasks.store.postgres.connection import PLAN_LOCALLY_BY_KEYS
from kaiju_tasks.store.postgres.saving import SQL


async def plan_of(connection: Any, name: str, values: list[Any]) -> str:
    """The plan that a transaction of the store would use."""
    rows = await _explained(connection, "EXPLAIN", name, values)
    return "\n".join(row[0] for row in rows)


async def pages_of(connection: Any, name: str, values: list[Any]) -> int:
    """How many pages the statement touches when it runs; it is rolled back."""
    rows = await _explained(connection, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)", name, values)
    (plan,) = msgspec.json.decode(rows[0][0])
    pages: int = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return pages


async def _explained(connection: Any, how: str, name: str, values: list[Any]) -> Any:
    await connection.execute(f"BEGIN; {PLAN_LOCALLY_BY_KEYS}")
    try:
        return await connection.fetch(f"{how} {SQL[name]}", *values)
    finally:
        await connection.execute("ROLLBACK")
