-- Rows that a database has after months of use. SQLite and PostgreSQL share these statements.
-- The ids are spread over the indexes like generated ones.

-- fragment: numbers
WITH RECURSIVE s(i) AS (
    SELECT 1 WHERE CAST($1 AS integer) > 0
    UNION ALL SELECT i + 1 FROM s WHERE i < CAST($1 AS integer))

-- fragment: now
CAST($2 AS double precision)

-- fragment: id
CAST((CAST(i AS bigint) * 2654435761) % 4294967296 AS text) || '-stored'

-- name: definitions
-- $1 count, $2 body
{numbers}
INSERT INTO definitions (task_id, rev, body, created, system, notify)
SELECT {id}, 1, CAST($2 AS text), '2026-01-01T00:00:00+00:00', false, false FROM s;

-- name: future_tasks
-- due in a day and later. $1 count, $2 the time now
{numbers}
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, next_run,
    due_at, exec_used, status_change, result_bytes, rev, version)
SELECT {id}, 'bench', 0, 'IDLE', true, 0, true, 0, 1, {id}, 0, 0, 0, 0, 0,
    false, false, false, 0, {now} + 86400 + i, {now} + 86400 + i, 0, {now}, 0, 1, 0
FROM s;

-- name: backlog_tasks
-- ready, but of a lower priority than those of a measurement. $1 count, $2 the time now
{numbers}
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, next_run,
    queued_at, exec_used, run_queued_at, status_change, result_bytes, rev, version)
SELECT {id}, 'bench', -1, 'QUEUED', true, 1, true, 0, 1, {id}, 0, 0, 0, 0, 0,
    false, false, false, 0, {now}, {now}, 0, {now}, {now}, 0, 1, 0
FROM s;

-- name: history_tasks
-- ended. $1 count, $2 the time now
{numbers}
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, queued_at,
    exec_used, status_change, result_bytes, exit_code, rev, version)
SELECT {id}, 'bench', 0, 'FINISHED', true, 0, false, 1, 1, {id}, 0, 1, 0, 0,
    1, false, false, false, 0, {now} - i, 0.01, {now} - i, 7, 0, 1, 2
FROM s;

-- name: history_stages
-- their results. $1 count, $2 the time now
{numbers}
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, executor_id,
    queued_at, started_at, ended_at, outcome, rescued, result)
SELECT {id}, 0, 0, 0, {id}, 1, 'do.echo', 'stored', {now} - i, {now} - i, {now} - i, 'FINISHED',
    false, '{"n":1}'
FROM s;

-- name: history_runs
-- their runs. $1 count, $2 the time now
{numbers}
INSERT INTO runs (run_id, task_id, job_id, status, queued_at, started_at, ended_at, exit_code,
    retries, stage, stages, executor_id)
SELECT {id}, {id}, {id}, 'FINISHED', {now} - i, {now} - i, {now} - i, 0, 0, 1, 1, 'stored'
FROM s;
