-- What operators sort by: failed tasks by their methods, and schedules by their times.

-- `failed_method`: the method of the stage at which a task has failed; of other tasks, any value. A
-- trigger writes it, because managers of an earlier version do not.
ALTER TABLE tasks ADD COLUMN failed_method text COLLATE "C";
CREATE FUNCTION tasks_keep_failed_method() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    listed constant text := (SELECT methods FROM definitions WHERE task_id = NEW.id);
BEGIN
    IF strpos(listed, '\') > 0 THEN
        NEW.failed_method := listed::json ->> NEW.stage;
    ELSE
        NEW.failed_method := nullif(split_part(listed, '"', 2 * NEW.stage + 2), '');
    END IF;
    RETURN NEW;
EXCEPTION WHEN data_exception THEN  -- a damaged definition
    NEW.failed_method := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER tasks_keep_failed_method BEFORE INSERT OR UPDATE OF status, stage ON tasks
    FOR EACH ROW WHEN (NEW.status = 'FAILED') EXECUTE FUNCTION tasks_keep_failed_method();
-- The methods of a task that has failed can be edited.
CREATE FUNCTION definitions_keep_failed_method() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET stage = stage WHERE id = NEW.task_id AND status = 'FAILED';
    RETURN NULL;
END
$$;
CREATE TRIGGER definitions_keep_failed_method AFTER UPDATE OF methods ON definitions
    FOR EACH ROW WHEN (OLD.methods IS DISTINCT FROM NEW.methods)
    EXECUTE FUNCTION definitions_keep_failed_method();
UPDATE tasks SET stage = stage WHERE status = 'FAILED';
CREATE INDEX tasks_failed_method ON tasks (failed_method,
    (split_part(substr(error, 10), '"', 1) COLLATE "C"), status_change, id) WHERE status = 'FAILED';

DROP INDEX definitions_cron;
CREATE INDEX definitions_cron ON definitions (cron, task_id) WHERE cron IS NOT NULL;
DROP INDEX definitions_every;
CREATE INDEX definitions_every ON definitions (every_seconds, task_id)
    WHERE every_seconds IS NOT NULL;
