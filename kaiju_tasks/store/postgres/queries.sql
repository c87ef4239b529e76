-- Statements of the PostgreSQL store. Rows are locked in materialised CTEs and found by keys, so
-- that stale statistics cannot cause a scan of the table.

-- fragment: clock
extract(epoch FROM clock_timestamp())::float8

-- fragment: pauses_revision
(SELECT value FROM revisions WHERE name = 'pauses')

-- fragment: statement_clock
extract(epoch FROM statement_timestamp())::float8

-- columns: tasks
id text, app_name text, priority int, status text, status_reason text, enabled bool, ready int,
run_open bool, stage int, stages int, job_id text, cycle int, attempt int, retries int,
losses int, epoch int, nonce text, executor_id text, held text, hold_next bool, start_next bool,
due_at float8, next_run float8, fire_at float8, explicit bool, anchor float8,
scheduled_at float8, queued_at float8, queue_deadline float8, queue_left float8,
exec_deadline float8, exec_used float8, stage_started_at float8, wait_deadline float8,
run_queued_at float8, run_started_at float8, status_change float8, result_bytes bigint,
exit_code int, error text, rev bigint, version int, gate text, awaited bool,
late_until float8, chain text, stage_deadline float8, reason_change float8, fruitless int

-- columns: hot
-- The columns of tasks that acquisitions and reports change. Half the columns cost half the time.
id text, status text, status_reason text, ready int, run_open bool, stage int, attempt int,
epoch int, nonce text, executor_id text, due_at float8, next_run float8, exec_deadline float8,
exec_used float8, stage_started_at float8, run_started_at float8, status_change float8,
result_bytes bigint, exit_code int, version int, stage_deadline float8

-- columns: known
-- Tasks, and the definition and version that each must still have.
id text, rev bigint, version int

-- columns: guard
-- How often the clock was set, the time up to which the statement may be executed, and the revision
-- of the pauses, if it must be this one.
revision bigint, valid_until float8, pauses_revision bigint

-- columns: sessions
executor_id text, session text

-- fragment: valid
guard ({guard.names}) AS ({guard.rows}),
sessions ({sessions.names}) AS ({sessions.rows}),
holding AS MATERIALIZED (
    SELECT e.id FROM sessions s JOIN executors e
        ON e.id = s.executor_id AND e.session = s.session AND e.status = 'ACTIVE'
    ORDER BY e.id FOR KEY SHARE OF e SKIP LOCKED),
valid AS MATERIALIZED (
    SELECT FROM guard g JOIN revisions r ON r.value = g.revision
    WHERE r.name = 'clock' AND {clock} <= g.valid_until
        AND coalesce(g.pauses_revision = {pauses_revision}, true)
        AND (SELECT count(*) FROM holding) = (SELECT count(executor_id) FROM sessions))

-- columns: definitions
task_id text, rev bigint, body wide, created text, cron text, every_seconds float8,
next_task text, system bool, notify bool, group_name text, group_id text, user_id text,
parent_id text, description text, methods text, labels jsonb

-- columns: stages
job_id text, cycle int, stage int, failed_attempt int, task_id text, attempt int, method text,
name text, executor_id text, queued_at float8, started_at float8, ended_at float8, outcome text,
rescued bool, result wide, error text, version int

-- columns: runs
run_id text, task_id text, job_id text, status text, scheduled_at float8, queued_at float8,
started_at float8, ended_at float8, exit_code int, error text, retries int, stage int,
stages int, executor_id text, note text, version int

-- columns: notifications
id text, message text, kws text, created text, enabled bool, user_id text, task_id text,
job_id text, status text, result text, exit_code int, error text, labels text

-- columns: messages
task_id text, message_id text, name text, data text, consumed bool, sender text, at float8

-- columns: run_ends
child_id text, status text, exit_code int, error text, job_id text, job_cycle int, stages int

-- columns: log_chunks
-- `held_seconds` is how long ago the executor may have lost the task.
task_id text, job_id text, cycle int, stage int, attempt int, epoch int, nonce text, n bigint,
last bigint, size bigint, body text, executor_id text, app_names jsonb, held_seconds float8

-- columns: audit
id text, at float8, user_id text, remote text, action text, target text, data text

-- fragment: history
appended_stages AS (
    INSERT INTO stages ({stages.names})
    SELECT * FROM unnest({stages.arrays})),
appended_runs AS (
    INSERT INTO runs ({runs.names})
    SELECT * FROM unnest({runs.arrays}))

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

-- name: now
-- Read the database's clock, and how often it was set.
SELECT {clock}, (SELECT value FROM revisions WHERE name = 'clock')

-- name: lock
-- Lock tasks in the order of their ids. Without any, there is one row without an id.
WITH locked AS MATERIALIZED (
    SELECT {tasks.of t} FROM tasks t WHERE t.id = ANY ($1::text[]) ORDER BY t.id FOR UPDATE)
SELECT {tasks.of t}, {clock} FROM (SELECT) AS one LEFT JOIN locked t ON true ORDER BY t.id

-- name: lock_due
-- Lock due tasks.
WITH locked AS MATERIALIZED (
    SELECT {tasks.of t} FROM tasks t WHERE t.due_at <= {statement_clock}
    ORDER BY t.due_at LIMIT $1::int FOR UPDATE SKIP LOCKED)
SELECT {tasks.of t}, {clock} FROM locked t ORDER BY t.due_at

-- name: lock_ready
-- Lock the first ready tasks of a stream, if the executor's session may acquire tasks. If not,
-- there is no row. Without ready tasks, there is one row without an id.
WITH me AS MATERIALIZED (
    SELECT e.id FROM executors e WHERE e.id = $3::text AND e.session = $4::text
        AND e.status = 'ACTIVE' FOR KEY SHARE),
locked AS MATERIALIZED (
    SELECT {tasks.of t} FROM tasks t
    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 1
    ORDER BY t.priority DESC, t.queued_at, t.id LIMIT $2::int FOR UPDATE OF t SKIP LOCKED)
SELECT {tasks.of t}, {pauses_revision}, {clock} FROM me LEFT JOIN locked t ON true
ORDER BY t.priority DESC, t.queued_at, t.id

-- name: ready_tasks
-- Read the first ready tasks of a stream, without locks.
SELECT {tasks.of t} FROM tasks t WHERE t.app_name = $1::text AND t.ready = 1
ORDER BY t.priority DESC, t.queued_at, t.id LIMIT $2::int

-- name: lock_suspect
-- Lock the first suspect tasks of a stream, in the same way as lock_ready.
WITH me AS MATERIALIZED (
    SELECT e.id FROM executors e WHERE e.id = $3::text AND e.session = $4::text
        AND e.status = 'ACTIVE' FOR KEY SHARE),
