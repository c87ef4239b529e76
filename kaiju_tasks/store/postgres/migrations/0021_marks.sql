-- Notes on the time line, such as deploys.
CREATE TABLE marks (
    id text COLLATE "C" PRIMARY KEY,
    at double precision NOT NULL,
    label text NOT NULL,
    app_name text COLLATE "C",
    user_id text COLLATE "C"
);
CREATE INDEX marks_at ON marks (at);
