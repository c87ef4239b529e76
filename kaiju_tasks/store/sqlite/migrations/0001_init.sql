-- The first schema. Times are UNIX seconds; JSON is kept as the text it came as.

-- What changes often of a task: narrow, and with no index but those that acquiring needs.
CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    app_name TEXT NOT NULL,
    priority INTEGER NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    enabled INTEGER NOT NULL,
    ready INTEGER NOT NULL,
    run_open INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    stages INTEGER NOT NULL,
    job_id TEXT,
    cycle INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    nonce TEXT,
    executor_id TEXT,
    held TEXT,
    hold_next INTEGER NOT NULL,
    start_next INTEGER NOT NULL,
    due_at REAL,
    next_run REAL,
    fire_at REAL,
    explicit INTEGER NOT NULL,
    anchor REAL NOT NULL,
    scheduled_at REAL,
    queued_at REAL,
    queue_deadline REAL,
    queue_left REAL,
    exec_deadline REAL,
    exec_used REAL NOT NULL,
    stage_started_at REAL,
    wait_deadline REAL,
    run_queued_at REAL,
    run_started_at REAL,
    status_change REAL NOT NULL,
    result_bytes INTEGER NOT NULL,
    exit_code INTEGER,
    error TEXT,
    rev INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT tasks_status_known CHECK (status IN
        ('IDLE', 'QUEUED', 'EXECUTED', 'WAITING', 'SUSPENDED', 'FINISHED', 'FAILED')),
    CONSTRAINT tasks_finished_has_exit_code CHECK (
        status <> 'FINISHED' OR (exit_code IS NOT NULL AND exit_code = 0)),
    CONSTRAINT tasks_failed_has_exit_code CHECK (
        status <> 'FAILED' OR (exit_code IS NOT NULL AND exit_code IN (1, 130))),
    CONSTRAINT tasks_failed_has_error CHECK (status <> 'FAILED' OR error IS NOT NULL),
    CONSTRAINT tasks_only_executed_is_leased CHECK (
        status = 'EXECUTED' OR (executor_id IS NULL AND nonce IS NULL)),
    CONSTRAINT tasks_executed_is_leased CHECK (
        status <> 'EXECUTED' OR (executor_id IS NOT NULL AND nonce IS NOT NULL
            AND exec_deadline IS NOT NULL AND job_id IS NOT NULL)),
    CONSTRAINT tasks_only_queued_is_ready CHECK (ready = 0 OR status = 'QUEUED'),
    CONSTRAINT tasks_ready_known CHECK (ready IN (0, 1, 2)),
    CONSTRAINT tasks_queued_has_place CHECK (status <> 'QUEUED' OR queued_at IS NOT NULL),
    CONSTRAINT tasks_suspended_is_held CHECK ((status = 'SUSPENDED') = (held IS NOT NULL)),
    CONSTRAINT tasks_stages_bounded CHECK (stages BETWEEN 1 AND 100),
    -- The last run's results stay readable when an ended task gets fewer commands.
    CONSTRAINT tasks_stage_bounded CHECK (
        stage BETWEEN 0 AND 100 AND (stage <= stages OR NOT run_open)),
    CONSTRAINT tasks_retries_bounded CHECK (retries BETWEEN 0 AND 10),
    CONSTRAINT tasks_counters_count CHECK (
        cycle >= 0 AND attempt >= 0 AND losses >= 0 AND epoch >= 0 AND version >= 0)
) STRICT;
CREATE INDEX tasks_ready ON tasks (app_name, priority DESC, queued_at, id) WHERE ready = 1;
CREATE INDEX tasks_suspect ON tasks (app_name, priority DESC, queued_at, id) WHERE ready = 2;
CREATE INDEX tasks_due ON tasks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tasks_leased ON tasks (executor_id) WHERE executor_id IS NOT NULL;

-- What a client defined, and of it the columns that queries may name.
CREATE TABLE definitions (
    task_id TEXT NOT NULL PRIMARY KEY,
    rev INTEGER NOT NULL,
    body TEXT NOT NULL,
    created TEXT NOT NULL,
    cron TEXT,
    every_seconds REAL,
    next_task TEXT,
    system INTEGER NOT NULL,
    notify INTEGER NOT NULL,
    group_name TEXT,
    group_id TEXT,
    user_id TEXT,
    parent_id TEXT,
    description TEXT
) STRICT;
CREATE INDEX definitions_group ON definitions (group_name, group_id)
    WHERE group_name IS NOT NULL;