locked AS MATERIALIZED (
    SELECT {tasks.of t} FROM tasks t
    WHERE EXISTS (SELECT FROM me) AND t.app_name = $1::text AND t.ready = 2
    ORDER BY t.priority DESC, t.queued_at, t.id LIMIT $2::int FOR UPDATE OF t SKIP LOCKED)
SELECT {tasks.of t}, {pauses_revision}, {clock} FROM me LEFT JOIN locked t ON true
ORDER BY t.priority DESC, t.queued_at, t.id

-- name: lock_at_gates
-- Lock the first tasks of a stream among those at some gates of methods and, if asked for, the ready
-- ones, in the same way as lock_ready. The first tasks decide how many are locked of each kind, but
-- at least one: others may have locked the first ones.
WITH me AS MATERIALIZED (
    SELECT e.id FROM executors e WHERE e.id = $3::text AND e.session = $4::text
        AND e.status = 'ACTIVE' FOR KEY SHARE),
gates AS MATERIALIZED (SELECT gate FROM unnest($5::text[]) AS g (gate)),
first AS MATERIALIZED (
    SELECT g.gate, t.priority, t.queued_at, t.id FROM gates g CROSS JOIN LATERAL (
        SELECT t.priority, t.queued_at, t.id FROM tasks t
        WHERE t.gate = g.gate AND t.app_name = $1::text
        ORDER BY t.priority DESC, t.queued_at, t.id LIMIT $2::int) AS t
    UNION ALL
    SELECT NULL, t.priority, t.queued_at, t.id FROM (
        SELECT t.priority, t.queued_at, t.id FROM tasks t
        WHERE $6::bool AND t.app_name = $1::text AND t.ready = 1
        ORDER BY t.priority DESC, t.queued_at, t.id LIMIT $2::int) AS t
    ORDER BY priority DESC, queued_at, id LIMIT $2::int),
shares AS MATERIALIZED (
    SELECT g.gate, greatest(1, (SELECT count(*) FROM first f WHERE f.gate = g.gate)) AS most
    FROM gates g),
gated AS MATERIALIZED (
    SELECT {tasks.of t} FROM shares s CROSS JOIN LATERAL (
        SELECT {tasks.of t} FROM tasks t
        WHERE EXISTS (SELECT FROM me) AND t.gate = s.gate AND t.app_name = $1::text
        ORDER BY t.priority DESC, t.queued_at, t.id LIMIT s.most FOR UPDATE OF t SKIP LOCKED) AS t),
ready AS MATERIALIZED (
    SELECT {tasks.of t} FROM tasks t
    WHERE EXISTS (SELECT FROM me) AND $6::bool AND t.app_name = $1::text AND t.ready = 1
    ORDER BY t.priority DESC, t.queued_at, t.id
    LIMIT (SELECT greatest(1, count(*)) FROM first f WHERE f.gate IS NULL)
    FOR UPDATE OF t SKIP LOCKED)
SELECT {tasks.of t}, {pauses_revision}, {clock} FROM me
LEFT JOIN (SELECT * FROM gated UNION ALL SELECT * FROM ready) AS t ON true
ORDER BY t.priority DESC, t.queued_at, t.id

-- name: hold_sessions
-- Share-lock executors, in the order of their ids, whose sessions may acquire tasks. Those that
-- another transaction has locked are left out. There is always one row with the pauses' revision.
WITH held AS MATERIALIZED (
    SELECT e.id FROM unnest($1::text[], $2::text[]) AS s (id, session)
    JOIN executors e ON e.id = s.id AND e.session = s.session
    WHERE e.status = 'ACTIVE' ORDER BY e.id FOR KEY SHARE OF e SKIP LOCKED)
SELECT {pauses_revision}, (SELECT array_agg(id) FROM held) AS ids

-- name: lock_gated
-- Lock the first tasks of each stream at some gates, up to a number for each gate. `visible` counts
-- them including tasks that other transactions have locked.
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text::int[]) AS w (gate, most)),
streams (gate, most, app_name) AS (
    SELECT w.gate, w.most, (SELECT min(t.app_name) FROM tasks t WHERE t.gate = w.gate)
    FROM wanted w
    UNION ALL
    SELECT s.gate, s.most, (SELECT min(t.app_name) FROM tasks t
        WHERE t.gate = s.gate AND t.app_name > s.app_name)
    FROM streams s WHERE s.app_name IS NOT NULL)
SELECT {tasks.of t}, s.gate AS of_gate, seen.visible, {clock}
FROM (SELECT * FROM streams WHERE app_name IS NOT NULL) AS s
CROSS JOIN LATERAL (SELECT count(*)::int AS visible FROM (
    SELECT FROM tasks t WHERE t.gate = s.gate AND t.app_name = s.app_name
    LIMIT s.most) AS few) AS seen
LEFT JOIN LATERAL (
    SELECT {tasks.of t} FROM tasks t WHERE t.gate = s.gate AND t.app_name = s.app_name
    ORDER BY t.priority DESC, t.queued_at, t.id LIMIT s.most FOR UPDATE SKIP LOCKED) AS t ON true

-- name: lock_slots
-- Lock the slots of keys, in the order of the keys. New keys have no used slots.
INSERT INTO slots AS s (key, used, unsettled)
SELECT k, 0, false FROM unnest($1::text[]) AS k ORDER BY k
ON CONFLICT (key) DO UPDATE SET used = s.used RETURNING key, used, {clock}

-- name: slot_used
-- Count the used slots of a key.
SELECT used FROM slots WHERE key = $1::text

-- name: save_slots
-- Update the used slots of keys.
UPDATE slots AS s SET used = v.used, unsettled = v.unsettled
FROM unnest($1::text[], $2::text::int[], $3::text::bool[]) AS v (key, used, unsettled)
WHERE s.key = v.key

-- name: used_slots
-- Read the keys with used slots.
SELECT key FROM slots WHERE used > 0 ORDER BY key

-- name: leased_ids
-- Read the ids of all tasks that executors hold.
SELECT id FROM tasks WHERE executor_id IS NOT NULL ORDER BY id

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
ON CONFLICT (key) DO NOTHING RETURNING key, {clock}

-- name: claimants
-- Read the holders of unique keys.
SELECT key, task_id, {clock} FROM claims WHERE key = ANY ($1::text[])

-- name: unclaim
-- Release the unique keys of tasks.
DELETE FROM claims WHERE task_id = ANY ($1::text[])

-- name: put_children
-- Record tasks that stages wait for.
INSERT INTO children (parent_job, stage, position, cycle, parent_id, child_id, made, status,
    exit_code, error, job_id, job_cycle, stages)
