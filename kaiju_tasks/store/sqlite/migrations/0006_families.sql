-- What runs set going: the starts that led to a run, and how many tasks a family has.

-- `chain`: JSON; the starts of existing tasks that led to the open or the next run.
ALTER TABLE tasks ADD COLUMN chain TEXT;

-- How many tasks were set going by the run `root_id`, itself or through others, since a time.
CREATE TABLE families (
    root_id TEXT NOT NULL PRIMARY KEY,
    tasks INTEGER NOT NULL,
    since REAL NOT NULL,
    CONSTRAINT families_tasks_count CHECK (tasks > 0)
) STRICT;
CREATE INDEX families_since ON families (since);
