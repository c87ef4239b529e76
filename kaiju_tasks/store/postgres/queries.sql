-- Statements of the PostgreSQL store. Rows are locked in materialised CTEs and found by keys, so
-- that stale statistics cannot cause a scan of the table.

-- fragment: clock
extract(epoch FROM clock_timestamp())::float8

-- fragment: pauses_revision
(SELECT value FROM revisions WHERE name = 'pauses')

-- fragment: statement_clock
extract(epoch FROM statement_timestamp())::float8

-- fragment: task_columns
t.id, t.app_name, t.priority, t.status, t.status_reason, t.enabled, t.ready, t.run_open, t.stage,
t.stages, t.job_id, t.cycle, t.attempt, t.retries, t.losses, t.epoch, t.nonce, t.executor_id,
t.held, t.hold_next, t.start_next, t.due_at, t.next_run, t.fire_at, t.explicit, t.anchor,
t.scheduled_at, t.queued_at, t.queue_deadline, t.queue_left, t.exec_deadline, t.exec_used,
t.stage_started_at, t.wait_deadline, t.run_queued_at, t.run_started_at, t.status_change,
t.result_bytes, t.exit_code, t.error, t.rev, t.version, t.gate, t.awaited

-- fragment: task_names
id, app_name, priority, status, status_reason, enabled, ready, run_open, stage, stages,
    job_id, cycle, attempt, retries, losses, epoch, nonce, executor_id, held, hold_next,
    start_next, due_at, next_run, fire_at, explicit, anchor, scheduled_at, queued_at,
    queue_deadline, queue_left, exec_deadline, exec_used, stage_started_at, wait_deadline,
    run_queued_at, run_started_at, status_change, result_bytes, exit_code, error, rev, version,
    gate, awaited

-- fragment: task_arrays
$1::text::text[], $2::text::text[], $3::text::int[], $4::text::text[], $5::text::text[],
    $6::text::bool[], $7::text::int[], $8::text::bool[], $9::text::int[], $10::text::int[],
    $11::text::text[], $12::text::int[], $13::text::int[], $14::text::int[], $15::text::int[],
    $16::text::int[], $17::text::text[], $18::text::text[], $19::text::text[], $20::text::bool[],
    $21::text::bool[], $22::text::float8[], $23::text::float8[], $24::text::float8[],
    $25::text::bool[], $26::text::float8[], $27::text::float8[], $28::text::float8[],
    $29::text::float8[], $30::text::float8[], $31::text::float8[], $32::text::float8[],
    $33::text::float8[], $34::text::float8[], $35::text::float8[], $36::text::float8[],
    $37::text::float8[], $38::text::bigint[], $39::text::int[], $40::text::text[],
    $41::text::bigint[], $42::text::int[], $43::text::text[], $44::text::bool[]

-- fragment: hot_names
id, status, status_reason, ready, run_open, stage, attempt, epoch, nonce, executor_id,
    due_at, next_run, exec_deadline, exec_used, stage_started_at, run_started_at, status_change,
    result_bytes, exit_code, version

-- fragment: hot_arrays
$1::text::text[], $2::text::text[], $3::text::text[], $4::text::int[], $5::text::bool[],
    $6::text::int[], $7::text::int[], $8::text::int[], $9::text::text[], $10::text::text[],
    $11::text::float8[], $12::text::float8[], $13::text::float8[], $14::text::float8[],
    $15::text::float8[], $16::text::float8[], $17::text::float8[], $18::text::bigint[],
    $19::text::int[], $20::text::int[]

-- fragment: hot_changes
status = v.status, status_reason = v.status_reason, ready = v.ready, run_open = v.run_open,
    stage = v.stage, attempt = v.attempt, epoch = v.epoch, nonce = v.nonce,
    executor_id = v.executor_id, due_at = v.due_at, next_run = v.next_run,
    exec_deadline = v.exec_deadline, exec_used = v.exec_used,
    stage_started_at = v.stage_started_at, run_started_at = v.run_started_at,
    status_change = v.status_change, result_bytes = v.result_bytes, exit_code = v.exit_code,
    version = v.version

-- fragment: definition_names
task_id, rev, body, created, cron, every_seconds, next_task, system, notify, group_name,
    group_id, user_id, parent_id, description

-- fragment: stage_names
job_id, cycle, stage, failed_attempt, task_id, attempt, method, name, executor_id, queued_at,
    started_at, ended_at, outcome, rescued, result, error

