-- Rows of a database with many tasks. Before them stand the fragments of its dialect: `numbers` (a
-- CTE s (i) of the numbers from 1 to $1), `created` (the time at, as ISO-8601) and `labels`.
-- $1 is the number of rows, $2 the number of tasks, $3 the time now.

-- fragment: task_id
CAST((CAST(t AS bigint) * 2654435761) % 4294967296 AS text) || '-t'

-- fragment: run_id
CAST((CAST(r AS bigint) * 2654435761) % 4294967296 AS text) || '-r'

-- fragment: ended
CAST($3 AS double precision) - 1728000.0 * (1.0 - r / (5.0 * CAST($2 AS double precision)))

-- fragment: error
'{"type":"' || CASE t % 7 WHEN 0 THEN 'stage_timeout' ELSE 'execution_error' END
    || '","message":"no paper","stage":2,"data":null}'

-- name: tasks
-- Of 1000 tasks, 50 have failed, 10 wait, 5 are suspended, 20 are queued, 2 run, 50 are scheduled.
{numbers}
INSERT INTO tasks (id, app_name, priority, status, enabled, ready, run_open, stage, stages, job_id,
    cycle, attempt, retries, losses, epoch, hold_next, start_next, explicit, anchor, exec_used,
    result_bytes, rev, version, queued_at, scheduled_at, status_change, exit_code, error,
    status_reason, held, executor_id, nonce, exec_deadline, next_run, due_at)
SELECT {task_id}, 'app' || (t % 50), t % 5, status, true, CASE status WHEN 'QUEUED' THEN 1 ELSE 0 END,
    status IN ('WAITING', 'SUSPENDED', 'QUEUED', 'EXECUTED'),
    CASE status WHEN 'FINISHED' THEN 3 WHEN 'FAILED' THEN 2 WHEN 'WAITING' THEN 1 ELSE 0 END, 3,
    {run_id}, 0, 0, 0, 0, 1, false, false, false, 0, 0.1, 20, 1, 3, at - 60, at - 60, at,
    CASE status WHEN 'FINISHED' THEN 0 WHEN 'FAILED' THEN 1 END,
    CASE status WHEN 'FAILED' THEN {error} END,
    CASE status WHEN 'WAITING' THEN 'message' END,
    CASE status WHEN 'SUSPENDED' THEN 'QUEUED' END,
    CASE status WHEN 'EXECUTED' THEN 'stored' END, CASE status WHEN 'EXECUTED' THEN 'stored' END,
    CASE status WHEN 'EXECUTED' THEN CAST($3 AS double precision) + 2592000 END,
    CASE status WHEN 'IDLE' THEN CAST($3 AS double precision) + 86400 + t % 86400 END,
    CASE status WHEN 'IDLE' THEN CAST($3 AS double precision) + 86400 + t % 86400
        WHEN 'EXECUTED' THEN CAST($3 AS double precision) + 2592000 END
FROM (SELECT t, r, {ended} AS at, CASE
        WHEN t % 1000 < 50 THEN 'FAILED' WHEN t % 1000 < 60 THEN 'WAITING'
        WHEN t % 1000 < 65 THEN 'SUSPENDED' WHEN t % 1000 < 85 THEN 'QUEUED'
        WHEN t % 1000 < 87 THEN 'EXECUTED' WHEN t % 1000 < 137 THEN 'IDLE' ELSE 'FINISHED' END
        AS status
    FROM (SELECT i AS t, 5 * i AS r FROM s) AS numbered) AS placed;

-- name: definitions
{numbers}
INSERT INTO definitions (task_id, rev, body, created, system, notify, cron, next_task, group_name,
    group_id, user_id, parent_id, methods, labels, description)
SELECT {task_id}, 1, '{"id":"' || {task_id} || '","app_name":"app' || (t % 50)
    || '","commands":[{"method":"invoice.render","params":{"customer":' || t
    || '}},{"method":"_MESSAGE_","params":{"name":"go"}},{"method":"mail.send","params":'
    || '{"to":"customer@shop.example"}}],"created":"2026-01-01T00:00:00.000000+00:00"}',
    {created}, false, t % 10 = 0,
    CASE WHEN t % 1000 BETWEEN 87 AND 136 THEN '0 9 * * *' END,
    CASE t % 100 WHEN 7 THEN 'report' END, 'group' || (t % 1000), CAST(t AS text), 'user' || (t % 20),
    CASE WHEN t % 10 > 7 THEN (SELECT {task_id} FROM (SELECT numbered.t / 10 * 10 + 1 AS t) AS p) END,
    '["invoice.render","_MESSAGE_","mail.send"]',
    CASE t % 2 WHEN 0 THEN {labels} END, 'Send the invoice of customer ' || t
FROM (SELECT i AS t, {ended} AS at FROM (SELECT i, 5 * i - 4 AS r FROM s) AS first) AS numbered;

-- name: runs
{numbers}
INSERT INTO runs (run_id, task_id, job_id, status, scheduled_at, queued_at, started_at, ended_at,
    exit_code, error, retries, stage, stages, executor_id, version)
SELECT {run_id}, {task_id}, {run_id}, CASE failed WHEN 1 THEN 'FAILED' ELSE 'FINISHED' END,
    at - 60, at - 60, at - 50 - r % 10, at, failed, CASE failed WHEN 1 THEN {error} END, 0,
    3 - failed, 3, 'executor' || (r % 40), 1
