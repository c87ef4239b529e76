-- Statements of the SQLite store. Conditions on partial indexes are literals, because the planner
-- would not use the index otherwise.

-- fragment: task_columns
t.id, t.app_name, t.priority, t.status, t.status_reason, t.enabled, t.ready, t.run_open, t.stage,
t.stages, t.job_id, t.cycle, t.attempt, t.retries, t.losses, t.epoch, t.nonce, t.executor_id,
t.held, t.hold_next, t.start_next, t.due_at, t.next_run, t.fire_at, t.explicit, t.anchor, t.scheduled_at,
t.queued_at, t.queue_deadline, t.queue_left, t.exec_deadline, t.exec_used, t.stage_started_at,
t.wait_deadline, t.run_queued_at, t.run_started_at, t.status_change, t.result_bytes, t.exit_code,
t.error, t.rev, t.version, t.gate, t.awaited, t.late_until, t.chain, t.stage_deadline,
t.reason_change, t.fruitless

-- fragment: executor_columns
e.id, e.session, e.status, e.app_names, e.commands, e.capacity, e.host, e.pid, e.version,
e.manager_id, e.connected_at, e.last_ping, e.lease_until, e.owner, e.instance, e.attempt

-- fragment: stage_columns
s.job_id, s.stage, s.cycle, s.attempt, s.method, s.name, s.executor_id, s.queued_at, s.started_at,
s.ended_at, s.outcome, s.rescued, s.result, s.error, s.version

-- fragment: principal_columns
p.id, p.kind, p.scope, p.created, p.created_by, p.disabled_at, p.quotas

-- fragment: token_columns
k.id, k.principal_id, k.scope, k.hash, k.note, k.created, k.created_by, k.expires_at,
k.revoked_at, k.successor

-- fragment: bulk_columns
b.id, b.method, b.user_id, b.state, b.started, b.ended, b.manager_id, b.epoch, b.cursor, b.body,
b.progress

-- name: lock
-- Read the tasks of a JSON list of ids.
SELECT {task_columns} FROM tasks t
WHERE t.id IN (SELECT value FROM json_each(?1)) ORDER BY t.id

-- name: lock_due
-- Read due tasks.
SELECT {task_columns} FROM tasks t WHERE t.due_at <= ?1 ORDER BY t.due_at LIMIT ?2

-- name: acquiring
-- Check whether an executor's session may acquire tasks.
SELECT 1 FROM executors WHERE id = ?1 AND session = ?2 AND status = 'ACTIVE'

-- name: lock_ready
-- Read the first ready tasks of a stream.
SELECT {task_columns} FROM tasks t WHERE t.app_name = ?1 AND t.ready = 1
ORDER BY t.priority DESC, t.queued_at, t.id LIMIT ?2

-- name: lock_suspect
-- Read the first suspect tasks of a stream.
SELECT {task_columns} FROM tasks t WHERE t.app_name = ?1 AND t.ready = 2
ORDER BY t.priority DESC, t.queued_at, t.id LIMIT ?2

-- name: gated_streams
-- Read the streams that have tasks at a gate.
WITH RECURSIVE streams (app_name) AS (
    SELECT min(t.app_name) FROM tasks t WHERE t.gate = ?1
    UNION ALL
    SELECT (SELECT min(t.app_name) FROM tasks t WHERE t.gate = ?1 AND t.app_name > s.app_name)
    FROM streams s WHERE s.app_name IS NOT NULL)
SELECT app_name FROM streams WHERE app_name IS NOT NULL

-- name: lock_gated
-- Read the first tasks of a stream at a gate.
SELECT {task_columns} FROM tasks t WHERE t.gate = ?1 AND t.app_name = ?2
ORDER BY t.priority DESC, t.queued_at, t.id LIMIT ?3

-- name: pauses_revision
-- Read the revision of the pauses.
SELECT value FROM revisions WHERE name = 'pauses'

-- name: pauses
-- Read all pauses.
SELECT id, body FROM pauses ORDER BY id

-- name: raise_pauses
-- Increase the revision of the pauses.
UPDATE revisions SET value = value + 1 WHERE name = 'pauses'