-- fragment: run_names
run_id, task_id, job_id, status, scheduled_at, queued_at, started_at, ended_at, exit_code,
    error, retries, stage, stages, executor_id, note

-- fragment: executor_columns
e.id, e.session, e.status, e.app_names, e.commands, e.capacity, e.host, e.pid, e.version,
e.manager_id, e.connected_at, e.last_ping, e.lease_until

-- fragment: notification_columns
n.id, n.message, n.kws, n.created, n.enabled, n.user_id, n.task_id, n.job_id, n.status, n.result,
n.exit_code, n.error

-- fragment: stage_columns
s.job_id, s.stage, s.cycle, s.attempt, s.method, s.name, s.executor_id, s.queued_at, s.started_at,
s.ended_at, s.outcome, s.rescued, s.result, s.error

-- fragment: task_changes
app_name = v.app_name, priority = v.priority, status = v.status,
    status_reason = v.status_reason, enabled = v.enabled, ready = v.ready, run_open = v.run_open,
    stage = v.stage, stages = v.stages, job_id = v.job_id, cycle = v.cycle, attempt = v.attempt,
    retries = v.retries, losses = v.losses, epoch = v.epoch, nonce = v.nonce,
    executor_id = v.executor_id, held = v.held, hold_next = v.hold_next,
    start_next = v.start_next, due_at = v.due_at, next_run = v.next_run, fire_at = v.fire_at,
    explicit = v.explicit, anchor = v.anchor, scheduled_at = v.scheduled_at,
    queued_at = v.queued_at, queue_deadline = v.queue_deadline, queue_left = v.queue_left,
    exec_deadline = v.exec_deadline, exec_used = v.exec_used,
    stage_started_at = v.stage_started_at, wait_deadline = v.wait_deadline,
    run_queued_at = v.run_queued_at, run_started_at = v.run_started_at,
    status_change = v.status_change, result_bytes = v.result_bytes, exit_code = v.exit_code,
    error = v.error, rev = v.rev, version = v.version, gate = v.gate, awaited = v.awaited

-- name: now
-- Read the database's clock.
SELECT {clock}

-- name: lock
-- Lock tasks in the order of their ids.
WITH locked AS MATERIALIZED (
    SELECT {task_columns} FROM tasks t WHERE t.id = ANY ($1::text[]) ORDER BY t.id FOR UPDATE)
SELECT {task_columns}, {clock} FROM locked t ORDER BY t.id

-- name: lock_due
-- Lock due tasks.
WITH locked AS MATERIALIZED (
    SELECT {task_columns} FROM tasks t WHERE t.due_at <= {statement_clock}
    ORDER BY t.due_at LIMIT $1::int FOR UPDATE SKIP LOCKED)
SELECT {task_columns}, {clock} FROM locked t ORDER BY t.due_at

-- name: lock_ready
-- Lock the first ready tasks of a stream, if the executor's session may acquire tasks. If not,
-- there is no row. Without ready tasks, there is one row without an id.
WITH me AS MATERIALIZED (
    SELECT e.id FROM executors e WHERE e.id = $3::text AND e.session = $4::text
        AND e.status = 'ACTIVE' FOR KEY SHARE),
locked AS MATERIALIZED (
    SELECT {task_columns} FROM tasks t
    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 1
    ORDER BY t.priority DESC, t.queued_at, t.id LIMIT $2::int FOR UPDATE OF t SKIP LOCKED)
SELECT {task_columns}, {pauses_revision}, {clock} FROM me LEFT JOIN locked t ON true
ORDER BY t.priority DESC, t.queued_at, t.id

-- name: lock_suspect
-- Lock the first suspect tasks of a stream, in the same way as lock_ready.
WITH me AS MATERIALIZED (
    SELECT e.id FROM executors e WHERE e.id = $3::text AND e.session = $4::text
        AND e.status = 'ACTIVE' FOR KEY SHARE),
locked AS MATERIALIZED (
    SELECT {task_columns} FROM tasks t
    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 2
    ORDER BY t.priority DESC, t.queued_at, t.id LIMIT $2::int FOR UPDATE OF t SKIP LOCKED)
SELECT {task_columns}, {pauses_revision}, {clock} FROM me LEFT JOIN locked t ON true
ORDER BY t.priority DESC, t.queued_at, t.id

