-- Earlier versions of definitions, and with which version runs and attempts have ended.
CREATE TABLE versions (
    task_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    replaced_at REAL NOT NULL,
    PRIMARY KEY (task_id, version),
    CONSTRAINT versions_count CHECK (version >= 1)
) STRICT;
CREATE INDEX versions_replaced ON versions (replaced_at);
ALTER TABLE runs ADD COLUMN version INTEGER;
ALTER TABLE stages ADD COLUMN version INTEGER;
