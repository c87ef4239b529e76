-- Labels of tasks: an object of texts; null if there are none.
ALTER TABLE definitions ADD COLUMN labels jsonb;
CREATE INDEX definitions_labels ON definitions USING gin (labels jsonb_path_ops)
    WHERE labels IS NOT NULL;

-- `labels`: JSON; those of the task.
ALTER TABLE notifications ADD COLUMN labels text;