-- name: lock_gated
-- Lock the first tasks of each stream at some gates, up to a number for each gate. `visible` counts
-- them including tasks that other transactions have locked.
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::int[]) AS w (gate, most)),
streams (gate, most, app_name) AS (
    SELECT w.gate, w.most, (SELECT min(t.app_name) FROM tasks t WHERE t.gate = w.gate)
    FROM wanted w
    UNION ALL
    SELECT s.gate, s.most, (SELECT min(t.app_name) FROM tasks t
        WHERE t.gate = s.gate AND t.app_name > s.app_name)
    FROM streams s WHERE s.app_name IS NOT NULL)
SELECT {task_columns}, s.gate AS of_gate, seen.visible, {clock}
FROM (SELECT * FROM streams WHERE app_name IS NOT NULL) AS s
CROSS JOIN LATERAL (SELECT count(*)::int AS visible FROM (
    SELECT FROM tasks t WHERE t.gate = s.gate AND t.app_name = s.app_name
    LIMIT s.most) AS few) AS seen
LEFT JOIN LATERAL (
    SELECT {task_columns} FROM tasks t WHERE t.gate = s.gate AND t.app_name = s.app_name
    ORDER BY t.priority DESC, t.queued_at, t.id LIMIT s.most FOR UPDATE SKIP LOCKED) AS t ON true

-- name: lock_slots
-- Lock the slots of keys, in the order of the keys. New keys have no used slots.
INSERT INTO slots AS s (key, used, unsettled)
SELECT k, 0, false FROM unnest($1::text[]) AS k ORDER BY k
ON CONFLICT (key) DO UPDATE SET used = s.used RETURNING key, used

-- name: slot_used
-- Count the used slots of a key.
SELECT used FROM slots WHERE key = $1::text

-- name: save_slots
-- Update the used slots of keys.
UPDATE slots AS s SET used = v.used, unsettled = v.unsettled
FROM unnest($1::text[], $2::int[], $3::bool[]) AS v (key, used, unsettled) WHERE s.key = v.key

-- name: unsettled_slots
-- Read keys of which a waiting task may have been passed over.
SELECT key FROM slots WHERE unsettled ORDER BY key LIMIT $1::int

-- name: forget_slots
-- Delete unused keys.
DELETE FROM slots WHERE key = ANY (ARRAY(
    SELECT key FROM slots WHERE used = 0 AND NOT unsettled FOR UPDATE SKIP LOCKED))

-- name: claim
-- Claim the unique keys that are free, in their order.
INSERT INTO claims (key, task_id)
SELECT * FROM unnest($1::text[], $2::text[]) AS v (key, task_id) ORDER BY key
ON CONFLICT (key) DO NOTHING RETURNING key

-- name: claimants
-- Read the holders of unique keys.
SELECT key, task_id FROM claims WHERE key = ANY ($1::text[])

-- name: unclaim
-- Release the unique keys of tasks.
DELETE FROM claims WHERE task_id = ANY ($1::text[])

-- name: put_children
-- Record tasks that stages wait for.
INSERT INTO children (parent_job, stage, position, cycle, parent_id, child_id, made, status,
    exit_code, error, job_id, job_cycle, stages)
SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::int[], $5::text[], $6::text[],
    $7::bool[], $8::text[], $9::int[], $10::text[], $11::text[], $12::int[], $13::int[])

-- name: drop_children
-- Delete records of tasks that a stage waits for.
DELETE FROM children WHERE parent_job = $1::text AND stage = $2::int
    AND position = ANY ($3::int[])

-- name: children
-- Read the tasks that a stage waits for.
SELECT position, cycle, child_id, made, status, exit_code, error, job_id, job_cycle, stages
FROM children WHERE parent_job = $1::text AND stage = $2::int ORDER BY position

-- name: children_summary
-- Read whether some of the tasks that stages wait for are left, have finished or have failed.
SELECT k.parent_job, k.stage,
    EXISTS (SELECT FROM children c WHERE c.parent_job = k.parent_job AND c.stage = k.stage
        AND c.status IS NULL),
    EXISTS (SELECT FROM children c WHERE c.parent_job = k.parent_job AND c.stage = k.stage
        AND c.status = 'FINISHED'),
    EXISTS (SELECT FROM children c WHERE c.parent_job = k.parent_job AND c.stage = k.stage
        AND c.status = 'FAILED')
FROM unnest($1::text[], $2::int[]) AS k (parent_job, stage)

-- name: waits_of
-- Read the tasks for which tasks wait now.
SELECT DISTINCT c.child_id FROM tasks t JOIN children c
    ON c.parent_job = t.job_id AND c.stage = t.stage
