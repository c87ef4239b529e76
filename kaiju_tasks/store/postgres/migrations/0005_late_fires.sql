-- Fires that came while no manager was up.

-- The task has fallen behind: fires that pass up to this time run late.
ALTER TABLE tasks ADD COLUMN late_until double precision;

-- Since when managers have been up, apart from breaks of at most misfire_grace.
ALTER TABLE managers ADD COLUMN covered_since double precision;
ALTER TABLE managers ADD COLUMN stopped boolean NOT NULL DEFAULT false;
