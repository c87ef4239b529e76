-- What lists of tasks are filtered by: the methods of the commands, and why tasks failed.

-- `methods`: JSON; the methods of the commands, in their order.
ALTER TABLE definitions ADD COLUMN methods text;
UPDATE definitions SET methods = (
    SELECT json_group_array(json_extract(c.value, '$.method')) FROM json_each(body, '$.commands') c)
WHERE json_valid(body);

CREATE INDEX tasks_failed ON tasks (status_change DESC, id) WHERE status = 'FAILED';
CREATE INDEX tasks_failed_type ON tasks (
    substr(error, 10, instr(substr(error, 10), '"') - 1), status_change DESC, id)
    WHERE status = 'FAILED';