WHERE t.id = ANY ($1::text[]) AND t.status IN ('WAITING', 'SUSPENDED') AND c.status IS NULL

-- name: note_run_ends
-- Record the ends of runs for the stages that wait for them, and add signals for their tasks.
WITH noted AS (
    UPDATE children c SET status = v.status, exit_code = v.exit_code, error = v.error,
        job_id = v.job_id, job_cycle = v.job_cycle, stages = v.stages
    FROM unnest($1::text::text[], $2::text::text[], $3::text::int[], $4::text::text[],
        $5::text::text[], $6::text::int[], $7::text::int[])
        AS v (child_id, status, exit_code, error, job_id, job_cycle, stages)
    WHERE c.child_id = v.child_id AND c.status IS NULL RETURNING c.parent_id)
INSERT INTO signals (task_id) SELECT DISTINCT parent_id FROM noted

-- name: add_signals
-- Add signals for tasks.
INSERT INTO signals (task_id) SELECT * FROM unnest($1::text[])

-- name: take_signals
-- Remove the next signals and return the ids of their tasks.
DELETE FROM signals WHERE seq = ANY (ARRAY(
    SELECT seq FROM signals ORDER BY seq LIMIT $1::int FOR UPDATE SKIP LOCKED))
RETURNING task_id

-- name: result_sizes
-- Read the sizes of the results of runs, in bytes.
SELECT k.job_id, (SELECT coalesce(sum(octet_length(s.result) + 1), 0)::bigint FROM stages s
    WHERE s.job_id = k.job_id AND s.cycle = k.cycle AND s.failed_attempt = 0)
FROM unnest($1::text[], $2::int[]) AS k (job_id, cycle)

-- name: pauses
-- Read all pauses and their revision.
SELECT (SELECT value FROM revisions WHERE name = 'pauses'),
    ARRAY(SELECT body FROM pauses ORDER BY id)

-- name: put_pause
-- Insert a pause.
WITH risen AS (UPDATE revisions SET value = value + 1 WHERE name = 'pauses')
INSERT INTO pauses (id, body) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING RETURNING id

-- name: delete_pause
-- Delete a pause.
WITH risen AS (UPDATE revisions SET value = value + 1 WHERE name = 'pauses')
DELETE FROM pauses WHERE id = $1::text RETURNING id

-- name: lock_leased
-- Lock the tasks that an executor holds.
WITH locked AS MATERIALIZED (
    SELECT {task_columns} FROM tasks t WHERE t.executor_id = $1::text ORDER BY t.id FOR UPDATE)
SELECT {task_columns}, {clock} FROM locked t ORDER BY t.id

-- name: definitions
-- Read the definitions of tasks.
SELECT task_id, rev, body FROM definitions WHERE task_id = ANY ($1::text[])

-- name: results
-- Read the results of stages.
SELECT k.job_id, k.stage, found.result
FROM unnest($1::text[], $2::int[], $3::int[]) AS k (job_id, cycle, stage)
CROSS JOIN LATERAL (
    SELECT s.result FROM stages s WHERE s.job_id = k.job_id AND s.cycle = k.cycle
        AND s.stage = k.stage AND s.failed_attempt = 0 LIMIT 1) AS found

-- name: run_results
-- Read the results of runs, each in one cycle.
SELECT k.job_id, found.stage, found.result
FROM unnest($1::text[], $2::int[]) AS k (job_id, cycle)
CROSS JOIN LATERAL (
    SELECT s.stage, s.result FROM stages s WHERE s.job_id = k.job_id AND s.cycle = k.cycle
        AND s.failed_attempt = 0 OFFSET 0) AS found

-- name: inboxes
-- Read the messages of tasks, in order of arrival.
SELECT task_id, message_id, name, data, consumed FROM inbox
WHERE task_id = ANY ($1::text[]) ORDER BY seq

-- name: insert
-- Insert tasks and their definitions unless their ids are taken, and return the inserted ids.
WITH added AS (
    INSERT INTO tasks (
    {task_names})
    SELECT * FROM unnest(
    {task_arrays})
    ON CONFLICT (id) DO NOTHING RETURNING id),
