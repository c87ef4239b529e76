-- What runs set going: the starts that led to a run, and how many tasks a family has.

-- `chain`: JSON; the starts of existing tasks that led to the open or the next run.
ALTER TABLE tasks ADD COLUMN chain text COLLATE "C";

-- How many tasks were set going by the run `root_id`, itself or through others, since a time.
CREATE TABLE families (
    root_id text COLLATE "C" PRIMARY KEY,
    tasks bigint NOT NULL,
    since double precision NOT NULL,
    CONSTRAINT families_tasks_count CHECK (tasks > 0)
) WITH (fillfactor = 50);
CREATE INDEX families_since ON families (since);
