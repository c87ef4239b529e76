-- What users and operators ask for: the tasks of an owner, what runs next, and the counts of a time.
-- Those of large tables can be built before without blocking writes, see docs/operations.md.
CREATE INDEX IF NOT EXISTS definitions_owner ON definitions (user_id, created) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_next_run ON tasks (next_run, id) WHERE next_run IS NOT NULL;
DROP INDEX stats_name;
CREATE INDEX stats_name ON stats (step, name, at, bucket) INCLUDE (app_name, count, total);
