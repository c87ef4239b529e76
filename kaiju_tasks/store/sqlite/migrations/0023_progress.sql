-- The progress of running stages: `{done, total, message, at}` as JSON.
CREATE TABLE progress (
    task_id TEXT NOT NULL PRIMARY KEY,
    job_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
