-- Counts and durations of minutes and hours, by stream and manager.
CREATE TABLE stats (
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    app_name TEXT NOT NULL,
    name TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    manager_id TEXT NOT NULL,
    count INTEGER NOT NULL,
    total REAL NOT NULL,
    PRIMARY KEY (step, at, app_name, name, bucket, manager_id)
) WITHOUT ROWID;
