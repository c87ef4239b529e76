-- Notes on the time line, such as deploys.
CREATE TABLE marks (
    id TEXT PRIMARY KEY NOT NULL,
    at REAL NOT NULL,
    label TEXT NOT NULL,
    app_name TEXT,
    user_id TEXT
);
CREATE INDEX marks_at ON marks (at);