CREATE INDEX definitions_created ON definitions (created);

-- Ended attempts of stages, and in them the results. `failed_attempt` is 0 for the one that
-- ended its stage well, so that the key allows one result for a stage.
CREATE TABLE stages (
    job_id TEXT NOT NULL,
    cycle INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    failed_attempt INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    method TEXT NOT NULL,
    name TEXT,
    executor_id TEXT,
    queued_at REAL,
    started_at REAL,
    ended_at REAL NOT NULL,
    outcome TEXT NOT NULL,
    rescued INTEGER NOT NULL,
    result TEXT,
    error TEXT,
    copied INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, cycle, stage, failed_attempt),
    CONSTRAINT stages_outcome_known CHECK (outcome IN
        ('FINISHED', 'SKIPPED', 'FAILED', 'LOST', 'RELEASED', 'SUSPENDED', 'CANCELLED')),
    CONSTRAINT stages_one_result CHECK (
        failed_attempt = CASE WHEN outcome IN ('FINISHED', 'SKIPPED') THEN 0 ELSE attempt END),
    CONSTRAINT stages_result_of_success CHECK ((failed_attempt = 0) = (result IS NOT NULL)),
    CONSTRAINT stages_numbers_bounded CHECK (
        stage BETWEEN 0 AND 99 AND attempt >= 1 AND cycle >= 0)
) STRICT;
-- A task's stages are found through its runs; copies may belong to a run that never began.
CREATE INDEX stages_copied ON stages (task_id) WHERE copied;

-- Ended runs, and fires that were missed.
CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL,
    job_id TEXT,
    status TEXT NOT NULL,
    scheduled_at REAL,
    queued_at REAL,
    started_at REAL,
    ended_at REAL NOT NULL,
    exit_code INTEGER,
    error TEXT,
    retries INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    stages INTEGER NOT NULL,
    executor_id TEXT,
    note TEXT,
    CONSTRAINT runs_status_known CHECK (status IN ('FINISHED', 'FAILED', 'CANCELLED', 'MISSED')),
    CONSTRAINT runs_missed_has_no_job CHECK ((status = 'MISSED') = (job_id IS NULL)),
    CONSTRAINT runs_finished_has_exit_code CHECK (
        status <> 'FINISHED' OR (exit_code IS NOT NULL AND exit_code = 0)),
    CONSTRAINT runs_failed_has_exit_code CHECK (
        status <> 'FAILED'
        OR (exit_code IS NOT NULL AND exit_code IN (1, 130) AND error IS NOT NULL))
) STRICT;
CREATE INDEX runs_task ON runs (task_id, ended_at);
CREATE INDEX runs_ended ON runs (ended_at);

-- Messages of open and coming runs.
CREATE TABLE inbox (
    seq INTEGER NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    name TEXT,
    data TEXT NOT NULL,
    consumed INTEGER NOT NULL,
    CONSTRAINT inbox_message UNIQUE (task_id, message_id)
) STRICT;

CREATE TABLE executors (
    id TEXT NOT NULL PRIMARY KEY,
    session TEXT NOT NULL,
    status TEXT NOT NULL,
    app_names TEXT NOT NULL,
    commands TEXT NOT NULL,
    capacity INTEGER NOT NULL,
    host TEXT,
    pid INTEGER,
    version TEXT,
    manager_id TEXT NOT NULL,
    connected_at REAL NOT NULL,
    last_ping REAL NOT NULL,
    lease_until REAL NOT NULL,
    CONSTRAINT executors_status_known CHECK (status IN
        ('ACTIVE', 'DRAINING', 'SUSPENDED', 'LOST', 'GONE')),
    CONSTRAINT executors_capacity_counts CHECK (capacity >= 0)
) STRICT;

CREATE TABLE managers (
    id TEXT NOT NULL PRIMARY KEY,
    up_since REAL NOT NULL,
    seen_at REAL NOT NULL
) STRICT;

CREATE TABLE notifications (
    id TEXT NOT NULL PRIMARY KEY,
    message TEXT NOT NULL,
    kws TEXT NOT NULL,
    created TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    user_id TEXT,
    task_id TEXT NOT NULL,
    job_id TEXT,
    status TEXT NOT NULL,
    result TEXT NOT NULL,
    exit_code INTEGER,
    error TEXT
) STRICT;
CREATE INDEX notifications_created ON notifications (created, id);
