-- What stages log and print: consecutive lines of one attempt, from number `n` to number `last`, as
-- JSON. `start` and `upto` count the bytes of the attempt before and after them.
CREATE TABLE logs (
    job_id text COLLATE "C" NOT NULL,
    cycle integer NOT NULL,
    stage integer NOT NULL,
    attempt integer NOT NULL,
    n bigint NOT NULL,
    last bigint NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    upto bigint NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (job_id, cycle, stage, attempt, n),
    CONSTRAINT logs_numbered CHECK (n >= 1 AND last >= n)
);
