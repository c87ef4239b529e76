-- What tasks wait for beside an executor: slots, pauses, other tasks; and claims to be the only one.

-- `gate`: 'c:' and the key of a full slot, or 'p:' and the id of a pause. `awaited`: some task may
-- wait for the end of this one's run.
ALTER TABLE tasks
    ADD COLUMN gate text COLLATE "C",
    ADD COLUMN awaited boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT tasks_gated_is_held CHECK (
        gate IS NULL OR (status = 'QUEUED' AND ready = 0));
CREATE INDEX tasks_gated ON tasks (gate, app_name, priority DESC, queued_at, id)
    WHERE gate IS NOT NULL;

-- How many runs of a key are EXECUTED. `unsettled`: a waiter was locked when its turn came.
CREATE TABLE slots (
    key text COLLATE "C" PRIMARY KEY,
    used integer NOT NULL,
    unsettled boolean NOT NULL,
    CONSTRAINT slots_used_counts CHECK (used >= 0)
) WITH (fillfactor = 50);
CREATE INDEX slots_unsettled ON slots (key) WHERE unsettled;

-- Which task holds a unique key.
CREATE TABLE claims (
    key text COLLATE "C" PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL
);
CREATE INDEX claims_task ON claims (task_id);

CREATE TABLE pauses (
    id text COLLATE "C" PRIMARY KEY,
    body text NOT NULL
);
-- Rises with each change of a table that managers keep in memory.
CREATE TABLE revisions (
    name text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO revisions (name, value) VALUES ('pauses', 0);

-- Tasks that a stage of another one waits for. The last columns are null until the child's run has
-- ended; `made`: the parent's stage created it.
CREATE TABLE children (
    parent_job text COLLATE "C" NOT NULL,
    stage integer NOT NULL,
    position integer NOT NULL,
    cycle integer NOT NULL,
    parent_id text COLLATE "C" NOT NULL,
    child_id text COLLATE "C" NOT NULL,
    made boolean NOT NULL,
    status text COLLATE "C",
    exit_code integer,
    error text,
    job_id text COLLATE "C",
    job_cycle integer,
    stages integer,
    PRIMARY KEY (parent_job, stage, position),
    CONSTRAINT children_status_known CHECK (status IN ('FINISHED', 'FAILED')),
    CONSTRAINT children_ended_has_exit_code CHECK ((status IS NULL) = (exit_code IS NULL))
);
CREATE INDEX children_status ON children (parent_job, stage, status);
CREATE INDEX children_awaited ON children (child_id) WHERE status IS NULL;
CREATE INDEX children_parent ON children (parent_id);

-- Tasks that the manager must look at, because something they wait for has changed.
CREATE TABLE signals (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL
);
