-- Bulk calls: what each does to which tasks, and how far it has come.

-- `body`: JSON; what was asked for. `progress`: JSON; what has come of it. `cursor`: the id of the
-- last task that was handled, in the order of ids. `manager_id` and `epoch`: who goes on with it;
-- the epoch is raised with every change of the manager.
CREATE TABLE bulks (
    id TEXT NOT NULL PRIMARY KEY,
    method TEXT NOT NULL,
    user_id TEXT,
    state TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    manager_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cursor TEXT,
    body TEXT NOT NULL,
    progress TEXT NOT NULL,
    CONSTRAINT bulks_state_known CHECK (state IN ('RUNNING', 'FINISHED', 'STOPPED', 'FAILED')),
    CONSTRAINT bulks_ended_known CHECK ((state = 'RUNNING') = (ended IS NULL))
) STRICT;
CREATE INDEX bulks_started ON bulks (started DESC, id);
CREATE INDEX bulks_running ON bulks (user_id) WHERE state = 'RUNNING';

-- Raised with every bulk call that begins: their number is bounded.
INSERT INTO revisions (name, value) VALUES ('bulks', 0);