-- name: put_pause
-- Insert a pause.
INSERT INTO pauses (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING

-- name: delete_pause
-- Delete a pause.
DELETE FROM pauses WHERE id = ?1

-- name: lock_slots
-- Read the used slots of a JSON list of keys.
SELECT key, used FROM slots WHERE key IN (SELECT value FROM json_each(?1))

-- name: slot_used
-- Count the used slots of a key.
SELECT used FROM slots WHERE key = ?1

-- name: save_slot
-- Update the used slots of a key.
INSERT INTO slots (key, used, unsettled) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET used = excluded.used, unsettled = excluded.unsettled

-- name: used_slots
-- Read the keys with used slots.
SELECT key FROM slots WHERE used > 0 ORDER BY key

-- name: leased_ids
-- Read the ids of all tasks that executors hold.
SELECT id FROM tasks WHERE executor_id IS NOT NULL ORDER BY id

-- name: unsettled_slots
-- Read keys of which a waiting task may have been passed over.
SELECT key FROM slots WHERE unsettled ORDER BY key LIMIT ?1

-- name: forget_slots
-- Delete unused keys.
DELETE FROM slots WHERE used = 0 AND NOT unsettled

-- name: claim
-- Claim a unique key if it is free.
INSERT INTO claims (key, task_id) VALUES (?, ?) ON CONFLICT (key) DO NOTHING

-- name: claimants
-- Read the holders of a JSON list of unique keys.
SELECT key, task_id FROM claims WHERE key IN (SELECT value FROM json_each(?1))

-- name: unclaim
-- Release the unique keys of a JSON list of tasks.
DELETE FROM claims WHERE task_id IN (SELECT value FROM json_each(?1))

-- name: put_progress
-- Store the progress of a running stage, unless that of a later one is stored.
INSERT INTO progress (task_id, job_id, epoch, stage, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE SET job_id = excluded.job_id, epoch = excluded.epoch,
    stage = excluded.stage, body = excluded.body
WHERE progress.job_id <> excluded.job_id
    OR (excluded.epoch, excluded.stage) >= (progress.epoch, progress.stage)

-- name: delete_progress
-- Delete the progress that was stored under a lease.
DELETE FROM progress WHERE task_id = ?1 AND job_id = ?2 AND epoch = ?3

-- name: prune_progress
-- Delete the progress of stages that no longer run.
DELETE FROM progress WHERE task_id IN (
    SELECT p.task_id FROM progress p LEFT JOIN tasks t ON t.id = p.task_id
        AND t.job_id = p.job_id AND t.epoch = p.epoch AND t.executor_id IS NOT NULL
    WHERE t.id IS NULL LIMIT ?1)

-- name: write_log
-- Store consecutive lines of an attempt, if the executor holds the task or has just held it, and if
-- they come after the stored ones.
INSERT INTO logs (job_id, cycle, stage, attempt, n, last, task_id, start, upto, body)
SELECT ?2, ?3, ?4, ?5, ?8, ?9, t.id, coalesce(b.upto, 0), coalesce(b.upto, 0) + ?10, ?11
FROM tasks t LEFT JOIN logs b ON b.job_id = ?2 AND b.cycle = ?3 AND b.stage = ?4
    AND b.attempt = ?5 AND b.n = (
        SELECT max(n) FROM logs WHERE job_id = ?2 AND cycle = ?3 AND stage = ?4 AND attempt = ?5)
WHERE t.id = ?1 AND t.app_name IN (SELECT value FROM json_each(?13))
    AND ?8 > coalesce(b.last, 0)
    AND ((t.job_id = ?2 AND t.cycle = ?3 AND t.stage = ?4 AND t.attempt + 1 = ?5
            AND t.epoch = ?6 AND t.nonce = ?7 AND t.executor_id = ?12)
        OR EXISTS (SELECT 1 FROM stages s WHERE s.job_id = ?2 AND s.cycle = ?3 AND s.stage = ?4
            AND s.failed_attempt IN (0, ?5) AND s.attempt = ?5 AND s.task_id = ?1
            AND s.executor_id = ?12 AND s.ended_at > ?15 - ?14))
ON CONFLICT DO NOTHING
RETURNING upto, (SELECT status FROM tasks WHERE id = ?1), (SELECT stages FROM tasks WHERE id = ?1)

-- name: trim_log
-- Delete the middle of what an attempt has logged: of so many bytes, a half at each end is kept.
DELETE FROM logs WHERE job_id = ?1 AND cycle = ?2 AND stage = ?3 AND attempt = ?4
    AND upto > ?6 AND start < ?5 - ?6

-- name: prune_logs
-- Delete the lines of a JSON list of tasks that no longer exist, and of their runs.
DELETE FROM logs WHERE (job_id, task_id) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?1))
    AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = logs.task_id)

-- name: reach_logs
-- Read the run up to which the next runs with lines are looked at; null if there are none.
WITH RECURSIVE seen (job_id, place) AS (
    SELECT min(job_id), 1 FROM logs WHERE job_id > ?2
    UNION ALL
    SELECT (SELECT min(l.job_id) FROM logs l WHERE l.job_id > s.job_id), s.place + 1
    FROM seen s WHERE s.job_id IS NOT NULL AND s.place < ?1)
SELECT max(job_id) FROM seen

-- name: prune_lost_logs
-- Delete the lines of runs after one and up to another whose tasks no longer exist.
DELETE FROM logs WHERE job_id > ?1 AND job_id <= ?2
    AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = logs.task_id)

-- name: put_child
-- Record a task that a stage waits for.
INSERT INTO children (parent_job, stage, position, cycle, parent_id, child_id, made, status,
    exit_code, error, job_id, job_cycle, stages)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: drop_children
-- Delete the records of what a stage waits for at a JSON list of positions.
DELETE FROM children WHERE parent_job = ?1 AND stage = ?2
    AND position IN (SELECT value FROM json_each(?3))

-- name: children
-- Read the tasks that a stage waits for.
SELECT position, cycle, child_id, made, status, exit_code, error, job_id, job_cycle, stages
FROM children WHERE parent_job = ?1 AND stage = ?2 ORDER BY position

-- name: children_summary
-- Read whether some of the tasks that a stage waits for are left, have finished or have failed.
SELECT EXISTS (SELECT 1 FROM children WHERE parent_job = ?1 AND stage = ?2 AND status IS NULL),
    EXISTS (SELECT 1 FROM children WHERE parent_job = ?1 AND stage = ?2 AND status = 'FINISHED'),
    EXISTS (SELECT 1 FROM children WHERE parent_job = ?1 AND stage = ?2 AND status = 'FAILED')

-- name: waits_of
-- Read the tasks for which a JSON list of tasks waits now.
SELECT DISTINCT c.child_id FROM json_each(?1) j JOIN tasks t ON t.id = j.value
JOIN children c ON c.parent_job = t.job_id AND c.stage = t.stage AND c.status IS NULL
WHERE t.status IN ('WAITING', 'SUSPENDED')

-- name: signal_parents
-- Add signals for the tasks that wait for a task.
INSERT INTO signals (task_id)
SELECT DISTINCT parent_id FROM children WHERE child_id = ?1 AND status IS NULL

-- name: note_run_ends
-- Record the end of a run for the stages that wait for it.
UPDATE children SET status = ?2, exit_code = ?3, error = ?4, job_id = ?5, job_cycle = ?6,
    stages = ?7
WHERE child_id = ?1 AND status IS NULL

-- name: add_signal
-- Add a signal for a task.
INSERT INTO signals (task_id) VALUES (?)

-- name: take_signals
-- Remove the next signals and return the ids of their tasks.
DELETE FROM signals WHERE seq IN (SELECT seq FROM signals ORDER BY seq LIMIT ?1) RETURNING task_id

