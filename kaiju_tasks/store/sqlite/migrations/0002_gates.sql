-- What tasks wait for beside an executor: slots, pauses, other tasks; and claims to be the only one.

-- 'c:' and the key of a full slot, or 'p:' and the id of a pause.
ALTER TABLE tasks ADD COLUMN gate TEXT CONSTRAINT tasks_gated_is_held CHECK (
    gate IS NULL OR (status = 'QUEUED' AND ready = 0));
-- Some task may wait for the end of this one's run.
ALTER TABLE tasks ADD COLUMN awaited INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tasks_gated ON tasks (gate, app_name, priority DESC, queued_at, id)
    WHERE gate IS NOT NULL;

-- How many runs of a key are EXECUTED. `unsettled`: a waiter was locked when its turn came.
CREATE TABLE slots (
    key TEXT NOT NULL PRIMARY KEY,
    used INTEGER NOT NULL,
    unsettled INTEGER NOT NULL,
    CONSTRAINT slots_used_counts CHECK (used >= 0)
) STRICT;
CREATE INDEX slots_unsettled ON slots (key) WHERE unsettled;

-- Which task holds a unique key.
CREATE TABLE claims (
    key TEXT NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL
) STRICT;
CREATE INDEX claims_task ON claims (task_id);

CREATE TABLE pauses (
    id TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;
-- Rises with each change of a table that managers keep in memory.
CREATE TABLE revisions (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO revisions (name, value) VALUES ('pauses', 0);

-- Tasks that a stage of another one waits for. The last columns are null until the child's run has
-- ended; `made`: the parent's stage created it.
CREATE TABLE children (
    parent_job TEXT NOT NULL,
    stage INTEGER NOT NULL,
    position INTEGER NOT NULL,
    cycle INTEGER NOT NULL,
    parent_id TEXT NOT NULL,
    child_id TEXT NOT NULL,
    made INTEGER NOT NULL,
    status TEXT,
    exit_code INTEGER,
    error TEXT,
    job_id TEXT,
    job_cycle INTEGER,
    stages INTEGER,
    PRIMARY KEY (parent_job, stage, position),
    CONSTRAINT children_status_known CHECK (status IN ('FINISHED', 'FAILED')),
    CONSTRAINT children_ended_has_exit_code CHECK ((status IS NULL) = (exit_code IS NULL))
) STRICT;
CREATE INDEX children_status ON children (parent_job, stage, status);
CREATE INDEX children_awaited ON children (child_id) WHERE status IS NULL;
CREATE INDEX children_parent ON children (parent_id);

-- Tasks that the manager must look at, because something they wait for has changed.
CREATE TABLE signals (
    seq INTEGER NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL
) STRICT;