FROM (SELECT r, t, {ended} AS at, CASE WHEN r % 50 = 1 OR (t % 1000 < 50 AND r % 5 = 0)
        THEN 1 ELSE 0 END AS failed
    FROM (SELECT i AS r, (i - 1) / 5 + 1 AS t FROM s) AS numbered) AS placed;

-- name: stages
{numbers}
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, executor_id,
    queued_at, started_at, ended_at, outcome, rescued, result)
SELECT {run_id}, 0, stage, 0, {task_id}, 1, CASE stage WHEN 0 THEN 'invoice.render'
    WHEN 1 THEN '_MESSAGE_' ELSE 'mail.send' END, 'executor' || (r % 40), at - 60, at - 40, at,
    'FINISHED', false, '{"n":1}'
FROM (SELECT r, t, stage, {ended} AS at FROM (
    SELECT (i - 1) / 3 + 1 AS r, (i - 1) / 15 + 1 AS t, (i - 1) % 3 AS stage FROM s) AS numbered)
    AS placed;

-- name: executors
{numbers}
INSERT INTO executors (id, app_names, attempt, capacity, commands, connected_at, last_ping,
    lease_until, manager_id, session, status)
SELECT CASE i WHEN 1 THEN 'stored' ELSE 'executor' || i END, '["app' || (i % 50) || '"]', 0, 100, '[]',
    CAST($3 AS double precision), CAST($3 AS double precision),
    CAST($3 AS double precision) + 2592000 + 0 * CAST($2 AS integer), 'another', 'stored', 'ACTIVE'
FROM s;

-- name: versions
{numbers}
INSERT INTO versions (task_id, version, body, replaced_at)
SELECT {task_id}, version, '{"id":"x","app_name":"a","commands":[{"method":"mail.send","params":'
    || '{}}],"created":"2026-01-01T00:00:00.000000+00:00"}', CAST($3 AS double precision)
FROM (SELECT (i - 1) / 20 + 1 + 0 * CAST($2 AS integer) AS t, (i - 1) % 20 + 1 AS version FROM s)
    AS numbered;

-- name: inbox
{numbers}
INSERT INTO inbox (task_id, message_id, name, data, consumed, at)
SELECT {task_id}, 'm' || i, 'go', '{"ok":true}', false, CAST($3 AS double precision)
FROM (SELECT i, (i - 1) / 5 * 1000 + 50 + 0 * CAST($2 AS integer) AS t FROM s) AS numbered;

-- name: audit
{numbers}
INSERT INTO audit (id, at, user_id, remote, action, target, data)
SELECT 'a' || i, CAST($3 AS double precision) - i, 'user' || (i % 20), '127.0.0.1',
    CASE i % 3 WHEN 0 THEN 'tasks.reset' ELSE 'tasks.update' END, {task_id},
    '{"fields":["description"]}'
FROM (SELECT i, i + 0 * CAST($2 AS integer) AS t FROM s) AS numbered;

-- name: bulks
{numbers}
INSERT INTO bulks (id, method, user_id, state, started, ended, epoch, manager_id, body, progress)
SELECT 'b' || i, 'tasks.m_reset', 'user' || (i % 20), 'FINISHED', CAST($3 AS double precision) - i,
    CAST($3 AS double precision) - i + 1 + 0 * CAST($2 AS integer), 1, 'another',
    '{"conditions":[],"audit_id":"a"}', '{"expected":3,"done":3}'
FROM s;

-- name: marks
{numbers}
INSERT INTO marks (id, at, label, app_name, user_id)
SELECT 'm' || i, CAST($3 AS double precision) - i * 60 + 0 * CAST($2 AS integer), 'v' || i, NULL,
    NULL FROM s;

-- name: notifications
{numbers}
INSERT INTO notifications (id, created, enabled, kws, message, result, status, task_id, exit_code)
SELECT 'n' || i, {created}, true, '{}', 'it ended', '[]', 'FINISHED', {task_id}, 0
FROM (SELECT i, i + 0 * CAST($2 AS integer) AS t, CAST($3 AS double precision) - i AS at FROM s)
    AS numbered;

-- name: stats
-- Of the last minutes and hours, 24 rows for each of 10 streams.
{numbers},
names (name, bucket) AS (VALUES ('runs.started', -1), ('runs.finished', -1), ('runs.failed', -1),
    ('runs.cancelled', -1), ('runs.retried', -1), ('stages.finished', -1), ('stages.failed', -1),
    ('stages.lost', -1), ('fires.missed', -1), ('runs.queue_seconds', 10),
    ('runs.queue_seconds', 11), ('runs.queue_seconds', 12), ('runs.queue_seconds', 13),
    ('runs.queue_seconds', 14), ('runs.run_seconds', 20), ('runs.run_seconds', 21),
    ('runs.run_seconds', 22), ('runs.run_seconds', 23), ('runs.run_seconds', 24),
    ('stages.seconds', 15), ('stages.seconds', 16), ('stages.seconds', 17),
    ('stages.seconds', 18), ('stages.seconds', 19)),
streams (app_name) AS (VALUES ('app0'), ('app1'), ('app2'), ('app3'), ('app4'), ('app5'), ('app6'),
    ('app7'), ('app8'), ('app9')),
steps (step) AS (VALUES (60), (3600))
INSERT INTO stats (step, at, app_name, name, bucket, manager_id, count, total)
SELECT step, (CAST(CAST($3 AS double precision) AS bigint) / step - i) * step, app_name, name,
    bucket, 'another', 7 + 0 * CAST($2 AS integer), 1.5
FROM s CROSS JOIN names CROSS JOIN streams CROSS JOIN steps;