-- name: result_size
-- Read the size of the results of a run, in bytes.
SELECT coalesce(sum(length(CAST(result AS BLOB)) + 1), 0) FROM stages
WHERE job_id = ?1 AND cycle = ?2 AND failed_attempt = 0

-- name: lock_leased
-- Read the tasks that an executor holds.
SELECT {task_columns} FROM tasks t WHERE t.executor_id = ?1 ORDER BY t.id

-- name: definitions
-- Read the definitions of a JSON list of ids.
SELECT task_id, rev, body FROM definitions WHERE task_id IN (SELECT value FROM json_each(?1))

-- name: standings
-- Read what differs after each write of the tasks of a JSON list of ids.
SELECT id, version, rev, job_id, status_change FROM tasks
WHERE id IN (SELECT value FROM json_each(?1))

-- name: next_tasks
-- Read the tasks of a JSON list of ids, and all that follow them by next_task.
WITH RECURSIVE reached (task_id, next_task) AS (
    SELECT d.task_id, d.next_task FROM definitions d
    WHERE d.task_id IN (SELECT value FROM json_each(?1))
    UNION
    SELECT d.task_id, d.next_task FROM reached r JOIN definitions d ON d.task_id = r.next_task)
SELECT task_id, next_task FROM reached LIMIT ?2

-- name: family_sizes
-- Read the sizes of the families of a JSON list of root ids.
SELECT root_id, tasks FROM families WHERE root_id IN (SELECT value FROM json_each(?1))

-- name: grow_family
-- Add tasks to a family, and return its size.
INSERT INTO families (root_id, tasks, since) VALUES (?1, ?2, ?3)
ON CONFLICT (root_id) DO UPDATE SET tasks = tasks + excluded.tasks RETURNING tasks

-- name: result
-- Read the result of a stage.
SELECT result FROM stages WHERE job_id = ?1 AND cycle = ?2 AND stage = ?3 AND failed_attempt = 0

-- name: run_results
-- Read the results of a run.
SELECT stage, result FROM stages WHERE job_id = ?1 AND cycle = ?2 AND failed_attempt = 0

-- name: inboxes
-- Read the messages of a JSON list of ids, in order of arrival.
SELECT task_id, message_id, name, data, consumed, sender, at FROM inbox
WHERE task_id IN (SELECT value FROM json_each(?1)) ORDER BY seq

-- name: row_versions
-- Read the versions of the rows of a JSON list of ids.
SELECT id, rev, version FROM tasks WHERE id IN (SELECT value FROM json_each(?1))

-- name: existing
-- Read which of a JSON list of ids are taken.
SELECT id FROM tasks WHERE id IN (SELECT value FROM json_each(?1))

-- columns: hot
-- The columns of tasks that acquisitions and reports change.
id text, status text, status_reason text, ready integer, run_open integer, stage integer,
attempt integer, epoch integer, nonce text, executor_id text, due_at real, next_run real,
exec_deadline real, exec_used real, stage_started_at real, run_started_at real,
status_change real, result_bytes integer, exit_code integer, version integer, stage_deadline real

-- name: insert_task
-- Insert a task.
INSERT INTO tasks (id, app_name, priority, status, status_reason, enabled, ready, run_open, stage,
    stages, job_id, cycle, attempt, retries, losses, epoch, nonce, executor_id, held, hold_next,
    start_next, due_at, next_run, fire_at, explicit, anchor, scheduled_at, queued_at,
    queue_deadline, queue_left, exec_deadline, exec_used, stage_started_at, wait_deadline,
    run_queued_at, run_started_at, status_change, result_bytes, exit_code, error, rev, version,
    gate, awaited, late_until, chain, stage_deadline, reason_change,
    fruitless)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: save_task
-- Update a task.
UPDATE tasks SET app_name = ?2, priority = ?3, status = ?4, status_reason = ?5, enabled = ?6,
    ready = ?7, run_open = ?8, stage = ?9, stages = ?10, job_id = ?11, cycle = ?12, attempt = ?13,
    retries = ?14, losses = ?15, epoch = ?16, nonce = ?17, executor_id = ?18, held = ?19,
    hold_next = ?20, start_next = ?21, due_at = ?22, next_run = ?23, fire_at = ?24,
    explicit = ?25, anchor = ?26, scheduled_at = ?27, queued_at = ?28, queue_deadline = ?29,
    queue_left = ?30, exec_deadline = ?31, exec_used = ?32, stage_started_at = ?33,
    wait_deadline = ?34, run_queued_at = ?35, run_started_at = ?36, status_change = ?37,
    result_bytes = ?38, exit_code = ?39, error = ?40, rev = ?41, version = ?42, gate = ?43,
    awaited = ?44, late_until = ?45, chain = ?46, stage_deadline = ?47, reason_change = ?48,
    fruitless = ?49
WHERE id = ?1

-- name: save_hot
-- Like save_task, for the hot columns alone.
UPDATE tasks SET {hot.numbered} WHERE id = ?1

-- name: save_definition
-- Insert or update a definition.
INSERT INTO definitions (task_id, rev, body, created, cron, every_seconds, next_task, system,
    notify, group_name, group_id, user_id, parent_id, description, methods, labels)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE SET rev = excluded.rev, body = excluded.body,
    created = excluded.created, cron = excluded.cron, every_seconds = excluded.every_seconds,
    next_task = excluded.next_task, system = excluded.system, notify = excluded.notify,
    group_name = excluded.group_name, group_id = excluded.group_id, user_id = excluded.user_id,
    parent_id = excluded.parent_id, description = excluded.description,
    methods = excluded.methods, labels = excluded.labels

-- name: keep_version
-- Keep the definition of a task as a version, before it is replaced.
INSERT INTO versions (task_id, version, body, replaced_at)
SELECT task_id, ?2, body, ?3 FROM definitions WHERE task_id = ?1
ON CONFLICT (task_id, version) DO NOTHING

