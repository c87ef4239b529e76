-- The first schema. Times are UNIX seconds; JSON is kept as the text it came as.

-- What changes often of a task: narrow, and with no index but those that acquiring needs.
CREATE TABLE tasks (
    id text COLLATE "C" PRIMARY KEY,
    app_name text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    status text COLLATE "C" NOT NULL,
    status_reason text COLLATE "C",
    enabled boolean NOT NULL,
    ready integer NOT NULL,
    run_open boolean NOT NULL,
    stage integer NOT NULL,
    stages integer NOT NULL,
    job_id text COLLATE "C",
    cycle integer NOT NULL,
    attempt integer NOT NULL,
    retries integer NOT NULL,
    losses integer NOT NULL,
    epoch integer NOT NULL,
    nonce text COLLATE "C",
    executor_id text COLLATE "C",
    held text COLLATE "C",
    hold_next boolean NOT NULL,
    start_next boolean NOT NULL,
    due_at double precision,
    next_run double precision,
    fire_at double precision,
    explicit boolean NOT NULL,
    anchor double precision NOT NULL,
    scheduled_at double precision,
    queued_at double precision,
    queue_deadline double precision,
    queue_left double precision,
    exec_deadline double precision,
    exec_used double precision NOT NULL,
    stage_started_at double precision,
    wait_deadline double precision,
    run_queued_at double precision,
    run_started_at double precision,
    status_change double precision NOT NULL,
    result_bytes bigint NOT NULL,
    exit_code integer,
    error text,
    rev bigint NOT NULL,
    version integer NOT NULL,
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
) WITH (
    -- Acquiring and finishing take a row out of an index: never HOT, so vacuum comes often.
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX tasks_ready ON tasks (app_name, priority DESC, queued_at, id) WHERE ready = 1;
CREATE INDEX tasks_suspect ON tasks (app_name, priority DESC, queued_at, id) WHERE ready = 2;
CREATE INDEX tasks_due ON tasks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tasks_leased ON tasks (executor_id) WHERE executor_id IS NOT NULL;

-- What a client defined, and of it the columns that queries may name.
CREATE TABLE definitions (
    task_id text COLLATE "C" PRIMARY KEY,
    rev bigint NOT NULL,
    body text NOT NULL,
    created text COLLATE "C" NOT NULL,
    cron text COLLATE "C",
    every_seconds double precision,
    next_task text COLLATE "C",
    system boolean NOT NULL,
    notify boolean NOT NULL,
    group_name text COLLATE "C",
    group_id text COLLATE "C",
    user_id text COLLATE "C",
    parent_id text COLLATE "C",
    description text COLLATE "C"
);
CREATE INDEX definitions_group ON definitions (group_name, group_id)
    WHERE group_name IS NOT NULL;
CREATE INDEX definitions_created ON definitions (created);

-- Ended attempts of stages, and in them the results. `failed_attempt` is 0 for the one that
-- ended its stage well, so that the key allows one result for a stage.
CREATE TABLE stages (
    job_id text COLLATE "C" NOT NULL,
    cycle integer NOT NULL,
    stage integer NOT NULL,
    failed_attempt integer NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    attempt integer NOT NULL,
    method text COLLATE "C" NOT NULL,
    name text COLLATE "C",
    executor_id text COLLATE "C",
    queued_at double precision,
    started_at double precision,
    ended_at double precision NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    rescued boolean NOT NULL,
    result text,
    error text,
    copied boolean NOT NULL DEFAULT false,
    PRIMARY KEY (job_id, cycle, stage, failed_attempt),
    CONSTRAINT stages_outcome_known CHECK (outcome IN
        ('FINISHED', 'SKIPPED', 'FAILED', 'LOST', 'RELEASED', 'SUSPENDED', 'CANCELLED')),
    CONSTRAINT stages_one_result CHECK (
        failed_attempt = CASE WHEN outcome IN ('FINISHED', 'SKIPPED') THEN 0 ELSE attempt END),
    CONSTRAINT stages_result_of_success CHECK ((failed_attempt = 0) = (result IS NOT NULL)),
    CONSTRAINT stages_numbers_bounded CHECK (
        stage BETWEEN 0 AND 99 AND attempt >= 1 AND cycle >= 0)
);
-- A task's stages are found through its runs; copies may belong to a run that never began.
CREATE INDEX stages_copied ON stages (task_id) WHERE copied;

-- Ended runs, and fires that were missed.
CREATE TABLE runs (
    run_id text COLLATE "C" PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL,
    job_id text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    scheduled_at double precision,
    queued_at double precision,
    started_at double precision,
    ended_at double precision NOT NULL,
    exit_code integer,
    error text,
    retries integer NOT NULL,
    stage integer NOT NULL,
    stages integer NOT NULL,
    executor_id text COLLATE "C",
    note text COLLATE "C",
    CONSTRAINT runs_status_known CHECK (status IN ('FINISHED', 'FAILED', 'CANCELLED', 'MISSED')),
    CONSTRAINT runs_missed_has_no_job CHECK ((status = 'MISSED') = (job_id IS NULL)),
    CONSTRAINT runs_finished_has_exit_code CHECK (
        status <> 'FINISHED' OR (exit_code IS NOT NULL AND exit_code = 0)),
    CONSTRAINT runs_failed_has_exit_code CHECK (
        status <> 'FAILED'
        OR (exit_code IS NOT NULL AND exit_code IN (1, 130) AND error IS NOT NULL))
);
CREATE INDEX runs_task ON runs (task_id, ended_at);
CREATE INDEX runs_ended ON runs (ended_at);

-- Messages of open and coming runs.
CREATE TABLE inbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    name text COLLATE "C",
    data text NOT NULL,
    consumed boolean NOT NULL,
    CONSTRAINT inbox_message UNIQUE (task_id, message_id)
);

CREATE TABLE executors (
    id text COLLATE "C" PRIMARY KEY,
    session text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    app_names text NOT NULL,
    commands text NOT NULL,
    capacity integer NOT NULL,
    host text COLLATE "C",
    pid integer,
    version text COLLATE "C",
    manager_id text COLLATE "C" NOT NULL,
    connected_at double precision NOT NULL,
    last_ping double precision NOT NULL,
    lease_until double precision NOT NULL,
    CONSTRAINT executors_status_known CHECK (status IN
        ('ACTIVE', 'DRAINING', 'SUSPENDED', 'LOST', 'GONE')),
    CONSTRAINT executors_capacity_counts CHECK (capacity >= 0)
) WITH (fillfactor = 50);

CREATE TABLE managers (
    id text COLLATE "C" PRIMARY KEY,
    up_since double precision NOT NULL,
    seen_at double precision NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE notifications (
    id text COLLATE "C" PRIMARY KEY,
    message text NOT NULL,
    kws text NOT NULL,
    created text COLLATE "C" NOT NULL,
    enabled boolean NOT NULL,
    user_id text COLLATE "C",
    task_id text COLLATE "C" NOT NULL,
    job_id text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    result text NOT NULL,
    exit_code integer,
    error text
);
CREATE INDEX notifications_created ON notifications (created, id);
