-- What lists of tasks are filtered by: the methods of the commands, and why tasks failed.

-- `methods`: JSON; the methods of the commands, in their order.
ALTER TABLE definitions ADD COLUMN methods text;
DO $$
DECLARE
    one record;
    listed constant text := 'UPDATE definitions d SET methods = (
        SELECT json_agg(c.command ->> ''method'' ORDER BY c.place)
        FROM json_array_elements(d.body::json -> ''commands'') WITH ORDINALITY AS c (command, place))
        WHERE $1 IS NULL OR d.task_id = $1';
BEGIN
    EXECUTE listed USING NULL::text;
EXCEPTION WHEN data_exception THEN  -- a damaged definition: only the others can be read
    FOR one IN SELECT task_id FROM definitions LOOP
        BEGIN
            EXECUTE listed USING one.task_id;
        EXCEPTION WHEN data_exception THEN
            RAISE NOTICE 'the definition of the task % cannot be read', one.task_id;
        END;
    END LOOP;
END
$$;

CREATE INDEX tasks_failed ON tasks (status_change DESC, id) WHERE status = 'FAILED';
CREATE INDEX tasks_failed_type ON tasks (
    (split_part(substr(error, 10), '"', 1) COLLATE "C"), status_change DESC, id)
    WHERE status = 'FAILED';