-- name: forget_versions
-- Delete the versions of a task up to one.
DELETE FROM versions WHERE task_id = ?1 AND version <= ?2

-- name: versions
-- Read the earlier versions of a task before one, newest first, up to a number and a size.
SELECT version, body FROM (
    SELECT v.*, sum(length(CAST(body AS BLOB))) OVER (ORDER BY version DESC) AS read_bytes
    FROM versions v WHERE task_id = ?1 AND version < ?2 ORDER BY version DESC LIMIT ?3) v
WHERE read_bytes <= ?4 OR read_bytes = length(CAST(body AS BLOB)) ORDER BY version DESC

-- name: reach_versions
-- Read the time up to which the next versions are looked at; null if there are none.
SELECT max(replaced_at) FROM (SELECT replaced_at FROM versions WHERE replaced_at < ?1 AND replaced_at > ?3
    ORDER BY replaced_at LIMIT ?2)

-- name: prune_versions
-- Delete versions that were replaced after a time and up to one, and that no run has used.
DELETE FROM versions WHERE (task_id, version) IN (
    SELECT v.task_id, v.version FROM versions v
    WHERE v.replaced_at > ?1 AND v.replaced_at <= ?2
        AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.task_id = v.task_id
            AND (r.version = v.version
                OR (r.queued_at <= v.replaced_at AND r.ended_at >= v.replaced_at)))
        AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = v.task_id AND t.run_open
            AND t.run_queued_at <= v.replaced_at))

-- name: append_stage
-- Insert an ended attempt.
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, name,
    executor_id, queued_at, started_at, ended_at, outcome, rescued, result, error, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: append_run
-- Insert an ended run or a missed fire.
INSERT INTO runs (run_id, task_id, job_id, status, scheduled_at, queued_at, started_at, ended_at,
    exit_code, error, retries, stage, stages, executor_id, note, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: copy_results
-- Copy the results of the first stages of an earlier run to a new run.
INSERT INTO stages (job_id, cycle, stage, failed_attempt, task_id, attempt, method, name,
    executor_id, queued_at, started_at, ended_at, outcome, rescued, result, error, version, copied)
SELECT ?3, 0, stage, 0, task_id, attempt, method, name,
    executor_id, queued_at, started_at, ended_at, outcome, rescued, result, error, version, 1
FROM stages WHERE job_id = ?1 AND cycle = ?2 AND stage < ?4 AND failed_attempt = 0

-- name: inbox
-- Read the messages of a task, in order of arrival, up to a size of all their data together.
SELECT message_id, name, data, consumed, sender, at FROM (
    SELECT i.*, sum(length(CAST(data AS BLOB))) OVER (ORDER BY seq) AS read_bytes FROM inbox i
    WHERE task_id = ?1) i
WHERE read_bytes <= ?2 OR read_bytes = length(CAST(data AS BLOB)) ORDER BY seq

-- name: received
-- Read whether an earlier run of a task has received a message.
SELECT task_id FROM received WHERE task_id = ?1 AND message_id = ?2

-- name: clear_inbox
-- Delete the messages of a task.
DELETE FROM inbox WHERE task_id = ?1

-- name: replay_inbox
-- Make the messages of a task available again.
UPDATE inbox SET consumed = 0 WHERE task_id = ?1

-- name: add_message
-- Insert a message.
INSERT INTO inbox (task_id, message_id, name, data, consumed, sender, at)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: remember_message
-- Keep the id of a message whose run has ended.
INSERT INTO received (task_id, message_id, job_id, cleared_at) VALUES (?, ?, ?, ?)
ON CONFLICT (task_id, message_id) DO NOTHING

-- name: consume_message
-- Mark a message as consumed by a hook.
UPDATE inbox SET consumed = 1 WHERE task_id = ?1 AND message_id = ?2

-- name: add_notification
-- Insert the notification of an ended run.
INSERT INTO notifications (id, message, kws, created, enabled, user_id, task_id, job_id, status,
    result, exit_code, error, labels)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING

-- name: delete_stages
-- Delete the history of a JSON list of tasks. Run it before their runs and rows are deleted.
DELETE FROM stages WHERE rowid IN (
    SELECT s.rowid FROM json_each(?1) j JOIN runs r ON r.task_id = j.value
        JOIN stages s ON s.job_id = r.job_id
    UNION ALL
    SELECT s.rowid FROM json_each(?1) j JOIN tasks t ON t.id = j.value
        JOIN stages s ON s.job_id = t.job_id
    UNION ALL
    SELECT s.rowid FROM json_each(?1) j JOIN stages s ON s.task_id = j.value AND s.copied)

-- name: delete_logs
-- Delete the log lines of a JSON list of tasks. Run it before their runs and rows are deleted.
DELETE FROM logs WHERE job_id IN (
    SELECT r.job_id FROM json_each(?1) j JOIN runs r ON r.task_id = j.value
    UNION ALL
    SELECT t.job_id FROM json_each(?1) j JOIN tasks t ON t.id = j.value)

-- name: delete_runs
-- Delete the runs of a JSON list of tasks.
DELETE FROM runs WHERE task_id IN (SELECT value FROM json_each(?1))

-- name: delete_received
-- Delete the ids of messages of a JSON list of tasks.
DELETE FROM received WHERE task_id IN (SELECT value FROM json_each(?1))

-- name: delete_versions
-- Delete the earlier versions of a JSON list of tasks.
DELETE FROM versions WHERE task_id IN (SELECT value FROM json_each(?1))

-- name: delete_inbox
-- Delete the messages of a JSON list of tasks.
DELETE FROM inbox WHERE task_id IN (SELECT value FROM json_each(?1))

-- name: delete_children
-- Delete the records of what a JSON list of tasks waits for.
DELETE FROM children WHERE parent_id IN (SELECT value FROM json_each(?1))

-- name: delete_definitions
-- Delete the definitions of a JSON list of tasks.
DELETE FROM definitions WHERE task_id IN (SELECT value FROM json_each(?1))

-- name: delete_tasks
-- Delete the rows of a JSON list of tasks.
DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(?1))