defined AS (
    INSERT INTO definitions (
    {definition_names})
    SELECT d.* FROM unnest(
    $45::text::text[], $46::text::bigint[], $47::text::text[], $48::text::text[],
    $49::text::text[], $50::text::float8[], $51::text::text[], $52::text::bool[],
    $53::text::bool[], $54::text::text[], $55::text::text[], $56::text::text[],
    $57::text::text[], $58::text::text[]) AS d (
    {definition_names})
    WHERE d.task_id IN (SELECT id FROM added))
SELECT id FROM added

-- name: save
-- Update tasks.
UPDATE tasks AS t SET
    {task_changes}
FROM unnest(
    {task_arrays}) AS v (
    {task_names})
WHERE t.id = v.id

-- name: save_history
-- Update tasks, and insert ended attempts and ended runs.
WITH appended_stages AS (
    INSERT INTO stages (
    {stage_names})
    SELECT * FROM unnest(
    $45::text::text[], $46::text::int[], $47::text::int[], $48::text::int[], $49::text::text[],
    $50::text::int[], $51::text::text[], $52::text::text[], $53::text::text[],
    $54::text::float8[], $55::text::float8[], $56::text::float8[], $57::text::text[],
    $58::text::bool[], $59::text::text[], $60::text::text[])),
appended_runs AS (
    INSERT INTO runs (
    {run_names})
    SELECT * FROM unnest(
    $61::text::text[], $62::text::text[], $63::text::text[], $64::text::text[],
    $65::text::float8[], $66::text::float8[], $67::text::float8[], $68::text::float8[],
    $69::text::int[], $70::text::text[], $71::text::int[], $72::text::int[], $73::text::int[],
    $74::text::text[], $75::text::text[]))
UPDATE tasks AS t SET
    {task_changes}
FROM unnest(
    {task_arrays}) AS v (
    {task_names})
WHERE t.id = v.id

-- name: save_hot
-- Update only those columns of tasks that acquisitions and reports change.
UPDATE tasks AS t SET
    {hot_changes}
FROM unnest(
    {hot_arrays}) AS v (
    {hot_names})
WHERE t.id = v.id

-- name: save_hot_history
-- Like save_hot, and insert ended attempts and ended runs.
WITH appended_stages AS (
    INSERT INTO stages (
    {stage_names})
    SELECT * FROM unnest(
    $21::text::text[], $22::text::int[], $23::text::int[], $24::text::int[], $25::text::text[],
    $26::text::int[], $27::text::text[], $28::text::text[], $29::text::text[],
    $30::text::float8[], $31::text::float8[], $32::text::float8[], $33::text::text[],
    $34::text::bool[], $35::text::text[], $36::text::text[])),
appended_runs AS (
    INSERT INTO runs (
    {run_names})
    SELECT * FROM unnest(
    $37::text::text[], $38::text::text[], $39::text::text[], $40::text::text[],
    $41::text::float8[], $42::text::float8[], $43::text::float8[], $44::text::float8[],
    $45::text::int[], $46::text::text[], $47::text::int[], $48::text::int[], $49::text::int[],
    $50::text::text[], $51::text::text[]))
UPDATE tasks AS t SET
    {hot_changes}
FROM unnest(
    {hot_arrays}) AS v (
    {hot_names})
WHERE t.id = v.id

-- name: append_stages
-- Insert ended attempts.
INSERT INTO stages (
    {stage_names})
