-- When the `max_timeout` of the running stage ends.
ALTER TABLE tasks
    ADD COLUMN stage_deadline double precision,
    ADD CONSTRAINT tasks_stage_deadline_is_leased CHECK (
        stage_deadline IS NULL OR status = 'EXECUTED');