-- name: reach_runs
-- Read the time up to which the next runs are looked at; null if there are none.
SELECT max(ended_at) FROM (SELECT ended_at FROM runs WHERE ended_at < ?1 AND ended_at > ?3
    ORDER BY ended_at LIMIT ?2)

-- name: prunable_runs
-- Read runs that ended after a time and up to one, except the last run of each task.
SELECT r.run_id FROM runs r LEFT JOIN tasks t ON t.id = r.task_id
WHERE r.ended_at > ?1 AND r.ended_at <= ?2
    AND (r.job_id IS NULL OR t.job_id IS NULL OR t.job_id <> r.job_id)

-- name: prune_stages
-- Delete the stages of a JSON list of runs.
DELETE FROM stages WHERE job_id IN (
    SELECT r.job_id FROM json_each(?1) j JOIN runs r ON r.run_id = j.value
    WHERE r.job_id IS NOT NULL)

-- name: prune_run_logs
-- Delete the log lines of a JSON list of runs.
DELETE FROM logs WHERE job_id IN (
    SELECT r.job_id FROM json_each(?1) j JOIN runs r ON r.run_id = j.value
    WHERE r.job_id IS NOT NULL)

-- name: prune_children
-- Delete the records of what the stages of a JSON list of runs waited for.
DELETE FROM children WHERE parent_job IN (
    SELECT r.job_id FROM json_each(?1) j JOIN runs r ON r.run_id = j.value
    WHERE r.job_id IS NOT NULL)

-- name: prune_runs
-- Delete a JSON list of runs.
DELETE FROM runs WHERE run_id IN (SELECT value FROM json_each(?1))

-- name: reach_received
-- Read the time up to which the next ids of messages are looked at; null if there are none.
SELECT max(cleared_at) FROM (SELECT cleared_at FROM received WHERE cleared_at < ?1 AND cleared_at > ?3
    ORDER BY cleared_at LIMIT ?2)

-- name: prune_received
-- Delete the ids of messages of runs that ended after a time and up to one, except the last run of
-- each task.
DELETE FROM received WHERE rowid IN (
    SELECT m.rowid FROM received m LEFT JOIN tasks t ON t.id = m.task_id
    WHERE m.cleared_at > ?1 AND m.cleared_at <= ?2
        AND (m.job_id IS NULL OR t.job_id IS NULL OR t.job_id <> m.job_id))

-- name: prune_families
-- Delete the sizes of families that have been counted since before a time.
DELETE FROM families WHERE since < ?1

-- name: prune_pause
-- Delete a pause, unless it has changed.
DELETE FROM pauses WHERE id = ?1 AND body = ?2

-- name: prune_notifications
-- Delete notifications older than a time.
DELETE FROM notifications WHERE id IN (
    SELECT id FROM notifications WHERE created < ?1 LIMIT ?2)

-- name: add_audit
-- Insert audit records, or complete existing ones.
INSERT INTO audit (id, at, user_id, remote, action, target, data) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET data = excluded.data

-- name: prune_audit
-- Delete audit records older than a time.
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 LIMIT ?2)

-- name: lock_executor
-- Read an executor.
SELECT {executor_columns} FROM executors e WHERE e.id = ?1

-- name: put_executor
-- Insert or update an executor.
INSERT INTO executors (id, session, status, app_names, commands, capacity, host, pid, version,
    manager_id, connected_at, last_ping, lease_until, owner, instance, attempt)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET session = excluded.session, status = excluded.status,
    app_names = excluded.app_names, commands = excluded.commands, capacity = excluded.capacity,
    host = excluded.host, pid = excluded.pid, version = excluded.version,
    manager_id = excluded.manager_id, connected_at = excluded.connected_at,
    last_ping = excluded.last_ping, lease_until = excluded.lease_until, owner = excluded.owner,
    instance = excluded.instance, attempt = excluded.attempt

-- name: lock_expired
-- Read executors whose lease has ended and that are not LOST yet, all or those with a session of a
-- JSON list.
SELECT {executor_columns} FROM executors e
WHERE e.status IN ('ACTIVE', 'DRAINING', 'SUSPENDED') AND e.lease_until <= ?1
    AND (?3 IS NULL OR e.session IN (SELECT value FROM json_each(?3)))
ORDER BY e.lease_until LIMIT ?2

-- name: ping
-- Renew the lease of an executor. A renewal that comes late never shortens a newer one.
UPDATE executors SET last_ping = max(last_ping, ?3), lease_until = max(lease_until, ?4),
    capacity = ?5
WHERE id = ?1 AND session = ?2 AND status NOT IN ('LOST', 'GONE') RETURNING status

-- name: shorten_lease
-- End a lease earlier.
UPDATE executors SET lease_until = min(lease_until, ?3) WHERE id = ?1 AND session = ?2

-- name: executors
-- Read all executors, or those of a JSON list of ids, with the number of tasks that they hold.
SELECT {executor_columns}, (SELECT count(*) FROM tasks t WHERE t.executor_id = e.id) AS running
FROM executors e WHERE ?1 IS NULL OR e.id IN (SELECT value FROM json_each(?1)) ORDER BY e.id

-- name: holders
-- Read the sessions of a JSON list of executors, and the leases of the tasks that they hold.
SELECT e.id, e.session, e.status, t.id, t.job_id, t.epoch, t.nonce
FROM executors e LEFT JOIN tasks t ON t.executor_id = e.id
WHERE e.id IN (SELECT value FROM json_each(?1))

-- name: forget_executors
-- Delete executors that left long ago.
DELETE FROM executors WHERE status IN ('LOST', 'GONE') AND lease_until < ?1

