-- Ids of the messages that ended runs received, so that a repeat is recognised. `job_id` is null for
-- a message that was stored before the first run.
CREATE TABLE received (
    task_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    job_id TEXT,
    cleared_at REAL NOT NULL,
    PRIMARY KEY (task_id, message_id)
) STRICT;
CREATE INDEX received_cleared ON received (cleared_at);
