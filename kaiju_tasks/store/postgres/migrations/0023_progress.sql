-- The progress of running stages: `{done, total, message, at}` as JSON.
CREATE TABLE progress (
    task_id text COLLATE "C" PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    stage integer NOT NULL,
    body text NOT NULL
) WITH (fillfactor = 50);
