-- What operators ask for: the actions on one task, and the counts of some names over a time.
CREATE INDEX audit_target ON audit (target, at, id) WHERE target IS NOT NULL;
CREATE INDEX stats_name ON stats (step, name, at);