SELECT * FROM unnest(
    $1::text::text[], $2::text::int[], $3::text::int[], $4::text::int[], $5::text::text[],
    $6::text::int[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::float8[],
    $11::text::float8[], $12::text::float8[], $13::text::text[], $14::text::bool[],
    $15::text::text[], $16::text::text[])

-- name: append_runs
-- Insert ended runs and missed fires.
INSERT INTO runs (
    {run_names})
SELECT * FROM unnest(
    $1::text::text[], $2::text::text[], $3::text::text[], $4::text::text[], $5::text::float8[],
    $6::text::float8[], $7::text::float8[], $8::text::float8[], $9::text::int[],
    $10::text::text[], $11::text::int[], $12::text::int[], $13::text::int[], $14::text::text[],
    $15::text::text[])

-- name: save_definitions
-- Update definitions.
INSERT INTO definitions (
    {definition_names})
SELECT * FROM unnest(
    $1::text::text[], $2::text::bigint[], $3::text::text[], $4::text::text[], $5::text::text[],
    $6::text::float8[], $7::text::text[], $8::text::bool[], $9::text::bool[], $10::text::text[],
    $11::text::text[], $12::text::text[], $13::text::text[], $14::text::text[])
ON CONFLICT (task_id) DO UPDATE SET
    rev = excluded.rev, body = excluded.body, created = excluded.created, cron = excluded.cron,
    every_seconds = excluded.every_seconds, next_task = excluded.next_task,
    system = excluded.system, notify = excluded.notify, group_name = excluded.group_name,
    group_id = excluded.group_id, user_id = excluded.user_id, parent_id = excluded.parent_id,
    description = excluded.description

-- name: copy_results
-- Copy the results of the first stages of an earlier run to a new run.
INSERT INTO stages (
    {stage_names}, copied)
SELECT $3::text, 0, stage, 0, task_id, attempt, method, name, executor_id, queued_at, started_at,
    ended_at, outcome, rescued, result, error, true
FROM stages
WHERE job_id = $1::text AND cycle = $2::int AND stage < $4::int AND failed_attempt = 0

-- name: clear_inboxes
-- Delete the messages of tasks.
DELETE FROM inbox WHERE task_id = ANY ($1::text[])

-- name: replay_inboxes
-- Make the messages of tasks available again.
UPDATE inbox SET consumed = false WHERE task_id = ANY ($1::text[])

-- name: add_messages
-- Insert messages.
INSERT INTO inbox (task_id, message_id, name, data, consumed)
SELECT * FROM unnest($1::text::text[], $2::text::text[], $3::text::text[], $4::text::text[],
    $5::text::bool[])

-- name: consume_messages
-- Mark messages as consumed by hooks.
UPDATE inbox i SET consumed = true FROM unnest($1::text[], $2::text[]) AS v (task_id, message_id)
WHERE i.task_id = v.task_id AND i.message_id = v.message_id

-- name: add_notifications
-- Insert notifications of ended runs.
INSERT INTO notifications (
    id, message, kws, created, enabled, user_id, task_id, job_id, status, result, exit_code,
    error)
SELECT * FROM unnest(
    $1::text::text[], $2::text::text[], $3::text::text[], $4::text::text[], $5::text::bool[],
    $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::text[],
    $11::text::int[], $12::text::text[])
ON CONFLICT (id) DO NOTHING

-- name: delete
-- Delete tasks and all their data.
WITH jobs AS MATERIALIZED (
    SELECT job_id FROM runs WHERE task_id = ANY ($1::text[]) AND job_id IS NOT NULL
    UNION
    SELECT job_id FROM tasks WHERE id = ANY ($1::text[]) AND job_id IS NOT NULL),
deleted_stages AS (DELETE FROM stages WHERE job_id = ANY (ARRAY(SELECT job_id FROM jobs))),
deleted_copies AS (DELETE FROM stages WHERE task_id = ANY ($1::text[]) AND copied
    AND job_id <> ALL (ARRAY(SELECT job_id FROM jobs))),
deleted_runs AS (DELETE FROM runs WHERE task_id = ANY ($1::text[])),
deleted_inbox AS (DELETE FROM inbox WHERE task_id = ANY ($1::text[])),
deleted_claims AS (DELETE FROM claims WHERE task_id = ANY ($1::text[])),
deleted_children AS (DELETE FROM children WHERE parent_id = ANY ($1::text[])),
deleted_definitions AS (DELETE FROM definitions WHERE task_id = ANY ($1::text[]))
DELETE FROM tasks WHERE id = ANY ($1::text[])

-- name: lock_ended
-- Lock tasks that ended before a time and may be deleted.
WITH ended AS MATERIALIZED (
    SELECT r.task_id, r.job_id FROM runs r CROSS JOIN LATERAL (
        SELECT FROM tasks t JOIN definitions d ON d.task_id = t.id
        WHERE t.id = r.task_id AND t.job_id = r.job_id AND t.status IN ('FINISHED', 'FAILED')
            AND NOT d.system AND d.cron IS NULL AND d.every_seconds IS NULL OFFSET 0) AS old
    WHERE r.ended_at < $1::float8 ORDER BY r.ended_at LIMIT $2::int)
SELECT t.id FROM ended JOIN tasks t ON t.id = ended.task_id AND t.job_id = ended.job_id
WHERE t.status IN ('FINISHED', 'FAILED') FOR UPDATE OF t SKIP LOCKED

-- name: prune_runs
-- Delete runs that ended before a time, and their stages, except the last run of each task.
WITH old AS MATERIALIZED (
    SELECT r.run_id, r.job_id FROM runs r LEFT JOIN tasks t ON t.id = r.task_id
    WHERE r.ended_at < $1::float8
        AND (r.job_id IS NULL OR t.job_id IS NULL OR t.job_id <> r.job_id)
    ORDER BY r.ended_at LIMIT $2::int),
deleted_stages AS (DELETE FROM stages WHERE job_id = ANY (
    ARRAY(SELECT job_id FROM old WHERE job_id IS NOT NULL))),
deleted_children AS (DELETE FROM children WHERE parent_job = ANY (
    ARRAY(SELECT job_id FROM old WHERE job_id IS NOT NULL)))
DELETE FROM runs WHERE run_id = ANY (ARRAY(SELECT run_id FROM old))

-- name: prune_notifications
-- Delete notifications older than a time.
DELETE FROM notifications WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE created < $1::text LIMIT $2::int))

