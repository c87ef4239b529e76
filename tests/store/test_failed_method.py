"""PostgreSQL keeps the method of each failed task for any manager that writes it (decision 60)."""

from typing import Any

import asyncpg
import pytest

from kaiju_tasks.store.open import migrate

FAIL = """
UPDATE tasks SET status = 'FAILED', stage = $2, ready = 0, run_open = false, exit_code = 1,
    error = '{"type":"abort"}' WHERE id = $1
"""
ADD = """
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, cycle,
    attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, exec_used,
    status_change, result_bytes, rev, version)
VALUES ($1, 'a', 0, 'WAITING', true, 0, true, 0, 3, 0, 0, 0, 0, 0, false, false, false, 0, 0, 0, 0,
    1, 0)
"""
DEFINE = """
INSERT INTO definitions (task_id, rev, body, created, system, notify, methods)
VALUES ($1, 1, '{}', '', false, false, $2)
ON CONFLICT (task_id) DO UPDATE SET methods = excluded.methods
"""


@pytest.mark.parametrize(
    ("methods", "found"),
    [
        ('["a","b","c"]', ["a", "b", "c", None]),
        ('["a\\"b","\\u00e9.send"]', ['a"b', "é.send", None, None]),
        ("[]", [None] * 4),
        ("damaged \\", [None] * 4),
        (None, [None] * 4),
    ],
)
async def test_a_failed_task_keeps_its_method(
    postgres_dsn: str, methods: str | None, found: list[Any]
) -> None:
    await migrate(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn)
    try:
        for stage, method in enumerate(found):
            id = f"t{stage}"
            await connection.execute(ADD, id)
            await connection.execute(DEFINE, id, methods)
            await connection.execute(FAIL, id, stage)
            kept = "SELECT failed_method FROM tasks WHERE id = $1"
            assert await connection.fetchval(kept, id) == method
            await connection.execute(DEFINE, id, '["x","x","x","x"]')
            assert await connection.fetchval(kept, id) == "x"
    finally:
        await connection.close()
