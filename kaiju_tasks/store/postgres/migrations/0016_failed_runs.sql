-- Failed runs in the order in which they are listed. The others are listed by `runs_ended`.
CREATE INDEX runs_failed ON runs (ended_at DESC, run_id) WHERE status = 'FAILED';
