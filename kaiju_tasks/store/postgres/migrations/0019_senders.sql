-- Who sent a message, and when it arrived.
ALTER TABLE inbox ADD COLUMN sender text COLLATE "C";
ALTER TABLE inbox ADD COLUMN at double precision;

-- The tasks that a task has created. Only these have an entry.
CREATE INDEX definitions_parent ON definitions (parent_id) WHERE parent_id IS NOT NULL;