SELECT * FROM unnest($1::text[], $2::text::int[], $3::text::int[], $4::text::int[], $5::text[],
    $6::text[], $7::text::bool[], $8::text[], $9::text::int[], $10::text[], $11::text[],
    $12::text::int[], $13::text::int[])

-- name: drop_children
-- Delete records of tasks that a stage waits for.
DELETE FROM children WHERE parent_job = $1::text AND stage = $2::int
    AND position = ANY ($3::text::int[])

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
FROM unnest($1::text[], $2::text::int[]) AS k (parent_job, stage)

-- name: waits_of
-- Read the tasks for which tasks wait now.
SELECT DISTINCT c.child_id FROM tasks t JOIN children c
    ON c.parent_job = t.job_id AND c.stage = t.stage
WHERE t.id = ANY ($1::text[]) AND t.status IN ('WAITING', 'SUSPENDED') AND c.status IS NULL

-- name: note_run_ends
-- Record the ends of runs for the stages that wait for them, and add signals for their tasks.
WITH noted AS (
    UPDATE children c SET {run_ends.set v}
    FROM unnest({run_ends.arrays})
        AS v ({run_ends.names})
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
FROM unnest($1::text[], $2::text::int[]) AS k (job_id, cycle)

-- name: pauses
-- Read all pauses and their revision.
SELECT (SELECT value FROM revisions WHERE name = 'pauses'),
    ARRAY(SELECT id FROM pauses ORDER BY id), ARRAY(SELECT body FROM pauses ORDER BY id)

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
    SELECT {tasks.of t} FROM tasks t WHERE t.executor_id = $1::text ORDER BY t.id FOR UPDATE)
SELECT {tasks.of t}, {clock} FROM locked t ORDER BY t.id

-- name: definitions
-- Read the definitions of tasks.
SELECT task_id, rev, body FROM definitions WHERE task_id = ANY ($1::text[])

-- name: standings
-- Read what differs after each write of tasks.
SELECT id, version, rev, job_id, status_change FROM tasks WHERE id = ANY ($1::text[])

-- name: next_tasks
-- Read tasks, and all that follow them by next_task.
WITH RECURSIVE reached (task_id, next_task) AS (
    SELECT d.task_id, d.next_task FROM definitions d WHERE d.task_id = ANY ($1::text[])
    UNION
    SELECT following.task_id, following.next_task FROM reached r
    CROSS JOIN LATERAL (
        SELECT d.task_id, d.next_task FROM definitions d WHERE d.task_id = r.next_task
        OFFSET 0) AS following)
SELECT task_id, next_task FROM reached LIMIT $2::int

-- name: family_sizes
-- Read the sizes of families.
SELECT root_id, tasks FROM families WHERE root_id = ANY ($1::text[])

-- name: grow_families
-- Add tasks to families, in the order of their roots, and return their sizes.
INSERT INTO families AS f (root_id, tasks, since)
SELECT root_id, tasks, $3::float8 FROM unnest($1::text[], $2::text::bigint[]) AS v (root_id, tasks)
ORDER BY root_id
ON CONFLICT (root_id) DO UPDATE SET tasks = f.tasks + excluded.tasks RETURNING root_id, tasks

-- name: results
-- Read the results of stages.
SELECT k.job_id, k.stage, found.result
FROM unnest($1::text[], $2::text::int[], $3::text::int[]) AS k (job_id, cycle, stage)
CROSS JOIN LATERAL (
    SELECT s.result FROM stages s WHERE s.job_id = k.job_id AND s.cycle = k.cycle
        AND s.stage = k.stage AND s.failed_attempt = 0 LIMIT 1) AS found

-- name: run_results
-- Read the results of runs, each in one cycle.
SELECT k.job_id, found.stage, found.result
FROM unnest($1::text[], $2::text::int[]) AS k (job_id, cycle)
CROSS JOIN LATERAL (
    SELECT s.stage, s.result FROM stages s WHERE s.job_id = k.job_id AND s.cycle = k.cycle
        AND s.failed_attempt = 0 OFFSET 0) AS found

-- name: inboxes
-- Read the messages of tasks, in order of arrival.
SELECT task_id, message_id, name, data, consumed, sender, at FROM inbox
WHERE task_id = ANY ($1::text[]) ORDER BY seq

-- name: inbox
-- Read the messages of a task, in order of arrival, up to a size of all their data together.
SELECT message_id, name, data, consumed, sender, at FROM (
    SELECT i.*, sum(octet_length(data)) OVER (ORDER BY seq) AS read_bytes FROM inbox i
    WHERE task_id = $1::text) i
WHERE read_bytes <= $2::bigint OR read_bytes = octet_length(data) ORDER BY seq

-- name: received
-- Read of which tasks an earlier run has received a message.
SELECT r.task_id FROM unnest($1::text[], $2::text[]) AS k (task_id, message_id)
JOIN received r ON r.task_id = k.task_id AND r.message_id = k.message_id

-- name: insert
-- Insert tasks and their definitions unless their ids are taken, and return the inserted ids, with
-- the clock at the begin of the statement and at each insertion.
WITH added AS (
    INSERT INTO tasks ({tasks.names})
    SELECT * FROM unnest({tasks.arrays})
    ON CONFLICT (id) DO NOTHING RETURNING id),
defined AS (
    INSERT INTO definitions ({definitions.names})
    SELECT d.* FROM unnest({definitions.arrays}) AS d ({definitions.names})
    WHERE d.task_id IN (SELECT id FROM added))
SELECT id, {statement_clock}, {clock} FROM added

-- name: insert_presumed
-- Insert tasks and their definitions, unless an id is taken or the clock was set meanwhile. Returns
-- the clock if they were inserted. Rows without an id only fill up the number of rows. It fails with
-- a division by zero if it had to wait for another transaction, so that no task is older than that.
WITH {valid},
new ({tasks.names}) AS ({tasks.rows}),
new_definitions ({definitions.names}) AS ({definitions.rows}),
added AS (
    INSERT INTO tasks ({tasks.names})
    SELECT n.* FROM valid, new n
    WHERE n.id IS NOT NULL
        AND NOT EXISTS (SELECT FROM new o JOIN tasks t ON t.id = o.id)
    RETURNING id, {clock} AS moment),
defined AS (
    INSERT INTO definitions ({definitions.names})
    SELECT d.* FROM new_definitions d
    WHERE d.task_id IS NOT NULL AND EXISTS (SELECT FROM added))
SELECT max(moment),
    1 / CASE WHEN max(moment) - {statement_clock} > 0.1 + 0.001 * count(*) THEN 0 ELSE 1 END
FROM added HAVING count(*) > 0