-- name: manager_seen
-- Record that a manager is up, and read since when managers have been up without interruption, and
-- whether a bulk call goes on.
INSERT INTO managers (id, up_since, covered_since, seen_at)
VALUES (?1,
    min(?2, coalesce(
        (SELECT min(up_since) FROM managers WHERE seen_at >= ?2 - ?3 AND NOT stopped), ?2)),
    min(?2, coalesce((SELECT min(coalesce(covered_since, up_since)) FROM managers
        WHERE seen_at >= ?2 - CASE WHEN stopped THEN ?4 ELSE ?5 END), ?2)),
    ?2)
ON CONFLICT (id) DO UPDATE SET up_since = excluded.up_since,
    covered_since = excluded.covered_since, seen_at = excluded.seen_at
RETURNING seen_at, up_since, covered_since,
    EXISTS (SELECT 1 FROM bulks WHERE state = 'RUNNING')

-- name: manager_gone
-- Record that a manager has stopped.
UPDATE managers SET stopped = 1, seen_at = ?2 WHERE id = ?1

-- name: forget_managers
-- Delete managers that were up long ago.
DELETE FROM managers WHERE seen_at < ?1

-- name: work_summary
-- Read the work summary: next due time, ready streams, suspect streams, next expiry, gates of
-- pauses that hold tasks, whether slots are unsettled, whether there are signals, the revision of
-- principals and tokens, whether tasks wait for executors with their methods.
WITH RECURSIVE
gates (gate) AS (
    SELECT min(gate) FROM tasks WHERE gate >= 'p:' AND gate < 'p;'
    UNION ALL
    SELECT (SELECT min(t.gate) FROM tasks t WHERE t.gate > gates.gate AND t.gate < 'p;')
    FROM gates WHERE gates.gate IS NOT NULL),
ready (app_name) AS (
    SELECT min(app_name) FROM tasks WHERE ready = 1
    UNION ALL
    SELECT (SELECT min(t.app_name) FROM tasks t WHERE t.ready = 1 AND t.app_name > ready.app_name)
    FROM ready WHERE ready.app_name IS NOT NULL),
suspect (app_name) AS (
    SELECT min(app_name) FROM tasks WHERE ready = 2
    UNION ALL
    SELECT (SELECT min(t.app_name) FROM tasks t WHERE t.ready = 2 AND t.app_name > suspect.app_name)
    FROM suspect WHERE suspect.app_name IS NOT NULL)
SELECT (SELECT min(due_at) FROM tasks WHERE due_at IS NOT NULL),
    (SELECT json_group_array(app_name) FROM ready WHERE app_name IS NOT NULL),
    (SELECT json_group_array(app_name) FROM suspect WHERE app_name IS NOT NULL),
    (SELECT min(lease_until) FROM executors WHERE status IN ('ACTIVE', 'DRAINING', 'SUSPENDED')),
    (SELECT json_group_array(gate) FROM gates WHERE gate IS NOT NULL),
    EXISTS (SELECT 1 FROM slots WHERE unsettled), EXISTS (SELECT 1 FROM signals),
    (SELECT value FROM revisions WHERE name = 'tokens'),
    EXISTS (SELECT 1 FROM tasks WHERE gate >= 'm!' AND gate < 'm;')

-- name: next_method_gate
-- Read the first gate of a method at which tasks wait, and its stream, after a gate and stream.
SELECT t.gate, t.app_name FROM tasks t
WHERE (t.gate, t.app_name) > (?1, ?2) AND t.gate >= 'm!' AND t.gate < 'm;'
ORDER BY t.gate, t.app_name LIMIT 1

-- name: runs
-- Read the runs of a task, newest first, up to a number and a size of all errors together.
WITH newest AS (
    SELECT * FROM runs WHERE task_id = ?1
    ORDER BY ended_at DESC, scheduled_at DESC, run_id DESC LIMIT ?2),
sized AS (
    SELECT n.*, sum(coalesce(length(CAST(error AS BLOB)), 0)) OVER (
        ORDER BY ended_at DESC, scheduled_at DESC, run_id DESC ROWS UNBOUNDED PRECEDING) AS read_bytes
    FROM newest n)
SELECT task_id, job_id, status, scheduled_at, queued_at, started_at, ended_at, exit_code, error,
    retries, stage, stages, executor_id, note, version
FROM sized WHERE read_bytes <= ?3
ORDER BY ended_at DESC, scheduled_at DESC, run_id DESC

-- name: ahead
-- Count the ready tasks before a ready task, up to a limit.
SELECT count(*) FROM (SELECT 1 FROM tasks t WHERE t.app_name = ?1 AND t.ready = 1
    AND (t.priority > ?2 OR (t.priority = ?2
        AND (t.queued_at < ?3 OR (t.queued_at = ?3 AND t.id < ?4)))) LIMIT ?5)

-- name: ahead_at_gate
-- Count the tasks of the same stream before a task at its gate, up to a limit.
SELECT count(*) FROM (SELECT 1 FROM tasks t WHERE t.gate = ?6 AND t.app_name = ?1
    AND (t.priority > ?2 OR (t.priority = ?2
        AND (t.queued_at < ?3 OR (t.queued_at = ?3 AND t.id < ?4)))) LIMIT ?5)

-- name: streams
-- Count the tasks of each stream that wait, run or are held, by what they do, and read since when the
-- oldest ready task is queued. Each part reads a partial index.
SELECT app_name, 'ready' AS what, count(*) AS tasks, min(queued_at) AS oldest FROM tasks
    WHERE ready = 1 GROUP BY app_name
UNION ALL SELECT app_name, 'suspect', count(*), min(queued_at) FROM tasks
    WHERE ready = 2 GROUP BY app_name
UNION ALL SELECT app_name, 'running', count(*), NULL FROM tasks
    WHERE executor_id IS NOT NULL GROUP BY app_name
UNION ALL SELECT app_name, 'waiting', count(*), NULL FROM tasks
    WHERE status = 'WAITING' GROUP BY app_name
UNION ALL SELECT app_name, 'held:operator', count(*), NULL FROM tasks
    WHERE status = 'SUSPENDED' GROUP BY app_name
