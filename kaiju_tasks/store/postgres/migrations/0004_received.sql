-- Ids of the messages that ended runs received, so that a repeat is recognised. `job_id` is null for
-- a message that was stored before the first run.
CREATE TABLE received (
    task_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    job_id text COLLATE "C",
    cleared_at double precision NOT NULL,
    PRIMARY KEY (task_id, message_id)
);
CREATE INDEX received_cleared ON received (cleared_at);