-- fragment: presumed
{valid},
new_stages ({stages.names}) AS ({stages.rows}),
new_runs ({runs.names}) AS ({runs.rows}),
known ({known.names}) AS ({known.rows}),
locked AS MATERIALIZED (
    SELECT t.id FROM known k JOIN tasks t
        ON t.id = k.id AND t.rev = k.rev AND t.version = k.version
    FOR UPDATE OF t SKIP LOCKED),
held AS MATERIALIZED (
    SELECT FROM valid WHERE (SELECT count(*) FROM locked) = (SELECT count(id) FROM known)),
appended_stages AS (
    INSERT INTO stages ({stages.names})
    SELECT s.* FROM held, new_stages s WHERE s.job_id IS NOT NULL),
appended_runs AS (
    INSERT INTO runs ({runs.names})
    SELECT r.* FROM held, new_runs r WHERE r.run_id IS NOT NULL)

-- name: save_hot_presumed
-- Like save_hot_history, unless one of the tasks is locked or has another version. Rows without an
-- id only fill up the number of rows.
WITH changed ({hot.names}) AS ({hot.rows}),
{presumed}
UPDATE tasks AS t SET {hot.set c} FROM held, changed c WHERE t.id = c.id RETURNING {clock}

-- name: save_presumed
-- Like save_hot_presumed, for all columns.
WITH changed ({tasks.names}) AS ({tasks.rows}),
{presumed}
UPDATE tasks AS t SET {tasks.set c} FROM held, changed c WHERE t.id = c.id RETURNING {clock}

-- name: save
-- Update tasks.
UPDATE tasks AS t SET {tasks.set v}
FROM unnest({tasks.arrays}) AS v ({tasks.names})
WHERE t.id = v.id

-- name: save_history
-- Update tasks, and insert ended attempts and ended runs.
WITH {history}
UPDATE tasks AS t SET {tasks.set v}
FROM unnest({tasks.arrays}) AS v ({tasks.names})
WHERE t.id = v.id

-- name: save_hot
-- Update only those columns of tasks that acquisitions and reports change.
UPDATE tasks AS t SET {hot.set v}
FROM unnest({hot.arrays}) AS v ({hot.names})
WHERE t.id = v.id

-- name: save_hot_history
-- Like save_hot, and insert ended attempts and ended runs.
WITH {history}
UPDATE tasks AS t SET {hot.set v}
FROM unnest({hot.arrays}) AS v ({hot.names})
WHERE t.id = v.id

-- name: append_stages
-- Insert ended attempts.
INSERT INTO stages ({stages.names})
SELECT * FROM unnest({stages.arrays})

-- name: append_runs
-- Insert ended runs and missed fires.
INSERT INTO runs ({runs.names})
SELECT * FROM unnest({runs.arrays})

-- name: keep_versions
-- Keep the definitions of tasks as versions, before they are replaced.
INSERT INTO versions (task_id, version, body, replaced_at)
SELECT d.task_id, v.version, d.body, v.replaced_at
FROM unnest($1::text[], $2::text::int[], $3::text::float8[]) AS v (task_id, version, replaced_at)
JOIN definitions d ON d.task_id = v.task_id
ON CONFLICT (task_id, version) DO NOTHING

-- name: forget_versions
-- Delete the versions of each task up to one.
DELETE FROM versions v USING unnest($1::text[], $2::text::int[]) AS f (task_id, version)
WHERE v.task_id = f.task_id AND v.version <= f.version

-- name: versions
-- Read the earlier versions of a task before one, newest first, up to a number and a size.
SELECT version, body FROM (
    SELECT v.*, sum(octet_length(body)) OVER (ORDER BY version DESC) AS read_bytes
    FROM versions v WHERE task_id = $1::text AND version < $2::int
    ORDER BY version DESC LIMIT $3::int) v
WHERE read_bytes <= $4::bigint OR read_bytes = octet_length(body) ORDER BY version DESC

-- name: prune_versions
-- Look at the next versions that were replaced before a time, and delete those that no run has used.
-- Returns how many were deleted, and when the last one was replaced.
WITH seen AS MATERIALIZED (
    SELECT v.place, v.replaced_at,
        coalesce(
            (SELECT true FROM runs r WHERE r.task_id = v.task_id AND (r.version = v.version
                OR (r.queued_at <= v.replaced_at AND r.ended_at >= v.replaced_at)) LIMIT 1),
            (SELECT true FROM tasks t WHERE t.id = v.task_id AND t.run_open
                AND t.run_queued_at <= v.replaced_at), false) AS used
    FROM (SELECT ctid AS place, task_id, version, replaced_at FROM versions
        WHERE replaced_at < $1::float8 AND replaced_at > $3::float8
        ORDER BY replaced_at FETCH FIRST ($2::int) ROWS WITH TIES) v),
gone AS (
    DELETE FROM versions WHERE ctid = ANY (ARRAY(SELECT place FROM seen WHERE NOT used))
    RETURNING 1)
SELECT (SELECT count(*)::int FROM gone), (SELECT max(replaced_at) FROM seen)

-- name: save_definitions
-- Update definitions.
INSERT INTO definitions ({definitions.names})
SELECT * FROM unnest({definitions.arrays})
ON CONFLICT (task_id) DO UPDATE SET {definitions.set excluded}

-- name: copy_results
-- Copy the results of the first stages of an earlier run to a new run.
INSERT INTO stages ({stages.names}, copied)
SELECT $3::text, 0, stage, 0, task_id, attempt, method, name, executor_id, queued_at, started_at,
    ended_at, outcome, rescued, result, error, version, true
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
INSERT INTO inbox ({messages.names})
SELECT * FROM unnest({messages.arrays})

-- name: remember_messages
-- Keep the ids of messages whose runs have ended.
INSERT INTO received (task_id, message_id, job_id, cleared_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text::float8[])
ON CONFLICT (task_id, message_id) DO NOTHING

-- name: consume_messages
-- Mark messages as consumed by hooks.
UPDATE inbox i SET consumed = true FROM unnest($1::text[], $2::text[]) AS v (task_id, message_id)
WHERE i.task_id = v.task_id AND i.message_id = v.message_id

-- name: add_notifications
-- Insert notifications of ended runs.
INSERT INTO notifications ({notifications.names})
SELECT * FROM unnest({notifications.arrays})
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
deleted_logs AS (DELETE FROM logs WHERE job_id = ANY (ARRAY(SELECT job_id FROM jobs))),
deleted_runs AS (DELETE FROM runs WHERE task_id = ANY ($1::text[])),
deleted_inbox AS (DELETE FROM inbox WHERE task_id = ANY ($1::text[])),
deleted_received AS (DELETE FROM received WHERE task_id = ANY ($1::text[])),
deleted_versions AS (DELETE FROM versions WHERE task_id = ANY ($1::text[])),
deleted_claims AS (DELETE FROM claims WHERE task_id = ANY ($1::text[])),
deleted_children AS (DELETE FROM children WHERE parent_id = ANY ($1::text[])),
deleted_definitions AS (DELETE FROM definitions WHERE task_id = ANY ($1::text[]))
DELETE FROM tasks WHERE id = ANY ($1::text[])

