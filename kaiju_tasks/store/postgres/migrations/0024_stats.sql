-- Counts and durations of minutes and hours, by stream and manager.
CREATE TABLE stats (
    step bigint NOT NULL,
    at bigint NOT NULL,
    app_name text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    bucket bigint NOT NULL,
    manager_id text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    total double precision NOT NULL,
    PRIMARY KEY (step, at, app_name, name, bucket, manager_id)
);
