-- What operators sort by: schedules by their times.
DROP INDEX definitions_cron;
CREATE INDEX definitions_cron ON definitions (cron, task_id) WHERE cron IS NOT NULL;
DROP INDEX definitions_every;
CREATE INDEX definitions_every ON definitions (every_seconds, task_id)
    WHERE every_seconds IS NOT NULL;
