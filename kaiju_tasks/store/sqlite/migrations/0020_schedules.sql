-- Tasks with a schedule. Only these have an entry.
CREATE INDEX definitions_cron ON definitions (task_id) WHERE cron IS NOT NULL;
CREATE INDEX definitions_every ON definitions (task_id) WHERE every_seconds IS NOT NULL;