-- name: prune_runs
-- Look at the next runs that ended before a time, and delete them and their stages, except the last
-- run of each task. Returns how many were deleted, and when the last one had ended.
WITH seen AS MATERIALIZED (
    SELECT r.run_id, r.job_id, r.ended_at,
        (SELECT t.job_id FROM tasks t WHERE t.id = r.task_id) AS last_job
    FROM (SELECT run_id, job_id, task_id, ended_at FROM runs
        WHERE ended_at < $1::float8 AND ended_at > $3::float8
        ORDER BY ended_at FETCH FIRST ($2::int) ROWS WITH TIES) r),
old AS MATERIALIZED (
    SELECT run_id, job_id FROM seen WHERE job_id IS NULL OR last_job IS DISTINCT FROM job_id),
deleted_stages AS (DELETE FROM stages WHERE job_id = ANY (
    ARRAY(SELECT job_id FROM old WHERE job_id IS NOT NULL))),
deleted_logs AS (DELETE FROM logs WHERE job_id = ANY (
    ARRAY(SELECT job_id FROM old WHERE job_id IS NOT NULL))),
deleted_children AS (DELETE FROM children WHERE parent_job = ANY (
    ARRAY(SELECT job_id FROM old WHERE job_id IS NOT NULL))),
gone AS (DELETE FROM runs WHERE run_id = ANY (ARRAY(SELECT run_id FROM old)) RETURNING 1)
SELECT (SELECT count(*)::int FROM gone), (SELECT max(ended_at) FROM seen)

-- name: put_progress
-- Store the progress of running stages, unless that of later ones is stored.
INSERT INTO progress (task_id, job_id, epoch, stage, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text::int[], $4::text::int[], $5::text[])
ON CONFLICT (task_id) DO UPDATE SET job_id = excluded.job_id, epoch = excluded.epoch,
    stage = excluded.stage, body = excluded.body
WHERE progress.job_id <> excluded.job_id
    OR (excluded.epoch, excluded.stage) >= (progress.epoch, progress.stage)

-- name: delete_progress
-- Delete the progress that was stored under leases.
DELETE FROM progress p
USING unnest($1::text[], $2::text[], $3::text::int[]) AS l (task_id, job_id, epoch)
WHERE p.task_id = l.task_id AND p.job_id = l.job_id AND p.epoch = l.epoch

-- name: prune_progress
-- Delete the progress of stages that no longer run.
DELETE FROM progress WHERE task_id = ANY (ARRAY(
    SELECT p.task_id FROM progress p LEFT JOIN tasks t ON t.id = p.task_id
        AND t.job_id = p.job_id AND t.epoch = p.epoch AND t.executor_id IS NOT NULL
    WHERE t.id IS NULL LIMIT $1::int))

-- name: write_logs
-- Store consecutive lines of attempts, if the executor holds the task or has just held it, and if
-- they come after the stored ones.
WITH given ({log_chunks.names}) AS ({log_chunks.rows}),
known AS MATERIALIZED (
    SELECT g.*, t.status, t.stages, (coalesce(b.upto, 0) + sum(g.size) OVER (
        PARTITION BY g.job_id, g.cycle, g.stage, g.attempt ORDER BY g.n))::bigint AS upto
    FROM given g CROSS JOIN LATERAL (
        SELECT t.* FROM tasks t WHERE t.id = g.task_id LIMIT 1) t
    LEFT JOIN LATERAL (
        SELECT l.last, l.upto FROM logs l WHERE l.job_id = g.job_id AND l.cycle = g.cycle
            AND l.stage = g.stage AND l.attempt = g.attempt ORDER BY l.n DESC LIMIT 1) b ON true
    WHERE jsonb_exists(g.app_names, t.app_name) AND g.n > coalesce(b.last, 0)
        AND ((t.job_id = g.job_id AND t.cycle = g.cycle AND t.stage = g.stage
                AND t.attempt + 1 = g.attempt AND t.epoch = g.epoch AND t.nonce = g.nonce
                AND t.executor_id = g.executor_id)
            OR EXISTS (SELECT FROM stages s WHERE s.job_id = g.job_id AND s.cycle = g.cycle
                AND s.stage = g.stage AND s.failed_attempt IN (0, g.attempt)
                AND s.attempt = g.attempt AND s.task_id = g.task_id
                AND s.executor_id = g.executor_id
                AND s.ended_at > {statement_clock} - g.held_seconds))),
put AS (
    INSERT INTO logs (job_id, cycle, stage, attempt, n, last, task_id, start, upto, body)
    SELECT k.job_id, k.cycle, k.stage, k.attempt, k.n, k.last, k.task_id, k.upto - k.size, k.upto,
        k.body
    FROM known k ORDER BY k.job_id, k.cycle, k.stage, k.attempt, k.n
    ON CONFLICT DO NOTHING RETURNING job_id, cycle, stage, attempt, n)
SELECT job_id, cycle, stage, attempt, n, k.upto, k.status, k.stages
FROM put JOIN known k USING (job_id, cycle, stage, attempt, n)
ORDER BY job_id, cycle, stage, attempt, n

-- name: trim_logs
-- Delete the middle of what attempts have logged: of so many bytes, a half at each end is kept.
DELETE FROM logs l
USING unnest($1::text[], $2::text::int[], $3::text::int[], $4::text::int[], $5::text::bigint[])
    AS g (job_id, cycle, stage, attempt, upto)
WHERE l.job_id = g.job_id AND l.cycle = g.cycle AND l.stage = g.stage AND l.attempt = g.attempt
    AND l.upto > $6::bigint AND l.start < g.upto - $6::bigint

-- name: prune_logs
-- Delete the lines of runs of tasks that no longer exist.
DELETE FROM logs l USING unnest($1::text[], $2::text[]) AS g (job_id, task_id)
WHERE l.job_id = g.job_id AND l.task_id = g.task_id
    AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = g.task_id)

-- name: prune_lost_logs
-- Look at the next runs that have lines, and delete the lines of those whose tasks no longer exist.
-- Returns the last run.
WITH RECURSIVE seen (job_id, task_id, place) AS (
    (SELECT job_id, task_id, 1 FROM logs WHERE job_id > $2::text ORDER BY job_id LIMIT 1)
    UNION ALL
    SELECT l.job_id, l.task_id, s.place + 1 FROM seen s CROSS JOIN LATERAL (
        SELECT job_id, task_id FROM logs WHERE job_id > s.job_id ORDER BY job_id LIMIT 1) l
    WHERE s.place < $1::int),
