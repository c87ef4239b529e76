-- Earlier versions of definitions, and with which version runs and attempts have ended.
CREATE TABLE versions (
    task_id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    body text NOT NULL,
    replaced_at double precision NOT NULL,
    PRIMARY KEY (task_id, version),
    CONSTRAINT versions_count CHECK (version >= 1)
);
CREATE INDEX versions_replaced ON versions (replaced_at);
ALTER TABLE runs ADD COLUMN version integer;
ALTER TABLE stages ADD COLUMN version integer;
