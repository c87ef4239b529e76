-- Labels of tasks: a JSON object of texts; null if there are none.
ALTER TABLE definitions ADD COLUMN labels text;
CREATE INDEX definitions_labels ON definitions (labels) WHERE labels IS NOT NULL;

-- `labels`: JSON; those of the task.
ALTER TABLE notifications ADD COLUMN labels text;
