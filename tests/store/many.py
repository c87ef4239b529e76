"""A PostgreSQL with many rows, and what it does with a statement."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.support.postgres import Postgres, fresh_database
from tests.support.reused import make_tables, run_apart

__all__ = ["MANY", "explained", "many", "many_dsn"]

MANY = """
INSERT INTO definitions (task_id, rev, body, created, system, notify, group_name, user_id, methods,
    labels)
SELECT 't' || n, 1, '{}', to_char(to_timestamp(n), 'YYYY-MM-DD"T"HH24:MI:SS'), false, false,
    'g' || n % 1000, 'u' || n % 10, '["mail.send","charge"]',
    CASE n % 2 WHEN 0 THEN jsonb_build_object('team', 'team' || n % 1001, 'env', 'prod') END
FROM generate_series(1, 100000) AS n;
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, exec_used,
    status_change, result_bytes, exit_code, error, rev, version)
SELECT 't' || n, 'app' || n % 50, 0, CASE n % 20 WHEN 0 THEN 'FAILED' ELSE 'FINISHED' END, true, 0,
    false, 0, 2, 'job' || n, 0, 0, 0, 0, 0, false, false, false, 0, 0, n, 0,
    CASE n % 20 WHEN 0 THEN 1 ELSE 0 END,
    CASE n % 20 WHEN 0 THEN '{"type":"' || CASE n % 2000 WHEN 0 THEN 'abort' ELSE 'execution_error'
        END || '","message":"no","stage":0,"data":null}' END, 1, 0
FROM generate_series(1, 100000) AS n;
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, exec_used,
    status_change, result_bytes, rev, version, fire_at, next_run, due_at)
SELECT 's' || n, 'app' || n % 50, 0, 'IDLE', true, 0, false, 0, 2, NULL, 0, 0, 0, 0, 0, false,
    false, false, 0, 0, n, 0, 1, 0, 500000 + n, 500000 + n, 500000 + n
FROM generate_series(1, 5000) AS n;
INSERT INTO definitions (task_id, rev, body, created, system, notify, cron, every_seconds, user_id,
    methods)
SELECT 's' || n, 1, '{}', to_char(to_timestamp(n), 'YYYY-MM-DD"T"HH24:MI:SS'), false, false,
    CASE n % 2 WHEN 0 THEN n % 60 || ' 9 * * *' END, CASE n % 2 WHEN 1 THEN 60 + n % 59 END,
    'u' || n % 10, '["mail.send","charge"]' FROM generate_series(1, 5000) AS n;
INSERT INTO runs (run_id, task_id, job_id, status, ended_at, exit_code, error, retries, stage,
    stages)
SELECT 'run' || n, 't' || (n % 100000 + 1), 'run' || n, s.status, n, s.code, s.error, 0, 0, 2
FROM generate_series(1, 300000) AS n, LATERAL (SELECT
    CASE n % 20 WHEN 0 THEN 'FAILED' ELSE 'FINISHED' END, CASE n % 20 WHEN 0 THEN 1 ELSE 0 END,
    CASE n % 20 WHEN 0 THEN '{"type":"' || CASE n % 2000 WHEN 0 THEN 'abort'
        ELSE 'execution_error' END || '","message":"no","stage":0,"data":null}' END
    ) AS s (status, code, error);
INSERT INTO versions (task_id, version, body, replaced_at)
SELECT 't' || n % 100000, n / 100000 + 1, '{}', n FROM generate_series(0, 299999) AS n;
INSERT INTO audit (id, at, action, target, data)
SELECT 'a' || n, n, 'tasks.reset', 't' || n, '{}' FROM generate_series(1, 100000) AS n;
INSERT INTO marks (id, at, label) SELECT 'm' || n, n, 'v' FROM generate_series(1, 100000) AS n;
INSERT INTO bulks (id, method, state, started, ended, epoch, manager_id, body, progress)
SELECT 'b' || n, 'tasks.m_reset', 'FINISHED', n, n, 1, 'm', '{"conditions":[],"audit_id":"a"}',
    '{"expected":1}' FROM generate_series(1, 100000) AS n;
INSERT INTO notifications (id, created, enabled, kws, message, result, status, task_id, exit_code)
SELECT 'n' || n, to_char(to_timestamp(n), 'YYYY-MM-DD"T"HH24:MI:SS'), true, '{}', 'm', '[]',
    'FINISHED', 't' || n, 0 FROM generate_series(1, 100000) AS n;
INSERT INTO inbox (task_id, message_id, data, consumed, at)
SELECT 't' || n % 20000, 'm' || n, '1', false, n FROM generate_series(1, 100000) AS n;
INSERT INTO children (parent_id, parent_job, cycle, stage, position, child_id, made)
SELECT 't' || n, 'job' || n, 0, 1, 0, 'c' || n, true FROM generate_series(1, 100000) AS n;
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, ended_at,
    outcome, rescued, result)
SELECT 'run' || n, 0, 0, 0, 't' || n, 1, 'charge', n, 'FINISHED', false, '1'
FROM generate_series(1, 100000) AS n;
INSERT INTO stats (step, at, app_name, name, bucket, manager_id, count, total)
SELECT 60, 60 * minute, 'app' || app, names.name, -1, 'm', 1, 0
FROM generate_series(0, 1499) AS minute, generate_series(0, 9) AS app, LATERAL (VALUES
    ('runs.started'), ('runs.failed'), ('runs.finished'), ('stages.failed'), ('stages.lost'),
    ('stages.finished'), ('fires.missed'), ('stages.seconds')) AS names (name);
ANALYZE versions;
ANALYZE runs;
ANALYZE tasks;
ANALYZE definitions;
ANALYZE audit, marks, bulks, notifications, inbox, children, stages, stats
"""


@pytest.fixture(scope="module")
def many_dsn(postgres_server: Postgres) -> Iterator[str]:
    """The DSN of a database that the tests of a file share: 100,000 ended tasks, 5,000 schedules,
    300,000 runs."""
    for dsn in fresh_database(postgres_server):
        make_tables(dsn)
        run_apart(partial(_fill, dsn))
        yield dsn


async def _fill(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(MANY)
    await connection.close()


@pytest.fixture
async def many(many_dsn: str) -> AsyncIterator[Any]:
    """A connection to the database; what a test changes is rolled back."""
    connection = await asyncpg.connect(many_dsn)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def explained(connection: Any, text: str, values: list[Any]) -> tuple[str, int]:
    """The plan as JSON, and the number of pages that the statement reads."""
    found = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", *values)
    plan = msgspec.json.decode(found)[0]["Plan"]
    return found, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