lost AS MATERIALIZED (
    SELECT s.job_id FROM seen s WHERE NOT EXISTS (SELECT FROM tasks t WHERE t.id = s.task_id)),
deleted AS (DELETE FROM logs WHERE job_id = ANY (ARRAY(SELECT job_id FROM lost)))
SELECT max(job_id) FROM seen

-- name: prune_received
-- Look at the next ids of messages of runs that ended before a time, and delete them, except those of
-- the last run of each task. Returns how many were deleted, and when the run of the last one had ended.
WITH seen AS MATERIALIZED (
    SELECT m.place, m.job_id, m.cleared_at,
        (SELECT t.job_id FROM tasks t WHERE t.id = m.task_id) AS last_job
    FROM (SELECT ctid AS place, job_id, task_id, cleared_at FROM received
        WHERE cleared_at < $1::float8 AND cleared_at > $3::float8
        ORDER BY cleared_at FETCH FIRST ($2::int) ROWS WITH TIES) m),
gone AS (
    DELETE FROM received WHERE ctid = ANY (ARRAY(
        SELECT place FROM seen WHERE job_id IS NULL OR last_job IS DISTINCT FROM job_id))
    RETURNING 1)
SELECT (SELECT count(*)::int FROM gone), (SELECT max(cleared_at) FROM seen)

-- name: prune_families
-- Delete the sizes of families that have been counted since before a time.
DELETE FROM families WHERE since < $1::float8

-- name: prune_pause
-- Delete a pause, unless it has changed.
DELETE FROM pauses WHERE id = $1::text AND body = $2::text

-- name: prune_notifications
-- Delete notifications older than a time.
DELETE FROM notifications WHERE id = ANY (ARRAY(
    SELECT id FROM notifications WHERE created < $1::text LIMIT $2::int))

-- name: add_audit
-- Insert audit records, or complete existing ones.
INSERT INTO audit ({audit.names})
SELECT * FROM unnest({audit.arrays})
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
    connected_at, last_ping, lease_until, owner, instance, attempt)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (id) DO UPDATE SET
    session = excluded.session, status = excluded.status, app_names = excluded.app_names,
    commands = excluded.commands, capacity = excluded.capacity, host = excluded.host,
    pid = excluded.pid, version = excluded.version, manager_id = excluded.manager_id,
    connected_at = excluded.connected_at, last_ping = excluded.last_ping,
    lease_until = excluded.lease_until, owner = excluded.owner, instance = excluded.instance,
    attempt = excluded.attempt

-- name: lock_expired
-- Lock executors whose lease has ended and that are not LOST yet, all or those with a session of an
-- array.
WITH locked AS MATERIALIZED (
    SELECT {executor_columns} FROM executors e
    WHERE e.status IN ('ACTIVE', 'DRAINING', 'SUSPENDED') AND e.lease_until <= {statement_clock}
        AND ($2::text[] IS NULL OR e.session = ANY ($2::text[]))
    ORDER BY e.lease_until LIMIT $1::int FOR UPDATE SKIP LOCKED)
SELECT {executor_columns}, {clock} FROM locked e ORDER BY e.lease_until

-- name: ping
-- Renew leases, in the order of the ids. A renewal never shortens a lease.
WITH live AS MATERIALIZED (
    SELECT e.id, p.capacity
    FROM unnest($1::text[], $2::text[], $3::text::int[]) AS p (id, session, capacity)
    JOIN executors e ON e.id = p.id AND e.session = p.session
    WHERE e.status NOT IN ('LOST', 'GONE') ORDER BY e.id FOR NO KEY UPDATE OF e)
UPDATE executors e SET last_ping = {clock},
    lease_until = greatest(e.lease_until, {clock} + $4::float8), capacity = live.capacity
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

-- name: holders
-- Read the sessions of executors, and the leases of the tasks that they hold.
SELECT e.id, e.session, e.status, held.id, held.job_id, held.epoch, held.nonce
FROM executors e LEFT JOIN LATERAL (SELECT t.id, t.job_id, t.epoch, t.nonce FROM tasks t
    WHERE t.executor_id = e.id OFFSET 0) AS held ON true
WHERE e.id = ANY ($1::text[])

-- name: forget_executors
-- Delete executors that left long ago.
DELETE FROM executors WHERE status IN ('LOST', 'GONE') AND lease_until < $1::float8

-- name: manager_seen
-- Record that a manager is up, and read since when managers have been up without interruption, and
-- whether a bulk call goes on.
-- Nothing is recorded if the clock is not between $5 and $6, where the manager expects it.
WITH moment AS MATERIALIZED (SELECT {clock} AS now)
INSERT INTO managers (id, up_since, covered_since, seen_at)
SELECT $1::text,
    least(moment.now, (SELECT min(m.up_since) FROM managers m
        WHERE m.seen_at >= moment.now - $2::float8 AND NOT m.stopped)),
    least(moment.now, (SELECT min(coalesce(m.covered_since, m.up_since)) FROM managers m
        WHERE m.seen_at >= moment.now - CASE WHEN m.stopped THEN $3::float8 ELSE $4::float8 END)),
    moment.now
FROM moment WHERE moment.now BETWEEN $5::float8 AND $6::float8
ON CONFLICT (id) DO UPDATE SET up_since = excluded.up_since,
    covered_since = excluded.covered_since, seen_at = excluded.seen_at
RETURNING seen_at, up_since, covered_since,
    EXISTS (SELECT FROM bulks WHERE state = 'RUNNING')

-- name: manager_gone
-- Record that a manager has stopped.
UPDATE managers SET stopped = true, seen_at = {clock} WHERE id = $1::text

-- name: forget_managers
-- Delete managers that were up long ago.
DELETE FROM managers WHERE seen_at < $1::float8

-- name: work_summary
-- Read the work summary: clock, next due time, ready streams, suspect streams, next expiry, gates
-- of pauses that hold tasks, whether slots are unsettled, whether there are signals, the revision
-- of principals and tokens, whether tasks wait for executors with their methods.
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
    EXISTS (SELECT FROM slots WHERE unsettled), EXISTS (SELECT FROM signals),
    (SELECT value FROM revisions WHERE name = 'tokens'),
    EXISTS (SELECT FROM tasks WHERE gate >= 'm!' AND gate < 'm;')