-- name: add_audit
-- Insert audit records, or complete existing ones.
INSERT INTO audit (id, at, user_id, remote, action, target, data)
SELECT * FROM unnest(
    $1::text::text[], $2::text::float8[], $3::text::text[], $4::text::text[], $5::text::text[],
    $6::text::text[], $7::text::text[])
ON CONFLICT (id) DO UPDATE SET data = excluded.data

-- name: prune_audit
-- Delete audit records older than a time.
DELETE FROM audit WHERE id = ANY (ARRAY(SELECT id FROM audit WHERE at < $1::float8 LIMIT $2::int))

-- name: lock_executor
-- Lock an executor.
SELECT {executor_columns}, {clock} FROM executors e WHERE e.id = $1::text FOR UPDATE

-- name: put_executor
-- Insert or update an executor.
INSERT INTO executors (
    id, session, status, app_names, commands, capacity, host, pid, version, manager_id,
    connected_at, last_ping, lease_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (id) DO UPDATE SET
    session = excluded.session, status = excluded.status, app_names = excluded.app_names,
    commands = excluded.commands, capacity = excluded.capacity, host = excluded.host,
    pid = excluded.pid, version = excluded.version, manager_id = excluded.manager_id,
    connected_at = excluded.connected_at, last_ping = excluded.last_ping,
    lease_until = excluded.lease_until

-- name: lock_expired
-- Lock executors whose lease has ended and that are not LOST yet.
WITH locked AS MATERIALIZED (
    SELECT {executor_columns} FROM executors e
    WHERE e.status IN ('ACTIVE', 'DRAINING', 'SUSPENDED') AND e.lease_until <= {statement_clock}
    ORDER BY e.lease_until LIMIT $1::int FOR UPDATE SKIP LOCKED)
SELECT {executor_columns}, {clock} FROM locked e ORDER BY e.lease_until

-- name: ping
-- Renew leases, in the order of the ids.
WITH live AS MATERIALIZED (
    SELECT e.id, p.capacity
    FROM unnest($1::text[], $2::text[], $3::int[]) AS p (id, session, capacity)
    JOIN executors e ON e.id = p.id AND e.session = p.session
    WHERE e.status NOT IN ('LOST', 'GONE') ORDER BY e.id FOR NO KEY UPDATE OF e)
UPDATE executors e SET last_ping = {clock}, lease_until = {clock} + $4::float8,
    capacity = live.capacity
FROM live WHERE e.id = live.id RETURNING e.id, e.status

-- name: shorten_lease
-- End a lease earlier.
UPDATE executors SET lease_until = least(lease_until, {clock} + $3::float8)
WHERE id = $1::text AND session = $2::text

-- name: executors
-- Read all executors, or those of an array, with the number of tasks that they hold.
SELECT {executor_columns}, coalesce(held.running, 0) AS running FROM executors e
LEFT JOIN (SELECT t.executor_id, count(*)::int AS running FROM tasks t
    WHERE t.executor_id IS NOT NULL GROUP BY t.executor_id) AS held ON held.executor_id = e.id
WHERE $1::text[] IS NULL OR e.id = ANY ($1::text[]) ORDER BY e.id

-- name: forget_executors
-- Delete executors that left long ago.
DELETE FROM executors WHERE status IN ('LOST', 'GONE') AND lease_until < $1::float8

-- name: manager_seen
-- Record that a manager is up, and read since when managers have been up without interruption.
WITH moment AS MATERIALIZED (SELECT {clock} AS now)
INSERT INTO managers (id, up_since, seen_at)
SELECT $1::text, least(moment.now,
    (SELECT min(m.up_since) FROM managers m WHERE m.seen_at >= moment.now - $2::float8)), moment.now
FROM moment
ON CONFLICT (id) DO UPDATE SET up_since = excluded.up_since, seen_at = excluded.seen_at
RETURNING up_since

-- name: manager_gone
-- Delete a manager.
DELETE FROM managers WHERE id = $1::text

-- name: work_summary
-- Read the work summary: clock, next due time, ready streams, suspect streams, next expiry, gates
-- of pauses that hold tasks, whether slots are unsettled, whether there are signals.
WITH RECURSIVE
gates (gate) AS (
    SELECT min(t.gate) FROM tasks t WHERE t.gate >= 'p:' AND t.gate < 'p;'
    UNION ALL
    SELECT (SELECT min(t.gate) FROM tasks t WHERE t.gate > gates.gate AND t.gate < 'p;')
    FROM gates WHERE gates.gate IS NOT NULL),
ready (app_name) AS (
    SELECT min(t.app_name) FROM tasks t WHERE t.ready = 1
    UNION ALL
    SELECT (SELECT min(t.app_name) FROM tasks t WHERE t.ready = 1 AND t.app_name > ready.app_name)
    FROM ready WHERE ready.app_name IS NOT NULL),
suspect (app_name) AS (
    SELECT min(t.app_name) FROM tasks t WHERE t.ready = 2
    UNION ALL
    SELECT (SELECT min(t.app_name) FROM tasks t WHERE t.ready = 2 AND t.app_name > suspect.app_name)
    FROM suspect WHERE suspect.app_name IS NOT NULL)
SELECT {clock}, (SELECT min(due_at) FROM tasks WHERE due_at IS NOT NULL),
    ARRAY(SELECT app_name FROM ready WHERE app_name IS NOT NULL),
    ARRAY(SELECT app_name FROM suspect WHERE app_name IS NOT NULL),
    (SELECT min(lease_until) FROM executors WHERE status IN ('ACTIVE', 'DRAINING', 'SUSPENDED')),
    ARRAY(SELECT gate FROM gates WHERE gate IS NOT NULL),
    EXISTS (SELECT FROM slots WHERE unsettled), EXISTS (SELECT FROM signals)

-- name: tasks
-- Read tasks and their definitions.
SELECT {task_columns}, d.rev, d.body FROM tasks t JOIN definitions d ON d.task_id = t.id
WHERE t.id = ANY ($1::text[])

-- name: runs
-- Read the runs of a task, newest first.
SELECT task_id, job_id, status, scheduled_at, queued_at, started_at, ended_at, exit_code, error,
    retries, stage, stages, executor_id, note
FROM runs WHERE task_id = $1::text
ORDER BY ended_at DESC, scheduled_at DESC NULLS LAST, run_id DESC LIMIT $2::int

-- name: stage_records
-- Read the ended attempts of a run.
SELECT {stage_columns} FROM stages s WHERE s.job_id = $1::text
ORDER BY s.cycle, s.stage, s.attempt

-- name: ahead
-- Count the ready tasks before a ready task, up to a limit.
SELECT count(*) FROM (SELECT FROM tasks t WHERE t.app_name = $1::text AND t.ready = 1
    AND (t.priority > $2::int OR (t.priority = $2::int
        AND (t.queued_at < $3::float8 OR (t.queued_at = $3::float8 AND t.id < $4::text))))
    LIMIT $5::int) AS before

-- name: ahead_at_gate
-- Count the tasks of the same stream before a task at its gate, up to a limit.
SELECT count(*) FROM (SELECT FROM tasks t WHERE t.gate = $6::text AND t.app_name = $1::text
    AND (t.priority > $2::int OR (t.priority = $2::int
        AND (t.queued_at < $3::float8 OR (t.queued_at = $3::float8 AND t.id < $4::text))))
    LIMIT $5::int) AS before

-- name: status_counts
-- Count tasks by stream and status.
SELECT app_name, status, count(*) FROM tasks GROUP BY app_name, status

-- name: set_notification
-- Show or hide a notification.
UPDATE notifications n SET enabled = $2::bool WHERE n.id = $1::text
RETURNING {notification_columns}

-- name: delete_notifications
-- Delete the notifications of an array.
DELETE FROM notifications WHERE id = ANY ($1::text[])

-- name: notify
-- Wake other managers.
SELECT pg_notify($1::text, $2::text)

-- name: notify_each
-- Send messages to other managers, in order.
SELECT pg_notify($1::text, payload) FROM unnest($2::text[]) AS payload
