-- What stages log and print: consecutive lines of one attempt, from number `n` to number `last`, as
-- JSON. `start` and `upto` count the bytes of the attempt before and after them.
CREATE TABLE logs (
    job_id TEXT NOT NULL,
    cycle INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    n INTEGER NOT NULL,
    last INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job_id, cycle, stage, attempt, n),
    CONSTRAINT logs_numbered CHECK (n >= 1 AND last >= n)
) STRICT;