-- name: method_gates
-- Read the gates of methods at which tasks wait, and their streams, after a gate and stream.
WITH RECURSIVE found (gate, app_name) AS (
    SELECT $1::text COLLATE "C", $2::text COLLATE "C"
    UNION ALL
    SELECT t.gate, t.app_name FROM found f CROSS JOIN LATERAL (
        SELECT t.gate, t.app_name FROM tasks t
        WHERE (t.gate, t.app_name) > (f.gate, f.app_name) AND t.gate >= 'm!' AND t.gate < 'm;'
        ORDER BY t.gate, t.app_name LIMIT 1) AS t)
SELECT gate, app_name FROM found OFFSET 1 LIMIT $3::int

-- name: runs
-- Read the runs of a task, newest first, up to a number and a size of all errors together.
WITH newest AS (
    SELECT * FROM runs WHERE task_id = $1::text
    ORDER BY ended_at DESC, scheduled_at DESC NULLS LAST, run_id DESC LIMIT $2::int),
sized AS (
    SELECT n.*, sum(coalesce(octet_length(error), 0)) OVER (
        ORDER BY ended_at DESC, scheduled_at DESC NULLS LAST, run_id DESC ROWS UNBOUNDED PRECEDING) AS read_bytes
    FROM newest n)
SELECT task_id, job_id, status, scheduled_at, queued_at, started_at, ended_at, exit_code, error,
    retries, stage, stages, executor_id, note, version
FROM sized WHERE read_bytes <= $3::bigint
ORDER BY ended_at DESC, scheduled_at DESC NULLS LAST, run_id DESC

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
    SELECT task_id, queued_at, started_at FROM runs WHERE ended_at >= $1::float8
    ORDER BY ended_at DESC LIMIT $2::int) r
JOIN tasks t ON t.id = r.task_id WHERE r.started_at IS NOT NULL AND r.queued_at IS NOT NULL

-- name: add_mark
-- Insert a mark. A repetition changes nothing.
INSERT INTO marks (id, at, label, app_name, user_id)
VALUES ($1::text, $2::float8, $3::text, $4::text, $5::text) ON CONFLICT (id) DO NOTHING

-- name: prune_marks
-- Delete marks older than a time.
DELETE FROM marks WHERE id = ANY (ARRAY(
    SELECT id FROM marks WHERE at < $1::float8 ORDER BY at LIMIT $2::int))

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
JOIN definitions d ON d.task_id = t.id WHERE d.user_id IS NOT NULL GROUP BY d.user_id

-- name: status_counts
-- Count tasks by stream and status.
SELECT app_name, status, count(*) FROM tasks GROUP BY app_name, status

-- name: set_notification
-- Show or hide a notification.
UPDATE notifications n SET enabled = $2::bool WHERE n.id = $1::text
RETURNING {notifications.of n}

-- name: delete_notifications
-- Delete the notifications of an array.
DELETE FROM notifications WHERE id = ANY ($1::text[])

-- name: notify
-- Wake other managers.
SELECT pg_notify($1::text, $2::text)

-- name: notify_each
-- Send messages to other managers, in order.
SELECT pg_notify($1::text, payload) FROM unnest($2::text[]) AS payload

-- name: lock_clock
-- Lock the clock, and read how often it was set.
SELECT value FROM revisions WHERE name = 'clock' FOR UPDATE

-- name: raise_clock
-- Record that a step of the clock was applied.
UPDATE revisions SET value = value + 1 WHERE name = 'clock'

-- name: lock_times
-- Wait for all transactions that change times, and let no other one begin.
LOCK TABLE executors, tasks, managers IN EXCLUSIVE MODE

-- name: others_agree
-- Check whether another manager was seen by the present clock. One that has just started does not
-- know of another time.
SELECT EXISTS (SELECT 1 FROM managers WHERE id <> $1::text AND NOT stopped
    AND seen_at BETWEEN {clock} - $2::float8 AND {clock} + 1 AND up_since < {clock} - $2::float8)

-- name: perhaps_delayed
-- Read the definitions of unfinished tasks that may have a delay.
SELECT d.task_id, d.rev, d.body FROM tasks t JOIN definitions d ON d.task_id = t.id
WHERE t.status NOT IN ('FINISHED', 'FAILED') AND d.body LIKE '%"delayed":true%'

-- name: shift_tasks
-- Move the times of unfinished tasks that count from a moment by a number of seconds.
-- $2: ids of the tasks with a delay.
WITH kinds AS MATERIALIZED (
    SELECT t.id, CASE WHEN t.explicit THEN l.id IS NOT NULL
            ELSE d.every_seconds IS NOT NULL END AS interval,
        t.run_open AND l.id IS NOT NULL AS delayed
    FROM tasks t JOIN definitions d ON d.task_id = t.id
    LEFT JOIN unnest($2::text[]) AS l (id) ON l.id = t.id
    WHERE t.status NOT IN ('FINISHED', 'FAILED')),
moved AS MATERIALIZED (
    SELECT t.id, k.interval, CASE
        WHEN NOT t.run_open OR (t.status <> 'IDLE' AND coalesce(t.held, '') <> 'IDLE')
            THEN k.interval
        ELSE t.run_queued_at IS NOT NULL OR k.delayed END AS next
    FROM kinds k JOIN tasks t ON t.id = k.id)
UPDATE tasks t SET
    queued_at = queued_at + $1::float8, queue_deadline = queue_deadline + $1::float8,
    exec_deadline = exec_deadline + $1::float8, stage_deadline = stage_deadline + $1::float8,
    stage_started_at = stage_started_at + $1::float8,
    wait_deadline = wait_deadline + $1::float8, run_queued_at = run_queued_at + $1::float8,
    run_started_at = run_started_at + $1::float8, status_change = status_change + $1::float8,
    reason_change = reason_change + $1::float8,
    due_at = due_at + CASE WHEN status <> 'IDLE' OR moved.next
        OR (start_next AND NOT (run_open AND run_queued_at IS NOT NULL)) THEN $1::float8 ELSE 0 END,
    next_run = next_run + CASE WHEN moved.next THEN $1::float8 ELSE 0 END,
    fire_at = fire_at + CASE WHEN moved.interval THEN $1::float8 ELSE 0 END,
    anchor = anchor + CASE WHEN moved.interval THEN $1::float8 ELSE 0 END,
    late_until = late_until + CASE WHEN moved.interval THEN $1::float8 ELSE 0 END,
    version = version + 1
FROM moved WHERE moved.id = t.id

-- name: shift_executors
-- Give executors the rest of their lease from now on, after the clock was set to $2.
UPDATE executors SET connected_at = connected_at + $1::float8, last_ping = $2::float8,
    lease_until = $2::float8 + greatest(0, lease_until - last_ping)
WHERE status NOT IN ('LOST', 'GONE')

-- name: shift_managers
-- Move the times of managers back. Forward, the jump counts as a break.
UPDATE managers SET up_since = up_since + $1::float8, covered_since = covered_since + $1::float8,
    seen_at = seen_at + $1::float8