UNION ALL SELECT app_name, 'held:' || coalesce(status_reason, ''), count(*), NULL FROM tasks
    WHERE gate IS NOT NULL GROUP BY app_name, status_reason
UNION ALL SELECT app_name, 'held:' || coalesce(status_reason, ''), count(*), NULL FROM tasks
    WHERE status = 'QUEUED' AND ready = 0 AND gate IS NULL GROUP BY app_name, status_reason

-- name: recent_waits
-- Read how long the last runs that ended since a time had waited for an executor, with their streams.
SELECT t.app_name, r.started_at - r.queued_at FROM (
    SELECT task_id, queued_at, started_at FROM runs WHERE ended_at >= ?1
    ORDER BY ended_at DESC LIMIT ?2) r
JOIN tasks t ON t.id = r.task_id WHERE r.started_at IS NOT NULL AND r.queued_at IS NOT NULL

-- name: add_mark
-- Insert a mark. A repetition changes nothing.
INSERT INTO marks (id, at, label, app_name, user_id)
VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO NOTHING

-- name: prune_marks
-- Delete marks older than a time.
DELETE FROM marks WHERE id IN (SELECT id FROM marks WHERE at < ?1 ORDER BY at LIMIT ?2)

-- name: open_tasks
-- Count the tasks of each owner that have not ended, without idle ones that have no next
-- run. Each part reads a partial index.
SELECT d.user_id, count(*) FROM (
    SELECT id FROM tasks WHERE ready = 1
    UNION ALL SELECT id FROM tasks WHERE ready = 2
    UNION ALL SELECT id FROM tasks WHERE executor_id IS NOT NULL
    UNION ALL SELECT id FROM tasks WHERE status = 'WAITING'
    UNION ALL SELECT id FROM tasks WHERE status = 'SUSPENDED'
    UNION ALL SELECT id FROM tasks WHERE gate IS NOT NULL
    UNION ALL SELECT id FROM tasks WHERE status = 'QUEUED' AND ready = 0 AND gate IS NULL
    UNION ALL SELECT id FROM tasks WHERE next_run IS NOT NULL AND status = 'IDLE') t
CROSS JOIN definitions d WHERE d.task_id = t.id AND d.user_id IS NOT NULL GROUP BY d.user_id

-- name: status_counts
-- Count tasks by stream and status.
SELECT app_name, status, count(*) FROM tasks GROUP BY app_name, status

-- name: set_notification
-- Show or hide a notification.
UPDATE notifications SET enabled = ?2 WHERE id = ?1
RETURNING id, message, kws, created, enabled, user_id, task_id, job_id, status, result, exit_code,
    error, labels

-- name: delete_notifications
-- Delete a JSON list of notifications.
DELETE FROM notifications WHERE id IN (SELECT value FROM json_each(?1))

-- name: perhaps_delayed
-- Read the definitions of unfinished tasks that may have a delay.
SELECT d.task_id, d.rev, d.body FROM tasks t JOIN definitions d ON d.task_id = t.id
WHERE t.status NOT IN ('FINISHED', 'FAILED') AND d.body LIKE '%"delayed":true%'

-- name: shift_tasks
-- Move the times of unfinished tasks that count from a moment by a number of seconds.
-- ?2: a JSON list of the ids of the tasks with a delay.
WITH kinds AS MATERIALIZED (
    SELECT t.id, CASE WHEN t.explicit THEN t.id IN (SELECT value FROM json_each(?2))
            ELSE d.every_seconds IS NOT NULL END AS interval,
        t.id IN (SELECT value FROM json_each(?2)) AS delayed
    FROM tasks t JOIN definitions d ON d.task_id = t.id
    WHERE t.status NOT IN ('FINISHED', 'FAILED')),
moved AS MATERIALIZED (
    SELECT t.id, k.interval, CASE
        WHEN NOT t.run_open OR (t.status <> 'IDLE' AND coalesce(t.held, '') <> 'IDLE')
            THEN k.interval
        ELSE t.run_queued_at IS NOT NULL OR k.delayed END AS next
    FROM kinds k JOIN tasks t ON t.id = k.id)
UPDATE tasks SET
    queued_at = queued_at + ?1, queue_deadline = queue_deadline + ?1,
    exec_deadline = exec_deadline + ?1, stage_deadline = stage_deadline + ?1,
    stage_started_at = stage_started_at + ?1,
    wait_deadline = wait_deadline + ?1, run_queued_at = run_queued_at + ?1,
    run_started_at = run_started_at + ?1, status_change = status_change + ?1,
    reason_change = reason_change + ?1,
    due_at = due_at + CASE WHEN status <> 'IDLE' OR moved.next
        OR (start_next AND NOT (run_open AND run_queued_at IS NOT NULL)) THEN ?1 ELSE 0.0 END,
    next_run = next_run + CASE WHEN moved.next THEN ?1 ELSE 0.0 END,
    fire_at = fire_at + CASE WHEN moved.interval THEN ?1 ELSE 0.0 END,
    anchor = anchor + CASE WHEN moved.interval THEN ?1 ELSE 0.0 END,
    late_until = late_until + CASE WHEN moved.interval THEN ?1 ELSE 0.0 END,
    version = version + 1
FROM moved WHERE moved.id = tasks.id

-- name: shift_executors
-- Give executors the rest of their lease from now on, after the clock was set to ?2.
UPDATE executors SET connected_at = connected_at + ?1, last_ping = ?2,
    lease_until = ?2 + max(0.0, lease_until - last_ping)
WHERE status NOT IN ('LOST', 'GONE')

-- name: shift_managers
-- Move the times of managers back. Forward, the jump counts as a break.
UPDATE managers SET up_since = up_since + ?1, covered_since = covered_since + ?1,
    seen_at = seen_at + ?1
WHERE ?1 < 0

