-- Bulk calls: what each does to which tasks, and how far it has come.

-- `body`: JSON; what was asked for. `progress`: JSON; what has come of it. `cursor`: the id of the
-- last task that was handled, in the order of ids. `manager_id` and `epoch`: who goes on with it;
-- the epoch is raised with every change of the manager.
CREATE TABLE bulks (
    id text COLLATE "C" PRIMARY KEY,
    method text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    state text COLLATE "C" NOT NULL,
    started double precision NOT NULL,
    ended double precision,
    manager_id text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    cursor text COLLATE "C",
    body text NOT NULL,
    progress text NOT NULL,
    CONSTRAINT bulks_state_known CHECK (state IN ('RUNNING', 'FINISHED', 'STOPPED', 'FAILED')),
    CONSTRAINT bulks_ended_known CHECK ((state = 'RUNNING') = (ended IS NULL))
);
CREATE INDEX bulks_started ON bulks (started DESC NULLS LAST, id);
CREATE INDEX bulks_running ON bulks (user_id) WHERE state = 'RUNNING';

-- Raised with every bulk call that begins: their number is bounded.
INSERT INTO revisions (name, value) VALUES ('bulks', 0);