WHERE $1::float8 < 0

-- name: jumped
-- Read the tasks whose next fire is before a time: with a cron expression, or of an interval
-- that has not begun.
SELECT {tasks.of t}, d.rev, d.body FROM definitions d JOIN tasks t ON t.id = d.task_id
WHERE (d.cron IS NOT NULL OR (d.every_seconds IS NOT NULL AND t.explicit))
    AND t.fire_at < $1::float8

-- name: set_fire
-- Set the next fire of a task.
UPDATE tasks SET fire_at = $2::float8, next_run = $3::float8, due_at = $4::float8
WHERE id = $1::text

-- name: lock_tokens
-- Lock all principals and tokens, and increase their revision.
UPDATE revisions SET value = value + 1 WHERE name = 'tokens' RETURNING value, {clock}

-- name: principal
-- Read a principal.
SELECT {principal_columns} FROM principals p WHERE p.id = $1::text

-- name: token
-- Read a token.
SELECT {token_columns} FROM tokens k WHERE k.id = $1::text

-- name: principals
-- Read all principals.
SELECT {principal_columns} FROM principals p ORDER BY p.id

-- name: tokens
-- Read all tokens and their last use.
SELECT {token_columns}, u.at, u.remote FROM tokens k LEFT JOIN token_uses u ON u.token_id = k.id
ORDER BY k.created, k.id

-- name: credential
-- Read the clock, a token, its principal, the revision of all of them, and whether there is any
-- token.
SELECT {clock}, r.value, EXISTS (SELECT FROM tokens), {principal_columns}, {token_columns}
FROM revisions r LEFT JOIN tokens k ON k.id = $1::text LEFT JOIN principals p ON p.id = k.principal_id
WHERE r.name = 'tokens'

-- name: put_principal
-- Insert or update a principal.
INSERT INTO principals (id, kind, scope, created, created_by, disabled_at, quotas)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, disabled_at = excluded.disabled_at,
    quotas = excluded.quotas

-- name: put_token
-- Insert or update a token.
INSERT INTO tokens (id, principal_id, scope, hash, note, created, created_by, expires_at,
    revoked_at, successor)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO UPDATE SET note = excluded.note, expires_at = excluded.expires_at,
    revoked_at = excluded.revoked_at, successor = excluded.successor

-- name: tokens_used
-- Record the last uses of tokens.
INSERT INTO token_uses (token_id, at, remote)
SELECT * FROM unnest($1::text[], $2::text::float8[], $3::text[])
ON CONFLICT (token_id) DO UPDATE SET at = excluded.at, remote = excluded.remote
WHERE excluded.at >= token_uses.at

-- name: lock_bulks
-- Let no other bulk call begin meanwhile.
UPDATE revisions SET value = value + 1 WHERE name = 'bulks'

-- name: running_bulks
-- Count the bulk calls of a principal that have not ended.
SELECT count(*) FROM bulks WHERE state = 'RUNNING' AND user_id IS NOT DISTINCT FROM $1::text

-- name: bulk
-- Read a bulk call.
SELECT {bulk_columns} FROM bulks b WHERE b.id = $1::text

-- name: lock_bulk
-- Lock a bulk call.
SELECT {bulk_columns} FROM bulks b WHERE b.id = $1::text FOR UPDATE

-- name: open_bulks
-- Read the bulk calls that a manager goes on with, and those whose manager is gone.
SELECT b.id FROM bulks b WHERE b.state = 'RUNNING' AND (b.manager_id = $1::text OR NOT EXISTS (
    SELECT FROM managers m
    WHERE m.id = b.manager_id AND NOT m.stopped AND m.seen_at >= $2::float8))
ORDER BY b.started, b.id

-- name: bulk_is_free
-- Check whether the manager of a bulk call is gone.
SELECT NOT EXISTS (SELECT FROM managers m
    WHERE m.id = $1::text AND NOT m.stopped AND m.seen_at >= $2::float8)

-- name: add_bulk
-- Insert a bulk call.
INSERT INTO bulks (id, method, user_id, state, started, ended, manager_id, epoch, cursor, body,
    progress)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: save_bulk
-- Write what changes in a bulk call.
UPDATE bulks SET state = $2, ended = $3, manager_id = $4, epoch = $5, cursor = $6, progress = $7
WHERE id = $1

-- name: prune_bulks
-- Delete bulk calls that ended before a time.
DELETE FROM bulks WHERE id = ANY (ARRAY(SELECT id FROM bulks WHERE ended < $1::float8 LIMIT $2::int))

-- name: add_stats
-- Add a JSON list of counts to those of their minutes and hours.
INSERT INTO stats (step, at, app_name, name, bucket, manager_id, count, total)
SELECT (v->>0)::bigint, (v->>1)::bigint, v->>2, v->>3, (v->>4)::bigint, $2::text,
    (v->>5)::bigint, (v->>6)::float8
FROM json_array_elements($1::text::json) AS v
ON CONFLICT (step, at, app_name, name, bucket, manager_id) DO UPDATE
SET count = stats.count + excluded.count, total = stats.total + excluded.total

-- name: stats
-- Add up the counts of a time, in intervals: first those of each moment, in the order of the index.
SELECT w.name, f.at, f.bucket, f.count, f.total
FROM (SELECT DISTINCT json_array_elements_text($5::text::json) AS name) w, LATERAL (
    SELECT m.at - m.at % $4::bigint AS at, m.bucket, sum(m.count)::bigint AS count,
        sum(m.total) AS total
    FROM (SELECT s.at, s.bucket, sum(s.count) AS count, sum(s.total) AS total FROM stats s
        WHERE s.step = $1::bigint AND s.name = w.name AND s.at >= $2::bigint AND s.at < $3::bigint
            AND ($6::text IS NULL
                OR s.app_name = ANY (ARRAY(SELECT json_array_elements_text($6::text::json))))
        GROUP BY s.at, s.bucket) m
    GROUP BY 1, 2) f
ORDER BY 1, 2, 3

-- name: stat_streams
-- Read the streams that have counts of a time.
SELECT DISTINCT app_name FROM stats
WHERE step = $1::bigint AND at >= $2::bigint AND at < $3::bigint

-- name: stat_durations
-- Add up the durations since a minute, by stream and bucket.
SELECT app_name, bucket, sum(count)::bigint FROM stats
WHERE step = 60 AND name = $1::text AND at >= $2::bigint GROUP BY 1, 2 ORDER BY 1, 2

-- name: prune_stats
-- Delete the counts of minutes or hours before a time.
DELETE FROM stats WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM stats WHERE step = $1::bigint AND at < $2::bigint LIMIT $3::int))
