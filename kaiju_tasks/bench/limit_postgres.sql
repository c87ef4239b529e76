-- The work of a pipeline in plain, set-based SQL on the manager's own tables. It is the limit
-- against which the manager is measured.

-- name: insert_tasks
-- $1 ids, $2 stages, $3 body of the definition
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, next_run,
    queued_at, exec_used, run_queued_at, status_change, result_bytes, rev, version)
SELECT id, 'bench', 0, 'QUEUED', true, 1, true, 0, $2::int, md5(id), 0, 0, 0, 0, 0, false, false,
    false, 0, c.now, c.now, 0, c.now, c.now, 0, 1, 0
FROM unnest($1::text[]) AS t(id), (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) c;

-- name: insert_definitions
-- $1 ids, $2 body of the definition
INSERT INTO definitions (task_id, rev, body, created, system, notify)
SELECT id, 1, $2::text, '2026-01-01T00:00:00+00:00', false, false FROM unnest($1::text[]) AS t(id);

-- name: acquire
-- $1 limit
WITH picked AS MATERIALIZED (
    SELECT id FROM tasks WHERE app_name = 'bench' AND ready = 1
    ORDER BY priority DESC, queued_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE tasks t SET status = 'EXECUTED', ready = 0, executor_id = 'limit', nonce = '0123456789abcdef',
    epoch = epoch + 1, exec_deadline = c.now + 300, due_at = c.now + 302, stage_started_at = c.now,
    run_started_at = coalesce(run_started_at, c.now), status_change = c.now, version = version + 1
FROM picked, (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) c
WHERE t.id = picked.id RETURNING t.id;

-- name: lock
-- $1 ids, ordered
SELECT id FROM tasks WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE;

-- name: store_results
-- $1 ids, $2 stage
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, executor_id,
    queued_at, started_at, ended_at, outcome, rescued, result)
SELECT md5(id), 0, $2::int, 0, id, 1, 'do.echo', 'limit', c.now, c.now, c.now, 'FINISHED', false,
    '{"n":1}'
FROM unnest($1::text[]) AS t(id), (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) c;

-- name: next_stage
-- $1 ids
UPDATE tasks SET stage = stage + 1, attempt = 0, result_bytes = result_bytes + 7,
    stage_started_at = extract(epoch FROM clock_timestamp())::float8, version = version + 1
WHERE id = ANY($1::text[]);

-- name: finish
-- $1 ids
UPDATE tasks SET stage = stage + 1, status = 'FINISHED', run_open = false, executor_id = NULL,
    nonce = NULL, exec_deadline = NULL, due_at = NULL, exit_code = 0, next_run = NULL,
    result_bytes = result_bytes + 7, exec_used = 0.01, version = version + 1,
    status_change = extract(epoch FROM clock_timestamp())::float8
WHERE id = ANY($1::text[]);

-- name: end_runs
-- $1 ids, $2 stages
INSERT INTO runs (run_id, task_id, job_id, status, queued_at, started_at, ended_at, exit_code,
    retries, stage, stages, executor_id)
SELECT md5(id), id, md5(id), 'FINISHED', c.now, c.now, c.now, 0, 0, $2::int, $2::int, 'limit'
FROM unnest($1::text[]) AS t(id), (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) c;
