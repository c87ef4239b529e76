-- What waits and what is held, in the order in which it is listed. Only such rows have an entry.
CREATE INDEX tasks_waiting ON tasks (status_change DESC, id) WHERE status = 'WAITING';
CREATE INDEX tasks_suspended ON tasks (status_change DESC, id) WHERE status = 'SUSPENDED';
-- Queued tasks that are held without a gate: disabled ones.
CREATE INDEX tasks_ungated ON tasks (app_name)
    WHERE status = 'QUEUED' AND ready = 0 AND gate IS NULL;