-- name: jumped
-- Read the tasks whose next fire is before a time: with a cron expression, or of an interval
-- that has not begun.
SELECT {task_columns}, d.rev, d.body FROM definitions d JOIN tasks t ON t.id = d.task_id
WHERE (d.cron IS NOT NULL OR (d.every_seconds IS NOT NULL AND t.explicit))
    AND t.fire_at < ?1

-- name: set_fire
-- Set the next fire of a task.
UPDATE tasks SET fire_at = ?2, next_run = ?3, due_at = ?4 WHERE id = ?1

-- name: raise_clock
-- Record that a step of the clock was applied.
UPDATE revisions SET value = value + 1 WHERE name = 'clock'

-- name: raise_tokens
-- Increase the revision of principals and tokens.
UPDATE revisions SET value = value + 1 WHERE name = 'tokens'

-- name: principal
-- Read a principal.
SELECT {principal_columns} FROM principals p WHERE p.id = ?1

-- name: token
-- Read a token.
SELECT {token_columns} FROM tokens k WHERE k.id = ?1

-- name: principals
-- Read all principals.
SELECT {principal_columns} FROM principals p ORDER BY p.id

-- name: tokens
-- Read all tokens and their last use.
SELECT {token_columns}, u.at, u.remote FROM tokens k LEFT JOIN token_uses u ON u.token_id = k.id
ORDER BY k.created, k.id

-- name: credential
-- Read a token, its principal, the revision of all of them, and whether there is any token.
SELECT r.value, EXISTS (SELECT 1 FROM tokens), {principal_columns}, {token_columns}
FROM revisions r LEFT JOIN tokens k ON k.id = ?1 LEFT JOIN principals p ON p.id = k.principal_id
WHERE r.name = 'tokens'

-- name: put_principal
-- Insert or update a principal.
INSERT INTO principals (id, kind, scope, created, created_by, disabled_at, quotas)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, disabled_at = excluded.disabled_at,
    quotas = excluded.quotas

-- name: put_token
-- Insert or update a token.
INSERT INTO tokens (id, principal_id, scope, hash, note, created, created_by, expires_at,
    revoked_at, successor)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET note = excluded.note, expires_at = excluded.expires_at,
    revoked_at = excluded.revoked_at, successor = excluded.successor

-- name: token_used
-- Record the last use of a token.
INSERT INTO token_uses (token_id, at, remote) VALUES (?, ?, ?)
ON CONFLICT (token_id) DO UPDATE SET at = excluded.at, remote = excluded.remote
WHERE excluded.at >= token_uses.at

-- name: lock_bulks
-- Let no other bulk call begin meanwhile.
UPDATE revisions SET value = value + 1 WHERE name = 'bulks'

-- name: running_bulks
-- Count the bulk calls of a principal that have not ended.
SELECT count(*) FROM bulks WHERE state = 'RUNNING' AND user_id IS ?1

-- name: bulk
-- Read a bulk call.
SELECT {bulk_columns} FROM bulks b WHERE b.id = ?1

-- name: lock_bulk
-- Read a bulk call.
SELECT {bulk_columns} FROM bulks b WHERE b.id = ?1

-- name: open_bulks
-- Read the bulk calls that a manager goes on with, and those whose manager is gone.
SELECT b.id FROM bulks b WHERE b.state = 'RUNNING' AND (b.manager_id = ?1 OR NOT EXISTS (
    SELECT 1 FROM managers m WHERE m.id = b.manager_id AND NOT m.stopped AND m.seen_at >= ?2))
ORDER BY b.started, b.id

-- name: bulk_is_free
-- Check whether the manager of a bulk call is gone.
SELECT NOT EXISTS (SELECT 1 FROM managers m
    WHERE m.id = ?1 AND NOT m.stopped AND m.seen_at >= ?2)

-- name: add_bulk
-- Insert a bulk call.
INSERT INTO bulks (id, method, user_id, state, started, ended, manager_id, epoch, cursor, body,
    progress)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: save_bulk
-- Write what changes in a bulk call.
UPDATE bulks SET state = ?2, ended = ?3, manager_id = ?4, epoch = ?5, cursor = ?6, progress = ?7
WHERE id = ?1

-- name: prune_bulks
-- Delete bulk calls that ended before a time.
DELETE FROM bulks WHERE id IN (SELECT id FROM bulks WHERE ended < ?1 LIMIT ?2)

-- name: add_stats
-- Add a JSON list of counts to those of their minutes and hours.
INSERT INTO stats (step, at, app_name, name, bucket, manager_id, count, total)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), ?2, json_extract(value, '$[5]'),
    json_extract(value, '$[6]')
FROM json_each(?1) WHERE true
ON CONFLICT (step, at, app_name, name, bucket, manager_id) DO UPDATE
SET count = count + excluded.count, total = total + excluded.total

-- name: stats
-- Add up the counts of a time, in intervals: first those of each moment, in the order of the index.
SELECT name, at - at % ?4, bucket, sum(count), sum(total) FROM (
    SELECT name, at, bucket, sum(count) AS count, sum(total) AS total FROM stats
    WHERE step = ?1 AND at >= ?2 AND at < ?3 AND name IN (SELECT value FROM json_each(?5))
        AND (?6 IS NULL OR app_name IN (SELECT value FROM json_each(?6)))
    GROUP BY name, at, bucket)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

-- name: stat_streams
-- Read the streams that have counts of a time.
SELECT DISTINCT app_name FROM stats WHERE step = ?1 AND at >= ?2 AND at < ?3

-- name: stat_durations
-- Add up the durations since a minute, by stream and bucket.
SELECT app_name, bucket, sum(count) FROM stats
WHERE step = 60 AND name = ?1 AND at >= ?2 GROUP BY 1, 2 ORDER BY 1, 2

-- name: prune_stats
-- Delete the counts of minutes or hours before a time.
DELETE FROM stats WHERE (step, at, app_name, name, bucket, manager_id) IN (
    SELECT step, at, app_name, name, bucket, manager_id FROM stats
    WHERE step = ?1 AND at < ?2 LIMIT ?3)
